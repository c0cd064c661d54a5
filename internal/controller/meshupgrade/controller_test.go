package meshupgrade

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// world is a hub with an upgrade "up" of mesh prod and members whose agents the test plays.
type world struct {
	t       *testing.T
	hub     client.WithWatch
	members map[string]client.WithWatch
	refuse  map[string]error
	writes  int
	*Reconciler
}

func (w *world) Client(cluster string) (client.Client, error) { return w.members[cluster], nil }
func (w *world) Cached(cluster string) (client.Reader, error) { return w.members[cluster], nil }

func newWorld(t *testing.T, spec hub.MeshUpgradeSpec, clusters ...string) *world {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, hub.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, members: map[string]client.WithWatch{}, refuse: map[string]error{}}
	spec.Mesh, spec.Version = "prod", "1.31"
	u := &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up", Generation: 1}, Spec: spec}
	objects := []client.Object{&hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, u}
	for _, name := range clusters {
		mc := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: "prod"}}
		meta.SetStatusCondition(&mc.Status.Conditions, metav1.Condition{Type: hub.ConditionConnected, Status: metav1.ConditionTrue, Reason: "Done"})
		objects = append(objects, mc)
		cp := &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1}}
		cp.Status.ObservedGeneration = 1
		cp.Status.Revisions = []v1alpha1.RevisionStatus{{Name: "1-30", Version: "1.30.0", Sidecars: 3, UpgradeTo: []string{"1.31"}}}
		w.members[name] = fake.NewClientBuilder().WithScheme(s).WithObjects(cp).
			WithStatusSubresource(&v1alpha1.ControlPlane{}, &v1alpha1.ClusterUpgrade{}, &v1alpha1.DataPlaneRollout{}).
			WithInterceptorFuncs(interceptor.Funcs{
				Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
					w.writes++
					if err := w.refuse[name]; err != nil {
						return err
					}
					return c.Apply(ctx, o, opts...)
				},
			}).Build()
	}
	w.hub = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&hub.MeshUpgrade{}, &hub.MemberCluster{}).Build()
	w.Reconciler = &Reconciler{Options: Options{Client: w.hub, Members: w, Recorder: events.NewFakeRecorder(1000), Clock: clocktesting.NewFakeClock(now)}}
	return w
}

func (w *world) pass() *hub.MeshUpgrade {
	w.t.Helper()
	key := types.NamespacedName{Name: "up"}
	if _, err := w.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		w.t.Fatal(err)
	}
	u := &hub.MeshUpgrade{}
	if err := w.hub.Get(w.t.Context(), key, u); err != nil {
		w.t.Fatal(err)
	}
	return u
}

func (w *world) edit(change func(*hub.MeshUpgradeSpec)) {
	w.t.Helper()
	u := &hub.MeshUpgrade{}
	if err := w.hub.Get(w.t.Context(), types.NamespacedName{Name: "up"}, u); err != nil {
		w.t.Fatal(err)
	}
	change(&u.Spec)
	if err := w.hub.Update(w.t.Context(), u); err != nil {
		w.t.Fatal(err)
	}
}

// upgrade returns the ClusterUpgrade of a cluster; nil when there is none.
func (w *world) upgrade(cluster string) *v1alpha1.ClusterUpgrade {
	w.t.Helper()
	cu := &v1alpha1.ClusterUpgrade{}
	err := w.members[cluster].Get(w.t.Context(), types.NamespacedName{Name: "up"}, cu)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return cu
}

func (w *world) rollout(cluster string) *v1alpha1.DataPlaneRollout {
	w.t.Helper()
	d := &v1alpha1.DataPlaneRollout{}
	if err := w.members[cluster].Get(w.t.Context(), types.NamespacedName{Name: "up"}, d); err != nil {
		return nil
	}
	return d
}

// agent plays the agent of a cluster: these steps are done.
func (w *world) agent(cluster string, conditions ...string) {
	w.t.Helper()
	cu := w.upgrade(cluster)
	cu.Status.From, cu.Status.To = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	for _, c := range conditions {
		meta.SetStatusCondition(&cu.Status.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionTrue, Reason: "Done"})
	}
	if err := w.members[cluster].Status().Update(w.t.Context(), cu); err != nil {
		w.t.Fatal(err)
	}
}

func upTo4() []string {
	return []string{v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled, v1alpha1.ConditionDataPlanesMoved}
}

