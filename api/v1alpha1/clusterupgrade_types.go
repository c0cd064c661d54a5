package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Conditions of a [ClusterUpgrade]. The first is the admission of the upgrade, the next five are its steps in order,
// Ready is their summary. Each is False with a reason until it is met; the message of the first unmet one says what is
// in the way and what to do.
const (
	// ConditionAccepted is True when the path and the Kubernetes version are supported.
	ConditionAccepted = "Accepted"
	// ConditionComponentsReady is step 1: the non-Istio components are at the offered version.
	ConditionComponentsReady = "ComponentsReady"
	// ConditionControlPlaneReady is step 2: the new istiod runs beside the old one and answers.
	ConditionControlPlaneReady = "ControlPlaneReady"
	// ConditionEnvoyFiltersHandled is step 3: every EnvoyFilter is acknowledged for the target version.
	ConditionEnvoyFiltersHandled = "EnvoyFiltersHandled"
	// ConditionDataPlanesMoved is step 4: nothing runs on the old revision any more.
	ConditionDataPlanesMoved = "DataPlanesMoved"
	// ConditionDecommissioned is step 5: the old istiod is gone.
	ConditionDecommissioned = "Decommissioned"
	// ConditionReady is True when all five steps are done.
	ConditionReady = "Ready"
)

// Reasons of the conditions of [ClusterUpgrade] and [DataPlaneRollout].
const (
	ReasonDone                   = "Done"                   // the step is complete
	ReasonWaiting                = "Waiting"                // an earlier step is not complete
	ReasonInProgress             = "InProgress"             // Meshlift is working on it
	ReasonUserAction             = "UserAction"             // a person has to act; the message says how
	ReasonPaused                 = "Paused"                 // spec.paused is set
	ReasonUnsupportedPath        = "UnsupportedPath"        // the catalog has no such path
	ReasonUnsupportedKubernetes  = "UnsupportedKubernetes"  // the path does not allow this Kubernetes
	ReasonUnknownVersion         = "UnknownVersion"         // the catalog has no such release
	ReasonUnknownRevision        = "UnknownRevision"        // there is no such revision in the cluster
	ReasonAmbiguousRevision      = "AmbiguousRevision"      // several revisions are in use: spec.fromRevision must say which
	ReasonRevisionConflict       = "RevisionConflict"       // the new revision exists already and is not ours
	ReasonAnotherUpgrade         = "AnotherUpgrade"         // one upgrade at a time
	ReasonInstallFailed          = "InstallFailed"          // the new istiod could not be installed
	ReasonNotReady               = "NotReady"               // the new istiod does not answer yet
	ReasonFilters                = "UnacknowledgedFilters"  // EnvoyFilters wait for an acknowledgement
	ReasonDataPlanesRemain       = "DataPlanesRemain"       // data planes of the old revision remain
	ReasonInUse                  = "InUse"                  // the old revision is in use
	ReasonUnknownUse             = "UnknownUse"             // a source of truth did not answer; unknown is never "no"
	ReasonSoaking                = "Soaking"                // the old istiod is scaled to zero and watched
	ReasonFailed                 = "Failed"                 // a data plane could not be moved
	ReasonStopped                = "Stopped"                // a person stopped the rollout
	ReasonError                  = "Error"                  // the cluster refused something; Meshlift tries again
	ReasonAborted                = "Aborted"                // the upgrade is being taken back
	ReasonPreflight              = "Preflight"              // the checks before an upgrade found errors
	ReasonHandoverNotEstablished = "HandoverNotEstablished" // admission does not route to the new revision yet
)

// EnvoyFilterAcknowledgement records that somebody has checked one EnvoyFilter for the target version.
type EnvoyFilterAcknowledgement struct {
	// Namespace of the EnvoyFilter.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Name of the EnvoyFilter.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Hash of the spec that was checked, as status.envoyFilters shows it. A later change of the EnvoyFilter needs a
	// new acknowledgement.
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash"`
	// By is who checked it.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by"`
	// At is when.
	At metav1.Time `json:"at"`
	// Note says what was done.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Note string `json:"note,omitempty"`
}

// IgnoredCheck records that an upgrade was started although a check of the preflight had found an error.
type IgnoredCheck struct {
	// ID of the check, as "meshlift check" shows it.
	// +kubebuilder:validation:MaxLength=63
	ID string `json:"id"`
	// Findings is how many errors it had.
	Findings int32 `json:"findings"`
	// By is who decided to go on.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by"`
	// At is when.
	At metav1.Time `json:"at"`
}

