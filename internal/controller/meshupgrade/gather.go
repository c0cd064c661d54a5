package meshupgrade

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/version"
)

// UpgradeLabel on ClusterUpgrades and DataPlaneRollouts of members names the MeshUpgrade that made them.
const UpgradeLabel = "hub.meshlift.dev/mesh-upgrade"

// cluster is one cluster of the mesh as this pass sees it.
type cluster struct {
	fleet.Observation
	// tracked is the ClusterUpgrade behind the observation; nil when there is none.
	tracked *v1alpha1.ClusterUpgrade
	// rollouts of it.
	rollouts []v1alpha1.DataPlaneRollout
}

func observations(clusters []cluster) map[string]fleet.Observation {
	out := map[string]fleet.Observation{}
	for _, c := range clusters {
		out[c.Name] = c.Observation
	}
	return out
}

// gather looks at all clusters of the mesh by what watches brought.
func (r *Reconciler) gather(ctx context.Context, u *hub.MeshUpgrade) ([]cluster, error) {
	list := &hub.MemberClusterList{}
	if err := r.Client.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list the clusters: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(mc hub.MemberCluster) bool { return mc.Spec.Mesh != u.Spec.Mesh })
	slices.SortFunc(list.Items, func(a, b hub.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]cluster, len(list.Items))
	var wait sync.WaitGroup
	for n := range list.Items {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			out[n] = r.look(ctx, &list.Items[n], u)
		})
	}
	wait.Wait()
	return out, nil
}

func (r *Reconciler) look(ctx context.Context, mc *hub.MemberCluster, u *hub.MeshUpgrade) cluster {
	out := cluster{Observation: fleet.Observation{Member: fleet.Registered(mc)}}
	unknown := func(problem string) cluster {
		out.Member = fleet.Unknown(out.Member, problem)
		return out
	}
	if !out.Known {
		return out
	}
	reader, err := r.Members.Cached(mc.Name)
	if err != nil {
		out.Member = fleet.NotYet(out.Member, err.Error()) // it is connected
		return out
	}
	cp, upgrades, rollouts := &v1alpha1.ControlPlane{}, &v1alpha1.ClusterUpgradeList{}, &v1alpha1.DataPlaneRolloutList{}
	if err := reader.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, cp); err != nil {
		return unknown(fmt.Sprintf("its ControlPlane cannot be read: %v", err))
	}
	if err := reader.List(ctx, upgrades); err != nil {
		return unknown(fmt.Sprintf("its upgrades cannot be read: %v", err))
	}
	if err := reader.List(ctx, rollouts); err != nil {
		return unknown(fmt.Sprintf("its rollouts cannot be read: %v", err))
	}
	out.Member = fleet.Observed(mc.Name, cp, upgrades.Items)
	return track(out, u, upgrades.Items, rollouts.Items)
}

// track finds the ClusterUpgrade that brings the cluster to the version: the one that this MeshUpgrade made, else one that somebody
// started there to the same minor version.
func track(c cluster, u *hub.MeshUpgrade, upgrades []v1alpha1.ClusterUpgrade, rollouts []v1alpha1.DataPlaneRollout) cluster {
	for n := range upgrades {
		cu := &upgrades[n]
		over := meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionDecommissioned)
		switch {
		case cu.Name == u.Name && !sameMinor(cu.Spec.Version, u.Spec.Version):
			c.Member = fleet.Unknown(c.Member, fmt.Sprintf("ClusterUpgrade %q to Istio %s is there already: delete it, or give the upgrade of the mesh another name", cu.Name, cu.Spec.Version))
			return c
		case cu.Name == u.Name, c.tracked == nil && !over && sameMinor(cu.Spec.Version, u.Spec.Version):
			c.tracked = cu
		}
	}
	if c.tracked == nil {
		return c
	}
	c.Tracked = fleet.Summary(c.tracked)
	for _, d := range rollouts {
		if d.Spec.Upgrade != c.tracked.Name {
			continue
		}
		c.rollouts = append(c.rollouts, d)
		healthy := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionHealthy)
		if healthy != nil && healthy.Status == "False" && !d.Spec.Stopped {
			c.RolloutProblem = fmt.Sprintf("rollout %s: %s", d.Name, healthy.Message)
		}
	}
	return c
}

func sameMinor(a, b string) bool {
	va, errA := version.ParseMinor(a)
	vb, errB := version.ParseMinor(b)
	return errA == nil && errB == nil && va == vb
}
