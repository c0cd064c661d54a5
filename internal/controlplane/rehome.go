package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

// Rehome moves what leads requests to revision from, over to revision to: tags with their Services, what an installation
// without a revision serves by default, and the validator of configuration that names no revision. Each configuration is
// rewritten by one write, so no request is answered by neither or by both. What it did is returned, one line each.
//
// Gateways of the Gateway API follow tags at once: pin them before.
func (s *Service) Rehome(ctx context.Context, from, to mesh.Revision) (done []string, err error) {
	fail := func(err error) ([]string, error) {
		return done, fmt.Errorf("switch over from revision %s to %s: %w", from.Name, to.Name, err)
	}
	target, err := s.target(ctx, to.Name)
	if err != nil {
		return fail(err)
	}
	steps := []func(context.Context, *move) error{s.tags, s.tagServices, s.adoptTags}
	if from.Name == mesh.DefaultRevision {
		steps = append(steps, s.defaultTag)
	}
	steps = append(steps, s.validator, s.baseDefault)
	m := &move{from: from.Name, to: to.Name, target: target}
	if m.release, err = s.releaseOfRevision(ctx, from.Name); err != nil {
		return fail(err)
	}
	for _, step := range steps {
		err := step(ctx, m)
		done = m.done
		if err != nil {
			return fail(err)
		}
	}
	return done, nil
}

// SwitchOver is [Service.Rehome] and then [Service.RelabelNamespaces].
func (s *Service) SwitchOver(ctx context.Context, from, to mesh.Revision) error {
	if _, err := s.Rehome(ctx, from, to); err != nil {
		return err
	}
	_, err := s.RelabelNamespaces(ctx, from, to)
	return err
}

// move is one run of Rehome.
type move struct {
	from, to string
	target   admissionv1.MutatingWebhook
	// release is the Helm release of from, nil when it has none.
	release *release.Release
	done    []string
}

func (m *move) log(format string, args ...any) { m.done = append(m.done, fmt.Sprintf(format, args...)) }

// target returns a webhook of the new revision, from which the way to it is copied, and refuses when it cannot answer.
func (s *Service) target(ctx context.Context, to string) (admissionv1.MutatingWebhook, error) {
	refuse := func(message string) (admissionv1.MutatingWebhook, error) {
		return admissionv1.MutatingWebhook{}, &Refused{v1alpha1.ReasonNotReady, message}
	}
	d, err := s.deployment(ctx, to)
	if err != nil {
		return admissionv1.MutatingWebhook{}, err
	}
	if d == nil || d.Status.AvailableReplicas == 0 {
		return refuse(fmt.Sprintf("Nothing is switched over, because istiod %s is not available: repair it first", to))
	}
	injector, err := s.injector(ctx, to)
	if err != nil {
		return admissionv1.MutatingWebhook{}, err
	}
	if injector != nil {
		for _, w := range injector.Webhooks {
			if !handover.IsTwin(w.Name) && s.calls(w.ClientConfig, to) && len(w.ClientConfig.CABundle) > 0 {
				return w, nil
			}
		}
	}
	return refuse(fmt.Sprintf("Nothing is switched over, because revision %s has no injection webhook with a CA: wait until its istiod has written it", to))
}

// tags points every tag of the old revision to the new one.
func (s *Service) tags(ctx context.Context, m *move) error {
	list := &admissionv1.MutatingWebhookConfigurationList{}
	if err := s.o.Live.List(ctx, list, client.HasLabels{mesh.LabelTag}); err != nil {
		return err
	}
	for i := range list.Items {
		c := &list.Items[i]
		if !s.callsMutating(c, m.from) && c.Labels[mesh.LabelRev] != m.from {
			continue
		}
		changed, err := s.patch(ctx, c, func() {
			s.point(c, m)
			c.Labels[mesh.LabelRev] = m.to
			s.handOn(c, m)
		})
		if err != nil {
			return fmt.Errorf("point tag %q to revision %s: %w", c.Labels[mesh.LabelTag], m.to, err)
		}
		if changed {
			m.log("tag %s points to revision %s", c.Labels[mesh.LabelTag], m.to)
		}
	}
	return nil
}

