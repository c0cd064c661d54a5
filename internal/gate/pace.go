package gate

import (
	"strings"
	"time"

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
	if h := spec.Health; h != nil && h.Metrics != nil {
		return metrics(h.Metrics)
	}
	return Pass()
}

// maxWatch bounds how long a workload holds its place in the budgets, and how much a query reads.
const maxWatch = 24 * time.Hour

func metrics(m *v1alpha1.Metrics) Verdict {
	scheme, host, _ := strings.Cut(m.Prometheus, "://")
	if host == "" || strings.HasPrefix(host, "/") || scheme != "http" && scheme != "https" {
		return Block(v1alpha1.ReasonUserAction, "health.metrics.prometheus of the rollout is %q: give the address of a Prometheus, such as http://prometheus.istio-system:9090", m.Prometheus)
	}
	if w := m.For(); w <= 0 || w > maxWatch {
		return Block(v1alpha1.ReasonUserAction, "health.metrics.watch of the rollout is %s: give a duration of more than 0 and at most %s", w, maxWatch)
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
