package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	member "meshlift.dev/meshlift/api/v1alpha1"
)

// Conditions of a [Mesh].
const (
	// ConditionReady is True when every cluster is connected and nothing needs attention.
	ConditionReady = "Ready"
	// ConditionFrozen is True while an old istiod exists in any cluster of the mesh: clusters are neither added nor removed,
	// the configuration of sidecars does not change, and the platform is not upgraded. Its message names the clusters.
	ConditionFrozen = "Frozen"
	// ConditionSidecarsConfigured is True when the configuration of sidecars has reached the istiod of every cluster.
	ConditionSidecarsConfigured = "SidecarsConfigured"
)

// Reasons of the conditions of this package, besides those of package api/v1alpha1.
const (
	ReasonOldIstiod    = "OldIstiod"    // an old istiod exists in the clusters that the message names
	ReasonNotConnected = "NotConnected" // a cluster does not answer; unknown is never "no"
	ReasonBarrier      = "Barrier"      // data planes of another cluster have not moved
	ReasonOneAtATime   = "OneAtATime"   // another cluster is being decommissioned
	ReasonApproval     = "Approval"     // a wave waits for an approval
	ReasonCredentials  = "Credentials"  // the kubeconfig is missing, cannot be read, or is refused
	ReasonNoAgent      = "NoAgent"      // the agent does not run in the cluster
	ReasonBrokenGlass  = "BrokenGlass"  // somebody overrode a refusal
)

// MeshSpec is what the owner of the mesh says.
type MeshSpec struct {
	// DisplayName for people; default: the name.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	DisplayName string `json:"displayName,omitempty"`
	// Sidecars is the configuration of the sidecars of all clusters. It cannot change while an old istiod exists.
	// +optional
	Sidecars *member.SidecarConfiguration `json:"sidecars,omitempty"`
}

// OldIstiod is an istiod that has to be decommissioned.
type OldIstiod struct {
	// Cluster where it runs.
	Cluster string `json:"cluster"`
	// Revision and version of it.
	member.RevisionRef `json:",inline"`
}

// Turn is the permission for one cluster of the mesh to decommission its old istiod. It is written here, under optimistic
// lock, before the cluster hears of it, so that of several hubs and users one wins.
type Turn struct {
	// Cluster that may decommission.
	Cluster string `json:"cluster"`
	// Upgrade is the name of its ClusterUpgrade.
	Upgrade string `json:"upgrade"`
	// UID of the ClusterUpgrade.
	UID types.UID `json:"uid"`
	// Since is when the permission was given.
	Since metav1.Time `json:"since"`
}

// MeshStatus is what Meshlift found.
type MeshStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Clusters of the mesh, and how many of them are connected.
	// +optional
	Clusters int32 `json:"clusters"`
	// +optional
	Connected int32 `json:"connected"`
	// IstioVersions of all clusters in one line, for the eye.
	// +optional
	IstioVersions string `json:"istioVersions,omitempty"`
	// OldIstiods that have to be decommissioned; at most 100.
	// +kubebuilder:validation:MaxItems=100
	// +listType=atomic
	// +optional
	OldIstiods []OldIstiod `json:"oldIstiods,omitempty"`
	// Turn is the cluster that may decommission now.
	// +optional
	Turn *Turn `json:"turn,omitempty"`
	// History of the mesh, newest last, at most 50 entries: clusters that came and went, turns, refusals that were overridden.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	History []member.HistoryEntry `json:"history,omitempty"`
	// Conditions: Ready, Frozen, SidecarsConfigured.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Mesh is an Istio mesh over one or more clusters. A [MemberCluster] names the mesh that it belongs to.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=meshes,singular=mesh,categories=meshlift
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Connected",type=integer,JSONPath=`.status.connected`
// +kubebuilder:printcolumn:name="Istio",type=string,JSONPath=`.status.istioVersions`
// +kubebuilder:printcolumn:name="Frozen",type=string,JSONPath=`.status.conditions[?(@.type=="Frozen")].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name of a mesh has at most 63 characters"
type Mesh struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec MeshSpec `json:"spec,omitempty"`
	// +optional
	Status MeshStatus `json:"status,omitempty"`
}

// MeshList is a list of Meshes.
// +kubebuilder:object:root=true
type MeshList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mesh `json:"items"`
}
