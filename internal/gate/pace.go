package gate

import (
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/window"
)

func paceIsRight(in RolloutInput) Verdict { return Pace(&in.Rollout.Spec) }

// Pace says whether the waves, windows, freezes and times of a rollout can be read.
func Pace(spec *v1alpha1.DataPlaneRolloutSpec) Verdict {
	if err := rollout.CheckWaves(spec); err != nil {
		return Block(v1alpha1.ReasonUserAction, "%s", err)
	}
	if _, err := window.Of(spec, nil); err != nil {
		return Block(v1alpha1.ReasonUserAction, "%s", err)
	}
	if spec.Timeout.Duration < 0 {
		return Block(v1alpha1.ReasonUserAction, "the timeout of the rollout is %s: give a duration that is not negative; 0 means never", spec.Timeout.Duration)
	}
	if h := spec.Health; h != nil && h.SyncDeadline != nil && h.SyncDeadline.Duration < 0 {
		return Block(v1alpha1.ReasonUserAction, "health.syncDeadline of the rollout is %s: give a duration that is not negative; 0 does not look", h.SyncDeadline.Duration)
	}
	return Pass()
}

// ClusterWindows says whether the windows and freezes that hold for every rollout can be read.
func ClusterWindows(cp *v1alpha1.ControlPlane) Verdict {
	if _, err := window.New(window.OfCluster(cp)); err != nil {
		return Block(v1alpha1.ReasonUserAction, "%s", err)
	}
	return Pass()
}
