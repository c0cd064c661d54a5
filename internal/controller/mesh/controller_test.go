package mesh

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

// world is a hub with a mesh and members whose agents the test plays.
type world struct {
	t       *testing.T
	hub     client.WithWatch
	members map[string]client.WithWatch
	silent  map[string]bool
	writes  map[string]int
	clock   *clocktesting.FakeClock
	*Reconciler
}

func (w *world) Client(cluster string) (client.Client, error) {
	if w.silent[cluster] {
		return nil, errors.New("cluster " + cluster + " does not answer")
	}
	return w.members[cluster], nil
}

func (w *world) Cached(cluster string) (client.Reader, error) { return w.members[cluster], nil }

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, hub.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newWorld(t *testing.T, clusters ...string) *world {
	t.Helper()
	w := &world{t: t, members: map[string]client.WithWatch{}, silent: map[string]bool{}, writes: map[string]int{}, clock: clocktesting.NewFakeClock(now)}
	s := scheme(t)
	objects := []client.Object{&hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod", Generation: 1}}}
	for _, name := range clusters {
		mc := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: "prod"}}
		meta.SetStatusCondition(&mc.Status.Conditions, metav1.Condition{Type: hub.ConditionConnected, Status: metav1.ConditionTrue, Reason: "Done"})
		meta.SetStatusCondition(&mc.Status.Conditions, metav1.Condition{Type: hub.ConditionComponentsReady, Status: metav1.ConditionTrue, Reason: "Done"})
		objects = append(objects, mc)
		w.members[name] = w.member(s, name)
	}
	w.hub = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&hub.Mesh{}, &hub.MemberCluster{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				w.writes["hub"]++
				return c.SubResource(sub).Update(ctx, o, opts...)
			},
		}).Build()
	w.Reconciler = &Reconciler{Options: Options{Client: w.hub, Live: w.hub, Members: w, Recorder: events.NewFakeRecorder(1000), Clock: w.clock}}
	return w
}

// member is a cluster whose data planes have moved.
func (w *world) member(s *runtime.Scheme, name string) client.WithWatch {
	cp := &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1}}
	cp.Status.ObservedGeneration = 1
	cp.Status.Revisions = []v1alpha1.RevisionStatus{{Name: "1-30", Version: "1.30.0"}, {Name: "1-31", Version: "1.31.0", Sidecars: 3}}
	cu := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up", UID: types.UID("uid-" + name)}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"}}
	cu.Status.From, cu.Status.To = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	meta.SetStatusCondition(&cu.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDataPlanesMoved, Status: metav1.ConditionTrue, Reason: "Done"})
	return fake.NewClientBuilder().WithScheme(s).WithObjects(cp, cu).WithStatusSubresource(cp, cu).
		WithInterceptorFuncs(interceptor.Funcs{
			Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				w.writes[name]++
				return c.Apply(ctx, o, opts...)
			},
		}).Build()
}

func (w *world) pass() {
	w.t.Helper()
	if _, err := w.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "prod"}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mesh() *hub.Mesh {
	w.t.Helper()
	m := &hub.Mesh{}
	if err := w.hub.Get(w.t.Context(), types.NamespacedName{Name: "prod"}, m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) controlPlane(cluster string) *v1alpha1.ControlPlane {
	w.t.Helper()
	cp := &v1alpha1.ControlPlane{}
	if err := w.members[cluster].Get(w.t.Context(), types.NamespacedName{Name: "default"}, cp); err != nil {
		w.t.Fatal(err)
	}
	return cp
}

func (w *world) upgrade(cluster string, change func(*v1alpha1.ClusterUpgrade)) {
	w.t.Helper()
	cu := &v1alpha1.ClusterUpgrade{}
	if err := w.members[cluster].Get(w.t.Context(), types.NamespacedName{Name: "up"}, cu); err != nil {
		w.t.Fatal(err)
	}
	change(cu)
	status := cu.Status
	if err := w.members[cluster].Update(w.t.Context(), cu); err != nil {
		w.t.Fatal(err)
	}
	cu.Status = status
	if err := w.members[cluster].Status().Update(w.t.Context(), cu); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ask(cluster string, ago time.Duration) {
	w.upgrade(cluster, func(cu *v1alpha1.ClusterUpgrade) {
		cu.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "ann", At: metav1.NewTime(now.Add(-ago))}
	})
}

func moved(is metav1.ConditionStatus) func(*v1alpha1.ClusterUpgrade) {
	return func(cu *v1alpha1.ClusterUpgrade) {
		meta.SetStatusCondition(&cu.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDataPlanesMoved, Status: is, Reason: "x"})
	}
}

