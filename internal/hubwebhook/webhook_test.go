package hubwebhook

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

func member(name, mesh string, versions ...string) *hub.MemberCluster {
	mc := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: mesh}}
	for _, v := range versions {
		mc.Status.Revisions = append(mc.Status.Revisions, hub.RevisionSummary{RevisionRef: v1alpha1.RevisionRef{Revision: "r" + v, Version: v}, UpgradeTo: []string{"1.31"}})
	}
	return mc
}

func mesh(name string) *hub.Mesh { return &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// options has the mesh "old", where an istiod of west is behind, and the mesh "new".
func options(t *testing.T, more ...client.Object) (Options, *events.FakeRecorder) {
	t.Helper()
	s := runtime.NewScheme()
	if err := hub.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	recorder := events.NewFakeRecorder(10)
	objects := append([]client.Object{mesh("old"), mesh("new"), member("east", "old", "1.31.0"), member("west", "old", "1.30.0"), member("north", "new", "1.31.0")}, more...)
	return Options{
		Client:   fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&hub.Mesh{}).Build(),
		Recorder: recorder, Clock: clock.RealClock{},
	}, recorder
}

func because[T client.Object](o T, reason string) T {
	o.SetAnnotations(map[string]string{hub.BreakGlassAnnotation: reason})
	return o
}

func logging(m *hub.Mesh, level string) *hub.Mesh {
	m.Spec.Sidecars = &v1alpha1.SidecarConfiguration{SidecarSettings: v1alpha1.SidecarSettings{LogLevel: level}}
	return m
}

// expect compares the error with words that it must hold; none means that there is no error.
func expect(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if (err == nil) != (len(words) == 0) {
		t.Fatalf("%s: error %v, want one with %q", what, err, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: the refusal does not say %q: %v", what, w, err)
		}
	}
}

func TestClustersNeitherComeNorGoWhileAnOldIstiodExists(t *testing.T) {
	o, _ := options(t)
	v := memberValidator{&glass{o}}
	add := func(mc *hub.MemberCluster) error { _, err := v.ValidateCreate(t.Context(), mc); return err }
	update := func(a, b *hub.MemberCluster) error { _, err := v.ValidateUpdate(t.Context(), a, b); return err }
	remove := func(mc *hub.MemberCluster) error { _, err := v.ValidateDelete(t.Context(), mc); return err }
	frozen := "west: 1.30.0 (revision r1.30.0)"
	expect(t, "add to the old mesh", add(member("south", "old")), `cluster "south" cannot be added to mesh "old"`, frozen)
	expect(t, "add to the new mesh", add(member("south", "new")))
	expect(t, "add to none", add(member("south", "")))
	expect(t, "add to one that is not there", add(member("south", "nowhere")), `there is no mesh "nowhere"`)
	expect(t, "move out", update(member("east", "old"), member("east", "new")), `cluster "east" cannot be removed from mesh "old"`, frozen)
	expect(t, "move in", update(member("north", "new"), member("north", "old")), `cluster "north" cannot be added to mesh "old"`, frozen)
	expect(t, "move nowhere", update(member("east", "old"), member("east", "old")))
	expect(t, "leave the new mesh", update(member("north", "new"), member("north", "")))
	expect(t, "remove from the old mesh", remove(member("east", "old")), `cluster "east" cannot be removed`, frozen)
	expect(t, "remove from the new mesh", remove(member("north", "new")))
}

func TestSidecarsAreNotConfiguredWhileAnOldIstiodExists(t *testing.T) {
	o, _ := options(t)
	v := meshValidator{&glass{o}}
	update := func(a, b *hub.Mesh) error { _, err := v.ValidateUpdate(t.Context(), a, b); return err }
	expect(t, "the old mesh", update(mesh("old"), logging(mesh("old"), "info")), "the configuration of sidecars of mesh \"old\" cannot be changed", "west: 1.30.0")
	expect(t, "the new mesh", update(mesh("new"), logging(mesh("new"), "info")))
	expect(t, "no change", update(logging(mesh("old"), "info"), logging(mesh("old"), "info")))
	wrong := mesh("new")
	wrong.Spec.Sidecars = &v1alpha1.SidecarConfiguration{SidecarSettings: v1alpha1.SidecarSettings{TerminationDrainDuration: &metav1.Duration{Duration: -1}}}
	expect(t, "nonsense", update(mesh("new"), wrong), "terminationDrainDuration")
	_, err := v.ValidateDelete(t.Context(), mesh("old"))
	expect(t, "delete a mesh with clusters", err, `mesh "old" cannot be deleted while it has clusters (east, west)`)
	_, err = v.ValidateDelete(t.Context(), mesh("empty"))
	expect(t, "delete a mesh without clusters", err)
}