// DecommissionRequest asks for the removal of the old control plane.
type DecommissionRequest struct {
	// By is who confirmed it.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by"`
	// At is when.
	At metav1.Time `json:"at"`
	// Soak is how long the old istiod stays scaled to zero, ready to come back, before it is uninstalled.
	// +kubebuilder:default="5m"
	// +optional
	Soak metav1.Duration `json:"soak,omitempty"`
}

// ClusterUpgradeSpec is the intent. Version and revisions cannot be changed after creation.
//
// +kubebuilder:validation:XValidation:rule="self.version == oldSelf.version",message="the version of an upgrade cannot be changed: delete this ClusterUpgrade (nothing has moved) or finish it, then start another"
// +kubebuilder:validation:XValidation:rule="has(self.revision) == has(oldSelf.revision) && (!has(self.revision) || self.revision == oldSelf.revision)",message="the revision of an upgrade cannot be changed"
// +kubebuilder:validation:XValidation:rule="has(self.fromRevision) == has(oldSelf.fromRevision) && (!has(self.fromRevision) || self.fromRevision == oldSelf.fromRevision)",message="the old revision of an upgrade cannot be changed"
type ClusterUpgradeSpec struct {
	// Version of Istio to upgrade to: a minor version ("1.31") or a full one ("1.31.0").
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+(\.[0-9]+([-+][0-9A-Za-z.+-]+)?)?$`
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version"`
	// Revision is the name of the new revision; default: the minor version with a dash, "1-31".
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=56
	// +optional
	Revision string `json:"revision,omitempty"`
	// FromRevision is the revision to leave; default: the only one that is in use.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	FromRevision string `json:"fromRevision,omitempty"`
	// Values are Helm values of the new istiod, merged over those carried from the old one.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Values *runtime.RawExtension `json:"values,omitempty"`
	// IgnoredChecks are the checks of the preflight (docs/check.md) that had found errors when the upgrade was started.
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=100
	// +optional
	IgnoredChecks []IgnoredCheck `json:"ignoredChecks,omitempty"`
	// EnvoyFilters that were checked for the target version.
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	EnvoyFilters []EnvoyFilterAcknowledgement `json:"envoyFilters,omitempty"`
	// Decommission asks for the removal of the old istiod. It happens only when nothing uses it. Taking the request back
	// while the old istiod is scaled to zero brings it up again.
	// +optional
	Decommission *DecommissionRequest `json:"decommission,omitempty"`
	// Paused stops Meshlift from starting anything new. What is in place stays.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// RevisionRef names a revision with its version.
type RevisionRef struct {
	// Revision name.
	Revision string `json:"revision"`
	// Version of Istio.
	Version string `json:"version"`
}

// EnvoyFilterStatus is one EnvoyFilter in the cluster.
type EnvoyFilterStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hash of its spec.
	Hash string `json:"hash"`
	// Owner as far as it can be found out: creator label or annotation, else the field manager that wrote the spec.
	// +optional
	Owner string `json:"owner,omitempty"`
	// Verdict for the target version: fine, changes, unknown or breaks (docs/check.md). It is no permission: a person acknowledges.
	// +optional
	Verdict string `json:"verdict,omitempty"`
	// Why explains the verdict.
	// +optional
	Why string `json:"why,omitempty"`
	// Acknowledged is true when the present spec was checked for the target version.
	Acknowledged bool `json:"acknowledged"`
	// By is who acknowledged it.
	// +optional
	By string `json:"by,omitempty"`
}

// DataPlaneCounts counts data planes: workloads with sidecars, and gateways.
type DataPlaneCounts struct {
	// Total that belong to the upgrade.
	Total int32 `json:"total"`
	// Moved to the new revision.
	Moved int32 `json:"moved"`
	// Sidecars not moved.
	Sidecars int32 `json:"sidecarsRemaining"`
	// Gateways not moved.
	Gateways int32 `json:"gatewaysRemaining"`
}

// BlockerSource says which source of truth found a user of the old revision.
// +kubebuilder:validation:Enum=Pod;Connection;Reference
type BlockerSource string

// The three sources of truth, see docs/decommission.md.
const (
	BlockerPod        BlockerSource = "Pod"
	BlockerConnection BlockerSource = "Connection"
	BlockerReference  BlockerSource = "Reference"
)

// BlockerCategory groups blockers the way the user thinks of them.
// +kubebuilder:validation:Enum=IngressGateway;EgressGateway;Gateway;Sidecar;Connection;Reference;Unknown
type BlockerCategory string

// Categories of blockers.
const (
	CategoryIngressGateway BlockerCategory = "IngressGateway"
	CategoryEgressGateway  BlockerCategory = "EgressGateway"
	CategoryGateway        BlockerCategory = "Gateway"
	CategorySidecar        BlockerCategory = "Sidecar"
	CategoryConnection     BlockerCategory = "Connection"
	CategoryReference      BlockerCategory = "Reference"
	CategoryUnknown        BlockerCategory = "Unknown"
)

