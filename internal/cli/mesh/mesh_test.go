package mesh

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
)

func world(more ...client.Object) *clitest.World {
	cluster := func(name string) *hub.MemberCluster {
		mc := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: "prod"}}
		mc.Status.IstioVersions, mc.Status.KubernetesVersion = "1.30.0", "v1.37.2"
		mc.Status.Revisions = []hub.RevisionSummary{{UpgradeTo: []string{"1.31"}}}
		mc.Status.Conditions = []metav1.Condition{{Type: hub.ConditionConnected, Status: metav1.ConditionTrue}}
		return mc
	}
	m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	m.Status.Clusters, m.Status.Turn = 2, &hub.Turn{Cluster: "west"}
	m.Status.Conditions = []metav1.Condition{
		{Type: hub.ConditionFrozen, Status: metav1.ConditionTrue, Message: "old istiods exist (west: 1.30.0)"}, {Type: hub.ConditionReady, Status: metav1.ConditionTrue, Message: "all is well"},
	}
	return clitest.New(append([]client.Object{m, cluster("west"), cluster("east")}, more...)...)
}

func upgrade(t *testing.T, w *clitest.World, name string) *hub.MeshUpgrade {
	t.Helper()
	u := &hub.MeshUpgrade{}
	if err := w.Client.Get(t.Context(), types.NamespacedName{Name: name}, u); err != nil {
		t.Fatal(err)
	}
	return u
}

func running() *hub.MeshUpgrade {
	return &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up"}, Spec: hub.MeshUpgradeSpec{
		Mesh: "prod", Version: "1.31", Waves: []hub.ClusterWave{{Name: "first", Clusters: []string{"west"}}},
	}, Status: hub.MeshUpgradeStatus{Total: 1, Clusters: []hub.ClusterProgress{{Name: "west", Wave: "first", Step: "4/5 data planes", Failed: true, Message: "a move failed"}}}}
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q:\n%s", w, text)
		}
	}
}

func TestAMeshIsShownOnOnePage(t *testing.T) {
	w := world(running())
	if code := w.Run(t, NewCommand(w.Env), "status"); code != exit.OK {
		t.Fatal(code, w.Errors)
	}
	says(t, w.Output.String(), "prod", "old istiods exist (west: 1.30.0)", "Cluster west may decommission", "east", "1.31", "4/5 data planes", "a move failed")
	w = world()
	w.Run(t, NewCommand(w.Env), "list")
	says(t, w.Output.String(), "NAME", "prod", "yes", "all is well")
	if code := w.Run(t, NewCommand(w.Env), "status", "nowhere"); code != exit.Refused {
		t.Error(code)
	}
	says(t, w.Errors.String(), `no mesh "nowhere"; the meshes are: prod`)
}

func TestAnUpgradeHasTheWavesThatWereAskedFor(t *testing.T) {
	w := world()
	code := w.Run(t, NewCommand(w.Env), "upgrade", "prod", "--to", "1.31", "--wave", "a=east", "--wave", "b=west", "--approve", "b", "--soak", "1h", "--parallelism", "2", "--rollout", "--yes")
	if code != exit.OK {
		t.Fatal(code, w.Errors)
	}
	u := upgrade(t, w, "prod-to-1-31")
	if len(u.Spec.Waves) != 2 || u.Spec.Waves[0].Approval || !u.Spec.Waves[1].Approval || u.Spec.Waves[0].Soak.Duration != time.Hour || *u.Spec.Waves[0].Parallelism != 2 || u.Spec.Rollout == nil {
		t.Errorf("%+v", u.Spec)
	}
	for _, args := range [][]string{
		{"upgrade", "prod", "--yes"},
		{"upgrade", "prod", "--to", "1.31", "--wave", "a", "--yes"},
		{"upgrade", "prod", "--to", "1.31", "--wave", "a=east", "--wave", "a=west", "--yes"},
		{"upgrade", "prod", "--to", "1.31", "--approve", "x", "--yes"},
		{"upgrade", "prod", "--to", "1.31", "--soak", "-1h", "--yes"},
		{"upgrade", "prod", "--to", "1.31"},
		{"approve", "up"},
	} {
		if code := w.Run(t, NewCommand(w.Env), args...); code != exit.Usage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
	w.Refuse = func(client.Object) error { return errors.New("cluster is not in mesh") }
	if code := w.Run(t, NewCommand(w.Env), "upgrade", "prod", "--to", "1.32", "--yes"); code == exit.OK {
		t.Error("a refusal is success")
	}
}

func TestAnUpgradeIsApprovedPausedResumedAndDecommissionedByItsNameOrThatOfItsMesh(t *testing.T) {
	w := world(running())
	for _, step := range []struct {
		args []string
		want func(hub.MeshUpgradeSpec) bool
	}{
		{[]string{"approve", "up", "--wave", "first"}, func(s hub.MeshUpgradeSpec) bool { return len(s.Approvals) == 1 && s.Approvals[0].By == clitest.User }},
		{[]string{"approve", "prod", "--wave", "first"}, func(s hub.MeshUpgradeSpec) bool { return len(s.Approvals) == 1 }},
		{[]string{"pause", "prod"}, func(s hub.MeshUpgradeSpec) bool { return s.Paused }},
		{[]string{"resume", "up"}, func(s hub.MeshUpgradeSpec) bool { return !s.Paused }},
		{[]string{"decommission", "up", "--yes", "--soak", "1m"}, func(s hub.MeshUpgradeSpec) bool {
			return s.Decommission != nil && s.Decommission.By == clitest.User && s.Decommission.Soak.Duration == time.Minute
		}},
		{[]string{"decommission", "up", "--withdraw"}, func(s hub.MeshUpgradeSpec) bool { return s.Decommission == nil }},
	} {
		if code := w.Run(t, NewCommand(w.Env), step.args...); code != exit.OK {
			t.Fatal(step.args, code, w.Errors)
		}
		if u := upgrade(t, w, "up"); !step.want(u.Spec) {
			t.Errorf("%v: %+v", step.args, u.Spec)
		}
	}
	for _, args := range [][]string{{"approve", "up", "--wave", "second"}, {"pause", "nothing"}} {
		if code := w.Run(t, NewCommand(w.Env), args...); code != exit.Refused {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
	w = world(running()).Person("n\n")
	if code := w.Run(t, NewCommand(w.Env), "decommission", "up"); code != exit.Refused || upgrade(t, w, "up").Spec.Decommission != nil {
		t.Errorf("exit code %d", code)
	}
}
