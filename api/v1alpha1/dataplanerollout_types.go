package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Conditions of a [DataPlaneRollout].
const (
	// ConditionComplete is True when nothing is left to do: every target is moved, skipped or given up.
	ConditionComplete = "Complete"
	// ConditionHealthy is False when a move failed and waits for a decision: retry, skip or move back.
	ConditionHealthy = "Healthy"
)

// Direction of a rollout.
// +kubebuilder:validation:Enum=Forward;Back
type Direction string

// Directions of a rollout.
const (
	// Forward moves data planes to the new revision.
	Forward Direction = "Forward"
	// Back moves data planes to the old revision.
	Back Direction = "Back"
)

// FailurePolicy says what happens when a workload cannot be moved.
// +kubebuilder:validation:Enum=Stop;Continue;MoveBack;MoveBackAndContinue
type FailurePolicy string

// Failure policies.
const (
	// FailureStop starts no further move until somebody decides.
	FailureStop FailurePolicy = "Stop"
	// FailureContinue goes on with the others.
	FailureContinue FailurePolicy = "Continue"
	// FailureMoveBack moves the failed workload back by itself, and starts no further move.
	FailureMoveBack FailurePolicy = "MoveBack"
	// FailureMoveBackAndContinue moves the failed workload back by itself, and goes on with the others.
	FailureMoveBackAndContinue FailurePolicy = "MoveBackAndContinue"
)

// GoesOn tells whether the policy goes on with the others after a failure.
func (p FailurePolicy) GoesOn() bool {
	return p == FailureContinue || p == FailureMoveBackAndContinue
}

// MovesBack tells whether the policy moves a failed workload back by itself.
func (p FailurePolicy) MovesBack() bool {
	return p == FailureMoveBack || p == FailureMoveBackAndContinue
}

