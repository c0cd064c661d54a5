package restart

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// claimed drives workloads whose pod template is not changed: the claim is the change. Its pods are evicted when a rehearsal
// has shown that admission heeds the claim.
type claimed struct{ templated }

// Read implements [Driver].
func (c claimed) Read(ctx context.Context, ref mesh.Ref) (client.Object, error) {
	o, err := c.templated.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	name, _, err := unstructured.NestedString(u.Object, "spec", "workloadRef", "name")
	if err != nil || name == "" {
		return o, nil //nolint:nilerr // a reference that cannot be read is none
	}
	d := &appsv1.Deployment{} // the Rollout takes its pod template from it
	if err := c.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: name}, d); err != nil {
		return nil, fmt.Errorf("read the Deployment %q that %s takes its pod template from: %w", name, ref, err)
	}
	template, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&d.Spec.Template)
	if err != nil {
		return nil, fmt.Errorf("read the pod template of %s: %w", ref, err)
	}
	return u, unstructured.SetNestedMap(u.Object, template, "spec", "template")
}

// Begin implements [Driver]: one write that touches this claim only.
func (c claimed) Begin(ctx context.Context, o client.Object, a rollout.Action) error {
	if a.Reverted && a.Label && c.kind.template(o).Labels[v1alpha1.RevisionLabel] == a.Target {
		return &Blocked{fmt.Sprintf("%s has its move after all: what was read before was behind", a.Ref)}
	}
	entry := v1alpha1.AdmissionClaim{
		Why: a.Why, To: a.Record.To, From: a.Record.From, Started: metav1.NewTime(a.Record.Started), Attempt: a.Record.Attempt, Rollout: a.Record.Rollout,
	}
	if a.Label {
		entry.Revision = a.Target
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&entry)
	if err != nil {
		return fmt.Errorf("encode the claim of %s: %w", a.Ref, err)
	}
	if !a.Label {
		fields["revision"] = nil // of an earlier move
	}
	key := mesh.ClaimKey(a.Ref)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"workloads": map[string]any{key: fields}}})
	if err != nil {
		return fmt.Errorf("encode the claim of %s: %w", a.Ref, err)
	}
	claims := &v1alpha1.AdmissionClaims{ObjectMeta: metav1.ObjectMeta{Name: a.Claims}}
	err = c.Writer.Patch(ctx, claims, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
	if apierrors.IsNotFound(err) {
		claims.Spec.Workloads = map[string]v1alpha1.AdmissionClaim{key: entry}
		err = c.Writer.Create(ctx, claims, client.FieldOwner(v1alpha1.FieldManager))
	}
	switch {
	case err != nil && terminal(err) && !apierrors.IsAlreadyExists(err):
		return &Refusal{v1alpha1.FailureApply, fmt.Sprintf("the claim for %s was refused: %s", a.Ref, words(err))}
	case err != nil:
		return fmt.Errorf("claim %s for %s: %w", a.Ref, a.Target, err)
	}
	return nil
}

// proved tells, by a dry run of the next pod as its controller would create it, whether admission gives the target to it. An
// API server hears of a claim a moment after it was written, and of its policy too; until then no pod is evicted.
func (m *Mover) proved(ctx context.Context, a rollout.Action) error {
	k, ok := kindOf(a.Ref.Kind)
	if !ok {
		return &Refusal{v1alpha1.FailureApply, fmt.Sprintf("Meshlift does not drive the kind %s", a.Ref.Kind)}
	}
	c := claimed{templated{m, k}}
	o, err := c.Read(ctx, a.Ref)
	if err != nil {
		return err
	}
	template := k.template(o)
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName = a.Ref.Namespace, a.Ref.Name+"-rehearsal-"
	own(pod, o, a.Ref)
	if err := m.Writer.Create(ctx, pod, client.DryRunAll); err != nil {
		return &Blocked{fmt.Sprintf("no pod of %s is evicted, because a new one could not be created: %s", a.Ref, words(err))}
	}
	if got := mesh.RevisionOf(pod.Annotations); got != a.Target {
		return &Blocked{fmt.Sprintf("no pod of %s is evicted yet, because a new one would be injected by %s and not by %s", a.Ref, orNone(got), a.Target)}
	}
	return nil
}

// own gives the pod the controller that it would have. Deployments and Rollouts have ReplicaSets in between.
func own(pod *corev1.Pod, o client.Object, ref mesh.Ref) {
	const hash = "rehearsal"
	owner := metav1.OwnerReference{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: ref.Kind, Name: ref.Name, UID: o.GetUID(), Controller: ptr.To(true)}
	label := map[string]string{mesh.KindDeployment: appsv1.DefaultDeploymentUniqueLabelKey, mesh.KindRollout: argoHash}[ref.Kind]
	if label != "" {
		owner.Kind, owner.Name = mesh.KindReplicaSet, ref.Name+"-"+hash
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[label] = hash
	}
	pod.OwnerReferences = []metav1.OwnerReference{owner}
}

// argoHash is the label by which Argo Rollouts knows the pods of a ReplicaSet
// (https://github.com/argoproj/argo-rollouts/blob/master/pkg/apis/rollouts/v1alpha1/types.go, DefaultRolloutUniqueLabelKey).
const argoHash = "rollouts-pod-template-hash"

// rolloutOfArgo is the kind Rollout, of which this module does not have the types.
func rolloutOfArgo() kind {
	gvk := schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: mesh.KindRollout}
	return kind{
		gvk,
		[]string{"spec", "template"},
		func() client.Object {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			return u
		},
		func(o client.Object) *corev1.PodTemplateSpec {
			out := &corev1.PodTemplateSpec{}
			if u, ok := o.(*unstructured.Unstructured); ok {
				if fields, found, err := unstructured.NestedMap(u.Object, "spec", "template"); found && err == nil {
					_ = runtime.DefaultUnstructuredConverter.FromUnstructured(fields, out) // what cannot be read fails the rehearsal
				}
			}
			return out
		},
	}
}
