// Package status writes conditions the same way for every kind.
package status

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Set writes one condition. It changes the transition time only when the status changes.
func Set(conditions *[]metav1.Condition, generation int64, kind string, met bool, reason, message string) {
	value := metav1.ConditionFalse
	if met {
		value = metav1.ConditionTrue
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: value, ObservedGeneration: generation, Reason: reason, Message: Clip(message, 32768),
	})
}

// Clip cuts text that the API would refuse for its length (condition messages hold 32768 bytes at most,
// https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition).
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit-3] + "..."
}

// MaxHistory is how many entries a history keeps.
const MaxHistory = 50

// Record appends an entry to a history unless its last entry says the same, and forgets the oldest ones.
func Record(history []v1alpha1.HistoryEntry, e v1alpha1.HistoryEntry) []v1alpha1.HistoryEntry {
	if n := len(history); n > 0 && history[n-1].Message == e.Message {
		return history
	}
	history = append(history, e)
	return history[max(0, len(history)-MaxHistory):]
}