// permitted lists the clusters that are told that they may.
func (w *world) permitted() string {
	var out []string
	for _, name := range []string{"east", "west"} {
		if l := w.controlPlane(name).Spec.Hub; l != nil && l.Decommission != nil && l.Decommission.Pass {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func TestTheTurnIsWrittenDownAndThenTheClusterIsTold(t *testing.T) {
	w := newWorld(t, "east", "west")
	w.pass()
	if l := w.controlPlane("east").Spec.Hub; l == nil || l.Mesh != "prod" || l.Cluster != "east" || l.Components == nil || !l.Components.Pass || l.Decommission == nil || l.Decommission.Pass {
		t.Fatalf("east is told %+v", l)
	}
	w.ask("east", time.Minute)
	w.ask("west", time.Hour)
	w.pass()
	if m := w.mesh(); m.Status.Turn == nil || m.Status.Turn.Cluster != "west" || w.permitted() != "west" {
		t.Fatalf("turn %+v, permitted %q", m.Status.Turn, w.permitted())
	}
	before := [3]int{w.writes["hub"], w.writes["east"], w.writes["west"]}
	w.clock.Step(time.Hour)
	w.pass()
	w.pass()
	// One more write is that east is told now whom it waits for.
	if after := [3]int{w.writes["hub"], w.writes["east"], w.writes["west"]}; after[0] != before[0] || after[2] != before[2] || after[1] > before[1]+1 {
		t.Errorf("writes although nothing changed: %v, %v", before, after)
	}
	if l := w.controlPlane("east").Spec.Hub; l.Decommission.Reason != hub.ReasonOneAtATime || !strings.Contains(l.Decommission.Message, "cluster west is under way") {
		t.Errorf("east is told %+v", l.Decommission)
	}
	w.upgrade("west", func(cu *v1alpha1.ClusterUpgrade) {
		meta.SetStatusCondition(&cu.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDecommissioned, Status: metav1.ConditionTrue, Reason: "Done"})
	})
	w.pass()
	if m := w.mesh(); m.Status.Turn == nil || m.Status.Turn.Cluster != "east" || w.permitted() != "east" || len(m.Status.History) < 3 {
		t.Errorf("turn %+v, permitted %q, history %+v", m.Status.Turn, w.permitted(), m.Status.History)
	}
}

func TestThePermissionIsTakenBackWhenTheFactsChange(t *testing.T) {
	for name, change := range map[string]func(*world){
		"a cluster does not answer": func(w *world) { w.silent["west"] = true; w.disconnect("west") },
		"a data plane came back":    func(w *world) { w.upgrade("west", moved(metav1.ConditionFalse)) },
	} {
		w := newWorld(t, "east", "west")
		w.ask("east", 0)
		w.pass()
		if w.permitted() != "east" {
			t.Fatalf("%s: permitted %q", name, w.permitted())
		}
		change(w)
		w.clock.Step(time.Minute)
		w.pass()
		if w.permitted() != "" {
			t.Errorf("%s: still permitted", name)
		}
		if l := w.controlPlane("east").Spec.Hub; !strings.Contains(l.Decommission.Message, "west") {
			t.Errorf("%s: east is told %+v", name, l.Decommission)
		}
		if frozen := meta.FindStatusCondition(w.mesh().Status.Conditions, hub.ConditionFrozen); frozen == nil || frozen.Status != metav1.ConditionTrue || !strings.Contains(frozen.Message, "east: 1.30.0") {
			t.Errorf("%s: %+v", name, frozen)
		}
	}
}

func (w *world) disconnect(cluster string) {
	w.t.Helper()
	mc := &hub.MemberCluster{}
	if err := w.hub.Get(w.t.Context(), types.NamespacedName{Name: cluster}, mc); err != nil {
		w.t.Fatal(err)
	}
	meta.SetStatusCondition(&mc.Status.Conditions, metav1.Condition{Type: hub.ConditionConnected, Status: metav1.ConditionFalse, Reason: "x", Message: "connection refused"})
	if err := w.hub.Status().Update(w.t.Context(), mc); err != nil {
		w.t.Fatal(err)
	}
}

func TestAHubThatWasOvertakenTellsNobodyAnything(t *testing.T) {
	w := newWorld(t, "east", "west")
	w.pass()
	w.ask("east", 0)
	stale := w.mesh()
	other := w.mesh() // the other hub gives the turn to west
	other.Status.Turn = &hub.Turn{Cluster: "west", UID: "uid-west", Upgrade: "up"}
	if err := w.hub.Status().Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.Live = overtaken{w.hub, stale}
	if _, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "prod"}}); err != nil {
		t.Fatal(err)
	}
	if w.permitted() != "" || w.mesh().Status.Turn.Cluster != "west" {
		t.Errorf("permitted %q, turn %+v", w.permitted(), w.mesh().Status.Turn)
	}
}

