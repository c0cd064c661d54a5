package observe

import (
	"cmp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	injectorSuffix   = "sidecar-injector.istio.io"
	validatorSuffix  = "validation.istio.io"
	defaultValidator = "istiod-default-validator"
)

// isInjector recognises the webhooks of Istio's charts, istioctl's tags and handovers by their names, which have not
// changed since 1.18.
func isInjector(name string) bool {
	return strings.HasSuffix(name, injectorSuffix) || handover.IsTwin(name)
}

func injector(w *admissionv1.MutatingWebhook, revision string) mesh.Injector {
	out := mesh.Injector{
		Name:              w.Name,
		Revision:          revision,
		NamespaceSelector: w.NamespaceSelector.DeepCopy(),
		ObjectSelector:    w.ObjectSelector.DeepCopy(),
		Handover:          handover.IsTwin(w.Name),
		Excluded:          handover.ExcludedBySelector(w.ObjectSelector),
	}
	for _, m := range w.MatchConditions {
		if m.Name == handover.ConditionName {
			out.Excluded, _ = handover.ParseCondition(m.Expression)
		}
	}
	return out
}

// validators returns the validating webhook configurations that call an istiod, sorted by name.
func validators(list []admissionv1.ValidatingWebhookConfiguration, r resolver) []mesh.Validator {
	var out []mesh.Validator
	for n := range list {
		c := &list[n]
		v := mesh.Validator{Name: c.Name, Default: c.Name == defaultValidator}
		found := false
		for m := range c.Webhooks {
			w := &c.Webhooks[m]
			if !strings.HasSuffix(w.Name, validatorSuffix) {
				continue
			}
			found = true
			v.Fail = v.Fail || w.FailurePolicy == nil || *w.FailurePolicy == admissionv1.Fail
			if s := w.ClientConfig.Service; s != nil {
				v.Service = s.Name
			}
			if v.Revision == "" && r.exists(w.ClientConfig) {
				v.Revision = r.revision(w.ClientConfig, c.Labels)
			}
		}
		if found {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b mesh.Validator) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
