package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ControlPlaneSpec is what the owner of the cluster says about its mesh.
type ControlPlaneSpec struct {
	// IstioNamespace is the namespace of the Istio control planes.
	// +kubebuilder:default=istio-system
	// +kubebuilder:validation:MaxLength=63
	// +optional
	IstioNamespace string `json:"istioNamespace,omitempty"`
	// Windows are maintenance windows that hold for every rollout of the cluster, besides those of the rollout itself.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	Windows []Window `json:"windows,omitempty"`
	// Freezes are times in which no rollout of the cluster starts a move forward.
	// +kubebuilder:validation:MaxItems=50
	// +listType=map
	// +listMapKey=name
	// +optional
	Freezes []Freeze `json:"freezes,omitempty"`
	// Sidecars is the configuration of the sidecars of the cluster. In a mesh with a hub, the hub writes it.
	// +optional
	Sidecars *SidecarConfiguration `json:"sidecars,omitempty"`
	// Hub is what the hub says, for a cluster that is registered with one.
	// +optional
	Hub *HubLink `json:"hub,omitempty"`
}

// InstallMethod says who installed a revision.
// +kubebuilder:validation:Enum=Helm;Istioctl;Unknown
type InstallMethod string

// How a revision was installed.
const (
	InstalledByHelm     InstallMethod = "Helm"
	InstalledByIstioctl InstallMethod = "Istioctl"
	InstalledByUnknown  InstallMethod = "Unknown"
)

// RevisionUse is one reason why a revision is in use.
type RevisionUse struct {
	// Why in one short sentence, for example "namespace label istio.io/rev=1-30".
	Why string `json:"why"`
	// Count of the objects that use the revision for this reason.
	Count int32 `json:"count"`
	// Examples names at most five of them.
	// +kubebuilder:validation:MaxItems=5
	// +listType=atomic
	// +optional
	Examples []string `json:"examples,omitempty"`
}

// RevisionStatus is one istiod revision that runs in the cluster.
type RevisionStatus struct {
	// Name of the revision as in istio.io/rev; "default" for an installation without a revision.
	Name string `json:"name"`
	// Version of istiod, for example "1.30.0".
	// +optional
	Version string `json:"version,omitempty"`
	// InstalledBy says who installed it.
	// +optional
	InstalledBy InstallMethod `json:"installedBy,omitempty"`
	// Release is the Helm release, if Helm installed it.
	// +optional
	Release string `json:"release,omitempty"`
	// Replicas wanted and ready.
	Replicas int32 `json:"replicas"`
	// ReadyReplicas of istiod.
	ReadyReplicas int32 `json:"readyReplicas"`
	// Tags that point to the revision (https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels).
	// +listType=atomic
	// +optional
	Tags []string `json:"tags,omitempty"`
	// Sidecars is the number of workloads with a sidecar of this revision.
	Sidecars int32 `json:"sidecars"`
	// Gateways is the number of gateways of this revision.
	Gateways int32 `json:"gateways"`
	// Uses says who uses the revision and why.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	Uses []RevisionUse `json:"uses,omitempty"`
	// UpgradeTo lists the Istio minor versions to which this revision can be upgraded on this cluster.
	// +listType=atomic
	// +optional
	UpgradeTo []string `json:"upgradeTo,omitempty"`
}

// ControlPlaneStatus is what Meshlift found.
type ControlPlaneStatus struct {
	// ObservedGeneration is the generation of the spec that the status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// KubernetesVersion of the API server, for example "v1.37.2".
	// +optional
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// IstioVersions of all revisions in one line, for the eye.
	// +optional
	IstioVersions string `json:"istioVersions,omitempty"`
	// Revisions of istiod in this cluster.
	// +listType=map
	// +listMapKey=name
	// +optional
	Revisions []RevisionStatus `json:"revisions,omitempty"`
	// Conditions: Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ControlPlane shows the Istio control planes of the cluster, and who uses them. There is one, named "default"; the
// agent makes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mcp,categories=meshlift
// +kubebuilder:printcolumn:name="Istio",type=string,JSONPath=`.status.istioVersions`
// +kubebuilder:printcolumn:name="Kubernetes",type=string,JSONPath=`.status.kubernetesVersion`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="there is one ControlPlane in a cluster and its name is \"default\""
type ControlPlane struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ControlPlaneSpec `json:"spec,omitempty"`
	// +optional
	Status ControlPlaneStatus `json:"status,omitempty"`
}

// ControlPlaneList is a list of ControlPlanes.
// +kubebuilder:object:root=true
type ControlPlaneList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ControlPlane `json:"items"`
}
