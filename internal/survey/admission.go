package survey

import (
	"context"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/internal/preflight"
)

// webhooks reads every admission webhook, and whether its Service has an endpoint that is ready.
func (l *look) webhooks(ctx context.Context) error {
	mutating, validating := &admissionv1.MutatingWebhookConfigurationList{}, &admissionv1.ValidatingWebhookConfigurationList{}
	if err := l.client.List(ctx, mutating); err != nil {
		return err
	}
	if err := l.client.List(ctx, validating); err != nil {
		return err
	}
	var all []preflight.Webhook
	for _, c := range mutating.Items {
		for _, w := range c.Webhooks {
			h := webhookOf(c.Name, w.Name, w.ClientConfig, w.FailurePolicy, w.Rules)
			h.Mutating, h.NamespaceSelector, h.ObjectSelector = true, w.NamespaceSelector, w.ObjectSelector
			all = append(all, h)
		}
	}
	for _, c := range validating.Items {
		for _, w := range c.Webhooks {
			h := webhookOf(c.Name, w.Name, w.ClientConfig, w.FailurePolicy, w.Rules)
			h.NamespaceSelector, h.ObjectSelector = w.NamespaceSelector, w.ObjectSelector
			all = append(all, h)
		}
	}
	known := map[string]preflight.Backend{"": preflight.Outside}
	for n := range all {
		service := all[n].Service
		if _, ok := known[service]; !ok {
			state, err := l.backend(ctx, service)
			if err != nil {
				return err
			}
			known[service] = state
		}
		all[n].Backend = known[service]
	}
	l.facts.Webhooks = all
	return nil
}

func webhookOf(configuration, name string, c admissionv1.WebhookClientConfig, policy *admissionv1.FailurePolicyType, rules []admissionv1.RuleWithOperations) preflight.Webhook {
	w := preflight.Webhook{Configuration: configuration, Name: name, Fail: policy == nil || *policy == admissionv1.Fail}
	if c.Service != nil {
		w.Service = c.Service.Namespace + "/" + c.Service.Name
	}
	for _, r := range rules {
		creates := slices.Contains(r.Operations, admissionv1.Create) || slices.Contains(r.Operations, admissionv1.OperationAll)
		if !creates {
			continue
		}
		for _, group := range r.APIGroups {
			w.Pods = w.Pods || (group == "" || group == "*") && (slices.Contains(r.Resources, "pods") || slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, "*/*"))
			w.Istio = w.Istio || group == "*" || strings.HasSuffix(group, ".istio.io") || group == "gateway.networking.k8s.io"
		}
	}
	return w
}

func (l *look) backend(ctx context.Context, service string) (preflight.Backend, error) {
	namespace, name, _ := strings.Cut(service, "/")
	s := &corev1.Service{}
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
		return preflight.NoService, client.IgnoreNotFound(err)
	}
	if len(s.Spec.Selector) == 0 {
		return preflight.Outside, nil // its endpoints are somebody's own affair
	}
	slices := &discoveryv1.EndpointSliceList{}
	if err := l.client.List(ctx, slices, client.InNamespace(namespace), client.MatchingLabels{discoveryv1.LabelServiceName: name}); err != nil {
		return "", err
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return preflight.Answers, nil
			}
		}
	}
	return preflight.NoEndpoints, nil
}

// crds reads the metadata of the CRDs of Istio and of the Gateway API.
func (l *look) crds(ctx context.Context) error {
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinitionList"}}
	return l.pages(ctx, list, func() {
		for _, c := range list.Items {
			if strings.HasSuffix(c.Name, ".istio.io") || strings.HasSuffix(c.Name, ".gateway.networking.k8s.io") {
				l.facts.CRDs = append(l.facts.CRDs, preflight.CRD{
					Name: c.Name, Bundle: c.Annotations["gateway.networking.k8s.io/bundle-version"], Channel: c.Annotations["gateway.networking.k8s.io/channel"],
				})
			}
		}
	})
}
