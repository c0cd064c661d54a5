package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/release"
)

const crdKind = "CustomResourceDefinition"

var crdMetadata = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: crdKind}

// base brings the CRDs and the base chart to the new version. It never goes back to an older one.
//
// A Helm release of the chart is upgraded in place with its own values. Its validator stays what it is: a chart renders a
// first failurePolicy only, and without it Helm would make it Fail even where the Service behind it does not exist.
// Where no such release exists (istioctl) only the CRDs are applied.
func (s *Service) base(ctx context.Context, p Plan) error {
	r, err := s.baseRelease(ctx)
	if err != nil {
		return fmt.Errorf("find the release of the base chart: %w", err)
	}
	spec := release.Spec{
		Name: "istio-base", Namespace: s.o.Namespace, KeepWebhooks: []string{defaultValidator},
		Source: release.Source{Repository: p.ChartRepository, Name: "base", Version: p.To.Version},
		Values: map[string]any{},
	}
	if r == nil {
		return s.onlyCRDs(ctx, spec)
	}
	if older(p.To.Version, r.ChartVersion) || r.Status == "deployed" && r.ChartVersion == p.To.Version {
		return nil
	}
	spec.Name, spec.Namespace, spec.Values = r.Name, r.Namespace, r.Values
	if err := s.keepValidatorAbsent(ctx, spec.Values); err != nil {
		return err
	}
	chart, err := s.o.Releases.Describe(ctx, spec.Source)
	if err != nil {
		return err
	}
	// From 1.24 on the chart renders the CRDs itself, so its release owns them. Helm does not write into CRDs that it
	// adopts, so they are written here, in its name.
	own := map[string]string{}
	if slices.Contains(chart.Files, "files/crd-all.gen.yaml") {
		own = map[string]string{helmName: r.Name, helmNamespace: r.Namespace}
	}
	if err := s.applyCRDs(ctx, spec, "helm", own); err != nil {
		return err
	}
	return s.o.Releases.Apply(ctx, spec)
}

// keepValidatorAbsent keeps an upgrade from creating the default validator in a mesh that has none.
func (s *Service) keepValidatorAbsent(ctx context.Context, base map[string]any) error {
	if _, chosen := base["defaultRevision"]; chosen {
		return nil
	}
	err := s.o.Live.Get(ctx, client.ObjectKey{Name: defaultValidator}, &admissionv1.ValidatingWebhookConfiguration{})
	if apierrors.IsNotFound(err) {
		base["defaultRevision"] = ""
		return nil
	}
	return err
}

// baseRelease finds the Helm release of the base chart by the objects that every version of it has. It is nil when there
// is none.
func (s *Service) baseRelease(ctx context.Context) (*release.Release, error) {
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdMetadata)
	for _, probe := range []struct {
		object client.Object
		key    client.ObjectKey
	}{
		{&corev1.ServiceAccount{}, client.ObjectKey{Namespace: s.o.Namespace, Name: readerAccount}},
		{&admissionv1.ValidatingWebhookConfiguration{}, client.ObjectKey{Name: defaultValidator}},
		{crd, client.ObjectKey{Name: "virtualservices.networking.istio.io"}},
	} {
		if err := s.o.Live.Get(ctx, probe.key, probe.object); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		namespace, name, ok := releaseOf(probe.object)
		if !ok {
			continue
		}
		r, err := s.o.Releases.Release(ctx, namespace, name)
		if errors.Is(err, release.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.Chart == "base" {
			return r, nil
		}
	}
	return nil, nil
}

// onlyCRDs applies the CRDs of the base chart where no release owns them, once per version.
func (s *Service) onlyCRDs(ctx context.Context, spec release.Spec) error {
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdMetadata)
	// They are applied in the order of their names, so the last one tells that all are.
	err := s.o.Live.Get(ctx, client.ObjectKey{Name: "workloadgroups.networking.istio.io"}, crd)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	ours, theirs := crd.Annotations[CRDsAnnotation], crd.Labels["app.kubernetes.io/version"]
	if ours != "" && !older(ours, spec.Source.Version) || theirs != "" && older(spec.Source.Version, theirs) {
		return nil
	}
	return s.applyCRDs(ctx, spec, v1alpha1.FieldManager, map[string]string{CRDsAnnotation: spec.Source.Version})
}

// applyCRDs applies the CRDs that the base chart renders, with these annotations.
func (s *Service) applyCRDs(ctx context.Context, spec release.Spec, manager string, annotations map[string]string) error {
	objects, err := s.o.Releases.Render(ctx, spec)
	if err != nil {
		return err
	}
	for _, crd := range objects {
		if crd.GetKind() != crdKind {
			continue
		}
		decorate(crd, annotations)
		if _, helm := annotations[helmName]; helm {
			labels := crd.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[helmManaged] = "Helm"
			crd.SetLabels(labels)
		}
		if err := s.o.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply CRD %q: %w", crd.GetName(), err)
		}
	}
	return nil
}

func decorate(u *unstructured.Unstructured, annotations map[string]string) {
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	for k, v := range annotations {
		all[k] = v
	}
	u.SetAnnotations(all)
}

// older tells whether version a is older than b. A version that cannot be read is not older.
func older(a, b string) bool {
	va, err := apiversion.ParseSemantic(a)
	if err != nil {
		return false
	}
	vb, err := apiversion.ParseSemantic(b)
	return err == nil && va.LessThan(vb)
}
