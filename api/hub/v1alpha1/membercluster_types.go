package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	member "meshlift.dev/meshlift/api/v1alpha1"
)

// Conditions of a [MemberCluster], besides Ready.
const (
	// ConditionConnected is True while the API server of the cluster answers; Unknown until it was asked.
	ConditionConnected = "Connected"
	// ConditionAgentReady is True while the agent of the cluster runs and reports.
	ConditionAgentReady = "AgentReady"
	// ConditionComponentsReady is True when every component that comes before Istio has the offered version. It is step 1
	// of an upgrade of the cluster.
	ConditionComponentsReady = "ComponentsReady"
)

// MemberClusterSpec is what the owner of the cluster says.
type MemberClusterSpec struct {
	// Mesh that the cluster belongs to; empty for none yet. It cannot change while an old istiod exists in either mesh.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Mesh string `json:"mesh,omitempty"`
	// KubeconfigSecret is the name of a Secret in the namespace of the hub whose key "kubeconfig" says how to reach the
	// cluster. A changed Secret is used at once. The kubeconfig must hold its credentials itself: commands and files of other
	// machines are refused.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	KubeconfigSecret string `json:"kubeconfigSecret"`
	// AgentNamespace is the namespace of the agent in the cluster.
	// +kubebuilder:default=cpaas-system
	// +kubebuilder:validation:MaxLength=63
	// +optional
	AgentNamespace string `json:"agentNamespace,omitempty"`
	// RequestsPerSecond that the hub sends to the cluster at most.
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`
	// Components that somebody asked to upgrade.
	// +kubebuilder:validation:MaxItems=50
	// +listType=map
	// +listMapKey=name
	// +optional
	Components []ComponentRequest `json:"components,omitempty"`
}

// ComponentRequest asks for one component to be brought to a version.
type ComponentRequest struct {
	// Name of the component in the catalog, for example "asm" or "jaeger-operator".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Version that is asked for.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version"`
	// By is who asked.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by"`
	// At is when. A later time is a retry of a request that failed.
	At metav1.Time `json:"at"`
}

// ComponentPhase says where a component stands.
// +kubebuilder:validation:Enum=NotInstalled;Current;Upgradeable;Upgrading;Failed;Unknown
type ComponentPhase string

// Phases of a component.
const (
	ComponentNotInstalled ComponentPhase = "NotInstalled" // the cluster does not have it; it gates nothing
	ComponentCurrent      ComponentPhase = "Current"      // it has the offered version, or a newer one
	ComponentUpgradeable  ComponentPhase = "Upgradeable"  // a newer version is offered
	ComponentUpgrading    ComponentPhase = "Upgrading"    // it is on the way
	ComponentFailed       ComponentPhase = "Failed"       // the last upgrade failed; the old version is kept
	ComponentUnknown      ComponentPhase = "Unknown"      // it cannot be found out
)

