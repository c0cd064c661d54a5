package member

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/retry"
)

// Keeper makes a link for every MemberCluster, with the kubeconfig of its Secret. It writes nothing.
type Keeper struct {
	// Client reads MemberClusters and the Secrets of Namespace from caches.
	Client client.Reader
	// Namespace of the hub.
	Namespace string
	Links     *Links
}

// Reconcile makes the link of one cluster as its objects say.
func (k *Keeper) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	m := &hub.MemberCluster{}
	if err := k.Client.Get(ctx, req.NamespacedName, m); apierrors.IsNotFound(err) {
		k.Links.Drop(req.Name)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read MemberCluster %q: %w", req.Name, err)
	}
	t := Target{RequestsPerSecond: m.Spec.RequestsPerSecond}
	if t.RequestsPerSecond == 0 {
		t.RequestsPerSecond = 20
	}
	secret := &corev1.Secret{}
	err := k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: m.Spec.KubeconfigSecret}, secret)
	switch {
	case apierrors.IsNotFound(err):
		t.Problem = fmt.Sprintf("Secret %s/%s with the kubeconfig of cluster %q does not exist: make it with `meshlift cluster rotate %s`", k.Namespace, m.Spec.KubeconfigSecret, m.Name, m.Name)
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("read Secret %q: %w", m.Spec.KubeconfigSecret, err)
	case len(secret.Data[KubeconfigKey]) == 0:
		t.Problem = fmt.Sprintf("Secret %s/%s of cluster %q has no key %q", k.Namespace, m.Spec.KubeconfigSecret, m.Name, KubeconfigKey)
	default:
		t.Kubeconfig = secret.Data[KubeconfigKey]
	}
	k.Links.Set(req.Name, t)
	return reconcile.Result{}, nil
}

// SetupWithManager registers the keeper, which runs in every replica of the hub.
func (k *Keeper) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(k.Links); err != nil {
		return fmt.Errorf("add the links: %w", err)
	}
	options := retry.Options(4)
	options.NeedLeaderElection = ptr.To(false)
	return ctrl.NewControllerManagedBy(mgr).Named("links").For(&hub.MemberCluster{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(k.ofSecret)).
		WithOptions(options).
		Complete(k)
}

// ofSecret are the clusters whose kubeconfig is in a Secret.
func (k *Keeper) ofSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	if secret.GetNamespace() != k.Namespace {
		return nil
	}
	var all hub.MemberClusterList
	if err := k.Client.List(ctx, &all); err != nil {
		return nil // the cache is not there yet; every MemberCluster comes by itself then
	}
	var out []reconcile.Request
	for _, m := range all.Items {
		if m.Spec.KubeconfigSecret == secret.GetName() {
			out = append(out, Request(ctx, m.Name)...)
		}
	}
	return out
}
