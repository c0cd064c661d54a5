package observe

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// readClaims reads what is moved at admission. There is nothing where the CRD is not installed.
func (o *Observer) readClaims(ctx context.Context) ([]v1alpha1.AdmissionClaims, error) {
	claims := &v1alpha1.AdmissionClaimsList{}
	if err := o.reader.List(ctx, claims, client.UnsafeDisableDeepCopy); err != nil && !missing(err) {
		return nil, fmt.Errorf("list admission claims: %w", err)
	}
	return claims.Items, nil
}

// Server tells what no watch brings: the version of the API server, and which kinds it serves.
type Server interface {
	discovery.ServerVersionInterface
	ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error)
}

// claimable asks whether the API server can choose the revision of a pod at admission: whether it serves
// MutatingAdmissionPolicies in the version that package routing writes, which is stable from Kubernetes 1.36 on
// (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
func claimable(s Server) (bool, error) {
	list, err := s.ServerResourcesForGroupVersion(admissionv1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == "MutatingAdmissionPolicy" }), nil
}

// claimed gives every claimed workload its claim. The claim holds the record of the move: whoever reverts pod templates
// may take an annotation away as well.
func claimed(workloads []mesh.Workload, claims []v1alpha1.AdmissionClaims) {
	for n := range workloads {
		for m := range claims {
			c, ok := claims[m].Spec.Workloads[mesh.ClaimKey(workloads[n].Ref)]
			if !ok {
				continue
			}
			workloads[n].Claim = &mesh.Claim{Revision: c.Revision, Why: c.Why}
			workloads[n].Move = &mesh.Move{To: c.To, From: c.From, Started: c.Started.UTC().Truncate(time.Second), Attempt: c.Attempt, Rollout: c.Rollout}
		}
	}
}
