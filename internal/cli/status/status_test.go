package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/status"
	"meshlift.dev/meshlift/internal/view"
)

func controlPlane() *v1alpha1.ControlPlane {
	return &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Status: v1alpha1.ControlPlaneStatus{
		KubernetesVersion: "v1.37.2", Revisions: []v1alpha1.RevisionStatus{{Name: "1-30", Version: "1.30.0", Sidecars: 2, UpgradeTo: []string{"1.31"}}},
	}}
}

func TestThePageIsForPeopleAndScripts(t *testing.T) {
	rollout := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r1"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31"}}
	w := clitest.New(controlPlane(), clitest.Upgrade(3), rollout)
	if code := w.Run(t, status.NewCommand(w.Env)); code != exit.OK {
		t.Fatalf("exit code %d\n%s", code, w.Errors)
	}
	for _, s := range []string{"Cluster     prod-1", "1-30      1.30.0", "● 4 data planes", "Rollout r1: not started yet", "meshlift rollout --attach r1"} {
		if !strings.Contains(w.Output.String(), s) {
			t.Errorf("missing %q in:\n%s", s, w.Output)
		}
	}
	w.Output.Reset()
	if code := w.Run(t, status.NewCommand(w.Env), "-o", "json"); code != exit.OK {
		t.Fatalf("exit code %d\n%s", code, w.Errors)
	}
	var s view.Status
	if err := json.Unmarshal(w.Output.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Upgrade == nil || s.Upgrade.Steps[3].State != view.StepActive || s.Next[0].Command != "meshlift rollout --attach r1" {
		t.Errorf("%+v", s)
	}
}

func TestWithoutAnAgentThePageSaysSo(t *testing.T) {
	w := clitest.New()
	if code := w.Run(t, status.NewCommand(w.Env)); code != exit.OK || !strings.Contains(w.Output.String(), "Kubernetes  1.37.2") || !strings.Contains(w.Output.String(), "meshlift install") {
		t.Errorf("exit code %d\n%s", code, w.Output)
	}
}

func TestAnAgentThatDoesNotRunIsTheFirstThingToSay(t *testing.T) {
	agent := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: "cpaas-system", Name: "asm-controller", Labels: map[string]string{"app.kubernetes.io/name": "meshlift", "app.kubernetes.io/component": "agent"},
	}}
	w := clitest.New(controlPlane(), agent)
	w.Run(t, status.NewCommand(w.Env))
	if !strings.Contains(w.Output.String(), "the agent does not run (Deployment cpaas-system/asm-controller has no ready replica)") {
		t.Errorf("a dead agent looks like this:\n%s", w.Output)
	}
	agent.Status.ReadyReplicas = 1
	w = clitest.New(controlPlane(), agent)
	w.Run(t, status.NewCommand(w.Env))
	if strings.Contains(w.Output.String(), "the agent does not run") {
		t.Errorf("a living agent looks like this:\n%s", w.Output)
	}
}

func TestWatchingShowsChangesAndSurvivesTrouble(t *testing.T) {
	w := clitest.New(controlPlane())
	ctx, cancel := context.WithCancel(t.Context())
	w.Read = func(c client.Client, obj client.Object, n int) error {
		switch n {
		case 2:
			return errors.New("connection refused")
		case 4:
			return c.Create(ctx, clitest.Upgrade(2))
		case 6:
			cancel()
		}
		return nil
	}
	if code := w.RunContext(ctx, status.NewCommand(w.Env), "--watch", "--interval", "1ms"); code != exit.OK {
		t.Fatalf("exit code %d\n%s", code, w.Errors)
	}
	text := w.Output.String()
	for s, want := range map[string]int{"can be upgraded to Istio 1.31": 2, "connection refused; trying again": 1, "● 3 EnvoyFilters": 1} {
		if got := strings.Count(text, s); got != want {
			t.Errorf("%q is shown %d times, want %d:\n%s", s, got, want, text)
		}
	}
}

func TestWrongFlagsAreWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"-o", "xml"}, {"--watch", "-o", "json"}, {"--watch", "--interval", "0s"}} {
		w := clitest.New()
		if code := w.Run(t, status.NewCommand(w.Env), args...); code != exit.Usage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
