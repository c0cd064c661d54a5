package mesh

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
)

// cluster is one cluster of the mesh as this pass sees it.
type cluster struct {
	fleet.Member
	registered *hub.MemberCluster
	// controlPlane of the cluster; nil when it could not be read.
	controlPlane *v1alpha1.ControlPlane
}

func members(clusters []cluster) []fleet.Member {
	out := make([]fleet.Member, 0, len(clusters))
	for _, c := range clusters {
		out = append(out, c.Member)
	}
	return out
}

// gather looks at all clusters of a mesh at the same time, live or by what watches brought. A cluster that cannot be looked at is
// unknown and holds nothing up.
func (r *Reconciler) gather(ctx context.Context, mesh string, live bool) ([]cluster, error) {
	list := &hub.MemberClusterList{}
	reader := client.Reader(r.Client)
	if live {
		reader = r.Live
	}
	if err := reader.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list the clusters: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(mc hub.MemberCluster) bool { return mc.Spec.Mesh != mesh })
	slices.SortFunc(list.Items, func(a, b hub.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]cluster, len(list.Items))
	var wait sync.WaitGroup
	for n := range list.Items {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			out[n] = r.look(ctx, &list.Items[n], live)
		})
	}
	wait.Wait()
	return out, nil
}

func (r *Reconciler) look(ctx context.Context, mc *hub.MemberCluster, live bool) cluster {
	out := cluster{Member: fleet.Registered(mc), registered: mc}
	var reader client.Reader
	var err error
	if live {
		reader, err = r.Members.Client(mc.Name)
	} else {
		reader, err = r.Members.Cached(mc.Name)
	}
	if err != nil {
		out.Member = fleet.Unknown(out.Member, err.Error())
		return out
	}
	cp := &v1alpha1.ControlPlane{}
	if err := reader.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, cp); err != nil {
		out.Member = fleet.Unknown(out.Member, fmt.Sprintf("its ControlPlane cannot be read: %v", err))
		return out
	}
	upgrades := &v1alpha1.ClusterUpgradeList{}
	if err := reader.List(ctx, upgrades); err != nil {
		out.Member = fleet.Unknown(out.Member, fmt.Sprintf("its upgrades cannot be read: %v", err))
		return out
	}
	out.controlPlane = cp
	seen := fleet.Observed(mc.Name, cp, upgrades.Items)
	if !out.Known { // not connected, or without an agent: what was read is what it was once
		seen = fleet.Unknown(seen, out.Problem)
	}
	out.Member = seen
	return out
}
