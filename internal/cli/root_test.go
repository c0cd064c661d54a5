package cli_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
)

// run runs the whole program and returns its exit code and everything that it printed.
func run(t *testing.T, w *clitest.World, args ...string) (int, string) {
	t.Helper()
	w.Output.Reset()
	w.Errors.Reset()
	code := cli.Run(t.Context(), cli.New(w.Env, cli.Flags()), append([]string{}, args...), w.Errors)
	return code, w.Output.String() + w.Errors.String()
}

func TestExitCodesOfTheProgram(t *testing.T) {
	w := clitest.New(clitest.Upgrade(2))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exit.OK, "moves the Istio of a cluster"},
		{[]string{"--help"}, exit.OK, "Usage:"},
		{[]string{"options"}, exit.OK, "--kubeconfig"},
		{[]string{"version"}, exit.OK, "Meshlift    v0.1.0"},
		{[]string{"upgrade"}, exit.OK, "start"},
		{[]string{"nonsense"}, exit.Usage, `unknown command "nonsense" for "meshlift"`},
		{[]string{"upgrade", "nonsense"}, exit.Usage, `unknown command "nonsense" for "meshlift upgrade"`},
		{[]string{"bfg", "nonsense"}, exit.Usage, `unknown command "nonsense"`},
		{[]string{"status", "--nonsense"}, exit.Usage, "unknown flag: --nonsense"},
		{[]string{"status", "nonsense"}, exit.Usage, "nonsense"},
		{[]string{"upgrade", "delete"}, exit.Usage, "accepts 1 arg"},
		{[]string{"rollout", "--timeout", "soon"}, exit.Usage, "invalid argument"},
		{[]string{"rollout", "--attach", "x"}, exit.Failure, `there is no rollout "x"`},
		{[]string{"bfg", "rollout", "--attach", "x"}, exit.Failure, `there is no rollout "x"`},
		{[]string{"decommission", "--yes"}, exit.Refused, "step 3 (EnvoyFilters) is not done"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			if code, text := run(t, w, c.args...); code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s", code, c.code, c.says, text)
			}
		})
	}
}

func TestThePluginSpeaksOfKubectl(t *testing.T) {
	w := clitest.New()
	w.Program = "kubectl meshlift"
	root := cli.New(w.Env, cli.Flags())
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if c.Runnable() && !strings.HasPrefix(c.UseLine(), "kubectl meshlift") {
			t.Errorf("%s: usage is %q", c.CommandPath(), c.UseLine())
		}
		for _, text := range []string{c.Example, c.Long} {
			for _, l := range strings.Split(text, "\n") {
				if strings.Contains(strings.ReplaceAll(l, "kubectl meshlift", ""), "meshlift ") {
					t.Errorf("%s: %q should say \"kubectl meshlift\"", c.CommandPath(), l)
				}
			}
		}
		for _, s := range c.Commands() {
			visit(s)
		}
	}
	visit(root)
}

func TestEveryCommandThatActsDocumentsItselfAndItsExitCodes(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		switch c.Name() {
		case "completion", "help", "options", "version", "bfg", "meshlift":
		default:
			if c.HasSubCommands() && c.Name() != "rollout" {
				break
			}
			if c.Example == "" || !strings.Contains(c.Long, exit.Help) && !strings.Contains(c.Long, exit.HelpDiff) {
				t.Errorf("%s: no example, or no exit codes", c.CommandPath())
			}
		}
		for _, s := range c.Commands() {
			if c.Name() != "completion" {
				visit(s)
			}
		}
	}
	visit(cli.New(clitest.New().Env, cli.Flags()))
}

func TestNamesAreCompletedFromTheCluster(t *testing.T) {
	u := clitest.Upgrade(2)
	u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{{Namespace: "a", Name: "new"}, {Namespace: "a", Name: "done", Acknowledged: true}}
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: u.Name}}
	r.Status.Failures = []v1alpha1.WorkloadFailure{{WorkloadReference: v1alpha1.WorkloadReference{Kind: "Deployment", Namespace: "a", Name: "b"}}}
	over := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "over"}, Spec: r.Spec}
	over.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
	cp := &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	cp.Status.Revisions = []v1alpha1.RevisionStatus{{Name: "1-30", UpgradeTo: []string{"1.31"}}}
	w := clitest.New(u, r, over, cp)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"upgrade", "show", ""}, "1-30-to-1-31"},
		{[]string{"upgrade", "show", "1-30-to-1-31", ""}, ""},
		{[]string{"upgrade", "start", "--to", ""}, "1.31"},
		{[]string{"plan", "--from-revision", ""}, "1-30"},
		{[]string{"envoyfilters", "ack", ""}, "a/new"},
		{[]string{"envoyfilters", "unack", ""}, "a/done"},
		{[]string{"rollout", "--attach", ""}, "first"},
		{[]string{"rollout", "retry", ""}, "a/Deployment/b"},
		{[]string{"rollout", "--failure-policy", "C"}, "Stop\nContinue\nMoveBack\nMoveBackAndContinue"},
		{[]string{"status", "-o", ""}, "json\nyaml"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			_, text := run(t, w, append([]string{cobra.ShellCompNoDescRequestCmd}, c.args...)...)
			got, _, _ := strings.Cut(text, ":4") // ShellCompDirectiveNoFileComp
			if got = strings.TrimSpace(got); got != c.want {
				t.Errorf("got %q, want %q in:\n%s", got, c.want, text)
			}
		})
	}
}

func TestCompletionIsSilentWhenTheClusterDoesNotAnswer(t *testing.T) {
	w := clitest.New()
	w.Connect = func() (client.WithWatch, error) { return nil, errors.New("no cluster") }
	if code, text := run(t, w, cobra.ShellCompNoDescRequestCmd, "rollout", "--attach", ""); code != exit.OK || strings.Contains(text, "no cluster") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

func TestKubectlCompletesItsPlugin(t *testing.T) {
	got := cli.Arguments([]string{"/usr/bin/kubectl_complete-meshlift", "upgrade", "sh"})
	if strings.Join(got, " ") != "__complete upgrade sh" {
		t.Errorf("%v", got)
	}
	if got := cli.Arguments([]string{"/usr/bin/kubectl-meshlift", "status"}); strings.Join(got, " ") != "status" {
		t.Errorf("%v", got)
	}
}
