package upgrade_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/upgrade"
	"meshlift.dev/meshlift/internal/preflight"
)

// catalog lets 1.30 go to 1.31 on the Kubernetes of the tests.
func catalog() *v1alpha1.Catalog {
	return &v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.CatalogSpec{
		Releases: []v1alpha1.Release{{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}}},
		Paths:    []v1alpha1.Path{{From: "1.30", To: "1.31", Kubernetes: []string{"1.37"}}},
	}}
}

func world(objects ...client.Object) *clitest.World {
	w := clitest.New(append(objects, catalog())...)
	w.Mesh = clitest.Mesh(false)
	return w
}

func get(t *testing.T, w *clitest.World, name string) *v1alpha1.ClusterUpgrade {
	t.Helper()
	u := &v1alpha1.ClusterUpgrade{}
	err := w.Client.Get(t.Context(), client.ObjectKey{Name: name}, u)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// agent does the next of the steps at each look of the command at the upgrade.
func agent(steps ...func(*v1alpha1.ClusterUpgrade)) func(client.Client, client.Object, int) error {
	return func(c client.Client, obj client.Object, n int) error {
		if _, ok := obj.(*v1alpha1.ClusterUpgrade); !ok || n > len(steps) {
			return nil
		}
		var all v1alpha1.ClusterUpgradeList
		if err := c.List(context.Background(), &all); err != nil || len(all.Items) == 0 {
			return err
		}
		u := &all.Items[0]
		u.Status.ObservedGeneration = u.Generation
		steps[n-1](u)
		return c.Status().Update(context.Background(), u)
	}
}

func at(done int, reason, message string) func(*v1alpha1.ClusterUpgrade) {
	return func(u *v1alpha1.ClusterUpgrade) { clitest.Steps(u, done, reason, message) }
}

func TestAnUpgradeIsAskedForAndCreated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte("meshConfig: {accessLogFile: /dev/stdout}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := world().Person("y\n")
	if code := w.Run(t, upgrade.NewCommand(w.Env), "start", "--to", "1.31", "--set", "pilot.env.A=b", "-f", file); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	for _, s := range []string{
		"Upgrade path Istio 1.30.0 (revision 1-30) → 1.31.0 (revision 1-31)", "1.37.2, supported by this path", "Not touched   everything that runs",
		"1 EnvoyFilter to check with their owners", "Install Istio 1.31.0 beside 1.30.0? [y/N]",
	} {
		if !strings.Contains(w.Errors.String(), s) {
			t.Errorf("missing %q in:\n%s", s, w.Errors)
		}
	}
	u := get(t, w, "1-30-to-1-31")
	if u == nil || u.Spec.Version != "1.31" || string(u.Spec.Values.Raw) != `{"meshConfig":{"accessLogFile":"/dev/stdout"},"pilot":{"env":{"A":"b"}}}` {
		t.Errorf("%+v", u)
	}
}

func TestNoUpgradeWithoutAYes(t *testing.T) {
	denied := func(client.Object) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "clusterupgrades"}, "u", errors.New(`admission webhook "u" denied the request: not in this cluster`))
	}
	person := func(w *clitest.World, lines string) *clitest.World { return w.Person(lines) }
	other := clitest.Upgrade(2)
	for _, c := range []struct {
		name   string
		world  *clitest.World
		args   []string
		refuse func(client.Object) error
		code   int
		says   string
	}{
		{"the person says no", person(world(), "n\n"), []string{"--to", "1.31"}, nil, exit.Refused, "Nothing was changed."},
		{"nobody can be asked", world(), []string{"--to", "1.31"}, nil, exit.Usage, "add --yes"},
		{"no version", world(), []string{"--yes"}, nil, exit.Usage, "--to VERSION"},
		{"a path that is not supported", world(), []string{"--yes", "--to", "1.29"}, nil, exit.Refused, "Istio 1.29 is older than the running 1.30"},
		{"a version that nobody knows", world(), []string{"--yes", "--to", "1.99"}, nil, exit.Refused, "Istio 1.99 is not in the catalog"},
		{"a revision that is not there", world(), []string{"--yes", "--to", "1.31", "--from", "1-29"}, nil, exit.Refused, `there is no istiod of revision "1-29"`},
		{"another upgrade runs", world(other), []string{"--yes", "--to", "1.31"}, nil, exit.Refused, `ClusterUpgrade "1-30-to-1-31" to Istio 1.31 is not finished`},
		{"admission refuses", world(), []string{"--yes", "--to", "1.31"}, denied, exit.Refused, "not in this cluster"},
		{"wrong values", world(), []string{"--yes", "--to", "1.31", "--set", "x"}, nil, exit.Usage, "write KEY=VALUE"},
		{"a file that is not there", world(), []string{"--yes", "--to", "1.31", "-f", "/no/such/file"}, nil, exit.Usage, "/no/such/file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.world.Refuse = c.refuse
			code := c.world.Run(t, upgrade.NewCommand(c.world.Env), append([]string{"start"}, c.args...)...)
			if code != c.code || !strings.Contains(c.world.Errors.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s%s", code, c.code, c.says, c.world.Output, c.world.Errors)
			}
			var all v1alpha1.ClusterUpgradeList
			if err := c.world.Client.List(t.Context(), &all); err != nil {
				t.Fatal(err)
			}
			for _, u := range all.Items {
				if u.UID != other.UID || !u.CreationTimestamp.Equal(&other.CreationTimestamp) {
					t.Errorf("%s was created", u.Name)
				}
			}
		})
	}
}

