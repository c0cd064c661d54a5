package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
}

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
	// Gate that stopped it: Sync or Injection.
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
)
