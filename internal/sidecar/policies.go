package sidecar

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// PolicyLabel is on every policy and binding of this package.
const PolicyLabel = "meshlift.dev/sidecars"

// Kinds of the objects that [Policies] returns, in version v1 from Kubernetes 1.36 on.
const (
	APIVersion  = "admissionregistration.k8s.io/v1"
	PolicyKind  = "MutatingAdmissionPolicy"
	BindingKind = "MutatingAdmissionPolicyBinding"
)

// Policies returns, for each namespace with settings of its own, a MutatingAdmissionPolicy and its binding, which give the
// annotations of Istio to new pods. An annotation that a pod has already stays.
func Policies(c *v1alpha1.SidecarConfiguration) []*unstructured.Unstructured {
	if c == nil {
		return nil
	}
	var out []*unstructured.Unstructured
	for _, n := range c.Namespaces {
		wanted := Annotations(n.SidecarSettings)
		if len(wanted) == 0 {
			continue
		}
		name := "meshlift-sidecars-" + n.Namespace
		var mutations []any
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			k, v := strconv.Quote(key), strconv.Quote(wanted[key])
			mutations = append(mutations, map[string]any{
				"patchType": "ApplyConfiguration",
				"applyConfiguration": map[string]any{"expression": fmt.Sprintf(
					"has(object.metadata.annotations) && %[1]s in object.metadata.annotations ? Object{} : Object{metadata: Object.metadata{annotations: {%[1]s: %[2]s}}}", k, v)},
			})
		}
		out = append(out, object(PolicyKind, name, map[string]any{
			// A pod without the settings is better than no pod.
			"failurePolicy":      "Ignore",
			"reinvocationPolicy": "Never",
			"matchConstraints": map[string]any{
				"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": n.Namespace}},
				"resourceRules": []any{map[string]any{
					"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"},
				}},
			},
			"mutations": mutations,
		}), object(BindingKind, name, map[string]any{"policyName": name}))
	}
	return out
}

func object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": APIVersion, "kind": kind, "spec": spec,
		"metadata": map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "meshlift", PolicyLabel: "true"}},
	}}
}

// Annotations returns the annotations of a pod that stand for the settings
// (https://istio.io/latest/docs/reference/config/annotations/).
func Annotations(s v1alpha1.SidecarSettings) map[string]string {
	out := map[string]string{}
	if r := s.Resources; r != nil {
		for name, a := range map[string][2]string{
			"cpu":    {"sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyCPULimit"},
			"memory": {"sidecar.istio.io/proxyMemory", "sidecar.istio.io/proxyMemoryLimit"},
		} {
			if q, ok := r.Requests[name]; ok {
				out[a[0]] = q.String()
			}
			if q, ok := r.Limits[name]; ok {
				out[a[1]] = q.String()
			}
		}
	}
	if s.LogLevel != "" {
		out["sidecar.istio.io/logLevel"] = s.LogLevel
	}
	if text := proxyConfig(s); text != "" {
		out["proxy.istio.io/config"] = text
	}
	if t := s.Traffic; t != nil {
		for name, list := range map[string][]string{
			"includeOutboundIPRanges": t.IncludeOutboundIPRanges,
			"excludeOutboundIPRanges": t.ExcludeOutboundIPRanges,
			"includeInboundPorts":     ports(t.IncludeInboundPorts),
			"excludeInboundPorts":     ports(t.ExcludeInboundPorts),
			"excludeOutboundPorts":    ports(t.ExcludeOutboundPorts),
		} {
			if len(list) > 0 {
				out["traffic.sidecar.istio.io/"+name] = strings.Join(list, ",")
			}
		}
	}
	return out
}

// proxyConfig is the part that has no annotation of its own; Istio lays it over the default of the mesh.
func proxyConfig(s v1alpha1.SidecarSettings) string {
	config := map[string]any{}
	if s.Concurrency != nil {
		config["concurrency"] = *s.Concurrency
	}
	if s.HoldApplicationUntilProxyStarts != nil {
		config["holdApplicationUntilProxyStarts"] = *s.HoldApplicationUntilProxyStarts
	}
	if s.TerminationDrainDuration != nil {
		config["terminationDrainDuration"] = seconds(s)
	}
	if len(config) == 0 {
		return ""
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		panic(err) // numbers, booleans and text
	}
	return string(text)
}
