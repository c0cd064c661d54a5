package restart

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

var cart = mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}

func TestAPatchHoldsExactlyWhatTheMoveNeedsOfThePodTemplate(t *testing.T) {
	for name, c := range map[string]struct {
		action      rollout.Action
		labels      map[string]any
		annotations map[string]any
	}{
		"a first move": {
			rollout.Action{Ref: cart, Target: "1-31", Label: true, Record: mesh.Move{Attempt: 1}},
			map[string]any{v1alpha1.RevisionLabel: "1-31"},
			map[string]any{},
		},
		"a retry changes the template, or nothing would restart": {
			rollout.Action{Ref: cart, Target: "1-31", Label: true, Record: mesh.Move{Attempt: 2}},
			map[string]any{v1alpha1.RevisionLabel: "1-31"},
			map[string]any{v1alpha1.AttemptAnnotation: "2"},
		},
		"a pinned gateway moves its pin along": {
			rollout.Action{Ref: cart, Target: "1-31", Label: true, Pin: "1-31", Record: mesh.Move{Attempt: 1}},
			map[string]any{v1alpha1.RevisionLabel: "1-31", mesh.LabelRev: "1-31"},
			map[string]any{},
		},
		"a move back leaves the template as it was": {
			rollout.Action{Ref: cart, Target: "1-30", Record: mesh.Move{Attempt: 3}},
			map[string]any{},
			map[string]any{},
		},
		"a move back puts the pin back": {
			rollout.Action{Ref: cart, Target: "1-30", Pin: "1-30"},
			map[string]any{mesh.LabelRev: "1-30"},
			map[string]any{},
		},
	} {
		k, _ := kindOf(c.action.Ref.Kind)
		u := templatePatch(k, c.action)
		labels, _, _ := unstructured.NestedMap(u.Object, "spec", "template", "metadata", "labels")
		annotations, _, _ := unstructured.NestedMap(u.Object, "spec", "template", "metadata", "annotations")
		if diff := cmp.Diff(c.labels, labels) + cmp.Diff(c.annotations, annotations); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if u.GetAnnotations()[v1alpha1.MoveAnnotation] == "" {
			t.Errorf("%s: the move is not recorded", name)
		}
	}
}

func TestNoClaimIsMadeForAWorkloadThatWasNotReverted(t *testing.T) {
	k, _ := kindOf(cart.Kind)
	moved := k.empty()
	k.template(moved).Labels = map[string]string{v1alpha1.RevisionLabel: "1-31"}
	writesNothing := claimed{templated{&Mover{}, k}}
	err := writesNothing.Begin(t.Context(), moved, rollout.Action{Ref: cart, Method: rollout.ByClaim, Target: "1-31", Label: true, Reverted: true})
	var blocked *Blocked
	if !errors.As(err, &blocked) {
		t.Errorf("%v, want that nothing is done", err)
	}
}

func TestTheRehearsedPodHasTheLabelsOfTheMovedOne(t *testing.T) {
	before := map[string]string{"app": "cart", v1alpha1.RevisionLabel: "1-29", mesh.LabelRev: "1-30"}
	got := movedLabels(before, rollout.Action{Target: "1-31", Label: true, Pin: "1-31"})
	if diff := cmp.Diff(map[string]string{"app": "cart", v1alpha1.RevisionLabel: "1-31", mesh.LabelRev: "1-31"}, got); diff != "" {
		t.Error(diff)
	}
	back := movedLabels(got, rollout.Action{Target: "1-30", Pin: "1-30"})
	if diff := cmp.Diff(map[string]string{"app": "cart", mesh.LabelRev: "1-30"}, back); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyAnswersThatWillNotChangeByThemselvesAreRefusals(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, c := range map[string]struct {
		err     error
		refusal bool
	}{
		"a quota or a policy":     {apierrors.NewForbidden(pods, "p", errors.New("exceeded quota")), true},
		"an invalid object":       {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "p", nil), true},
		"istiod does not answer":  {apierrors.NewInternalError(errors.New("failed calling webhook")), false},
		"the API server is busy":  {apierrors.NewTooManyRequests("later", 1), false},
		"somebody else was first": {apierrors.NewConflict(pods, "p", errors.New("modified")), false},
		"it is gone":              {apierrors.NewNotFound(pods, "p"), false},
		"the network":             {errors.New("connection reset"), false},
	} {
		if got := terminal(c.err); got != c.refusal {
			t.Errorf("%s: refusal is %v", name, got)
		}
	}
}