// WorkloadReference names one data plane.
type WorkloadReference struct {
	// Kind: Deployment, StatefulSet, DaemonSet, ReplicaSet, CronJob, Pod, or Gateway (gateway.networking.k8s.io).
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Namespace of the workload.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Name of the workload.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// RolloutTarget selects data planes: all of a namespace, or one workload.
// +kubebuilder:validation:XValidation:rule="has(self.kind) == has(self.name)",message="kind and name go together: give both for one workload, none for all of the namespace"
type RolloutTarget struct {
	// Namespace of the data planes.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Kind of the one workload.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Kind string `json:"kind,omitempty"`
	// Name of the one workload.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Name string `json:"name,omitempty"`
}

// Decision is what a person wants done with a failed workload.
// +kubebuilder:validation:Enum=Retry;Skip;MoveBack
type Decision string

// Decisions about a failed workload.
const (
	// Retry tries once more (Re-upgrade).
	Retry Decision = "Retry"
	// Skip leaves it as it is.
	Skip Decision = "Skip"
	// MoveBack moves it back to the old revision.
	MoveBack Decision = "MoveBack"
)

// WorkloadDecision is one decision about one workload.
type WorkloadDecision struct {
	WorkloadReference `json:",inline"`
	// Action to take.
	Action Decision `json:"action"`
	// Attempt makes a retry unique: a higher number asks for one more try. The first move is attempt 1.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
}

// Workloads is how many workloads may move at the same time; 0 means no limit.
func (s *DataPlaneRolloutSpec) Workloads() int32 {
	if s.Parallelism == nil {
		return DefaultParallelism
	}
	return *s.Parallelism
}

// DataPlaneRolloutSpec is the intent.
//
// +kubebuilder:validation:XValidation:rule="self.upgrade == oldSelf.upgrade && self.direction == oldSelf.direction",message="upgrade and direction of a rollout cannot be changed: start another rollout"
type DataPlaneRolloutSpec struct {
	// Upgrade is the name of the ClusterUpgrade that the rollout belongs to.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Upgrade string `json:"upgrade"`
	// Direction: Forward to the new revision or Back to the old one.
	// +kubebuilder:default=Forward
	// +optional
	Direction Direction `json:"direction,omitempty"`
	// Targets to move; empty means every data plane of the cluster.
	// +kubebuilder:validation:MaxItems=10000
	// +listType=atomic
	// +optional
	Targets []RolloutTarget `json:"targets,omitempty"`
	// Parallelism is how many workloads move at the same time; 0 means no limit.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Parallelism *int32 `json:"parallelism,omitempty"`
	// ParallelismPerNamespace is how many workloads of one namespace move at the same time; 0 means no limit.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	ParallelismPerNamespace int32 `json:"parallelismPerNamespace,omitempty"`
	// MaxPods limits the pods of all workloads that move at the same time: a number, or a percentage of the pods of the
	// rollout, rounded down, but at least one. A workload with more pods than that moves alone. Empty means no limit.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : self.matches('^([1-9][0-9]?|100)%$')",message="maxPods is a number of at least 1, or a percentage from 1% to 100%"
	// +optional
	MaxPods *intstr.IntOrString `json:"maxPods,omitempty"`
	// NamespaceOrder names the namespaces whose moves start first, in this order; the others follow by name.
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=atomic
	// +optional
	NamespaceOrder []string `json:"namespaceOrder,omitempty"`
	// Gateways says whether the gateways of a wave move last, first, or mixed with its sidecars.
	// +kubebuilder:default=Last
	// +optional
	Gateways GatewayOrder `json:"gateways,omitempty"`
	// Waves move one after the other. What none of them selects comes last, as a wave of its own.
	// +kubebuilder:validation:MaxItems=50
	// +listType=map
	// +listMapKey=name
	// +optional
	Waves []Wave `json:"waves,omitempty"`
	// Windows are the maintenance windows: when there are any, a move starts only inside one. Moves in flight finish. They
	// do not hold moves back to the old revision.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	Windows []Window `json:"windows,omitempty"`
	// Freezes are times in which no move starts. Moves in flight finish. They do not hold moves back to the old revision.
	// +kubebuilder:validation:MaxItems=50
	// +listType=map
	// +listMapKey=name
	// +optional
	Freezes []Freeze `json:"freezes,omitempty"`
	// FailurePolicy says what happens when a workload cannot be moved.
	// +kubebuilder:default=Stop
	// +optional
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`
	// MaxFailures is how many failures the policies Continue and MoveBackAndContinue tolerate; one more, and nothing new
	// starts until somebody decides. Empty means any number.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxFailures *int32 `json:"maxFailures,omitempty"`
	// Health gates that a workload has to pass before it counts as moved; empty for none.
	// +optional
	Health *Health `json:"health,omitempty"`
	// Timeout for one workload; when it has passed and the workload is not ready, the move has failed; 0 means never. The
	// annotation meshlift.dev/timeout on a workload overrides it.
	// +kubebuilder:default="10m"
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Paused starts no new move; moves in flight finish.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// Stopped ends the rollout: no new move starts, moves in flight finish, and the rollout is complete.
	// +optional
	Stopped bool `json:"stopped,omitempty"`
	// Decisions about failed workloads.
	// +kubebuilder:validation:MaxItems=1000
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=namespace
	// +listMapKey=name
	// +optional
	Decisions []WorkloadDecision `json:"decisions,omitempty"`
}

// PodEvent is one event of a pod of a failed workload.
type PodEvent struct {
	Pod      string      `json:"pod"`
	Type     string      `json:"type"`
	Reason   string      `json:"reason"`
	Message  string      `json:"message"`
	Count    int32       `json:"count"`
	LastSeen metav1.Time `json:"lastSeen"`
}

// WorkloadProgress is one workload in motion.
type WorkloadProgress struct {
	WorkloadReference `json:",inline"`
	// Attempt number, from 1.
	Attempt int32 `json:"attempt"`
	// Message, for example "1 of 3 pods ready on 1-31".
	Message string `json:"message"`
}

// WorkloadFailure is one workload that could not be moved.
type WorkloadFailure struct {
	WorkloadReference `json:",inline"`
	// Attempt that failed, from 1.
	Attempt int32 `json:"attempt"`
	// Reason: RehearsalRefused, ApplyRefused, PinnedByManifest, Reverted, MovedBack, Paused, HeldBack, NotReadyInTime,
	// ProgressDeadlineExceeded, or that of a health gate: ConfigurationRejected, NotSynced, InjectionFailed.
	Reason string `json:"reason"`
	// Message in one sentence, with the API server's own words where there are some.
	Message string `json:"message"`
	// Gate is what the health gate saw that stopped it; empty when none did.
	// +optional
	Gate *GateEvidence `json:"gate,omitempty"`
	// Events of its pods, newest first, at most ten.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Events []PodEvent `json:"events,omitempty"`
}

// Reasons of a [WorkloadFailure].
const (
	// FailureRehearsal: the dry run of the next pod was refused, or another revision injected it. Nothing was touched.
	FailureRehearsal = "RehearsalRefused"
	// FailureApply: the API server refused the change of the workload. Nothing was touched.
	FailureApply = "ApplyRefused"
	// FailurePinned: a manifest that somebody applies names the old revision in the pod template and would put it back.
	// Nothing was touched.
	FailurePinned = "PinnedByManifest"
	// FailureReverted: somebody wrote the workload again without the move. Meshlift does not fight over it.
	FailureReverted = "Reverted"
	// FailureMovedBack: the move failed and the workload was moved back by the failure policy.
	FailureMovedBack = "MovedBack"
	// FailurePaused: the workload is paused by its owner. Nothing was touched.
	FailurePaused = "Paused"
	// FailureHeldBack: the owner's update strategy holds back a change that the move would ship. Nothing was touched.
	FailureHeldBack = "HeldBack"
)

// Refused tells whether the move was refused before anything was touched, so that only this record remembers it.
func (f WorkloadFailure) Refused() bool {
	return f.Reason == FailureRehearsal || f.Reason == FailureApply || f.Reason == FailurePinned
}

// RolloutCounts counts the targets of a rollout.
type RolloutCounts struct {
	Total   int32 `json:"total"`
	Done    int32 `json:"done"`
	Moving  int32 `json:"moving"`
	Failed  int32 `json:"failed"`
	Skipped int32 `json:"skipped"`
	Pending int32 `json:"pending"`
}

// RolloutForecast is how long a rollout is expected to take, by how long the pods of each data plane took to become ready. Closed windows,
// gates and disruption budgets are not in it.
type RolloutForecast struct {
	// P50 is the time within which half of the tried runs ended.
	P50 metav1.Duration `json:"p50"`
	// P95 is the time within which 95 of 100 tried runs ended.
	P95 metav1.Duration `json:"p95"`
	// Guessed counts the data planes that no pod tells anything about: they are taken to be as fast as the others.
	// +optional
	Guessed int32 `json:"guessed,omitempty"`
}

// DataPlaneRolloutStatus is what Meshlift found and did.
type DataPlaneRolloutStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Counts of targets.
	// +optional
	Counts RolloutCounts `json:"counts,omitempty"`
	// Progress in one line, for the eye: "12 of 40 moved, 5 moving".
	// +optional
	Progress string `json:"progress,omitempty"`
	// Waves in order, when the spec has any.
	// +kubebuilder:validation:MaxItems=51
	// +listType=map
	// +listMapKey=name
	// +optional
	Waves []WaveStatus `json:"waves,omitempty"`
	// Moving lists at most 100 workloads in motion.
	// +kubebuilder:validation:MaxItems=100
	// +listType=atomic
	// +optional
	Moving []WorkloadProgress `json:"moving,omitempty"`
	// Failures lists at most 50 failed workloads.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Failures []WorkloadFailure `json:"failures,omitempty"`
	// Warnings that were known before the first move, for example a gateway that will be unreachable.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Warnings []string `json:"warnings,omitempty"`
	// Forecast is how long the rollout was expected to take before its first move. Without one, no pod told how long it took to become
	// ready.
	// +optional
	Forecast *RolloutForecast `json:"forecast,omitempty"`
	// StartedAt is when the first move was decided.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// CompletedAt is when nothing was left to do.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
	// Conditions: Complete, Healthy.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DataPlaneRollout moves a batch of data planes (sidecars and gateways) to the new revision, or back.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=dpr,categories=meshlift
// +kubebuilder:printcolumn:name="Upgrade",type=string,JSONPath=`.spec.upgrade`
// +kubebuilder:printcolumn:name="Direction",type=string,JSONPath=`.spec.direction`
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.progress`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.counts.failed`
// +kubebuilder:printcolumn:name="Complete",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].status`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DataPlaneRollout struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DataPlaneRolloutSpec `json:"spec"`
	// +optional
	Status DataPlaneRolloutStatus `json:"status,omitempty"`
}

// DataPlaneRolloutList is a list of DataPlaneRollouts.
// +kubebuilder:object:root=true
type DataPlaneRolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DataPlaneRollout `json:"items"`
}
