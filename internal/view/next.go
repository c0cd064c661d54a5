package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// Next is one thing that somebody should do now.
type Next struct {
	// Why in a few words.
	Why string `json:"why"`
	// Command to type, exact.
	Command string `json:"command,omitempty"`
}

// NextSteps says what to do now. Program is how the command is called, for example "kubectl meshlift". The upgrade and
// the rollout are the running ones, or nil.
func NextSteps(program string, cp *v1alpha1.ControlPlane, u *v1alpha1.ClusterUpgrade, r *v1alpha1.DataPlaneRollout) []Next {
	if u != nil {
		return nextOfUpgrade(program, u, r)
	}
	if cp == nil {
		return []Next{{"the agent does not run in this cluster, or has not reported yet", program + " install"}}
	}
	var out []Next
	for _, rev := range cp.Status.Revisions {
		if n := len(rev.UpgradeTo); n > 0 && rev.Sidecars+rev.Gateways > 0 {
			to := rev.UpgradeTo[n-1]
			out = append(out, Next{"revision " + rev.Name + " can be upgraded to Istio " + to + "; see what would happen", program + " plan --to " + to + fromFlag(cp, rev.Name)})
		}
	}
	if len(out) == 0 {
		out = append(out, Next{Why: "nothing to do"})
	}
	return out
}

// fromFlag is needed only where it is not clear which revision is meant.
func fromFlag(cp *v1alpha1.ControlPlane, revision string) string {
	used := 0
	for _, r := range cp.Status.Revisions {
		if r.Sidecars+r.Gateways > 0 {
			used++
		}
	}
	if used < 2 {
		return ""
	}
	return " --from-revision " + revision
}

func nextOfUpgrade(program string, u *v1alpha1.ClusterUpgrade, r *v1alpha1.DataPlaneRollout) []Next {
	switch {
	case !u.DeletionTimestamp.IsZero():
		return []Next{{"the upgrade is being taken back; watch it", program + " status --watch"}}
	case u.Spec.Paused:
		return []Next{{"the upgrade is paused", program + " upgrade resume " + u.Name}}
	case Refused(u):
		return []Next{{"the upgrade was refused; take it away, and start one that is supported", program + " upgrade delete " + u.Name}}
	}
	step := FirstOpen(Steps(u))
	if step == nil {
		return []Next{{Why: "nothing to do"}}
	}
	switch step.Condition {
	case v1alpha1.ConditionComponentsReady:
		return []Next{{Why: "the components besides Istio come first: upgrade them from the hub"}}
	case v1alpha1.ConditionControlPlaneReady:
		if step.State == StepFailed {
			return []Next{
				{"the new istiod could not be installed; see the history", program + " upgrade show " + u.Name},
				{"or give up; nothing that runs was touched", program + " upgrade delete " + u.Name},
			}
		}
	case v1alpha1.ConditionEnvoyFiltersHandled:
		if step.State == StepAttention {
			return []Next{
				{"check each EnvoyFilter with its owner", program + " envoyfilters list"},
				{"and record it", program + " envoyfilters ack NAMESPACE/NAME --note \"...\""},
			}
		}
	case v1alpha1.ConditionDataPlanesMoved:
		return nextRollout(program, r)
	case v1alpha1.ConditionDecommissioned:
		if u.Spec.Decommission == nil {
			return []Next{{"everything has moved; remove the old istiod", program + " decommission"}}
		}
		if slices.Contains([]string{hub.ReasonBarrier, hub.ReasonNotConnected, hub.ReasonOneAtATime}, step.Reason) {
			return []Next{
				{"the decommission waits for the other clusters of the mesh and goes on by itself; watch it", program + " status --watch"},
				{"or take the request back", program + " decommission --withdraw"},
			}
		}
		if step.State == StepAttention {
			return []Next{{"see what still uses the old revision", program + " decommission"}}
		}
		if step.Reason == v1alpha1.ReasonSoaking {
			return []Next{
				{"the old istiod is on its way out; watch it", program + " status --watch"},
				{"or bring it back", program + " decommission --withdraw"},
			}
		}
	}
	return []Next{{"Meshlift is working on it; watch it", program + " status --watch"}}
}

func nextRollout(program string, r *v1alpha1.DataPlaneRollout) []Next {
	switch {
	case r == nil:
		return []Next{{"move the data planes", program + " rollout"}}
	case meta.IsStatusConditionFalse(r.Status.Conditions, v1alpha1.ConditionHealthy):
		return []Next{{"a move failed; see why and decide", program + " rollout --attach " + r.Name}}
	default:
		return []Next{{"a rollout runs; watch it", program + " rollout --attach " + r.Name}}
	}
}