func TestWaitingEndsWithTheNewIstiod(t *testing.T) {
	refused := func(u *v1alpha1.ClusterUpgrade) {
		clitest.Steps(u, -1, v1alpha1.ReasonUnsupportedKubernetes, "this Kubernetes is too old: upgrade it first")
	}
	for _, c := range []struct {
		name  string
		steps []func(*v1alpha1.ClusterUpgrade)
		args  []string
		code  int
		says  string
	}{
		{"it becomes ready", []func(*v1alpha1.ClusterUpgrade){
			at(1, v1alpha1.ReasonInProgress, "istiod is starting"), at(2, v1alpha1.ReasonFilters, "1 EnvoyFilter waits"),
		}, nil, exit.OK, "12:00:00  ● 2 new istiod: istiod is starting\n12:00:00  ✓ 2 new istiod: done\nNext: check each EnvoyFilter with its owner: meshlift envoyfilters list"},
		{"it cannot be installed", []func(*v1alpha1.ClusterUpgrade){at(1, v1alpha1.ReasonInstallFailed, "no such chart")}, nil, exit.Failure, "error: no such chart"},
		{"the agent refuses it after all", []func(*v1alpha1.ClusterUpgrade){refused}, nil, exit.Refused, "this Kubernetes is too old: upgrade it first"},
		{"somebody pauses it", []func(*v1alpha1.ClusterUpgrade){at(1, v1alpha1.ReasonPaused, "paused")}, nil, exit.Unfinished, "paused"},
		{"the time is over", []func(*v1alpha1.ClusterUpgrade){at(1, v1alpha1.ReasonInProgress, "starting")}, []string{"--wait-timeout", "20ms"}, exit.Unfinished, "not finished after 20ms; the upgrade goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world()
			w.Read = agent(c.steps...)
			code := w.Run(t, upgrade.NewCommand(w.Env), append([]string{"start", "--to", "1.31", "--yes", "--wait"}, c.args...)...)
			if all := w.Output.String() + w.Errors.String(); code != c.code || !strings.Contains(all, c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s", code, c.code, c.says, all)
			}
		})
	}
}

