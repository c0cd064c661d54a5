// Package handover computes how admission must look while data planes move from revision A to revision B, so that one
// workload can move inside a namespace although Istio's namespace label beats the pod label.
//
// The label meshlift.dev/revision=B on a pod (L) decides. In every webhook configuration that calls istiod A (its own
// injector and every tag that points to it), each entry gets the match condition "not L", and beside it stands a twin
// entry with the same selectors plus "L", which calls istiod B:
//
//	                       ┌── entry of A       selectors S  and  not L  ──> istiod A
//	pod ── configuration ──┤
//	                       └── twin of the entry selectors S  and  L      ──> istiod B
//
// The two conditions exclude each other and S is the same, so exactly the pods that A would have injected are injected,
// each by one revision. Both are written in ONE server-side apply, so there is no moment with only one of them; two
// separate objects would have an order, and the wrong one loses sidecars (docs/handover.md, docs/adr/0001).
//
// The package is pure: package routing reads and writes.
package handover

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"meshlift.dev/meshlift/api/v1alpha1"
)

const (
	// ConditionName is the name of the match condition on the entries of the old revision.
	ConditionName = "not-moved.meshlift.dev"
	// TwinSuffix ends the name of every twin entry.
	TwinSuffix = ".handover.meshlift.dev"
	// FieldManager owns the handover in the webhook configurations. It is not the manager of anything else, so that
	// applying an empty list takes away exactly the handover.
	FieldManager = "meshlift-handover"

	istioSuffix = ".sidecar-injector.istio.io"
)

// Condition returns the CEL expression that is true for pods that have not moved to the revision.
func Condition(to string) string {
	return fmt.Sprintf("!(has(object.metadata.labels) && '%[1]s' in object.metadata.labels && object.metadata.labels['%[1]s'] == '%[2]s')",
		v1alpha1.RevisionLabel, to)
}

var conditionForm = regexp.MustCompile(`object\.metadata\.labels\['` + regexp.QuoteMeta(v1alpha1.RevisionLabel) + `'\] == '([-a-z0-9]+)'\)$`)

// ParseCondition returns the revision in an expression made by [Condition].
func ParseCondition(expression string) (revision string, ok bool) {
	m := conditionForm.FindStringSubmatch(expression)
	if m == nil || Condition(m[1]) != expression {
		return "", false
	}
	return m[1], true
}

// Routes says from which istiod to which admission is handed over.
type Routes struct {
	// From and To are revisions.
	From, To string
	// FromServices are the names of the Services of istiod From, in the Istio namespace.
	FromServices []string
	// Namespace is the Istio namespace.
	Namespace string
}

// ErrNoInjector says that the new revision has no injector to copy from.
type ErrNoInjector struct{ Revision string }

func (e ErrNoInjector) Error() string {
	return fmt.Sprintf("revision %s has no injection webhook with a CA bundle yet: wait until its istiod is ready", e.Revision)
}

// Desired returns, for every configuration that calls istiod From, the server-side apply that hands it over. The order
// is that of the input. Configurations that do not call istiod From are left out; when such a configuration still holds
// parts of a handover, [Residue] tells.
//
// target is one webhook of the injector of revision To: its client configuration is what the twins call.
func Desired(r Routes, configurations []admissionv1.MutatingWebhookConfiguration, target *admissionv1.MutatingWebhook) ([]*unstructured.Unstructured, error) {
	if target == nil || len(target.ClientConfig.CABundle) == 0 {
		return nil, ErrNoInjector{r.To}
	}
	var out []*unstructured.Unstructured
	for n := range configurations {
		c := &configurations[n]
		var entries, twins []any
		for m := range c.Webhooks {
			w := &c.Webhooks[m]
			if !r.from(w) || IsTwin(w.Name) {
				continue
			}
			entries = append(entries, map[string]any{
				"name":            w.Name,
				"matchConditions": []any{map[string]any{"name": ConditionName, "expression": Condition(r.To)}},
			})
			twin := twinOf(r.To, w, target)
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&twin)
			if err != nil {
				return nil, fmt.Errorf("derive the twin of webhook %q in %q: %w", w.Name, c.Name, err)
			}
			twins = append(twins, fields)
		}
		if entries != nil {
			out = append(out, Apply(c.Name, append(entries, twins...)))
		}
	}
	return out, nil
}

// Apply is the server-side apply of a handover into the configuration; with no webhooks it takes the handover away.
func Apply(name string, webhooks []any) *unstructured.Unstructured {
	if webhooks == nil {
		webhooks = []any{}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1",
		"kind":       "MutatingWebhookConfiguration",
		"metadata":   map[string]any{"name": name},
		"webhooks":   webhooks,
	}}
}

