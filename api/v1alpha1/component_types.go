package v1alpha1

// Component is a part of the platform besides Istio and Kubernetes that the hub finds in clusters and upgrades.
type Component struct {
	// Name of it, for example "jaeger-operator"; "istio" and "kubernetes" are taken.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Title for people, for example "Jaeger Operator".
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Title string `json:"title,omitempty"`
	// Version that is offered; empty: the one that the channel of an OLM subscription offers, and none for Helm releases.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Version string `json:"version,omitempty"`
	// AfterIstio takes the component out of step 1: it may be upgraded at any time and holds nothing up.
	// +optional
	AfterIstio bool `json:"afterIstio,omitempty"`
	// Helm says how the component is found and upgraded as a Helm release.
	// +optional
	Helm *HelmComponent `json:"helm,omitempty"`
	// OLM says how the component is found and upgraded by the Operator Lifecycle Manager (https://olm.operatorframework.io).
	// +optional
	OLM *OLMComponent `json:"olm,omitempty"`
}

// HelmComponent is a component that Helm installs. A release is found by the name of its chart, whatever its own name and
// namespace are.
type HelmComponent struct {
	// Chart name in the repository.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Chart string `json:"chart"`
	// Repository of the chart; default: the chart repository of the catalog.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Repository string `json:"repository,omitempty"`
	// ChartVersion to install for the offered version; default: the same.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ChartVersion string `json:"chartVersion,omitempty"`
}

// OLMComponent is a component that OLM installs. A subscription is found by the name of its package.
type OLMComponent struct {
	// Package in the catalog source.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Package string `json:"package"`
	// Channel to subscribe to; default: the one of the subscription.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Channel string `json:"channel,omitempty"`
}
