package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DefaultParallelism is how many workloads move at the same time when a rollout does not say.
const DefaultParallelism = 5

// GatewayOrder says when the gateways of a wave move.
// +kubebuilder:validation:Enum=Last;First;Mixed
type GatewayOrder string

// Orders of gateways. First and Last wait: the others start when these have moved.
const (
	// GatewaysLast moves the gateways of a wave when its sidecars have moved.
	GatewaysLast GatewayOrder = "Last"
	// GatewaysFirst moves the gateways of a wave before its sidecars.
	GatewaysFirst GatewayOrder = "First"
	// GatewaysMixed moves gateways and sidecars in one order.
	GatewaysMixed GatewayOrder = "Mixed"
)

// PlaneRole tells gateways from workloads with sidecars.
// +kubebuilder:validation:Enum=Sidecar;Gateway
type PlaneRole string

// Roles of data planes.
const (
	RoleSidecar PlaneRole = "Sidecar"
	RoleGateway PlaneRole = "Gateway"
)

// RestWave is the name, in the status, of what no wave of the spec selects. It comes last.
const RestWave = "rest"

// Wave is a part of a rollout that moves before the next part starts. It selects the data planes that satisfy everything it
// says; a data plane that several waves select belongs to the first of them.
//
// +kubebuilder:validation:XValidation:rule="has(self.targets) || has(self.namespaceSelector) || has(self.podSelector) || has(self.role)",message="a wave must select something: give targets, namespaceSelector, podSelector or role"
// +kubebuilder:validation:XValidation:rule="self.name != 'rest'",message="the name rest belongs to what no wave selects: choose another"
type Wave struct {
	// Name of the wave.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Targets: namespaces or single workloads, of which it must be one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	// +optional
	Targets []RolloutTarget `json:"targets,omitempty"`
	// NamespaceSelector selects by the labels of the namespace.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// PodSelector selects by the labels of the pod template; for a Gateway by those of the Gateway.
	// +optional
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
	// Role selects gateways only, or sidecars only.
	// +optional
	Role PlaneRole `json:"role,omitempty"`
	// Soak is how long to wait after the wave is complete before the next one starts.
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
}

// WaveStatus is one wave as it is now.
type WaveStatus struct {
	// Name as in the spec; "rest" is what no wave selects.
	Name string `json:"name"`
	// Counts of the data planes of the wave.
	Counts RolloutCounts `json:"counts"`
	// CompletedAt is when the last of its moves was complete, from which the soak counts. Empty while something of it has
	// to move, and when nothing of it ever had to.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}
