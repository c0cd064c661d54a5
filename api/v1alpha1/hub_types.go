package v1alpha1

import "k8s.io/apimachinery/pkg/types"

// HubLink is everything that a hub tells a member. The hub applies it with its own field manager; nobody else writes it. A
// member without it is a mesh of its own. What it says holds until the hub says something else, also when the hub is gone.
type HubLink struct {
	// Mesh that the cluster belongs to.
	// +kubebuilder:validation:MaxLength=63
	Mesh string `json:"mesh"`
	// Cluster is the name of this cluster in the hub.
	// +kubebuilder:validation:MaxLength=63
	Cluster string `json:"cluster"`
	// Components says whether the components besides Istio are ready for an upgrade: step 1. Without it the step waits.
	// +optional
	Components *HubVerdict `json:"components,omitempty"`
	// Decommission says whether the cluster may decommission its old istiod. Without it the cluster waits.
	// +optional
	Decommission *HubDecommission `json:"decommission,omitempty"`
}

// HubVerdict is an answer of the hub.
type HubVerdict struct {
	// Pass opens the gate.
	Pass bool `json:"pass"`
	// Reason for machines, one of the reasons of conditions; empty when passed.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message for people, one sentence.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`
}

// HubDecommission is the answer of the hub about the decommission of one upgrade. It holds for that upgrade only. When it is
// taken back before the old istiod is removed, the old istiod comes up again.
type HubDecommission struct {
	// Upgrade is the name of the ClusterUpgrade.
	// +kubebuilder:validation:MaxLength=253
	Upgrade string `json:"upgrade"`
	// UID of the ClusterUpgrade.
	UID        types.UID `json:"uid"`
	HubVerdict `json:",inline"`
}

// BreakGlassAnnotation on a ClusterUpgrade lets the cluster decommission its old istiod although the hub does not allow it. Its
// value is the reason, a sentence; it is recorded in the history of the upgrade.
const BreakGlassAnnotation = "meshlift.dev/break-glass"
