package mesh

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

// TestASelectorSelectsWhatTheAPIServersOwnCodeSays compares with the code that admission itself uses.
func TestASelectorSelectsWhatTheAPIServersOwnCodeSays(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "c", "kubernetes.io/metadata.name"})
	operators := rapid.SampledFrom([]metav1.LabelSelectorOperator{
		metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist, "Gt", "",
	})
	requirement := rapid.Custom(func(t *rapid.T) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{
			Key: word.Draw(t, "key"), Operator: operators.Draw(t, "operator"), Values: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", ""}), 0, 2).Draw(t, "values"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SampledFrom([]string{"a", "b", ""})
		s := &metav1.LabelSelector{
			MatchLabels:      rapid.MapOfN(word, values, 0, 2).Draw(t, "match labels"),
			MatchExpressions: rapid.SliceOfN(requirement, 0, 3).Draw(t, "match expressions"),
		}
		set := labelled{labels: rapid.MapOfN(word, values, 0, 3).Draw(t, "labels"), name: rapid.SampledFrom([]string{"", "a"}).Draw(t, "namespace")}
		seen := labels.Set(set.labels)
		if _, ok := seen["kubernetes.io/metadata.name"]; !ok && set.name != "" {
			seen = labels.Merge(seen, labels.Set{"kubernetes.io/metadata.name": set.name})
		}
		parsed, err := metav1.LabelSelectorAsSelector(s)
		if want := err == nil && parsed.Matches(seen); selects(s, set) != want {
			t.Fatalf("selects says %v, the API server %v (%v)", !want, want, err)
		}
	})
	if !selects(nil, labelled{}) {
		t.Error("a missing selector must select everything")
	}
}
