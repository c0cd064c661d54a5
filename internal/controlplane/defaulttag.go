package controlplane

import (
	"context"
	"fmt"
	"maps"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

// neverKey and neverValue are the selector with which istioctl deactivates the injector of an installation without a
// revision when the tag "default" takes over (istioctl/pkg/tag/util.go of Istio).
const (
	neverKey   = "istio.io/deactivated"
	neverValue = "never-match"
)

func never() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{neverKey: neverValue}}
}

func deactivated(w admissionv1.MutatingWebhook) bool {
	return w.NamespaceSelector != nil && w.NamespaceSelector.MatchLabels[neverKey] == neverValue
}

// defaultTag makes the tag "default" of the new revision serve what the injector of an installation without a revision
// serves: istio-injection=enabled, istio.io/rev=default and pods that ask for injection themselves.
//
// "istioctl tag set default" deactivates the old injector first, so pods that start in between get no sidecar. Here no
// moment is without exactly one revision: the old injector calls the new istiod (one write); then the tag with the same
// selectors stands beside it and calls the same istiod, which recognises a pod that it has injected; then the old injector
// is deactivated.
func (s *Service) defaultTag(ctx context.Context, m *move) error {
	injector, err := s.injector(ctx, mesh.DefaultRevision)
	if err != nil {
		return err
	}
	if injector == nil {
		return nil
	}
	changed, err := s.patch(ctx, injector, func() { s.point(injector, m) })
	if err != nil {
		return fmt.Errorf("make %s call revision %s: %w", injector.Name, m.to, err)
	}
	if changed {
		m.log("%s calls revision %s", injector.Name, m.to)
	}
	if err := s.createDefaultTag(ctx, m, injector); err != nil {
		return err
	}
	changed, err = s.patch(ctx, injector, func() {
		for i := range injector.Webhooks {
			if handover.IsTwin(injector.Webhooks[i].Name) {
				continue
			}
			injector.Webhooks[i].NamespaceSelector, injector.Webhooks[i].ObjectSelector = never(), never()
		}
	})
	if err != nil {
		return fmt.Errorf("deactivate %s: %w", injector.Name, err)
	}
	if changed {
		m.log("%s is deactivated", injector.Name)
	}
	return nil
}

// createDefaultTag creates the tag from the webhooks of the injector. When the tag exists, it was moved before.
func (s *Service) createDefaultTag(ctx context.Context, m *move, injector *admissionv1.MutatingWebhookConfiguration) error {
	name := "istio-revision-tag-default"
	if s.o.Namespace != "istio-system" {
		name += "-" + s.o.Namespace
	}
	present := &admissionv1.MutatingWebhookConfiguration{}
	err := s.o.Live.Get(ctx, client.ObjectKey{Name: name}, present)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	next, err := s.injector(ctx, m.to)
	if err != nil {
		return err
	}
	tag := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		mesh.LabelTag: mesh.DefaultRevision, mesh.LabelRev: m.to, "app": "sidecar-injector", "release": "istio",
		componentLabel: "Pilot", ownerLabel: "unknown", "app.kubernetes.io/name": "istiod", "app.kubernetes.io/part-of": "istio",
	}}}
	if next != nil {
		tag.Annotations = maps.Clone(next.Annotations)
		delete(tag.Annotations, helmName)
		delete(tag.Annotations, helmNamespace)
	}
	for _, w := range injector.Webhooks {
		if handover.IsTwin(w.Name) || deactivated(w) {
			continue
		}
		copied := *w.DeepCopy()
		copied.MatchConditions = nil
		tag.Webhooks = append(tag.Webhooks, copied)
	}
	if len(tag.Webhooks) == 0 {
		return &Refused{v1alpha1.ReasonUserAction, fmt.Sprintf(
			"%s is deactivated and there is no tag default: nothing injects pods by istio-injection=enabled; create it with \"istioctl tag set default --revision %s\"", injector.Name, m.to)}
	}
	if err := s.o.Client.Create(ctx, tag, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	m.log("tag default points to revision %s", m.to)
	return nil
}
