package clusterupgrade

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// proofAge is how long the new istiod counts as verified while nothing that its readiness depends on changes. Each move
// is rehearsed besides.
const proofAge = 10 * time.Minute

// proof is the last verification of a new istiod that ended well. It may be lost at any moment.
type proof struct {
	// of are the versions of everything that was there when the verification began.
	of string
	at time.Time
}

// final tells whether steps are under way that take something away: what they are decided by is read from the API server.
func final(cu *v1alpha1.ClusterUpgrade) bool {
	return cu.Spec.Decommission != nil || cu.Status.Decommission != nil
}

// verify is Verify of the lifecycle, which asks the API server five times and the istiod once. What was verified is not asked again
// before its Deployment, its Service or a webhook configuration changes, and the watches of these have the upgrade looked at.
func (r *Reconciler) verify(ctx context.Context, cu *v1alpha1.ClusterUpgrade, to mesh.Revision) (ready bool, message string, err error) {
	of, err := r.versions(ctx, to)
	if err != nil {
		return false, "", err
	}
	if !final(cu) && r.proof.of == of && time.Since(r.proof.at) < proofAge {
		return true, "", nil
	}
	began := time.Now()
	ready, message, err = r.Lifecycle.Verify(ctx, to)
	r.proof = proof{}
	if ready && err == nil {
		r.proof = proof{of: of, at: began}
	}
	return ready, message, err
}

// versions of what the readiness of an istiod depends on, from the caches. They are read before the verification, so a change
// in between makes another one.
func (r *Reconciler) versions(ctx context.Context, to mesh.Revision) (string, error) {
	name := types.NamespacedName{Namespace: r.Router.Namespace, Name: to.Deployment}
	var out strings.Builder
	for _, o := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}} {
		if err := r.Client.Get(ctx, name, o); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("read %T %s: %w", o, name, err)
		}
		fmt.Fprintf(&out, "%s %s\n", o.GetUID(), o.GetResourceVersion())
	}
	list := &admissionv1.MutatingWebhookConfigurationList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("list mutating webhook configurations: %w", err)
	}
	versions := make([]string, 0, len(list.Items))
	for n := range list.Items {
		versions = append(versions, fmt.Sprintf("%s %s\n", list.Items[n].UID, list.Items[n].ResourceVersion))
	}
	slices.Sort(versions) // a cache lists in any order
	return to.Name + " " + out.String() + strings.Join(versions, ""), nil
}
