package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Release is one Istio minor version.
type Release struct {
	// Version is the Istio minor version, for example "1.31". Patch versions never matter.
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+$`
	// +kubebuilder:validation:MaxLength=16
	Version string `json:"version"`
	// Patch is the full version that is installed when only the minor version is asked for, for example "1.31.0".
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Patch string `json:"patch,omitempty"`
	// Kubernetes lists the Kubernetes minor versions that this Istio version supports, for example "1.35"
	// (https://istio.io/latest/docs/releases/supported-releases/#support-status-of-istio-releases).
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=16
	// +kubebuilder:validation:items:Pattern=`^[0-9]+\.[0-9]+$`
	// +listType=set
	Kubernetes []string `json:"kubernetes"`
}

// Path is one supported upgrade.
type Path struct {
	// From is the old Istio minor version.
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+$`
	// +kubebuilder:validation:MaxLength=16
	From string `json:"from"`
	// To is the new Istio minor version.
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+$`
	// +kubebuilder:validation:MaxLength=16
	To string `json:"to"`
	// Kubernetes lists the Kubernetes minor versions on which both run; empty means those that both releases support.
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=16
	// +kubebuilder:validation:items:Pattern=`^[0-9]+\.[0-9]+$`
	// +listType=set
	// +optional
	Kubernetes []string `json:"kubernetes,omitempty"`
}

// CatalogSpec is data, not configuration: it says what is supported. Its entries are added to the built-in catalog; an
// entry for the same release or path replaces the built-in one.
type CatalogSpec struct {
	// ChartRepository is the URL of the Helm repository that serves the charts base, istiod and gateway.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	ChartRepository string `json:"chartRepository,omitempty"`
	// ImageHub is the registry of the Istio images; empty keeps the one that the old revision uses.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	ImageHub string `json:"imageHub,omitempty"`
	// Releases of Istio.
	// +listType=map
	// +listMapKey=version
	// +kubebuilder:validation:MaxItems=500
	// +optional
	Releases []Release `json:"releases,omitempty"`
	// Paths that are supported.
	// +listType=map
	// +listMapKey=from
	// +listMapKey=to
	// +kubebuilder:validation:MaxItems=2000
	// +optional
	Paths []Path `json:"paths,omitempty"`
	// Components besides Istio and Kubernetes.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	// +optional
	Components []Component `json:"components,omitempty"`
}

// Catalog lists Istio releases and the supported upgrade paths. The object named "default" overrides the built-in one.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=meshlift
// +kubebuilder:printcolumn:name="Charts",type=string,JSONPath=`.spec.chartRepository`
// +kubebuilder:printcolumn:name="Releases",type=string,JSONPath=`.spec.releases[*].version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="there is one Catalog in a cluster and its name is \"default\""
type Catalog struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec CatalogSpec `json:"spec,omitempty"`
}

// CatalogList is a list of Catalogs.
// +kubebuilder:object:root=true
type CatalogList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Catalog `json:"items"`
}
