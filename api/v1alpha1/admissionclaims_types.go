package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AdmissionClaim is one workload that is moved at admission.
type AdmissionClaim struct {
	// Revision that injects the next pods of the workload. Empty while the workload moves back and after it has: admission
	// then leaves its pods alone, and the entry only remembers the move.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Revision string `json:"revision,omitempty"`
	// Why the workload is moved at admission and not by its pod template, in one sentence.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Why string `json:"why,omitempty"`
	// To is the revision that the last move goes to.
	// +kubebuilder:validation:MaxLength=63
	To string `json:"to"`
	// From is the revision that it comes from.
	// +kubebuilder:validation:MaxLength=63
	From string `json:"from"`
	// Started is when the move began.
	Started metav1.Time `json:"started"`
	// Attempt counts from 1; pods of an earlier attempt are replaced.
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt"`
	// Rollout is the name of the DataPlaneRollout that made the move.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Rollout string `json:"rollout,omitempty"`
}

// AdmissionClaimsSpec is what admission reads.
type AdmissionClaimsSpec struct {
	// Workloads by key: namespace, kind and name, joined by dots.
	// +kubebuilder:validation:MaxProperties=4000
	// +optional
	Workloads map[string]AdmissionClaim `json:"workloads,omitempty"`
}

// AdmissionClaims lists the workloads whose pods get their revision at admission, because their pod templates are not
// Meshlift's to change: somebody reverts such changes, or a change would start a canary of the application. It is the
// parameter of the MutatingAdmissionPolicy meshlift-claims, is written by the agent only, has the name of the
// ClusterUpgrade, and ends with its handover. See docs/handover.md.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=admissionclaims,singular=admissionclaims,categories=meshlift
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AdmissionClaims struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec AdmissionClaimsSpec `json:"spec,omitempty"`
}

// AdmissionClaimsList is a list of AdmissionClaims.
// +kubebuilder:object:root=true
type AdmissionClaimsList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AdmissionClaims `json:"items"`
}