func TestAReasonOverridesOneRefusalAndIsRecorded(t *testing.T) {
	south := because(member("south", "old"), "the old cluster burned down")
	o, recorder := options(t, south.DeepCopy())
	ctx := admission.NewContextWithRequest(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UserInfo: authenticationv1.UserInfo{Username: "ann"}}})
	warnings, err := memberValidator{&glass{o}}.ValidateCreate(ctx, south)
	expect(t, "with a reason", err)
	if len(warnings) != 1 {
		t.Errorf("warnings %q", warnings)
	}
	if e := <-recorder.Events; !strings.Contains(e, "ann overrode a refusal") || !strings.Contains(e, "burned down") || !strings.Contains(e, hub.ReasonBrokenGlass) {
		t.Errorf("event %q", e)
	}
	m, mc := &hub.Mesh{}, &hub.MemberCluster{}
	if err := o.Client.Get(t.Context(), types.NamespacedName{Name: "old"}, m); err != nil || len(m.Status.History) != 1 {
		t.Errorf("%v: when the edit is let through the history is %+v", err, m.Status.History)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := o.Client.Get(ctx, types.NamespacedName{Name: "old"}, m); err != nil {
			return false, err
		}
		if err := o.Client.Get(ctx, types.NamespacedName{Name: "south"}, mc); err != nil {
			return false, err
		}
		return len(m.Status.History) == 1 && mc.Annotations[hub.BreakGlassAnnotation] == "", nil
	})
	if err != nil || !strings.Contains(m.Status.History[0].Message, "ann") {
		t.Errorf("%v: history %+v, annotations %v", err, m.Status.History, mc.Annotations)
	}
	v := meshValidator{&glass{o}}
	_, err = v.ValidateUpdate(ctx, because(mesh("old"), "again"), because(logging(mesh("old"), "info"), "again"))
	expect(t, "a reason that was given before", err, "cannot be changed")
	_, err = v.ValidateUpdate(ctx, because(mesh("old"), "again"), because(logging(mesh("old"), "info"), " "))
	expect(t, "a reason of nothing", err, "cannot be changed")
}

func TestTheHistoryOfAMeshThatIsEditedIsWrittenAfterTheEdit(t *testing.T) {
	o, _ := options(t)
	before := &hub.Mesh{}
	if err := o.Client.Get(t.Context(), types.NamespacedName{Name: "old"}, before); err != nil {
		t.Fatal(err)
	}
	after := because(logging(before.DeepCopy(), "info"), "the customer cannot wait")
	_, err := meshValidator{&glass{o}}.ValidateUpdate(t.Context(), before, after.DeepCopy())
	expect(t, "with a reason", err)
	time.Sleep(3 * recordEvery) // in which nothing may be written
	if err := o.Client.Update(t.Context(), after); err != nil {
		t.Fatalf("the edit that was let through: %v", err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		m := &hub.Mesh{}
		err := o.Client.Get(ctx, types.NamespacedName{Name: "old"}, m)
		return len(m.Status.History) == 1, err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestADryRunRecordsNothing(t *testing.T) {
	o, recorder := options(t)
	dry := true
	ctx := admission.NewContextWithRequest(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{DryRun: &dry}})
	_, err := memberValidator{&glass{o}}.ValidateCreate(ctx, because(member("south", "old"), "why not"))
	expect(t, "dry", err)
	if len(recorder.Events) != 0 {
		t.Error("an event of a dry run")
	}
}

func TestUpgradesOfMeshesAreSane(t *testing.T) {
	o, _ := options(t)
	v := upgradeValidator{o}
	up := func(mesh, version string, waves ...hub.ClusterWave) *hub.MeshUpgrade {
		return &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up"}, Spec: hub.MeshUpgradeSpec{Mesh: mesh, Version: version, Waves: waves}}
	}
	create := func(u *hub.MeshUpgrade) error { _, err := v.ValidateCreate(t.Context(), u); return err }
	update := func(a, b *hub.MeshUpgrade) error { _, err := v.ValidateUpdate(t.Context(), a, b); return err }
	expect(t, "a good one", create(up("old", "1.31")))
	expect(t, "no mesh", create(up("nowhere", "1.31")), `no mesh "nowhere"`)
	expect(t, "a cluster of another mesh", create(up("old", "1.31", hub.ClusterWave{Name: "a", Clusters: []string{"north"}})), `cluster "north" is not in mesh "old"`)
	expect(t, "a cluster twice", update(up("old", "1.31"), up("old", "1.31", hub.ClusterWave{Name: "a", Clusters: []string{"east"}}, hub.ClusterWave{Name: "b", Clusters: []string{"east"}})), "keep it in one")
	paused := up("old", "1.31")
	paused.Spec.Paused = true
	expect(t, "a pause", update(up("old", "1.31"), paused))
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	o, _ := options(t)
	o.Client = interceptor.NewClient(o.Client.(client.WithWatch), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("the API server is down")
		},
	})
	_, err := memberValidator{&glass{o}}.ValidateCreate(t.Context(), because(member("south", "new"), "please"))
	expect(t, "a cluster", err, "refused, because the list of clusters cannot be read now")
	_, err = meshValidator{&glass{o}}.ValidateUpdate(t.Context(), mesh("new"), logging(mesh("new"), "info"))
	expect(t, "a mesh", err, "cannot be read now")
}
