package controlplane

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

// validator makes the validator of configuration that names no revision call the new istiod, if it calls the old one. Its
// failurePolicy stays: istiod itself turns it to Fail when it answers.
func (s *Service) validator(ctx context.Context, m *move) error {
	c := &admissionv1.ValidatingWebhookConfiguration{}
	err := s.o.Live.Get(ctx, client.ObjectKey{Name: defaultValidator}, c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !s.callsValidating(c, m.from) {
		return nil
	}
	changed, err := s.patch(ctx, c, func() {
		for i := range c.Webhooks {
			w := &c.Webhooks[i]
			if s.calls(w.ClientConfig, m.from) {
				w.ClientConfig.Service.Name = object("istiod", m.to)
				w.ClientConfig.CABundle = m.target.ClientConfig.CABundle
			}
		}
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[mesh.LabelRev] = m.to
	})
	if err != nil {
		return fmt.Errorf("point %s to revision %s: %w", defaultValidator, m.to, err)
	}
	if changed {
		m.log("%s calls revision %s", defaultValidator, m.to)
	}
	return nil
}

// baseDefault writes the new revision into the release of the base chart where that names the old one, so that a later
// "helm upgrade" of it does not lead validation back to an istiod that is gone.
func (s *Service) baseDefault(ctx context.Context, m *move) error {
	r, err := s.baseRelease(ctx)
	if err != nil {
		return err
	}
	if r == nil {
		return nil
	}
	now, chosen := r.Values["defaultRevision"]
	names := chosen && now == m.from || !chosen && m.from == mesh.DefaultRevision
	if !names {
		return nil
	}
	r.Values["defaultRevision"] = m.to
	err = s.o.Releases.Amend(ctx, release.Spec{Name: r.Name, Namespace: r.Namespace, Values: r.Values, KeepWebhooks: []string{defaultValidator}})
	if err != nil {
		return fmt.Errorf("set defaultRevision of release %q to %s: %w", r.Name, m.to, err)
	}
	m.log("release %s has defaultRevision %s", r.Name, m.to)
	return nil
}
