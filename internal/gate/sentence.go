package gate

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sentence is the reason of a refusal without the words that the API server puts around it; "" when it is not a refusal.
func Sentence(s metav1.Status) string {
	for _, marker := range []string{" denied the request: ", " denied request: "} {
		if _, reason, ok := strings.Cut(s.Message, marker); ok {
			return reason
		}
	}
	if s.Reason != metav1.StatusReasonInvalid || s.Details == nil {
		return ""
	}
	var reasons []string
	for _, c := range s.Details.Causes {
		reason := c.Message
		// A failed rule of the schema reads: Invalid value: "object": the sentence.
		for _, noise := range []string{`Invalid value: "object": `, `Invalid value: `} {
			reason = strings.TrimPrefix(reason, noise)
		}
		reasons = append(reasons, strings.TrimSpace(c.Field+": "+reason))
	}
	return strings.Join(reasons, "; ")
}