// IsTwin tells whether a webhook of that name was added by a handover.
func IsTwin(name string) bool { return strings.HasSuffix(name, TwinSuffix) }

// TwinName is the name of the twin of a webhook.
func TwinName(webhook string) string { return strings.TrimSuffix(webhook, istioSuffix) + TwinSuffix }

func (r Routes) from(w *admissionv1.MutatingWebhook) bool {
	s := w.ClientConfig.Service
	return s != nil && s.Namespace == r.Namespace && slices.Contains(r.FromServices, s.Name)
}

// twinOf copies what decides about matching from the entry and what decides about the call from the target.
func twinOf(to string, entry, target *admissionv1.MutatingWebhook) admissionv1.MutatingWebhook {
	selector := entry.ObjectSelector.DeepCopy()
	if selector == nil {
		selector = &metav1.LabelSelector{}
	}
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: v1alpha1.RevisionLabel, Operator: metav1.LabelSelectorOpIn, Values: []string{to},
	})
	twin := admissionv1.MutatingWebhook{
		Name:                    TwinName(entry.Name),
		Rules:                   entry.Rules,
		NamespaceSelector:       entry.NamespaceSelector,
		ObjectSelector:          selector,
		FailurePolicy:           entry.FailurePolicy,
		MatchPolicy:             entry.MatchPolicy,
		SideEffects:             entry.SideEffects,
		TimeoutSeconds:          entry.TimeoutSeconds,
		ClientConfig:            target.ClientConfig,
		ReinvocationPolicy:      target.ReinvocationPolicy,
		AdmissionReviewVersions: target.AdmissionReviewVersions,
	}
	for _, m := range entry.MatchConditions {
		if m.Name != ConditionName {
			twin.MatchConditions = append(twin.MatchConditions, m)
		}
	}
	return twin
}

// Strip returns a copy of the configuration without any part of a handover, and whether there was one.
func Strip(c *admissionv1.MutatingWebhookConfiguration) (*admissionv1.MutatingWebhookConfiguration, bool) {
	c, found := c.DeepCopy(), false
	c.Webhooks = slices.DeleteFunc(c.Webhooks, func(w admissionv1.MutatingWebhook) bool {
		found = found || IsTwin(w.Name)
		return IsTwin(w.Name)
	})
	for n := range c.Webhooks {
		w := &c.Webhooks[n]
		w.MatchConditions = slices.DeleteFunc(w.MatchConditions, func(m admissionv1.MatchCondition) bool {
			found = found || m.Name == ConditionName
			return m.Name == ConditionName
		})
		if w.ObjectSelector != nil {
			w.ObjectSelector.MatchExpressions = slices.DeleteFunc(w.ObjectSelector.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool {
				found = found || handoverExpression(e)
				return handoverExpression(e)
			})
		}
	}
	return c, found
}

// Residue tells whether the configuration holds any part of a handover.
func Residue(c *admissionv1.MutatingWebhookConfiguration) bool {
	_, found := Strip(c)
	return found
}

// Established tells whether the configuration holds exactly the applied handover, so that nothing has to be written.
func Established(c *admissionv1.MutatingWebhookConfiguration, applied *unstructured.Unstructured) bool {
	want, _, err := unstructured.NestedSlice(applied.Object, "webhooks")
	if err != nil {
		return false
	}
	have, twins := map[string]*admissionv1.MutatingWebhook{}, 0
	for n := range c.Webhooks {
		have[c.Webhooks[n].Name] = &c.Webhooks[n]
		if IsTwin(c.Webhooks[n].Name) {
			twins++
		}
	}
	for _, item := range want {
		var w admissionv1.MutatingWebhook
		fields, ok := item.(map[string]any)
		if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &w) != nil {
			return false
		}
		h, ok := have[w.Name]
		if !ok {
			return false
		}
		if !IsTwin(w.Name) {
			if !slices.Contains(h.MatchConditions, w.MatchConditions[0]) {
				return false
			}
			continue
		}
		twins--
		if !sameTwin(h, &w) {
			return false
		}
	}
	return twins == 0
}

func sameTwin(have, want *admissionv1.MutatingWebhook) bool {
	return have.NamespaceSelector.String() == want.NamespaceSelector.String() &&
		have.ObjectSelector.String() == want.ObjectSelector.String() &&
		have.ClientConfig.String() == want.ClientConfig.String() &&
		slices.Equal(have.MatchConditions, want.MatchConditions) &&
		value(have.FailurePolicy) == value(want.FailurePolicy) &&
		value(have.ReinvocationPolicy) == value(want.ReinvocationPolicy)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
