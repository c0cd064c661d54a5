package observe

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/version"
)

// readClaims reads what is moved at admission. There is nothing where the CRD is not installed.
func (o *Observer) readClaims(ctx context.Context) ([]v1alpha1.AdmissionClaims, error) {
	claims := &v1alpha1.AdmissionClaimsList{}
	if err := o.reader.List(ctx, claims, client.UnsafeDisableDeepCopy); err != nil && !missing(err) {
		return nil, fmt.Errorf("list admission claims: %w", err)
	}
	return claims.Items, nil
}

// Mutating admission policies are stable, and always there, from Kubernetes 1.36 on
// (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
const claimableMajor, claimableMinor = 1, 36

// claimable tells whether an API server of the version can choose the revision of a pod at admission.
func claimable(kubernetes string) bool {
	v, err := version.ParseMinor(kubernetes)
	return err == nil && (v.Major > claimableMajor || v.Major == claimableMajor && v.Minor >= claimableMinor)
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