func TestPauseResumeAndDelete(t *testing.T) {
	w := world(clitest.Upgrade(2))
	run := func(code int, says string, args ...string) {
		t.Helper()
		w.Output.Reset()
		w.Errors.Reset()
		if got := w.Run(t, upgrade.NewCommand(w.Env), args...); got != code || !strings.Contains(w.Output.String()+w.Errors.String(), says) {
			t.Errorf("%v: exit code %d, want %d and %q in:\n%s%s", args, got, code, says, w.Output, w.Errors)
		}
	}
	run(exit.OK, "paused", "pause")
	if !get(t, w, "1-30-to-1-31").Spec.Paused {
		t.Error("it is not paused")
	}
	run(exit.OK, "paused already", "pause")
	run(exit.OK, "resumed", "resume", "1-30-to-1-31")
	run(exit.OK, "not paused", "resume")
	if get(t, w, "1-30-to-1-31").Spec.Paused {
		t.Error("it is paused")
	}
	run(exit.Usage, "add --yes", "delete", "1-30-to-1-31")
	run(exit.Failure, `there is no upgrade "other"`, "delete", "other", "--yes")
	run(exit.OK, "deleted", "delete", "1-30-to-1-31", "--yes")
	if u := get(t, w, "1-30-to-1-31"); u != nil {
		t.Errorf("it is still there: %+v", u)
	}
	run(exit.Refused, "no upgrade runs in this cluster", "show")
	run(exit.OK, "There are no upgrades.", "list")
}

func TestObjectsArePrintedForScripts(t *testing.T) {
	u := clitest.Upgrade(2)
	u.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "x", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "meshlift.dev/v1alpha1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}"),
	}}
	w := world(u)
	if code := w.Run(t, upgrade.NewCommand(w.Env), "show", "-o", "yaml"); code != exit.OK {
		t.Fatalf("exit code %d\n%s", code, w.Errors)
	}
	var shown v1alpha1.ClusterUpgrade
	if err := yaml.UnmarshalStrict(w.Output.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Kind != "ClusterUpgrade" || shown.APIVersion != "meshlift.dev/v1alpha1" || shown.ManagedFields != nil {
		t.Errorf("%+v", shown)
	}
	if diff := cmp.Diff(u.Spec, shown.Spec); diff != "" {
		t.Error(diff)
	}
	w.Output.Reset()
	if code := w.Run(t, upgrade.NewCommand(w.Env), "list", "-o", "json"); code != exit.OK || !strings.Contains(w.Output.String(), `"kind": "ClusterUpgradeList"`) {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if code := w.Run(t, upgrade.NewCommand(w.Env), "show", "-o", "xml"); code != exit.Usage {
		t.Errorf("exit code %d for an unknown format", code)
	}
}

func TestErrorsOfThePreflightKeepAnUpgradeFromStartingUnlessTheyAreIgnoredByName(t *testing.T) {
	refused := func(f *preflight.Facts) { f.Rehearsal = "quota exceeded" }
	w := world()
	w.Surveyed = refused
	if code := w.Run(t, upgrade.NewCommand(w.Env), "start", "--to", "1.31", "--yes"); code != exit.Refused || !strings.Contains(w.Errors.String(), "istiod-rehearsal") {
		t.Errorf("exit code %d\n%s", code, w.Errors)
	}
	if u := get(t, w, "1-30-to-1-31"); u != nil {
		t.Errorf("it was created: %+v", u.Spec)
	}
	if code := w.Run(t, upgrade.NewCommand(w.Env), "start", "--to", "1.31", "--yes", "--ignore-check", "istiod-rehearsal,single-replica"); code != exit.OK {
		t.Errorf("exit code %d\n%s", code, w.Errors)
	}
	want := []v1alpha1.IgnoredCheck{{ID: "istiod-rehearsal", Findings: 1, By: clitest.User, At: metav1.NewTime(clitest.Now)}}
	u := get(t, w, "1-30-to-1-31")
	if u == nil {
		t.Fatal("it was not created")
	}
	for n := range u.Spec.IgnoredChecks {
		u.Spec.IgnoredChecks[n].At = metav1.NewTime(u.Spec.IgnoredChecks[n].At.UTC())
	}
	if diff := cmp.Diff(want, u.Spec.IgnoredChecks); diff != "" {
		t.Error(diff)
	}
}
