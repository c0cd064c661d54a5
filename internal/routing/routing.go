// Package routing puts a handover into the cluster's admission, keeps it there, proves it, and takes it away. What it
// writes is computed by package handover.
package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

// Router writes handovers in one cluster.
type Router struct {
	// Live reads from the API server: what is written is derived from the entries of this moment, never from a cache.
	Live client.Reader
	// Cache tells whether anything has to be written at all; see [Router.Kept]. Default: nobody is believed but Live.
	Cache client.Reader
	// Writer writes.
	Writer client.Client
	// Namespace is the Istio namespace.
	Namespace string
	// Mode of the handover; default: match conditions.
	Mode handover.Mode

	// sure is when everything was last looked at live.
	sure time.Time
}

// Establish makes every webhook configuration that calls istiod From hand over to istiod To, and takes the handover out
// of configurations that do not call it (any more). It writes only what differs and reports how many it wrote. Each
// configuration is switched in one write, so at no moment is a pod injected by none or by both.
func (r *Router) Establish(ctx context.Context, from, to mesh.Revision) (written int, err error) {
	configurations, err := r.configurations(ctx, r.Live)
	if err != nil {
		return 0, err
	}
	routes := r.routes(from, to)
	if r.Mode == handover.ObjectSelectors {
		return r.rewrite(ctx, routes, configurations, r.target(configurations, to))
	}
	desired, err := handover.Desired(routes, configurations, r.target(configurations, to))
	if err != nil {
		return 0, err
	}
	byName := map[string]*admissionv1.MutatingWebhookConfiguration{}
	for n := range configurations {
		byName[configurations[n].Name] = &configurations[n]
	}
	wanted := map[string]bool{}
	for _, apply := range desired {
		wanted[apply.GetName()] = true
		if handover.Established(byName[apply.GetName()], apply) {
			continue
		}
		// The UID keeps server-side apply from making a stub when the configuration is deleted at this moment.
		apply.SetUID(byName[apply.GetName()].UID)
		if err := r.apply(ctx, apply, handover.FieldManager); err != nil {
			return written, fmt.Errorf("hand over webhook configuration %q: %w", apply.GetName(), err)
		}
		written++
	}
	for n := range configurations {
		if c := &configurations[n]; !wanted[c.Name] && handover.Residue(c) {
			if err := r.remove(ctx, c); err != nil {
				return written, err
			}
			written++
		}
	}
	return written, nil
}

// rewrite is [Router.Establish] by object selectors: one conditional update for each configuration, so that a change by
// somebody else in between is not lost but looked at again.
func (r *Router) rewrite(ctx context.Context, routes handover.Routes, configurations []admissionv1.MutatingWebhookConfiguration, target *admissionv1.MutatingWebhook) (written int, err error) {
	for n := range configurations {
		c := &configurations[n]
		wanted, ours, err := handover.Rewrite(routes, c, target)
		if err != nil {
			return written, err
		}
		if !ours && !handover.Residue(c) || handover.Same(c, wanted) {
			continue
		}
		if err := r.Writer.Update(ctx, wanted, client.FieldOwner(handover.FieldManager)); err != nil {
			return written, fmt.Errorf("hand over webhook configuration %q: %w", c.Name, err)
		}
		written++
	}
	return written, nil
}

