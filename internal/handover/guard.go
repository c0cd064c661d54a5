package handover

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Names of the guard policies and their bindings.
const (
	// MovedGuard refuses a pod that is labelled for the new revision but was not injected by it.
	MovedGuard = "meshlift-moved-pods"
	// BareGuard refuses a pod of a mesh namespace that came out with no sidecar at all.
	BareGuard = "meshlift-bare-pods"
)

// Guards returns the ValidatingAdmissionPolicies and bindings that make loud, during a handover, what would be silent in
// Istio: a pod that was injected by the wrong revision, or by none
// (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/).
//
// selectors are the values of istio.io/rev (revisions and tags) whose namespaces must be injected; enabled says whether
// istio-injection=enabled is served; exempt are namespaces that are labelled but hold pods that were never injected, so
// somebody has other plans with them.
func Guards(to string, selectors []string, enabled bool, exempt []string) []*unstructured.Unstructured {
	out := []*unstructured.Unstructured{
		policy(MovedGuard,
			map[string]any{"matchExpressions": []any{
				expression(v1alpha1.RevisionLabel, "In", to), expression("sidecar.istio.io/inject", "NotIn", "false"),
			}},
			map[string]any{
				"expression":        fmt.Sprintf(`variables.status.contains('"revision":"%s"')`, to),
				"messageExpression": fmt.Sprintf(`'Meshlift refused this pod: it is labelled %s=%s but was injected by ' + (variables.status == '' ? 'no revision' : 'another revision') + '; check that the mutating webhook configurations are in place (meshlift status) and try again'`, v1alpha1.RevisionLabel, to),
				"reason":            "Forbidden",
			}),
		binding(MovedGuard, MovedGuard, nil),
		policy(BareGuard,
			map[string]any{"matchExpressions": []any{expression("sidecar.istio.io/inject", "NotIn", "false")}},
			map[string]any{
				"expression": "variables.status != ''",
				"message":    "Meshlift refused this pod: its namespace belongs to the mesh but no istiod injected it, and an upgrade is going on; check that the mutating webhook configurations are in place (meshlift status) and try again",
				"reason":     "Forbidden",
			}),
		binding(BareGuard+"-revision", BareGuard, []any{
			expression("istio.io/rev", "In", selectors...), map[string]any{"key": "istio-injection", "operator": "DoesNotExist"}, notIn(exempt),
		}),
	}
	if enabled {
		out = append(out, binding(BareGuard+"-enabled", BareGuard, []any{expression("istio-injection", "In", "enabled"), notIn(exempt)}))
	}
	return out
}

// GuardNames lists every policy and binding that [Guards] may make, as kind and name.
func GuardNames() (policies, bindings []string) {
	return []string{MovedGuard, BareGuard}, []string{MovedGuard, BareGuard + "-revision", BareGuard + "-enabled"}
}

func expression(key, operator string, values ...string) map[string]any {
	out := make([]any, 0, len(values))
	for _, v := range values {
		out = append(out, v)
	}
	return map[string]any{"key": key, "operator": operator, "values": out}
}

// notIn always excludes what the webhooks never inject, besides the exempt namespaces.
func notIn(exempt []string) map[string]any {
	all := append([]string{"kube-system", "kube-public", "kube-node-lease"}, exempt...)
	slices.Sort(all)
	return expression("kubernetes.io/metadata.name", "NotIn", slices.Compact(all)...)
}

func policy(name string, objectSelector, validation map[string]any) *unstructured.Unstructured {
	annotation := func(key, def string) string {
		return fmt.Sprintf("has(object.metadata.annotations) && '%[1]s' in object.metadata.annotations ? object.metadata.annotations['%[1]s'] : '%[2]s'", key, def)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1",
		"kind":       "ValidatingAdmissionPolicy",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "meshlift"}},
		"spec": map[string]any{
			"failurePolicy": "Fail",
			"matchConstraints": map[string]any{
				"resourceRules": []any{map[string]any{
					"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"},
				}},
				"objectSelector": objectSelector,
			},
			"matchConditions": []any{
				map[string]any{"name": "not-host-network", "expression": "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)"},
				map[string]any{"name": "not-opted-out", "expression": "(" + annotation("sidecar.istio.io/inject", "") + ") != 'false'"},
			},
			"variables":   []any{map[string]any{"name": "status", "expression": strings.TrimSpace(annotation("sidecar.istio.io/status", ""))}},
			"validations": []any{validation},
		},
	}}
}

func binding(name, policy string, namespaces []any) *unstructured.Unstructured {
	spec := map[string]any{"policyName": policy, "validationActions": []any{"Deny", "Audit"}}
	if namespaces != nil {
		spec["matchResources"] = map[string]any{"namespaceSelector": map[string]any{"matchExpressions": namespaces}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1",
		"kind":       "ValidatingAdmissionPolicyBinding",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "meshlift"}},
		"spec":       spec,
	}}
}
