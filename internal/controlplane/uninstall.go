package controlplane

import (
	"context"
	"errors"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

// Uninstall removes a revision: its Helm release, or what istioctl installed, and then what neither removes
// ([Service.Leftovers]). CRDs, the CA key and everything that revisions share stay, and so do gateways.
//
// It refuses while istiod runs or anything leads requests to it. The revision may be gone already.
func (s *Service) Uninstall(ctx context.Context, revision string) error {
	fail := func(err error) error { return fmt.Errorf("uninstall istiod %s: %w", revision, err) }
	d, err := s.deployment(ctx, revision)
	if err != nil {
		return fail(err)
	}
	if d != nil {
		if err := foreign(d); err != nil {
			return fail(err)
		}
		if n := ptr.Deref(d.Spec.Replicas, 1); n > 0 {
			return fail(&Refused{v1alpha1.ReasonInUse, fmt.Sprintf("Deployment %s/%s has %d replicas: scale it to zero and watch the mesh for a while first", d.Namespace, d.Name, n)})
		}
	}
	if err := s.unrouted(ctx, revision); err != nil {
		return fail(err)
	}
	r, err := s.releaseOfRevision(ctx, revision)
	if err != nil {
		return fail(err)
	}
	if r != nil {
		if err := s.letGo(ctx, r); err != nil {
			return fail(err)
		}
		if err := s.o.Releases.Uninstall(ctx, r.Namespace, r.Name); err != nil {
			return fail(err)
		}
	}
	if err := s.prune(ctx, revision); err != nil {
		return fail(err)
	}
	if _, err := s.Leftovers(ctx, revision); err != nil {
		return fail(err)
	}
	return nil
}

// letGo lets go of tags and validators that name the release but lead to another revision by now, for example because a
// person moved them with istioctl. Helm passes by what does not carry its name.
func (s *Service) letGo(ctx context.Context, r *release.Release) error {
	mutating, validating, services := &admissionv1.MutatingWebhookConfigurationList{}, &admissionv1.ValidatingWebhookConfigurationList{}, &corev1.ServiceList{}
	tagged := client.HasLabels{mesh.LabelTag}
	if err := errors.Join(s.o.Live.List(ctx, mutating, tagged), s.o.Live.List(ctx, validating), s.o.Live.List(ctx, services, tagged, client.InNamespace(s.o.Namespace))); err != nil {
		return err
	}
	var objects []client.Object
	for i := range mutating.Items {
		objects = append(objects, &mutating.Items[i])
	}
	for i := range services.Items {
		objects = append(objects, &services.Items[i])
	}
	for i := range validating.Items {
		if validating.Items[i].Name == defaultValidator {
			objects = append(objects, &validating.Items[i])
		}
	}
	for _, o := range objects {
		if !ownedBy(o, r) {
			continue
		}
		_, err := s.patch(ctx, o, func() {
			annotations, labels := o.GetAnnotations(), o.GetLabels()
			delete(annotations, helmName)
			delete(annotations, helmNamespace)
			delete(labels, helmManaged)
			o.SetAnnotations(annotations)
			o.SetLabels(labels)
		})
		if err != nil {
			return fmt.Errorf("take %q out of release %q: %w", o.GetName(), r.Name, err)
		}
	}
	return nil
}

// releaseOfRevision finds the Helm release of a revision by any of its objects, so also when a removal stopped half-way;
// then only the record of the release may be left. It is nil when there is none.
func (s *Service) releaseOfRevision(ctx context.Context, revision string) (*release.Release, error) {
	try := func(namespace, name string) (*release.Release, error) {
		r, err := s.o.Releases.Release(ctx, namespace, name)
		if errors.Is(err, release.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if r.Chart != "istiod" || revisionOf(r.Values) != revision {
			return nil, nil
		}
		return r, nil
	}
	objects, err := s.labelled(ctx, revision)
	if err != nil {
		return nil, err
	}
	for i := range objects {
		if namespace, name, ok := releaseOf(&objects[i]); ok {
			if r, err := try(namespace, name); r != nil || err != nil {
				return r, err
			}
		}
	}
	records := &metav1.PartialObjectMetadataList{}
	records.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := s.o.Live.List(ctx, records, client.InNamespace(s.o.Namespace), client.MatchingLabels{"owner": "helm", "status": "uninstalling"}); err != nil {
		return nil, err
	}
	for _, record := range records.Items {
		if r, err := try(record.Namespace, record.Labels["name"]); r != nil || err != nil {
			return r, err
		}
	}
	return try(s.o.Namespace, object("istiod", revision))
}

// revisionOf reads the revision out of the values of an istiod release.
func revisionOf(values map[string]any) string {
	revision, _ := values["revision"].(string)
	if revision == "" {
		if pilot, ok := values["pilot"].(map[string]any); ok {
			revision, _ = pilot["revision"].(string)
		}
	}
	if revision == "" {
		return mesh.DefaultRevision
	}
	return revision
}

// kind is a kind of object of a control plane.
type kind struct {
	schema.GroupVersionKind
	// namespaced objects are looked for in the Istio namespace only.
	namespaced bool
}

// pruned are the kinds that "istioctl uninstall --revision" removes, webhooks first so that nothing is asked of an istiod
// that is half gone (operator/pkg/uninstall/prune.go of Istio). Gateways, Pods and Secrets are not among them.
func pruned() []kind {
	cluster := func(group, name string) kind {
		return kind{schema.GroupVersionKind{Group: group, Version: "v1", Kind: name}, false}
	}
	namespaced := func(group, version, name string) kind {
		return kind{schema.GroupVersionKind{Group: group, Version: version, Kind: name}, true}
	}
	rbac, admission := "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	return []kind{
		cluster(admission, "MutatingWebhookConfiguration"), cluster(admission, "ValidatingWebhookConfiguration"),
		namespaced("autoscaling", "v2", "HorizontalPodAutoscaler"), namespaced("policy", "v1", "PodDisruptionBudget"),
		namespaced("apps", "v1", "Deployment"), namespaced("", "v1", "Service"), namespaced("", "v1", "ConfigMap"),
		namespaced("", "v1", "ServiceAccount"), namespaced(rbac, "v1", "RoleBinding"), namespaced(rbac, "v1", "Role"),
		cluster(rbac, "ClusterRoleBinding"), cluster(rbac, "ClusterRole"),
		namespaced("networking.k8s.io", "v1", "NetworkPolicy"), namespaced("networking.istio.io", "v1alpha3", "EnvoyFilter"),
	}
}

// list reads the metadata of objects of a kind; a kind that the API server does not know has none.
func (s *Service) list(ctx context.Context, k kind, options ...client.ListOption) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	if k.namespaced {
		options = append(options, client.InNamespace(s.o.Namespace))
	}
	err := s.o.Live.List(ctx, list, options...)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", k.Kind, err)
	}
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(k.GroupVersionKind)
	}
	return list.Items, nil
}

