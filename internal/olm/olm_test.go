package olm

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"meshlift.dev/meshlift/internal/component"
)

func build(objects ...client.Object) client.Client {
	scheme := runtime.NewScheme()
	for _, kind := range []string{"Subscription", "InstallPlan", "ClusterServiceVersion"} {
		scheme.AddKnownTypeWithName(group.WithKind(kind), &unstructured.Unstructured{})
		scheme.AddKnownTypeWithName(group.WithKind(kind+"List"), &unstructured.UnstructuredList{})
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func made(kind, name string, content map[string]any) *unstructured.Unstructured {
	o := object(kind, "operators", name)
	for k, v := range content {
		o.Object[k] = v
	}
	return o
}

func plan(approved bool, names ...any) *unstructured.Unstructured {
	return made("InstallPlan", "p", map[string]any{
		"spec":   map[string]any{"approved": approved, "clusterServiceVersionNames": names},
		"status": map[string]any{"phase": "Failed", "conditions": []any{map[string]any{"status": "False", "message": "quota"}, map[string]any{"status": "True", "message": "fine"}}},
	})
}

func TestASubscriptionIsReadWithItsPlanAndWhatThatWouldInstall(t *testing.T) {
	c := build(
		made("Subscription", "jaeger", map[string]any{
			"spec":   map[string]any{"name": "jaeger", "channel": "stable", "installPlanApproval": "Manual"},
			"status": map[string]any{"installedCSV": "jaeger.v1", "currentCSV": "jaeger.v2", "installPlanRef": map[string]any{"name": "p"}},
		}),
		made("Subscription", "other", map[string]any{"spec": map[string]any{"name": "other"}}),
		made("ClusterServiceVersion", "jaeger.v1", nil),
		made("ClusterServiceVersion", "jaeger.v2", map[string]any{"status": map[string]any{"phase": "Failed", "message": "no"}}),
		plan(false, "jaeger.v2", "dependency.v3"),
	)
	got, err := Subscriptions(t.Context(), c, []string{"jaeger"})
	want := []component.Subscription{{
		Namespace: "operators", Name: "jaeger", Package: "jaeger", Channel: "stable", Manual: true, Installed: "jaeger.v1", Current: "jaeger.v2",
		CurrentPhase: "Failed", CurrentMessage: "no", Plan: &component.InstallPlan{Name: "p", Phase: "Failed", Message: "quota", New: []string{"dependency.v3"}},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestOnlyThePlanOfTheWantedVersionIsApproved(t *testing.T) {
	c := build(plan(false, "jaeger.v2"))
	if err := Approve(t.Context(), c, "operators", "p", "jaeger.v3"); !errors.Is(err, ErrOtherPlan) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := Approve(t.Context(), c, "operators", "p", "jaeger.v2"); err != nil {
			t.Fatal(err)
		}
	}
	p := object("InstallPlan", "operators", "p")
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	if approved, _, _ := unstructured.NestedBool(p.Object, "spec", "approved"); !approved {
		t.Error("it is not approved")
	}
}

func TestTheChannelChangesAndNothingElse(t *testing.T) {
	c := build(made("Subscription", "s", map[string]any{"spec": map[string]any{"name": "jaeger", "channel": "stable"}}))
	if err := SetChannel(t.Context(), c, "operators", "s", "next"); err != nil {
		t.Fatal(err)
	}
	s := object("Subscription", "operators", "s")
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil || text(s, "spec", "channel") != "next" || text(s, "spec", "name") != "jaeger" {
		t.Errorf("%v: %v", err, s.Object)
	}
}