// point makes the webhooks that call the old istiod call the new one. Entries of a handover call it already.
func (s *Service) point(c *admissionv1.MutatingWebhookConfiguration, m *move) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		if handover.IsTwin(w.Name) || !s.calls(w.ClientConfig, m.from) {
			continue
		}
		w.ClientConfig = *m.target.ClientConfig.DeepCopy()
		w.ReinvocationPolicy = m.target.ReinvocationPolicy
		w.AdmissionReviewVersions = slices.Clone(m.target.AdmissionReviewVersions)
	}
}

// handOn writes the Helm release of the new revision where the object names that of the old one, so that uninstalling the
// old one passes the object by, and the new one may adopt it.
func (s *Service) handOn(o client.Object, m *move) {
	if !ownedBy(o, m.release) {
		return
	}
	annotations := o.GetAnnotations()
	annotations[helmName], annotations[helmNamespace] = object("istiod", m.to), s.o.Namespace
	o.SetAnnotations(annotations)
}

// ownedBy tells whether an object names the release as its owner.
func ownedBy(o client.Object, r *release.Release) bool {
	namespace, name, owned := releaseOf(o)
	return owned && r != nil && name == r.Name && namespace == r.Namespace
}

// tagServices points the Services istiod-revision-tag-* to the new istiod.
func (s *Service) tagServices(ctx context.Context, m *move) error {
	list := &corev1.ServiceList{}
	if err := s.o.Live.List(ctx, list, client.InNamespace(s.o.Namespace), client.HasLabels{mesh.LabelTag}, client.MatchingLabels{mesh.LabelRev: m.from}); err != nil {
		return err
	}
	d, err := s.deployment(ctx, m.to)
	if err != nil || d == nil {
		return err
	}
	for i := range list.Items {
		svc := &list.Items[i]
		changed, err := s.patch(ctx, svc, func() {
			svc.Labels[mesh.LabelRev] = m.to
			svc.Spec.Selector = d.Spec.Selector.MatchLabels
			s.handOn(svc, m)
		})
		if err != nil {
			return fmt.Errorf("point Service %q to revision %s: %w", svc.Name, m.to, err)
		}
		if changed {
			m.log("Service %s leads to revision %s", svc.Name, m.to)
		}
	}
	return nil
}

// adoptTags enters the tags that the Helm release of the old revision lists (revisionTags) into the release of the new
// one, so that they belong to it as if the user had done so.
func (s *Service) adoptTags(ctx context.Context, m *move) error {
	if m.release == nil {
		return nil
	}
	tags := names(m.release.Values["revisionTags"])
	if pilot, ok := m.release.Values["pilot"].(map[string]any); ok {
		tags = append(tags, names(pilot["revisionTags"])...)
	}
	next, err := s.o.Releases.Release(ctx, s.o.Namespace, object("istiod", m.to))
	if errors.Is(err, release.ErrNotFound) || len(tags) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	have := names(next.Values["revisionTags"])
	var added []string
	for _, tag := range tags {
		if !slices.Contains(have, tag) {
			have, added = append(have, tag), append(added, tag)
		}
	}
	if len(added) == 0 {
		return nil
	}
	all := make([]any, len(have))
	for i, tag := range have {
		all[i] = tag
	}
	next.Values["revisionTags"] = all
	if err := s.o.Releases.Amend(ctx, release.Spec{Name: next.Name, Namespace: next.Namespace, Values: next.Values, Labels: next.Labels}); err != nil {
		return fmt.Errorf("enter tags %v into release %q: %w", added, next.Name, err)
	}
	m.log("release %s owns the tags %v", next.Name, added)
	return nil
}

// names reads a list of strings of values.
func names(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
