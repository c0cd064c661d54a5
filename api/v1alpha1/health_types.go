package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultWatch is how long the requests to new pods are watched when spec.health.metrics does not say.
const DefaultWatch = 5 * time.Minute

// DefaultSyncDeadline is how long new proxies may take to be connected and in sync when spec.health does not say.
const DefaultSyncDeadline = 2 * time.Minute

// HealthAction says what happens to a workload that a health gate stops.
// +kubebuilder:validation:Enum=Pause;MoveBack
type HealthAction string

// Actions on a workload that a health gate stops. No further workload is touched in either case.
const (
	// HealthPause leaves it where it is.
	HealthPause HealthAction = "Pause"
	// HealthMoveBack moves it back by itself.
	HealthMoveBack HealthAction = "MoveBack"
)

// Health is what must be seen of a workload's new proxies before it counts as moved. Gates hold moves forward only.
type Health struct {
	// SyncDeadline is how long the new proxies of a workload may take, from when its pods are ready, until all of them are
	// connected to the new istiod and have acknowledged what it sent. A proxy that rejects its configuration fails the workload at once.
	// 0 does not look.
	// +kubebuilder:default="2m"
	// +optional
	SyncDeadline *metav1.Duration `json:"syncDeadline,omitempty"`
	// OnFailure says what happens to a workload that a gate stops: Pause leaves it as it is, MoveBack moves it back. In both
	// cases no further workload is touched until somebody decides, whatever failurePolicy says.
	// +kubebuilder:default=MoveBack
	// +optional
	OnFailure HealthAction `json:"onFailure,omitempty"`
	// Metrics compares the requests to the new pods of a workload with those to its old ones; empty does not look.
	// +optional
	Metrics *Metrics `json:"metrics,omitempty"`
}

// Metrics compares, by what a Prometheus has scraped from the proxies (https://istio.io/latest/docs/reference/config/metrics/), the
// requests to the new pods of a workload with those to its old pods.
type Metrics struct {
	// Prometheus is its address as the agent reaches it, such as http://prometheus.istio-system:9090. Its series need the labels
	// namespace and pod, as every usual scrape configuration gives them.
	// +kubebuilder:validation:Pattern=`^https?://[^/]+`
	// +kubebuilder:validation:MaxLength=1024
	Prometheus string `json:"prometheus"`
	// Watch is how long the new pods are watched after they are ready, and from how long before the move the requests to the old pods
	// are taken.
	// +kubebuilder:default="5m"
	// +optional
	Watch *metav1.Duration `json:"watch,omitempty"`
	// MaxErrorIncrease is by how many percentage points more requests to the new pods may fail (HTTP 5xx, or a gRPC status that is the
	// server's fault) than to the old ones.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	MaxErrorIncrease *int32 `json:"maxErrorIncrease,omitempty"`
	// MaxSlowIncrease is by how many percentage points more requests to the new pods may take longer than what 95 % of the requests to
	// the old pods took.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	MaxSlowIncrease *int32 `json:"maxSlowIncrease,omitempty"`
	// OnInconclusive says what happens when Watch has passed and there were too few requests to tell: Pass says so in a warning, Stop
	// stops the workload like a bad result.
	// +kubebuilder:default=Pass
	// +kubebuilder:validation:Enum=Pass;Stop
	// +optional
	OnInconclusive InconclusiveAction `json:"onInconclusive,omitempty"`
	// Queries of your own. Each is written like an alert: while it returns anything, the workload is stopped.
	// +kubebuilder:validation:MaxItems=10
	// +listType=map
	// +listMapKey=name
	// +optional
	Queries []MetricsQuery `json:"queries,omitempty"`
}

// InconclusiveAction says what happens to a workload of which nobody can tell whether it is well.
type InconclusiveAction string

// Actions.
const (
	InconclusivePass InconclusiveAction = "Pass"
	InconclusiveStop InconclusiveAction = "Stop"
)

// MetricsQuery is one query in PromQL.
type MetricsQuery struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Query in which {{namespace}}, {{workload}} and {{newPods}} are replaced; the last is a regular expression that matches the names
	// of the new pods. It must return nothing while all is well, such as
	// max(container_memory_working_set_bytes{namespace="{{namespace}}", pod=~"{{newPods}}"}) > 2e9.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
}

// For is how long new pods are watched.
func (m *Metrics) For() time.Duration {
	if m.Watch == nil {
		return DefaultWatch
	}
	return m.Watch.Duration
}

// Margins are by how much the shares of requests that fail and that are slow may be larger, from 0 to 1.
func (m *Metrics) Margins() (failing, slow float64) {
	points := func(p *int32, otherwise int32) float64 {
		if p == nil {
			return float64(otherwise) / 100
		}
		return float64(*p) / 100
	}
	return points(m.MaxErrorIncrease, 1), points(m.MaxSlowIncrease, 5)
}

// Looks tells whether there is a gate at all.
func (h *Health) Looks() bool { return h != nil && (h.Sync() > 0 || h.Metrics != nil) }

// Sync is the deadline for proxies to be in sync; 0 when nobody is to look.
func (h *Health) Sync() time.Duration {
	switch {
	case h == nil:
		return 0
	case h.SyncDeadline == nil:
		return DefaultSyncDeadline
	}
	return max(0, h.SyncDeadline.Duration)
}

// MovesBack tells whether a workload that a gate stops is moved back.
func (h *Health) MovesBack() bool { return h != nil && h.OnFailure != HealthPause }

// GateEvidence is what a health gate saw when it stopped a workload.
type GateEvidence struct {
	// Gate that stopped it: Sync, Injection or Metrics.
	Gate string `json:"gate"`
	// At is when it was seen.
	At metav1.Time `json:"at"`
	// Seen in words and numbers, one line for each pod or number, at most ten.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Seen []string `json:"seen,omitempty"`
}

// Reasons of a [WorkloadFailure] that a health gate gives.
const (
	// FailureRejected: a new proxy rejected the configuration that istiod sent (NACK).
	FailureRejected = "ConfigurationRejected"
	// FailureNotSynced: a new proxy was not connected to istiod, or not in sync with it, in time.
	FailureNotSynced = "NotSynced"
	// FailureInjection: new pods could not be created because injection failed.
	FailureInjection = "InjectionFailed"
	// FailureErrors: more requests to the new pods fail than to the old ones.
	FailureErrors = "MoreErrors"
	// FailureSlow: more requests to the new pods are slow than to the old ones.
	FailureSlow = "Slower"
	// FailureQuery: a query of the rollout returned something.
	FailureQuery = "QueryFired"
	// FailureInconclusive: there were too few requests to tell, and the rollout asks to stop then.
	FailureInconclusive = "Inconclusive"
)
