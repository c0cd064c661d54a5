package controlplane

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

// oldValues are the values of the revision that is left.
type oldValues struct {
	values       map[string]any
	chartVersion string
	// lost are sentences about what could not be found out.
	lost []string
}

// oldValues finds the values that a revision was installed with, best source first: the Helm release; the ConfigMap that
// charts from 1.26 on keep (istioctl renders the same charts); the IstioOperator that istioctl up to 1.23 stores; and at
// last the configuration that istiod itself reads, which every version has.
func (s *Service) oldValues(ctx context.Context, from mesh.Revision) (oldValues, error) {
	d, err := s.deployment(ctx, from.Name)
	if err != nil {
		return oldValues{}, err
	}
	if d == nil {
		return oldValues{}, &Refused{v1alpha1.ReasonUnknownRevision, fmt.Sprintf("Revision %s has no istiod in %s, so its values cannot be carried over: start from a revision that runs", from.Name, s.o.Namespace)}
	}
	if err := foreign(d); err != nil {
		return oldValues{}, err
	}
	if namespace, name, ok := releaseOf(d); ok {
		r, err := s.o.Releases.Release(ctx, namespace, name)
		if err == nil && r.Chart == "istiod" {
			return oldValues{values: r.Values, chartVersion: r.ChartVersion}, nil
		}
		if err != nil && !errors.Is(err, release.ErrNotFound) {
			return oldValues{}, err
		}
	}
	for _, source := range []func(context.Context, mesh.Revision) (*oldValues, error){s.recorded, s.operator, s.effective} {
		found, err := source(ctx, from)
		if err != nil {
			return oldValues{}, err
		}
		if found != nil {
			found.chartVersion = from.Version
			return *found, nil
		}
	}
	return oldValues{lost: []string{"(all): nothing in the cluster tells the values of the old revision; give what you need in spec.values"}}, nil
}

// configMap returns the data of a ConfigMap in the Istio namespace, nil when there is none.
func (s *Service) configMap(ctx context.Context, name string) (map[string]string, error) {
	cm := &corev1.ConfigMap{}
	err := s.o.Live.Get(ctx, client.ObjectKey{Namespace: s.o.Namespace, Name: name}, cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return cm.Data, nil
}

// recorded reads ConfigMap values-REV.
func (s *Service) recorded(ctx context.Context, from mesh.Revision) (*oldValues, error) {
	name := object("values", from.Name)
	data, err := s.configMap(ctx, name)
	if err != nil || data["original-values"] == "" {
		return nil, err
	}
	out := &oldValues{}
	if err := yaml.Unmarshal([]byte(data["original-values"]), &out.values); err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", name, err)
	}
	return out, nil
}

var istioOperator = schema.GroupVersionKind{Group: "install.istio.io", Version: "v1alpha1", Kind: "IstioOperator"}

// operator reads IstioOperator installed-state-REV.
func (s *Service) operator(ctx context.Context, from mesh.Revision) (*oldValues, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(istioOperator)
	err := s.o.Live.Get(ctx, client.ObjectKey{Namespace: s.o.Namespace, Name: object("installed-state", from.Name)}, u)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	return fromOperator(spec), nil
}

// fromOperator translates the spec of an IstioOperator into values of the istiod chart
// (https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/).
func fromOperator(spec map[string]any) *oldValues {
	out := &oldValues{values: map[string]any{}}
	if v, ok := spec["values"].(map[string]any); ok {
		out.values = v
	}
	if m, ok := spec["meshConfig"].(map[string]any); ok {
		out.values["meshConfig"] = m
	}
	for _, key := range []string{"hub", "tag"} {
		if v, ok := spec[key]; ok {
			_ = unstructured.SetNestedField(out.values, v, "global", key)
		}
	}
	k8s, _, _ := unstructured.NestedMap(spec, "components", "pilot", "k8s")
	known := map[string][]string{
		"resources": {"pilot", "resources"}, "nodeSelector": {"pilot", "nodeSelector"}, "affinity": {"pilot", "affinity"},
		"tolerations": {"pilot", "tolerations"}, "replicaCount": {"pilot", "replicaCount"}, "podAnnotations": {"pilot", "podAnnotations"},
		"priorityClassName": {"global", "priorityClassName"},
	}
	for key, value := range k8s {
		switch path, ok := known[key]; {
		case ok:
			_ = unstructured.SetNestedField(out.values, value, path...)
		case key == "env":
			out.lost = append(out.lost, env(out.values, value)...)
		case key == "hpaSpec":
			for field, setting := range map[string]string{"minReplicas": "autoscaleMin", "maxReplicas": "autoscaleMax"} {
				if n, found, _ := unstructured.NestedFieldNoCopy(k8s, key, field); found {
					_ = unstructured.SetNestedField(out.values, n, "pilot", setting)
				}
			}
		default:
			out.lost = append(out.lost, "components.pilot.k8s."+key+": the Helm chart has no such value; give what you need in spec.values")
		}
	}
	return out
}

// env carries plain environment variables; those that refer to something have no value in the chart.
func env(into map[string]any, list any) (lost []string) {
	items, _ := list.([]any)
	for _, item := range items {
		e, _ := item.(map[string]any)
		name, _ := e["name"].(string)
		if value, ok := e["value"].(string); ok && name != "" {
			_ = unstructured.SetNestedField(into, value, "pilot", "env", name)
			continue
		}
		lost = append(lost, "components.pilot.k8s.env."+name+": it has no plain value")
	}
	return lost
}

// effective reads what istiod reads: the mesh configuration, and the values of injection. The latter hold the defaults of
// the old version as well, so only what identifies the cluster and the mesh is taken from them.
func (s *Service) effective(ctx context.Context, from mesh.Revision) (*oldValues, error) {
	out := &oldValues{values: map[string]any{}, lost: []string{
		"(others): the installation does not keep its values; only the mesh configuration and what identifies the cluster could be read back, so compare the new istiod with the old one and give what is missing in spec.values",
	}}
	data, err := s.configMap(ctx, object("istio", from.Name))
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte(data["mesh"]), &config); err != nil {
		return nil, fmt.Errorf("read the mesh configuration of revision %q: %w", from.Name, err)
	}
	if len(config) > 0 {
		// The chart computes the address of istiod; the one of the old revision must not survive.
		unstructured.RemoveNestedField(config, "defaultConfig", "discoveryAddress")
		out.values["meshConfig"] = config
	}
	if data, err = s.configMap(ctx, object("istio-sidecar-injector", from.Name)); err != nil {
		return nil, err
	}
	var injection map[string]any
	if err := yaml.Unmarshal([]byte(data["values"]), &injection); err != nil {
		return nil, fmt.Errorf("read the injection values of revision %q: %w", from.Name, err)
	}
	for _, path := range [][]string{
		{"global", "meshID"},
		{"global", "network"},
		{"global", "multiCluster"},
		{"global", "istioNamespace"},
		{"global", "imagePullSecrets"},
		{"global", "imagePullPolicy"},
		{"global", "caAddress"},
		{"global", "remotePilotAddress"},
		{"global", "externalIstiod"},
		{"global", "pilotCertProvider"},
		{"global", "proxy", "clusterDomain"},
	} {
		if v, ok, _ := unstructured.NestedFieldCopy(injection, path...); ok {
			_ = unstructured.SetNestedField(out.values, v, path...)
		}
	}
	if len(out.values) == 0 {
		return nil, nil
	}
	return out, nil
}