// ComponentStatus is one component of a cluster.
type ComponentStatus struct {
	// Name of the component in the catalog; "istio" and "kubernetes" are always there.
	Name string `json:"name"`
	// Title for people, for example "Jaeger Operator".
	// +optional
	Title string `json:"title,omitempty"`
	// Running version; empty when it is not installed or not known.
	// +optional
	Running string `json:"running,omitempty"`
	// Offered is the newest version that the catalog offers to this cluster.
	// +optional
	Offered string `json:"offered,omitempty"`
	// Phase of the component.
	Phase ComponentPhase `json:"phase"`
	// InstalledBy says how: "Helm release flagger in flagger-system", "OLM subscription jaeger in operators".
	// +optional
	InstalledBy string `json:"installedBy,omitempty"`
	// BeforeIstio tells whether the component has to be upgraded before Istio (step 1).
	// +optional
	BeforeIstio bool `json:"beforeIstio,omitempty"`
	// Message in one sentence: what is being done, what failed and why, what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// RequestedAt is the request that the phase answers to.
	// +optional
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`
}

// UpgradeSummary is what a member's ClusterUpgrade says, in short.
type UpgradeSummary struct {
	// Name of the ClusterUpgrade.
	Name string `json:"name"`
	// UID of it.
	UID types.UID `json:"uid"`
	// From revision.
	// +optional
	From *member.RevisionRef `json:"from,omitempty"`
	// To revision.
	// +optional
	To *member.RevisionRef `json:"to,omitempty"`
	// Version that was asked for.
	// +optional
	Version string `json:"version,omitempty"`
	// Step that it is at, for the eye: "4/5 data planes".
	// +optional
	Step string `json:"step,omitempty"`
	// DataPlanes counts what has moved and what has not.
	// +optional
	DataPlanes member.DataPlaneCounts `json:"dataPlanes,omitempty"`
	// IngressGateways and EgressGateways are those of the gateways not moved whose direction is known.
	// +optional
	IngressGateways int32 `json:"ingressGateways,omitempty"`
	// +optional
	EgressGateways int32 `json:"egressGateways,omitempty"`
	// DecommissionRequested tells whether somebody confirmed the decommission.
	// +optional
	DecommissionRequested bool `json:"decommissionRequested,omitempty"`
	// DecommissionRequestedAt is when.
	// +optional
	DecommissionRequestedAt *metav1.Time `json:"decommissionRequestedAt,omitempty"`
	// ScaledDown tells whether the old istiod is scaled to zero.
	// +optional
	ScaledDown bool `json:"scaledDown,omitempty"`
	// Conditions of it: the acceptance, the five steps and Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RevisionSummary is one istiod of a member.
type RevisionSummary struct {
	member.RevisionRef `json:",inline"`
	// Sidecars and Gateways that use it.
	Sidecars int32 `json:"sidecars"`
	Gateways int32 `json:"gateways"`
	// UpgradeTo lists the Istio minor versions to which it can be upgraded on this cluster.
	// +listType=atomic
	// +optional
	UpgradeTo []string `json:"upgradeTo,omitempty"`
}

// ConnectionStatus is how the hub reaches the cluster.
type ConnectionStatus struct {
	// Server is the address of its API server.
	// +optional
	Server string `json:"server,omitempty"`
	// LastContact is when it answered last; written at most once in a minute while it answers.
	// +optional
	LastContact *metav1.Time `json:"lastContact,omitempty"`
	// Reconnects counts how often the connection came back.
	// +optional
	Reconnects int32 `json:"reconnects,omitempty"`
}

// MemberClusterStatus is what the hub found. It stays when the cluster does not answer; the condition Connected tells.
type MemberClusterStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Connection with the cluster.
	// +optional
	Connection ConnectionStatus `json:"connection,omitempty"`
	// KubernetesVersion of its API server.
	// +optional
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// AgentVersion that runs there.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// IstioVersions of all revisions in one line, for the eye.
	// +optional
	IstioVersions string `json:"istioVersions,omitempty"`
	// Revisions of istiod.
	// +listType=atomic
	// +optional
	Revisions []RevisionSummary `json:"revisions,omitempty"`
	// Upgrade that is under way, else the newest one.
	// +optional
	Upgrade *UpgradeSummary `json:"upgrade,omitempty"`
	// Components of the cluster.
	// +listType=map
	// +listMapKey=name
	// +optional
	Components []ComponentStatus `json:"components,omitempty"`
	// Conditions: Connected, AgentReady, ComponentsReady, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MemberCluster is one registered cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mc,categories=meshlift
// +kubebuilder:printcolumn:name="Mesh",type=string,JSONPath=`.spec.mesh`
// +kubebuilder:printcolumn:name="Connected",type=string,JSONPath=`.status.conditions[?(@.type=="Connected")].status`
// +kubebuilder:printcolumn:name="Kubernetes",type=string,JSONPath=`.status.kubernetesVersion`
// +kubebuilder:printcolumn:name="Istio",type=string,JSONPath=`.status.istioVersions`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.upgrade.step`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name of a cluster has at most 63 characters"
type MemberCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MemberClusterSpec `json:"spec"`
	// +optional
	Status MemberClusterStatus `json:"status,omitempty"`
}

// MemberClusterList is a list of MemberClusters.
// +kubebuilder:object:root=true
type MemberClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MemberCluster `json:"items"`
}
