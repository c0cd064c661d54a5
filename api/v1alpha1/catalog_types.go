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

// Change is a change of behaviour that came with a release of Istio and that some clusters feel. An upgrade meets it when it
// goes from an older release to that one or a newer one.
type Change struct {
	// ID names the change, for example "1.31-unhealthy-endpoints".
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id"`
	// Version is the Istio minor version that brought it.
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+$`
	// +kubebuilder:validation:MaxLength=16
	Version string `json:"version"`
	// Severity of the change for an object that it touches.
	// +kubebuilder:validation:Enum=info;warning;error
	Severity string `json:"severity"`
	// Summary says what is different.
	// +kubebuilder:validation:MaxLength=1024
	Summary string `json:"summary"`
	// Remedy says what to do.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Remedy string `json:"remedy,omitempty"`
	// Link to where it is documented.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Link string `json:"link,omitempty"`
	// Touches selects the objects that feel it; any of the selectors is enough. A cluster without such an object does not
	// feel the change.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	Touches []ObjectSelector `json:"touches"`
}

// ObjectSelector selects objects by their content. Besides the kinds of the cluster there are two of Meshlift's own, without a group: Istiod, whose
// fields are env.NAME for its environment, hub and version; and MeshConfig, whose fields are those of
// https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/.
type ObjectSelector struct {
	// Group of the kind; empty for the core group and Meshlift's own kinds.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Group string `json:"group,omitempty"`
	// Kind of the objects.
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Field is a path of names with dots, for example "spec.servers.tls.mode"; lists on the way are searched, and a name that
	// contains dots is written in brackets: "metadata.annotations[istio.io/autoRegistrationGroup]". Empty selects every object of the kind.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Field string `json:"field,omitempty"`
	// Matches is a regular expression that the whole value of the field must match; empty is content with any value.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Matches string `json:"matches,omitempty"`
	// Without is a path that must not be there.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Without string `json:"without,omitempty"`
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
	// Changes of behaviour between releases; an entry with the id of a built-in one replaces it.
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=500
	// +optional
	Changes []Change `json:"changes,omitempty"`
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
