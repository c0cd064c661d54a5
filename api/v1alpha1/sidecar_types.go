package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SidecarConfiguration is the configuration of the sidecars of a mesh. It is applied to the Helm values of every istiod; a pod
// gets it when it is created next. Nothing restarts because of it.
type SidecarConfiguration struct {
	// SidecarSettings for all namespaces.
	SidecarSettings `json:",inline"`
	// Namespaces with settings of their own. A field that is not set there is that of all namespaces.
	// +kubebuilder:validation:MaxItems=200
	// +listType=map
	// +listMapKey=namespace
	// +optional
	Namespaces []NamespaceSidecarSettings `json:"namespaces,omitempty"`
}

// NamespaceSidecarSettings are the settings of one namespace.
type NamespaceSidecarSettings struct {
	// Namespace whose pods they are for.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace       string `json:"namespace"`
	SidecarSettings `json:",inline"`
}

// SidecarSettings are the settings of sidecars. An empty field leaves what the values of the istiod say.
type SidecarSettings struct {
	// Resources of the proxy container.
	// +optional
	Resources *SidecarResources `json:"resources,omitempty"`
	// Concurrency is the number of worker threads; 0 means one for each CPU
	// (https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig).
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	// +optional
	Concurrency *int32 `json:"concurrency,omitempty"`
	// LogLevel of the proxy.
	// +kubebuilder:validation:Enum=trace;debug;info;warning;error;critical;off
	// +optional
	LogLevel string `json:"logLevel,omitempty"`
	// HoldApplicationUntilProxyStarts starts the containers of the application when the proxy is ready.
	// +optional
	HoldApplicationUntilProxyStarts *bool `json:"holdApplicationUntilProxyStarts,omitempty"`
	// TerminationDrainDuration is how long a proxy that is told to end lets connections finish.
	// +optional
	TerminationDrainDuration *metav1.Duration `json:"terminationDrainDuration,omitempty"`
	// Traffic that is captured by the sidecar.
	// +optional
	Traffic *SidecarTraffic `json:"traffic,omitempty"`
}

// SidecarResources of the proxy container (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/).
type SidecarResources struct {
	// Requests, for example cpu: 100m, memory: 128Mi.
	// +optional
	Requests map[string]resource.Quantity `json:"requests,omitempty"`
	// Limits, for example cpu: "2", memory: 1Gi.
	// +optional
	Limits map[string]resource.Quantity `json:"limits,omitempty"`
}

// SidecarTraffic says which connections of a pod its sidecar captures
// (https://istio.io/latest/docs/reference/config/annotations/). A list that is not set is left alone.
type SidecarTraffic struct {
	// IncludeOutboundIPRanges in CIDR form; "*" for all.
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	IncludeOutboundIPRanges []string `json:"includeOutboundIPRanges,omitempty"`
	// ExcludeOutboundIPRanges in CIDR form.
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	ExcludeOutboundIPRanges []string `json:"excludeOutboundIPRanges,omitempty"`
	// IncludeInboundPorts; none of them set means all ports.
	// +kubebuilder:validation:MaxItems=200
	// +listType=set
	// +optional
	IncludeInboundPorts []int32 `json:"includeInboundPorts,omitempty"`
	// ExcludeInboundPorts that go past the sidecar.
	// +kubebuilder:validation:MaxItems=200
	// +listType=set
	// +optional
	ExcludeInboundPorts []int32 `json:"excludeInboundPorts,omitempty"`
	// ExcludeOutboundPorts that go past the sidecar.
	// +kubebuilder:validation:MaxItems=200
	// +listType=set
	// +optional
	ExcludeOutboundPorts []int32 `json:"excludeOutboundPorts,omitempty"`
}

// ConditionSidecarsConfigured of a [ControlPlane] is True when the configuration of sidecars has reached every istiod.
const ConditionSidecarsConfigured = "SidecarsConfigured"

// SidecarRecordAnnotation on the ControlPlane keeps, as JSON, what the Helm values of each istiod were before the configuration
// of sidecars changed them.
const SidecarRecordAnnotation = "meshlift.dev/sidecar-values"
