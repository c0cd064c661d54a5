package gate

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// RolloutInput is what the start of a rollout depends on.
type RolloutInput struct {
	// Rollout that wants to start.
	Rollout *v1alpha1.DataPlaneRollout
	// Upgrade that it belongs to; nil when there is none of that name.
	Upgrade *v1alpha1.ClusterUpgrade
	// Others are the rollouts of the cluster; Rollout itself among them does not matter.
	Others []v1alpha1.DataPlaneRollout
	// HasNamespace tells whether the cluster has a namespace.
	HasNamespace func(name string) bool
}

// StartRollout says whether a rollout may start.
func StartRollout(in RolloutInput) Verdict {
	return Chain[RolloutInput]{
		upgradeExists,       // there is something to move to
		upgradeNotFinished,  // and to move from
		backIsStillPossible, // the old istiod is not on its way out
		earlierStepsDone,    // steps 1 to 3, for a rollout forward
		noOtherRollout,      // one at a time
		targetsExist,        // what is named is there
		paceIsRight,         // waves, windows and freezes can be read
	}.Evaluate(in)
}

func upgradeExists(in RolloutInput) Verdict {
	if in.Upgrade == nil {
		return Block(v1alpha1.ReasonWaiting, "there is no ClusterUpgrade %q to roll out: start one with `meshlift upgrade start`", in.Rollout.Spec.Upgrade)
	}
	return Pass()
}

func upgradeNotFinished(in RolloutInput) Verdict {
	if Finished(in.Upgrade) {
		return Block(v1alpha1.ReasonDone, "ClusterUpgrade %q is finished and its old istiod is gone: there is nothing to move; start the next upgrade with `meshlift upgrade start`", in.Upgrade.Name)
	}
	return Pass()
}

func backIsStillPossible(in RolloutInput) Verdict {
	if in.Rollout.Spec.Direction == v1alpha1.Back && in.Upgrade.Spec.Decommission != nil {
		return Block(v1alpha1.ReasonInProgress, "the decommission of the old istiod of ClusterUpgrade %q was confirmed by %s, so there is no way back: finish it, then upgrade again",
			in.Upgrade.Name, in.Upgrade.Spec.Decommission.By)
	}
	return Pass()
}

// steps that come before the data planes, and what to do while one is not done.
func steps() []struct{ condition, name, todo string } {
	return []struct{ condition, name, todo string }{
		{v1alpha1.ConditionAccepted, "the upgrade is not accepted", "see `meshlift status`"},
		{v1alpha1.ConditionComponentsReady, "step 1 (non-Istio components) is not done", "see `meshlift status`"},
		{v1alpha1.ConditionControlPlaneReady, "step 2 (new istiod) is not done", "wait, or see `meshlift status`"},
		{v1alpha1.ConditionEnvoyFiltersHandled, "step 3 (EnvoyFilters) is not done", "acknowledge them with `meshlift envoyfilters ack`"},
	}
}

func earlierStepsDone(in RolloutInput) Verdict {
	if in.Rollout.Spec.Direction == v1alpha1.Back {
		return Pass() // back must work most of all when something is broken
	}
	for _, s := range steps() {
		c := meta.FindStatusCondition(in.Upgrade.Status.Conditions, s.condition)
		switch {
		case c == nil:
			return Wait(v1alpha1.ReasonWaiting, "data planes of ClusterUpgrade %q cannot move yet, %s: %s", in.Upgrade.Name, s.name, s.todo)
		case c.Status != metav1.ConditionTrue:
			return Wait(c.Reason, "data planes of ClusterUpgrade %q cannot move yet, %s (%s): %s", in.Upgrade.Name, s.name, c.Message, s.todo)
		}
	}
	return Pass()
}

func noOtherRollout(in RolloutInput) Verdict {
	for n := range in.Others {
		o := &in.Others[n]
		if o.Name == in.Rollout.Name || meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionComplete) || !rolloutCameFirst(o, in.Rollout) {
			continue
		}
		return Block(v1alpha1.ReasonInProgress, "DataPlaneRollout %q is not complete, and a cluster does one rollout at a time: wait for it, or stop it with `meshlift rollout stop`", o.Name)
	}
	return Pass()
}

// rolloutCameFirst orders rollouts so that of several exactly one goes on: one that has started, then the oldest. What
// is stored came before what is being created.
func rolloutCameFirst(o, r *v1alpha1.DataPlaneRollout) bool {
	if r.ResourceVersion == "" {
		return true
	}
	if oStarted, rStarted := o.Status.StartedAt != nil, r.Status.StartedAt != nil; oStarted != rStarted {
		return oStarted
	}
	if o.CreationTimestamp.Equal(&r.CreationTimestamp) {
		return o.Name < r.Name
	}
	return o.CreationTimestamp.Before(&r.CreationTimestamp)
}

// MovableKinds are the kinds that a target may name.
func MovableKinds() []string {
	return []string{mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet, mesh.KindCronJob, mesh.KindRollout, mesh.KindReplicaSet, mesh.KindPod, mesh.KindGateway}
}

func targetsExist(in RolloutInput) Verdict {
	for _, t := range in.Rollout.Spec.Targets {
		if !in.HasNamespace(t.Namespace) {
			return Block(v1alpha1.ReasonUserAction, "there is no namespace %q in this cluster: correct the targets of the rollout", t.Namespace)
		}
		if t.Kind != "" && !slices.Contains(MovableKinds(), t.Kind) {
			return Block(v1alpha1.ReasonUserAction, "a %s (%s/%s) cannot be moved by a rollout: name a %s", t.Kind, t.Namespace, t.Name, strings.Join(MovableKinds(), ", "))
		}
	}
	return Pass()
}
