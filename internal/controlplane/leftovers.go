package controlplane

import (
	"context"
	"fmt"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
)

// elections are the names of Istio's leader elections (pilot/pkg/leaderelection/leaderelection.go of Istio). Those that a
// revision holds for itself have its name appended; the others are shared and stay.
func elections() []string {
	return []string{
		"istio-gateway-deployment", "istio-gateway-status-leader", "istio-gateway-inferencepool", "istio-leader", "istio-status-leader",
		"istio-analyze-leader", "istio-namespace-controller-election", "istio-clustertrustbundle-controller-election",
		"istio-serviceexport-controller-election", "istio-node-untaint", "istio-ip-autoallocate",
	}
}

// Leftovers removes what a revision leaves behind and nothing else names: the Leases of its own leader elections. It
// returns what else still names the revision, as "Kind namespace/name", for a person to look at.
func (s *Service) Leftovers(ctx context.Context, revision string) (remaining []string, err error) {
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("clean up after istiod %s: %w", revision, err)
	}
	for _, election := range elections() {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.o.Namespace, Name: election + "-" + revision}}
		if err := s.o.Client.Delete(ctx, lease); client.IgnoreNotFound(err) != nil {
			return fail(fmt.Errorf("delete Lease %q: %w", lease.Name, err))
		}
	}
	kinds := append(pruned(), schema.GroupVersionKind{Group: "install.istio.io", Version: "v1alpha1", Kind: "IstioOperator"})
	if revision != mesh.DefaultRevision { // as a label of these it is the tag default, and not the revision
		kinds = append(kinds, schema.GroupVersionKind{Version: "v1", Kind: "Namespace"},
			schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"})
	}
	for _, kind := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		selector := []client.ListOption{client.MatchingLabels{mesh.LabelRev: revision}}
		if kind.Kind != "Namespace" && kind.Kind != "Gateway" {
			selector = append(selector, s.within(kind))
		}
		if kind.Kind == "IstioOperator" {
			selector = []client.ListOption{client.InNamespace(s.o.Namespace)}
		}
		err := s.o.Live.List(ctx, list, selector...)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fail(fmt.Errorf("list %s: %w", kind.Kind, err))
		}
		for _, o := range list.Items {
			if kind.Kind == "IstioOperator" && o.Name != object("installed-state", revision) || o.DeletionTimestamp != nil || o.Name == readerAccount {
				continue
			}
			name := o.Name
			if o.Namespace != "" {
				name = o.Namespace + "/" + name
			}
			remaining = append(remaining, kind.Kind+" "+name)
		}
	}
	slices.Sort(remaining)
	return remaining, nil
}
