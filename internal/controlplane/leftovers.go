package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
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
	leases := &coordinationv1.LeaseList{}
	if err := s.o.Live.List(ctx, leases, client.InNamespace(s.o.Namespace)); err != nil {
		return fail(fmt.Errorf("list Leases: %w", err))
	}
	for i := range leases.Items {
		lease := &leases.Items[i]
		election, own := strings.CutSuffix(lease.Name, "-"+revision)
		if !own || !slices.Contains(elections(), election) {
			continue
		}
		if err := s.o.Client.Delete(ctx, lease); client.IgnoreNotFound(err) != nil {
			return fail(fmt.Errorf("delete Lease %q: %w", lease.Name, err))
		}
	}
	kinds := append(pruned(), kind{istioOperator, true})
	if revision != mesh.DefaultRevision { // as a label of these it is the tag default, and not the revision
		kinds = append(kinds, kind{schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, false},
			kind{schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"}, false})
	}
	for _, k := range kinds {
		var selector []client.ListOption
		if k.GroupVersionKind != istioOperator {
			selector = append(selector, client.MatchingLabels{mesh.LabelRev: revision})
		}
		objects, err := s.list(ctx, k, selector...)
		if err != nil {
			return fail(err)
		}
		for _, o := range objects {
			if k.GroupVersionKind == istioOperator && o.Name != object("installed-state", revision) || o.DeletionTimestamp != nil || o.Name == readerAccount {
				continue
			}
			remaining = append(remaining, k.Kind+" "+strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"))
		}
	}
	slices.Sort(remaining)
	return remaining, nil
}
