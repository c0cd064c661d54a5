package routing

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
)

// Unclaim takes the claims and their policy away. From then on pods are injected as their namespace says.
func (r *Router) Unclaim(ctx context.Context, claims string) error {
	if !r.canClaim() {
		return nil
	}
	policy := metav1.ObjectMeta{Name: handover.ClaimPolicy}
	for _, o := range []client.Object{
		&v1alpha1.AdmissionClaims{ObjectMeta: metav1.ObjectMeta{Name: claims}},
		&admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: policy}, &admissionv1.MutatingAdmissionPolicy{ObjectMeta: policy},
	} {
		if err := client.IgnoreNotFound(r.Writer.Delete(ctx, o)); err != nil {
			return fmt.Errorf("delete %T %q: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// canClaim tells whether the API server has MutatingAdmissionPolicies. With a handover by object selectors there are no
// guards, so nothing is claimed either.
func (r *Router) canClaim() bool {
	if r.Mode == handover.ObjectSelectors {
		return false
	}
	_, err := r.Writer.RESTMapper().RESTMapping(schema.GroupKind{Group: admissionv1.GroupName, Kind: "MutatingAdmissionPolicy"}, "v1")
	return !meta.IsNoMatchError(err)
}
