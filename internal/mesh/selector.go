package mesh

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// labelNamespaceName is the label that the API server itself puts on every namespace.
const labelNamespaceName = "kubernetes.io/metadata.name"

// labelled are the labels of a namespace or a pod, as a selector sees them.
type labelled struct {
	labels map[string]string
	// name of the namespace, for one without the label of its name; "" for pods.
	name string
}

func (l labelled) get(key string) (value string, ok bool) {
	value, ok = l.labels[key]
	if !ok && l.name != "" && key == labelNamespaceName {
		return l.name, true
	}
	return value, ok
}

// selects follows admission: a missing selector selects everything, an invalid one nothing. It says the same as
// [metav1.LabelSelectorAsSelector] of every selector that an API server stores, and makes nothing: an inventory asks it
// some ten times for each workload.
func selects(s *metav1.LabelSelector, set labelled) bool {
	if s == nil {
		return true
	}
	for key, wanted := range s.MatchLabels {
		if value, ok := set.get(key); !ok || value != wanted {
			return false
		}
	}
	for n := range s.MatchExpressions {
		if !meets(&s.MatchExpressions[n], set) {
			return false
		}
	}
	return true
}

func meets(r *metav1.LabelSelectorRequirement, set labelled) bool {
	value, ok := set.get(r.Key)
	switch r.Operator {
	case metav1.LabelSelectorOpIn:
		return ok && slices.Contains(r.Values, value)
	case metav1.LabelSelectorOpNotIn:
		return len(r.Values) > 0 && (!ok || !slices.Contains(r.Values, value))
	case metav1.LabelSelectorOpExists:
		return ok && len(r.Values) == 0
	case metav1.LabelSelectorOpDoesNotExist:
		return !ok && len(r.Values) == 0
	}
	return false
}