// overtaken reads an old Mesh.
type overtaken struct {
	client.Reader
	mesh *hub.Mesh
}

func (o overtaken) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if m, ok := obj.(*hub.Mesh); ok {
		o.mesh.DeepCopyInto(m)
		return nil
	}
	return o.Reader.Get(ctx, key, obj, opts...)
}

func TestTheConfigurationOfSidecarsIsTheHubsAndGoesAsItCame(t *testing.T) {
	w := newWorld(t, "east")
	m := w.mesh()
	m.Spec.Sidecars = &v1alpha1.SidecarConfiguration{SidecarSettings: v1alpha1.SidecarSettings{LogLevel: "info"}}
	if err := w.hub.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if cp := w.controlPlane("east"); cp.Spec.Sidecars == nil || cp.Spec.Sidecars.LogLevel != "info" || cp.Spec.Hub == nil {
		t.Fatalf("%+v", cp.Spec)
	}
	n := w.writes["east"]
	w.pass()
	if w.writes["east"] != n {
		t.Error("a write although nothing changed")
	}
	if c := meta.FindStatusCondition(w.mesh().Status.Conditions, hub.ConditionSidecarsConfigured); c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "east") {
		t.Errorf("%+v", c)
	}
	m = w.mesh()
	m.Spec.Sidecars = nil
	if err := w.hub.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if cp := w.controlPlane("east"); cp.Spec.Sidecars != nil || cp.Spec.Hub == nil {
		t.Errorf("%+v", cp.Spec)
	}
}

func TestAClusterThatLeftItsMeshIsAMeshOfItsOwn(t *testing.T) {
	w := newWorld(t, "east")
	w.pass()
	mc := &hub.MemberCluster{}
	if err := w.hub.Get(t.Context(), types.NamespacedName{Name: "east"}, mc); err != nil {
		t.Fatal(err)
	}
	mc.Spec.Mesh = ""
	if err := w.hub.Update(t.Context(), mc); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reconcile(t.Context(), reconcile.Request{}); err != nil {
		t.Fatal(err)
	}
	if l := w.controlPlane("east").Spec.Hub; l != nil {
		t.Errorf("it still hears %+v", l)
	}
}

func TestAConflictIsNoError(t *testing.T) {
	w := newWorld(t, "east")
	w.Reconciler.Client = interceptor.NewClient(w.hub, interceptor.Funcs{
		SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
			return apierrors.NewConflict(hub.GroupVersion.WithResource("meshes").GroupResource(), "prod", errors.New("somebody was faster"))
		},
	})
	result, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "prod"}})
	if err != nil || result.RequeueAfter == 0 || w.controlPlane("east").Spec.Hub != nil {
		t.Errorf("%+v, %v", result, err)
	}
}
