package platform

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
)

func member(name, mesh, version string) *hub.MemberCluster {
	mc := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: mesh}}
	mc.Status.Revisions = []hub.RevisionSummary{{RevisionRef: v1alpha1.RevisionRef{Revision: "r", Version: version}}}
	return mc
}

func TestThePlatformIsNotUpgradedWhileAnyMeshHasAnOldIstiod(t *testing.T) {
	w := clitest.New(member("east", "prod", "1.31.0"), member("west", "prod", "1.30.0"), member("own", "", "1.29.0"))
	check := func(args ...string) int { return w.Run(t, NewCommand(w.Env), append([]string{"check"}, args...)...) }
	if code := check("--offered", "2.0.0", "--running", "1.0.0"); code != exit.Failure || !strings.Contains(w.Errors.String(), "west: 1.30.0") || strings.Contains(w.Errors.String(), "own") {
		t.Errorf("exit code %d: %s", code, w.Errors)
	}
	if code := check("--offered", "1.0.0", "--running", "1.0.0"); code != exit.OK {
		t.Errorf("the same version: exit code %d", code)
	}
	if code := check("--offered", "1.0.0"); code != exit.Failure {
		t.Errorf("nobody knows what runs: exit code %d", code)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "meshlift-hub", Labels: map[string]string{"app.kubernetes.io/version": "1.0.0"}}}
	if err := w.Client.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if code := check("--offered", "1.0.0"); code != exit.OK {
		t.Errorf("the version that runs: exit code %d: %s", code, w.Errors)
	}
	if code := check("--offered", "1.0.1"); code != exit.Failure {
		t.Errorf("a newer version than the one that runs: exit code %d", code)
	}
	if code := check(); code != exit.Usage {
		t.Errorf("no version: exit code %d", code)
	}
	if code := check("--offered", "2.0.0", "--break-glass", "the fix is in it"); code != exit.OK {
		t.Errorf("with a reason: exit code %d: %s", code, w.Errors)
	}
	list := &eventsv1.EventList{}
	if err := w.Client.List(t.Context(), list); err != nil || len(list.Items) != 1 || !strings.Contains(list.Items[0].Note, "the fix is in it") || list.Items[0].Regarding.Name != "prod" {
		t.Errorf("%v: events %+v", err, list.Items)
	}
	w = clitest.New(member("east", "prod", "1.31.0"), member("own", "", "1.29.0"))
	if code := check("--offered", "2.0.0"); code != exit.OK {
		t.Errorf("no old istiod: exit code %d: %s", code, w.Errors)
	}
}
