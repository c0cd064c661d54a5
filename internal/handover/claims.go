package handover

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// ClaimPolicy is the name of the MutatingAdmissionPolicy that chooses the revision of claimed pods, and of its binding.
const ClaimPolicy = "meshlift-claims"

// Claims returns the MutatingAdmissionPolicy and its binding that label the pods of the workloads in the AdmissionClaims
// object of that name, as if their pod templates had the label
// (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/). Mutating policies run before
// mutating webhooks, so the twins of a handover see the label, and the guards see the result.
//
// A pod is matched by its controller. The Deployment of a ReplicaSet, or the Rollout of Argo, is known from the name of
// the ReplicaSet and the hash that the pod is labelled with, as in package observe.
//
// failurePolicy Ignore: a pod that this policy cannot look at stays on the old revision, which is safe and is seen; and
// nothing that is wrong with it can keep the pods of a whole cluster from being created.
func Claims(claims string) []*unstructured.Unstructured {
	const (
		claim   = "params.spec.workloads[variables.key]"
		label   = `labels: {"` + v1alpha1.RevisionLabel + `": ` + claim + `.revision}`
		attempt = `annotations: {"` + v1alpha1.AttemptAnnotation + `": string(` + claim + `.attempt)}`
		object  = "Object{metadata: Object.metadata{"
	)
	return []*unstructured.Unstructured{
		claimObject("MutatingAdmissionPolicy", map[string]any{
			"failurePolicy":      "Ignore",
			"reinvocationPolicy": "Never",
			"paramKind":          map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "AdmissionClaims"},
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"},
			}}},
			"variables": []any{
				variable("owners", "has(object.metadata.ownerReferences) ? object.metadata.ownerReferences.filter(o, has(o.controller) && o.controller) : []"),
				variable("labels", "has(object.metadata.labels) ? object.metadata.labels : {}"),
				variable("rollout", "'rollouts-pod-template-hash' in variables.labels"),
				variable("hash", "variables.rollout ? variables.labels['rollouts-pod-template-hash'] : 'pod-template-hash' in variables.labels ? variables.labels['pod-template-hash'] : ''"),
				variable("key", claimKeyExpression),
			},
			"matchConditions": []any{ // before variables: they do not know them
				variable("owned", "has(object.metadata.ownerReferences)"),
				variable("any-claim", "has(params.spec) && has(params.spec.workloads)"),
			},
			"mutations": []any{map[string]any{"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{
				"expression": "!(variables.key in params.spec.workloads) || !has(" + claim + ".revision) ? Object{} : " +
					claim + ".attempt > 1 ? " + object + label + ", " + attempt + "}} : " + object + label + "}}",
			}}},
		}),
		claimObject("MutatingAdmissionPolicyBinding", map[string]any{
			"policyName": ClaimPolicy,
			"paramRef":   map[string]any{"name": claims, "parameterNotFoundAction": "Allow"},
		}),
	}
}

// claimKeyExpression is [mesh.ClaimKey] of the workload that the pod belongs to.
const claimKeyExpression = `variables.owners.size() == 0 ? '' :
variables.owners[0].kind == 'ReplicaSet' && variables.hash != '' && variables.owners[0].name.endsWith('-' + variables.hash) ?
  request.namespace + (variables.rollout ? '.Rollout.' : '.Deployment.') + variables.owners[0].name.substring(0, variables.owners[0].name.size() - variables.hash.size() - 1) :
request.namespace + '.' + variables.owners[0].kind + '.' + variables.owners[0].name`

func variable(name, expression string) map[string]any {
	return map[string]any{"name": name, "expression": expression}
}

func claimObject(kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1",
		"kind":       kind,
		"metadata":   map[string]any{"name": ClaimPolicy, "labels": map[string]any{"app.kubernetes.io/managed-by": "meshlift"}},
		"spec":       spec,
	}}
}
