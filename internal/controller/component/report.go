package component

import (
	"context"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/status"
)

// FieldManager owns what this controller writes: others write the rest of the same status.
const FieldManager = "meshlift-hub-components"

// condition is the answer of step 1.
func condition(mc *hub.MemberCluster, rows []hub.ComponentStatus) metav1.Condition {
	c := metav1.Condition{
		Type: hub.ConditionComponentsReady, Status: metav1.ConditionTrue, ObservedGeneration: mc.Generation, Reason: v1alpha1.ReasonDone,
		Message: "every component that is installed and comes before Istio has the version that is offered",
	}
	if v := component.Ready(mc.Name, rows); !v.Passed() {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v.Reason, status.Clip(v.Message, 32768)
		if v.Reason == v1alpha1.ReasonUnknownUse {
			c.Status = metav1.ConditionUnknown
		}
	}
	return c
}

// report applies the rows and the condition when they differ from what is there.
func (r *Reconciler) report(ctx context.Context, mc *hub.MemberCluster, rows []hub.ComponentStatus) error {
	want := condition(mc, rows)
	conditions := append([]metav1.Condition(nil), mc.Status.Conditions...)
	changed := meta.SetStatusCondition(&conditions, want)
	if !changed && apiequality.Semantic.DeepEqual(mc.Status.Components, rows) {
		return nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&hub.MemberClusterStatus{
		Components: rows, Conditions: []metav1.Condition{*meta.FindStatusCondition(conditions, want.Type)},
	})
	if err != nil {
		return fmt.Errorf("write the components of cluster %q: %w", mc.Name, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"components": content["components"], "conditions": content["conditions"]}}}
	object.SetGroupVersionKind(hub.GroupVersion.WithKind("MemberCluster"))
	object.SetName(mc.Name)
	object.SetUID(mc.UID)
	if err := r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("write the components of cluster %q: %w", mc.Name, err)
	}
	return nil
}