// Remove takes the handover out of every webhook configuration. Pods that are created afterwards are injected as Istio's
// own labels say.
func (r *Router) Remove(ctx context.Context) error {
	configurations, err := r.configurations(ctx, r.Live)
	if err != nil {
		return err
	}
	for n := range configurations {
		if handover.Residue(&configurations[n]) {
			if err := r.remove(ctx, &configurations[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Guard applies the guard policies and bindings, and those of claims. An API server that does not have the kinds (before
// Kubernetes 1.30, and 1.36 for claims) goes without them; no workload is claimed there.
func (r *Router) Guard(ctx context.Context, guards []*unstructured.Unstructured) error {
	if !r.canGuard() {
		return nil
	}
	for _, g := range guards {
		if strings.HasPrefix(g.GetKind(), "Mutating") && !r.canClaim() {
			continue
		}
		if err := r.apply(ctx, g.DeepCopy(), v1alpha1.FieldManager); err != nil {
			return fmt.Errorf("apply %s %q: %w", g.GetKind(), g.GetName(), err)
		}
	}
	return nil
}

// Unguard deletes the guard policies and bindings, bindings first.
func (r *Router) Unguard(ctx context.Context) error {
	if !r.canGuard() {
		return nil
	}
	policies, bindings := handover.GuardNames()
	var objects []client.Object
	for _, name := range bindings {
		o := &admissionv1.ValidatingAdmissionPolicyBinding{}
		o.Name = name
		objects = append(objects, o)
	}
	for _, name := range policies {
		o := &admissionv1.ValidatingAdmissionPolicy{}
		o.Name = name
		objects = append(objects, o)
	}
	for _, o := range objects {
		if err := client.IgnoreNotFound(r.Writer.Delete(ctx, o)); err != nil {
			return fmt.Errorf("delete guard %q: %w", o.GetName(), err)
		}
	}
	return nil
}

// canGuard tells whether the API server has ValidatingAdmissionPolicies.
func (r *Router) canGuard() bool {
	_, err := r.Writer.RESTMapper().RESTMapping(schema.GroupKind{Group: admissionv1.GroupName, Kind: "ValidatingAdmissionPolicy"}, "v1")
	return !meta.IsNoMatchError(err)
}

func (r *Router) routes(from, to mesh.Revision) handover.Routes {
	return handover.Routes{From: from.Name, To: to.Name, FromServices: []string{from.Deployment}, Namespace: r.Namespace}
}

// configurations lists them; they must not be changed.
func (r *Router) configurations(ctx context.Context, from client.Reader) ([]admissionv1.MutatingWebhookConfiguration, error) {
	list := &admissionv1.MutatingWebhookConfigurationList{}
	if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list mutating webhook configurations: %w", err)
	}
	return list.Items, nil
}

// target is a webhook of the revision's own injector.
func (r *Router) target(configurations []admissionv1.MutatingWebhookConfiguration, to mesh.Revision) *admissionv1.MutatingWebhook {
	for n := range configurations {
		c := &configurations[n]
		if c.Labels[mesh.LabelTag] != "" {
			continue
		}
		for m := range c.Webhooks {
			w := &c.Webhooks[m]
			s := w.ClientConfig.Service
			if s != nil && s.Namespace == r.Namespace && s.Name == to.Deployment && !handover.IsTwin(w.Name) {
				return w
			}
		}
	}
	return nil
}

// remove takes the handover out of one configuration: first by giving up our fields, which is atomic and leaves
// everything of others alone; then, when another client had taken them over, by writing the configuration without them.
func (r *Router) remove(ctx context.Context, c *admissionv1.MutatingWebhookConfiguration) error {
	apply := handover.Apply(c.Name, nil)
	apply.SetUID(c.UID)
	err := r.apply(ctx, apply, handover.FieldManager)
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil // deleted meanwhile, with everything of ours
	case err != nil && !apierrors.IsInvalid(err):
		return fmt.Errorf("take the handover out of webhook configuration %q: %w", c.Name, err)
	}
	current := &admissionv1.MutatingWebhookConfiguration{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(c), current); err != nil {
		return client.IgnoreNotFound(err)
	}
	stripped, found := handover.Strip(current)
	if !found {
		return nil
	}
	if len(stripped.Webhooks) == 0 {
		return client.IgnoreNotFound(r.Writer.Delete(ctx, stripped, client.Preconditions{UID: &stripped.UID, ResourceVersion: &stripped.ResourceVersion}))
	}
	if err := r.Writer.Update(ctx, stripped, client.FieldOwner(handover.FieldManager)); err != nil {
		return fmt.Errorf("take the handover out of webhook configuration %q: %w", c.Name, err)
	}
	return nil
}

func (r *Router) apply(ctx context.Context, u *unstructured.Unstructured, manager string) error {
	return r.Writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership)
}

// IsTransient tells whether an error of this package goes away by itself.
func IsTransient(err error) bool {
	var none handover.ErrNoInjector
	return errors.As(err, &none) || apierrors.IsConflict(err)
}