func TestClustersAreUpgradedWaveByWaveAndDecommissioned(t *testing.T) {
	w := newWorld(t, hub.MeshUpgradeSpec{Rollout: &hub.RolloutTemplate{}}, "east", "west")
	u := w.pass()
	east := w.upgrade("east")
	if east == nil || east.Spec.Version != "1.31" || east.Labels[UpgradeLabel] != "up" || w.upgrade("west") != nil {
		t.Fatalf("east %+v, west %+v", east, w.upgrade("west"))
	}
	if !meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionAccepted) || u.Status.Clusters[0].StartedAt == nil || len(u.Status.History) != 1 {
		t.Fatalf("%+v", u.Status)
	}
	n := w.writes
	w.pass()
	if w.writes != n || w.rollout("east") != nil {
		t.Error("something is written although nothing changed")
	}
	w.agent("east", upTo4()[:2]...)
	w.pass()
	if d := w.rollout("east"); d == nil || d.Spec.Upgrade != "up" || d.Spec.Direction != v1alpha1.Forward {
		t.Fatalf("rollout %+v", d)
	}
	w.agent("east", upTo4()...)
	w.pass()
	if w.upgrade("west") == nil {
		t.Fatal("west is not started although east has moved")
	}
	w.agent("west", upTo4()...)
	if u = w.pass(); u.Status.Moved != 2 || !meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionDataPlanesMoved) {
		t.Fatalf("%+v", u.Status)
	}
	w.edit(func(s *hub.MeshUpgradeSpec) {
		s.Decommission = &v1alpha1.DecommissionRequest{By: "ann", At: metav1.NewTime(now)}
	})
	w.pass()
	for _, c := range []string{"east", "west"} {
		if d := w.upgrade(c).Spec.Decommission; d == nil || d.By != "ann" {
			t.Errorf("cluster %s: %+v", c, d)
		}
	}
	w.edit(func(s *hub.MeshUpgradeSpec) { s.Decommission = nil })
	w.pass()
	if d := w.upgrade("east").Spec.Decommission; d != nil || w.upgrade("east").Spec.Version != "1.31" {
		t.Errorf("the request is not withdrawn: %+v", d)
	}
	for _, c := range []string{"east", "west"} {
		w.agent(c, v1alpha1.ConditionDecommissioned)
	}
	if u = w.pass(); !finished(u) || u.Status.Wave != "" {
		t.Errorf("%+v", u.Status)
	}
}

func TestAPauseReachesWhatWasStartedAndIsTakenBack(t *testing.T) {
	w := newWorld(t, hub.MeshUpgradeSpec{Rollout: &hub.RolloutTemplate{}}, "east", "west")
	w.pass()
	w.agent("east", upTo4()[:2]...)
	w.pass()
	w.edit(func(s *hub.MeshUpgradeSpec) { s.Paused = true })
	w.pass()
	if !w.upgrade("east").Spec.Paused || !w.rollout("east").Spec.Paused {
		t.Error("what was started is not paused")
	}
	w.edit(func(s *hub.MeshUpgradeSpec) { s.Paused = false })
	w.pass()
	if w.upgrade("east").Spec.Paused || w.rollout("east").Spec.Paused {
		t.Error("what was paused is not resumed")
	}
}

func TestARefusalOfAClusterIsItsMessageAndTriedAgain(t *testing.T) {
	w := newWorld(t, hub.MeshUpgradeSpec{}, "east", "west")
	w.refuse["east"] = apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("clusterupgrades").GroupResource(), "up", errors.New("Kubernetes is too old"))
	u := w.pass()
	if p := u.Status.Clusters[0]; !p.Failed || !strings.Contains(p.Message, "too old") || w.upgrade("west") != nil {
		t.Errorf("%+v", p)
	}
	w.refuse["east"] = nil
	if u = w.pass(); u.Status.Clusters[0].Failed || w.upgrade("east") == nil {
		t.Errorf("%+v", u.Status.Clusters[0])
	}
}

func TestAnUpgradeThatSomebodyStartedInAClusterIsFollowedAndNotMadeAgain(t *testing.T) {
	w := newWorld(t, hub.MeshUpgradeSpec{Paused: true}, "east")
	own := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31.0"}}
	if err := w.members["east"].Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if w.upgrade("east") != nil {
		t.Error("a second upgrade is made")
	}
	if err := w.members["east"].Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil || own.Spec.Paused {
		t.Errorf("an upgrade of somebody else is paused: %+v, %v", own.Spec, err)
	}
}

func TestAnUpgradeOfAMeshThatIsNotThereSaysSo(t *testing.T) {
	w := newWorld(t, hub.MeshUpgradeSpec{}, "east")
	if err := w.hub.Delete(t.Context(), &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}); err != nil {
		t.Fatal(err)
	}
	u := w.pass()
	if c := meta.FindStatusCondition(u.Status.Conditions, hub.ConditionAccepted); c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, `no mesh "prod"`) || w.upgrade("east") != nil {
		t.Errorf("%+v", c)
	}
}
