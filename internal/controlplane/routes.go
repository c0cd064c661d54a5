package controlplane

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

// routes lists what still leads requests to a revision, each as "Kind name (why)": tags, validators other than its own,
// namespace labels. While there is any, the istiod must neither stop (requests would fail) nor go (pods would start
// without a sidecar, silently).
func (s *Service) routes(ctx context.Context, revision string) ([]string, error) {
	var out []string
	mutating := &admissionv1.MutatingWebhookConfigurationList{}
	if err := s.o.Live.List(ctx, mutating); err != nil {
		return nil, err
	}
	defaultTag := false
	for i := range mutating.Items {
		c := &mutating.Items[i]
		tag, isTag := c.Labels[mesh.LabelTag]
		to := s.callsMutating(c, revision)
		if isTag && to {
			out = append(out, fmt.Sprintf("MutatingWebhookConfiguration %s (tag %s)", c.Name, tag))
		}
		if isTag && tag == mesh.DefaultRevision && !to {
			defaultTag = true
		}
		// The injector of a revision goes with it, but one without a revision serves istio-injection=enabled.
		if !isTag && to && (!s.ownInjector(c, revision) || revision == mesh.DefaultRevision) {
			out = append(out, fmt.Sprintf("MutatingWebhookConfiguration %s (calls its istiod)", c.Name))
		}
	}
	validating := &admissionv1.ValidatingWebhookConfigurationList{}
	if err := s.o.Live.List(ctx, validating); err != nil {
		return nil, err
	}
	for i := range validating.Items {
		c := &validating.Items[i]
		if c.Name != s.ownValidator(revision) && s.callsValidating(c, revision) {
			out = append(out, fmt.Sprintf("ValidatingWebhookConfiguration %s (calls its istiod)", c.Name))
		}
	}
	if revision == mesh.DefaultRevision && defaultTag {
		return out, nil // the tag serves istio.io/rev=default and istio-injection=enabled
	}
	selectors := []client.MatchingLabels{{mesh.LabelRev: revision}}
	if revision == mesh.DefaultRevision {
		selectors = append(selectors, client.MatchingLabels{mesh.LabelInjection: "enabled"})
	}
	for _, selector := range selectors {
		namespaces := &corev1.NamespaceList{}
		if err := s.o.Live.List(ctx, namespaces, selector); err != nil {
			return nil, err
		}
		for _, ns := range namespaces.Items {
			if ns.DeletionTimestamp == nil {
				out = append(out, fmt.Sprintf("Namespace %s (label %s)", ns.Name, label(selector)))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func label(l client.MatchingLabels) string {
	for k, v := range l {
		return k + "=" + v
	}
	return ""
}

// ownInjector tells whether the configuration is the injector of the revision itself, which goes with it.
func (s *Service) ownInjector(c *admissionv1.MutatingWebhookConfiguration, revision string) bool {
	return c.Labels[mesh.LabelRev] == revision && c.Labels["app"] == "sidecar-injector"
}

// ownValidator is the name of the validator of objects that name the revision; it goes with the revision.
func (s *Service) ownValidator(revision string) string {
	return object("istio-validator", revision) + "-" + s.o.Namespace
}

// calls tells whether a webhook calls the istiod of a revision.
func (s *Service) calls(c admissionv1.WebhookClientConfig, revision string) bool {
	return c.Service != nil && c.Service.Namespace == s.o.Namespace && c.Service.Name == object("istiod", revision)
}

func (s *Service) callsMutating(c *admissionv1.MutatingWebhookConfiguration, revision string) bool {
	return slices.ContainsFunc(c.Webhooks, func(w admissionv1.MutatingWebhook) bool {
		return !handover.IsTwin(w.Name) && !deactivated(w) && s.calls(w.ClientConfig, revision)
	})
}

func (s *Service) callsValidating(c *admissionv1.ValidatingWebhookConfiguration, revision string) bool {
	return slices.ContainsFunc(c.Webhooks, func(w admissionv1.ValidatingWebhook) bool { return s.calls(w.ClientConfig, revision) })
}
