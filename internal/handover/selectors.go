package handover

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Mode says by what means entries of the old revision leave moved pods out.
type Mode string

// Modes.
const (
	// MatchConditions adds a match condition to each entry, by server-side apply. Needs Kubernetes 1.30
	// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions).
	MatchConditions Mode = "match-conditions"
	// ObjectSelectors adds "not labelled" to the object selector of each entry, by one conditional update of the whole
	// configuration, because the list of expressions is atomic for server-side apply. For Kubernetes before 1.30.
	ObjectSelectors Mode = "object-selectors"
)

// Rewrite returns a copy of the configuration that hands over by object selectors, and whether it calls istiod From at
// all. Like [Desired] it derives everything from the entries of From.
func Rewrite(r Routes, c *admissionv1.MutatingWebhookConfiguration, target *admissionv1.MutatingWebhook) (*admissionv1.MutatingWebhookConfiguration, bool, error) {
	if target == nil || len(target.ClientConfig.CABundle) == 0 {
		return nil, false, ErrNoInjector{r.To}
	}
	out, _ := Strip(c)
	var twins []admissionv1.MutatingWebhook
	for n := range out.Webhooks {
		w := &out.Webhooks[n]
		if !r.from(w) {
			continue
		}
		twins = append(twins, twinOf(r.To, w, target))
		if w.ObjectSelector == nil {
			w.ObjectSelector = &metav1.LabelSelector{}
		}
		w.ObjectSelector.MatchExpressions = append(w.ObjectSelector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: v1alpha1.RevisionLabel, Operator: metav1.LabelSelectorOpNotIn, Values: []string{r.To},
		})
	}
	out.Webhooks = append(out.Webhooks, twins...)
	return out, twins != nil, nil
}

// Same tells whether two configurations route alike, so that nothing has to be written.
func Same(a, b *admissionv1.MutatingWebhookConfiguration) bool {
	return slices.EqualFunc(a.Webhooks, b.Webhooks, func(x, y admissionv1.MutatingWebhook) bool {
		return x.Name == y.Name && sameTwin(&x, &y)
	})
}

// ExcludedBySelector returns the revision that the selector of an entry leaves out because of a handover; "" for none.
func ExcludedBySelector(s *metav1.LabelSelector) string {
	if s == nil {
		return ""
	}
	for _, e := range s.MatchExpressions {
		if handoverExpression(e) && len(e.Values) == 1 {
			return e.Values[0]
		}
	}
	return ""
}

func handoverExpression(e metav1.LabelSelectorRequirement) bool {
	return e.Key == v1alpha1.RevisionLabel && e.Operator == metav1.LabelSelectorOpNotIn
}

// ModeFor chooses the mode for a version of Kubernetes.
func ModeFor(major, minor int) Mode {
	if major > 1 || minor >= 30 {
		return MatchConditions
	}
	return ObjectSelectors
}

// ParseMode reads a mode that a person wrote.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); m == MatchConditions || m == ObjectSelectors {
		return m, nil
	}
	return "", fmt.Errorf("%q is no mode of a handover: write %s or %s", s, MatchConditions, ObjectSelectors)
}
