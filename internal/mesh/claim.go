package mesh

import (
	"strconv"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Claim says that the pods of a workload get their revision at admission and not from its pod template.
type Claim struct {
	// Revision that injects the next pod; "" while the workload moves back and after it has.
	Revision string
	// Why the workload is claimed, in one sentence.
	Why string
}

// ClaimKey is the name of a workload in the claims. A namespace and a kind have no dots, so no two workloads share one.
func ClaimKey(r Ref) string { return r.Namespace + "." + r.Kind + "." + r.Name }

// NextLabels are the labels with which the next pod of the workload comes to the injection webhooks: those of the pod
// template, and the revision of a claim.
func (w Workload) NextLabels() map[string]string {
	if w.Claim == nil || w.Claim.Revision == "" {
		return w.TemplateLabels
	}
	out := make(map[string]string, len(w.TemplateLabels)+1)
	for k, v := range w.TemplateLabels {
		out[k] = v
	}
	out[v1alpha1.RevisionLabel] = w.Claim.Revision
	return out
}

// NextAttempt is the annotation meshlift.dev/attempt of the next pod of the workload.
func (w Workload) NextAttempt() string {
	if w.Claim == nil || w.Claim.Revision == "" {
		return w.TemplateAnnotations[v1alpha1.AttemptAnnotation]
	}
	if w.Move == nil || w.Move.Attempt < 2 {
		return ""
	}
	return strconv.Itoa(int(w.Move.Attempt))
}