// Blocker is one object that keeps the old revision in use.
type Blocker struct {
	// Source that found it.
	Source BlockerSource `json:"source"`
	// Category of the object.
	Category BlockerCategory `json:"category"`
	// Kind of the object.
	Kind string `json:"kind"`
	// Namespace of the object; empty for cluster-wide ones.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name"`
	// Message says in one sentence what it does and what to do.
	Message string `json:"message"`
	// Ending is true when it goes away by itself: its pods are being deleted.
	// +optional
	Ending bool `json:"ending,omitempty"`
}

// ValuesReport says what became of the Helm values of the old revision.
type ValuesReport struct {
	// Carried over to the new chart, as dotted paths.
	// +listType=atomic
	// +optional
	Carried []string `json:"carried,omitempty"`
	// Changed on the way, with the reason.
	// +listType=atomic
	// +optional
	Changed []string `json:"changed,omitempty"`
	// NotCarried could not be carried over, with the reason; look at each before you go on.
	// +listType=atomic
	// +optional
	NotCarried []string `json:"notCarried,omitempty"`
}

// HistoryEntry is one thing that happened.
type HistoryEntry struct {
	// At is when.
	At metav1.Time `json:"at"`
	// Step 0 to 5.
	Step int32 `json:"step"`
	// Message in one sentence.
	Message string `json:"message"`
}

// DecommissionStatus is how far the removal of the old istiod is.
type DecommissionStatus struct {
	// Replicas that the old istiod had, so that it can be brought back.
	Replicas int32 `json:"replicas"`
	// ScaledDownAt is when the old istiod was scaled to zero; the soak runs from here.
	// +optional
	ScaledDownAt *metav1.Time `json:"scaledDownAt,omitempty"`
	// ProvedAt is when the three sources of truth agreed that nothing uses the old revision.
	// +optional
	ProvedAt *metav1.Time `json:"provedAt,omitempty"`
	// RemovedAt is when it was uninstalled.
	// +optional
	RemovedAt *metav1.Time `json:"removedAt,omitempty"`
}

// ClusterUpgradeStatus is what Meshlift found and did.
type ClusterUpgradeStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// From is the revision that is left. Fixed when the upgrade is accepted.
	// +optional
	From *RevisionRef `json:"from,omitempty"`
	// To is the revision that is entered.
	// +optional
	To *RevisionRef `json:"to,omitempty"`
	// Step is the step that the upgrade is at, for the eye: "4/5 data planes".
	// +optional
	Step string `json:"step,omitempty"`
	// DataPlanes counts what has moved and what has not.
	// +optional
	DataPlanes DataPlaneCounts `json:"dataPlanes,omitempty"`
	// EnvoyFilters of the cluster.
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +optional
	EnvoyFilters []EnvoyFilterStatus `json:"envoyFilters,omitempty"`
	// Values says what became of the Helm values of the old revision.
	// +optional
	Values *ValuesReport `json:"values,omitempty"`
	// Blockers that keep the old revision in use; at most 100, BlockersOmitted counts the rest.
	// +kubebuilder:validation:MaxItems=100
	// +listType=atomic
	// +optional
	Blockers []Blocker `json:"blockers,omitempty"`
	// BlockersOmitted counts blockers that are not listed.
	// +optional
	BlockersOmitted int32 `json:"blockersOmitted,omitempty"`
	// Decommission shows how far the removal of the old istiod is.
	// +optional
	Decommission *DecommissionStatus `json:"decommission,omitempty"`
	// History of the upgrade, newest last, at most 50 entries.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	History []HistoryEntry `json:"history,omitempty"`
	// Conditions: Accepted, ComponentsReady, ControlPlaneReady, EnvoyFiltersHandled, DataPlanesMoved, Decommissioned, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClusterUpgrade upgrades Istio in this cluster from one revision to another, in five gated steps: non-Istio
// components, new istiod, EnvoyFilters, data planes, decommission.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cu,categories=meshlift
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.status.from.version`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.status.to.version`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.step`
// +kubebuilder:printcolumn:name="Moved",type=integer,JSONPath=`.status.dataPlanes.moved`
// +kubebuilder:printcolumn:name="Of",type=integer,JSONPath=`.status.dataPlanes.total`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterUpgrade struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ClusterUpgradeSpec `json:"spec"`
	// +optional
	Status ClusterUpgradeStatus `json:"status,omitempty"`
}

// ClusterUpgradeList is a list of ClusterUpgrades.
// +kubebuilder:object:root=true
type ClusterUpgradeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterUpgrade `json:"items"`
}
