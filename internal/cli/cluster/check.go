package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/exit"
)

// reachLimit is how long the cluster may take to answer at first.
const reachLimit = 15 * time.Second

// may are what registering needs in the cluster. The bindings give the hub rights, so the user has to have them all.
func may() []authorizationv1.ResourceAttributes {
	return []authorizationv1.ResourceAttributes{
		{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Verb: "create"},
		{Resource: "namespaces", Verb: "create"},
		{Resource: "secrets", Verb: "create"},
		{Resource: "serviceaccounts", Verb: "create"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "create"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings", Verb: "create"},
		{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "create"},
		{Group: "*", Resource: "*", Verb: "*"},
	}
}

// reach asks the cluster whether it answers, and whether the user may do there what is to be done.
func reach(ctx context.Context, c client.Client, name, file string, components bool) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	var missing []string
	for _, a := range may() {
		if a.Verb == "*" && !components {
			continue
		}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
		if err := c.Create(ctx, review); err != nil {
			return fmt.Errorf("cluster %q cannot be reached with %s: %w", name, file, err)
		}
		if review.Status.Allowed {
			continue
		}
		right := a.Verb + " " + a.Resource
		if a.Verb == "*" {
			right = "everything, for the upgrade of components (not needed with --components=false)"
		}
		missing = append(missing, right)
	}
	if len(missing) > 0 {
		return exit.Refusedf("the user of %s may not do in cluster %q what registering needs (%s): use the kubeconfig of its administrator", file, name, strings.Join(missing, ", "))
	}
	return nil
}

// notAnother refuses a cluster that is known to a hub under another name.
func notAnother(ctx context.Context, c client.Client, name, address string, clusters []hub.MemberCluster) error {
	for _, m := range clusters {
		switch same := m.Status.Connection.Server == address; {
		case m.Name != name && same:
			return exit.Refusedf("the cluster at %s is registered already, as %q: a cluster has one name in a hub", address, m.Name)
		case m.Name == name && !m.DeletionTimestamp.IsZero():
			return exit.Refusedf("cluster %q is being removed: wait until it is gone", name)
		}
	}
	cp := &v1alpha1.ControlPlane{}
	err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return nil
	case err != nil:
		return fmt.Errorf("read the ControlPlane of cluster %q: %w", name, err)
	case cp.Spec.Hub != nil && cp.Spec.Hub.Cluster != name:
		return exit.Refusedf("this cluster is registered with a hub already, as %q of mesh %q: remove it there, or take spec.hub out of its ControlPlane %q when that hub is gone",
			cp.Spec.Hub.Cluster, cp.Spec.Hub.Mesh, cp.Name)
	}
	return nil
}
