package routing

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

// sureAge is how long the cache alone is believed. Watches bring every change within moments; this is for what nobody
// thought of.
const sureAge = 10 * time.Minute

// Kept tells whether the cache shows the guards and the handover as they must be, so that nothing has to be asked or
// written. A cache that is behind does no harm: a change that it does not know yet it shows in a moment, and somebody looks
// again; and what it shows as missing is read live before it is written. Without a cache, and every ten minutes, the answer is no.
func (r *Router) Kept(ctx context.Context, from, to mesh.Revision, guards []*unstructured.Unstructured) (bool, error) {
	if r.Cache == nil {
		return false, nil
	}
	if time.Since(r.sure) > sureAge {
		r.sure = time.Now()
		return false, nil
	}
	configurations, err := r.configurations(ctx, r.Cache)
	if err != nil {
		return false, err
	}
	if kept, err := r.established(configurations, from, to); err != nil || !kept || !r.canGuard() {
		return kept && err == nil, nil //nolint:nilerr // the live look finds it out
	}
	for _, g := range guards {
		if strings.HasPrefix(g.GetKind(), "Mutating") && !r.canClaim() {
			continue
		}
		if kept, err := r.holds(ctx, g); err != nil || !kept {
			return false, err
		}
	}
	return true, nil
}

// established tells whether [Router.Establish] would find nothing to write.
func (r *Router) established(configurations []admissionv1.MutatingWebhookConfiguration, from, to mesh.Revision) (bool, error) {
	routes, target := r.routes(from, to), r.target(configurations, to)
	if r.Mode == handover.ObjectSelectors {
		for n := range configurations {
			c := &configurations[n]
			wanted, ours, err := handover.Rewrite(routes, c, target)
			if err != nil || (ours || handover.Residue(c)) && !handover.Same(c, wanted) {
				return false, err
			}
		}
		return true, nil
	}
	desired, err := handover.Desired(routes, configurations, target)
	if err != nil {
		return false, err
	}
	wanted := map[string]*unstructured.Unstructured{}
	for _, apply := range desired {
		wanted[apply.GetName()] = apply
	}
	for n := range configurations {
		c := &configurations[n]
		if apply := wanted[c.Name]; apply == nil && handover.Residue(c) || apply != nil && !handover.Established(c, apply) {
			return false, nil
		}
	}
	return true, nil
}

// holds tells whether the cached object has everything that is applied.
func (r *Router) holds(ctx context.Context, applied *unstructured.Unstructured) (bool, error) {
	cached := emptyPolicy(applied.GetKind())
	if cached == nil {
		return false, nil
	}
	err := r.Cache.Get(ctx, client.ObjectKeyFromObject(applied), cached)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s %q: %w", applied.GetKind(), applied.GetName(), err)
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(cached)
	if err != nil {
		return false, fmt.Errorf("read %s %q: %w", applied.GetKind(), applied.GetName(), err)
	}
	return cached.GetDeletionTimestamp() == nil && contains(have, map[string]any{"metadata": applied.Object["metadata"], "spec": applied.Object["spec"]}), nil
}

// emptyPolicy is a new object of a kind that guards and claims are made of; nil for others.
func emptyPolicy(kind string) client.Object {
	switch kind {
	case "ValidatingAdmissionPolicy":
		return &admissionv1.ValidatingAdmissionPolicy{}
	case "ValidatingAdmissionPolicyBinding":
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	case "MutatingAdmissionPolicy":
		return &admissionv1.MutatingAdmissionPolicy{}
	case "MutatingAdmissionPolicyBinding":
		return &admissionv1.MutatingAdmissionPolicyBinding{}
	}
	return nil
}

// contains tells whether the value has everything that is wanted. Fields that are not named are the defaults of the API
// server; a list is compared as a whole, so that what somebody adds to one is seen.
func contains(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		for key, value := range want {
			ok = ok && contains(fields[key], value)
		}
		return ok
	case []any:
		items, ok := have.([]any)
		ok = ok && len(items) == len(want)
		for n := 0; ok && n < len(want); n++ {
			ok = contains(items[n], want[n])
		}
		return ok
	}
	return have == want
}

// Present tells whether any webhook configuration holds a part of a handover, and Guarded whether any guard is in place. Sure
// answers are read from the API server; else the cache may answer, which is behind by moments.
func (r *Router) Present(ctx context.Context, sure bool) (bool, error) {
	configurations, err := r.configurations(ctx, r.reader(sure))
	if err != nil {
		return false, err
	}
	for n := range configurations {
		if handover.Residue(&configurations[n]) {
			return true, nil
		}
	}
	return false, nil
}

// Guarded is explained at [Router.Present].
func (r *Router) Guarded(ctx context.Context, sure bool) (bool, error) {
	if !r.canGuard() {
		return false, nil
	}
	_, bindings := handover.GuardNames()
	for _, name := range bindings {
		err := r.reader(sure).Get(ctx, client.ObjectKey{Name: name}, &admissionv1.ValidatingAdmissionPolicyBinding{})
		if err == nil || !apierrors.IsNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}

func (r *Router) reader(sure bool) client.Reader {
	if sure || r.Cache == nil {
		return r.Live
	}
	return r.Cache
}