// labelled lists the objects of istiod that carry the label of the revision, in the order in which they are removed.
func (s *Service) labelled(ctx context.Context, revision string) ([]metav1.PartialObjectMetadata, error) {
	var out []metav1.PartialObjectMetadata
	for _, k := range pruned() {
		objects, err := s.list(ctx, k, client.MatchingLabels{mesh.LabelRev: revision})
		if err != nil {
			return nil, err
		}
		for i := range objects {
			if s.ofControlPlane(&objects[i], revision) {
				out = append(out, objects[i])
			}
		}
	}
	return out, nil
}

// ofControlPlane tells whether an object that carries the revision's label is part of its istiod.
func (s *Service) ofControlPlane(o *metav1.PartialObjectMetadata, revision string) bool {
	if _, tag := o.Labels[mesh.LabelTag]; tag || o.Name == defaultValidator {
		return false
	}
	// The chart forgot the component label on validators; they are known by name.
	return o.Labels[componentLabel] == "Pilot" || o.Name == s.ownValidator(revision)
}

// prune removes what istioctl installed. After a Helm release was removed nothing is left for it to do.
func (s *Service) prune(ctx context.Context, revision string) error {
	objects, err := s.labelled(ctx, revision)
	if err != nil {
		return err
	}
	for i := range objects {
		o := &objects[i]
		err := s.o.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: ptr.To(o.UID)})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s %q: %w", o.Kind, strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"), err)
		}
	}
	return nil
}
