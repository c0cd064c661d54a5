package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	member "meshlift.dev/meshlift/api/v1alpha1"
)

// Conditions of a [MeshUpgrade], besides Ready. Each is False with a reason until it is met.
const (
	// ConditionAccepted is True when the mesh and the clusters exist and each of them may be upgraded to the version.
	ConditionAccepted = "Accepted"
	// ConditionDataPlanesMoved is True when every cluster of every wave has moved all its data planes.
	ConditionDataPlanesMoved = "DataPlanesMoved"
	// ConditionDecommissioned is True when the old istiod of every cluster is gone.
	ConditionDecommissioned = "Decommissioned"
)

// ClusterWave is a part of a mesh upgrade: its clusters start when those of the wave before have moved their data planes.
type ClusterWave struct {
	// Name of the wave.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Clusters of the wave, in the order in which they start. A cluster is in one wave.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	Clusters []string `json:"clusters"`
	// Parallelism is how many clusters of the wave are upgraded at the same time; 0 means all.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +optional
	Parallelism *int32 `json:"parallelism,omitempty"`
	// Soak is how long to wait after the wave is complete before the next one starts.
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
	// Approval tells whether somebody has to approve before the wave starts.
	// +optional
	Approval bool `json:"approval,omitempty"`
}

// Approval lets a wave start.
type Approval struct {
	// Wave that is approved.
	// +kubebuilder:validation:MaxLength=63
	Wave string `json:"wave"`
	// By is who approved.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by"`
	// At is when.
	At metav1.Time `json:"at"`
}

// MeshUpgradeSpec is the intent. Mesh and version cannot be changed after creation.
//
// +kubebuilder:validation:XValidation:rule="self.mesh == oldSelf.mesh && self.version == oldSelf.version",message="mesh and version of an upgrade cannot be changed: delete this MeshUpgrade and create another"
type MeshUpgradeSpec struct {
	// Mesh to upgrade.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Mesh string `json:"mesh"`
	// Version of Istio to upgrade to: a minor version ("1.31") or a full one ("1.31.0").
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+(\.[0-9]+([-+][0-9A-Za-z.+-]+)?)?$`
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version"`
	// Waves of clusters. Clusters of the mesh that are in no wave are left alone. None means one wave of all clusters, one
	// after the other by name.
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=name
	// +optional
	Waves []ClusterWave `json:"waves,omitempty"`
	// Approvals that were given.
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=wave
	// +optional
	Approvals []Approval `json:"approvals,omitempty"`
	// Rollout moves the data planes of each cluster by itself, at this pace, when its steps 1 to 3 are done; upgrade, targets
	// and direction of it are not used. Empty: people start the rollouts of each cluster.
	// +optional
	Rollout *RolloutTemplate `json:"rollout,omitempty"`
	// Decommission asks for the removal of the old istiod of every cluster, one after the other, when all clusters of the
	// mesh have moved their data planes.
	// +optional
	Decommission *member.DecommissionRequest `json:"decommission,omitempty"`
	// Paused starts nothing new and pauses the upgrades and rollouts that this object started in the clusters.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// RolloutTemplate is the pace at which data planes move; the fields are those of a DataPlaneRollout.
type RolloutTemplate struct {
	// Spec of the DataPlaneRollouts that are made, without upgrade, targets and direction.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	Spec member.DataPlaneRolloutSpec `json:"spec"`
}

// ClusterProgress is one cluster of a mesh upgrade.
type ClusterProgress struct {
	// Name of the cluster.
	Name string `json:"name"`
	// Wave that it belongs to.
	Wave string `json:"wave"`
	// Step that its upgrade is at: "waits", "refused", "4/5 data planes", "done", …
	Step string `json:"step"`
	// Moved and Total data planes.
	Moved int32 `json:"moved"`
	Total int32 `json:"total"`
	// Failed tells whether it is stopped by a failure; a wave with a failed cluster stops the next wave.
	// +optional
	Failed bool `json:"failed,omitempty"`
	// Message says what is in the way and what to do, in one sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// StartedAt is when the hub started its upgrade.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// MovedAt is when all its data planes had moved.
	// +optional
	MovedAt *metav1.Time `json:"movedAt,omitempty"`
}

// MeshUpgradeStatus is what Meshlift found and did.
type MeshUpgradeStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Wave that is under way, for the eye.
	// +optional
	Wave string `json:"wave,omitempty"`
	// Moved counts the clusters whose data planes have moved, of Total.
	// +optional
	Moved int32 `json:"moved"`
	// +optional
	Total int32 `json:"total"`
	// Clusters of the upgrade, in their order.
	// +listType=map
	// +listMapKey=name
	// +optional
	Clusters []ClusterProgress `json:"clusters,omitempty"`
	// History of the upgrade, newest last, at most 50 entries.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	History []member.HistoryEntry `json:"history,omitempty"`
	// Conditions: Accepted, DataPlanesMoved, Decommissioned, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MeshUpgrade upgrades the Istio of some or all clusters of a mesh, wave by wave. In each cluster it makes a ClusterUpgrade,
// and a DataPlaneRollout when it has a pace for it; these go on when the hub is gone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mu,categories=meshlift
// +kubebuilder:printcolumn:name="Mesh",type=string,JSONPath=`.spec.mesh`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Wave",type=string,JSONPath=`.status.wave`
// +kubebuilder:printcolumn:name="Moved",type=integer,JSONPath=`.status.moved`
// +kubebuilder:printcolumn:name="Of",type=integer,JSONPath=`.status.total`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MeshUpgrade struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MeshUpgradeSpec `json:"spec"`
	// +optional
	Status MeshUpgradeStatus `json:"status,omitempty"`
}

// MeshUpgradeList is a list of MeshUpgrades.
// +kubebuilder:object:root=true
type MeshUpgradeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshUpgrade `json:"items"`
}
