package restart

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// kind is a kind of workload with a pod template.
type kind struct {
	gvk schema.GroupVersionKind
	// path of the pod template in the object.
	path []string
	// empty returns a new object, and template the pod template of one.
	empty    func() client.Object
	template func(client.Object) *corev1.PodTemplateSpec
}

// kindOf returns the kind with a pod template of that name.
func kindOf(name string) (kind, bool) {
	apps := func(empty func() client.Object, template func(client.Object) *corev1.PodTemplateSpec) kind {
		return kind{appsv1.SchemeGroupVersion.WithKind(name), []string{"spec", "template"}, empty, template}
	}
	switch name {
	case mesh.KindDeployment:
		return apps(func() client.Object { return &appsv1.Deployment{} }, func(o client.Object) *corev1.PodTemplateSpec { return &o.(*appsv1.Deployment).Spec.Template }), true
	case mesh.KindStatefulSet:
		return apps(func() client.Object { return &appsv1.StatefulSet{} }, func(o client.Object) *corev1.PodTemplateSpec { return &o.(*appsv1.StatefulSet).Spec.Template }), true
	case mesh.KindDaemonSet:
		return apps(func() client.Object { return &appsv1.DaemonSet{} }, func(o client.Object) *corev1.PodTemplateSpec { return &o.(*appsv1.DaemonSet).Spec.Template }), true
	case mesh.KindReplicaSet:
		return apps(func() client.Object { return &appsv1.ReplicaSet{} }, func(o client.Object) *corev1.PodTemplateSpec { return &o.(*appsv1.ReplicaSet).Spec.Template }), true
	case mesh.KindRollout:
		return rolloutOfArgo(), true
	case mesh.KindCronJob:
		return kind{
			batchv1.SchemeGroupVersion.WithKind(name),
			[]string{"spec", "jobTemplate", "spec", "template"},
			func() client.Object { return &batchv1.CronJob{} },
			func(o client.Object) *corev1.PodTemplateSpec {
				return &o.(*batchv1.CronJob).Spec.JobTemplate.Spec.Template
			},
		}, true
	}
	return kind{}, false
}

// templated drives everything with a pod template that Meshlift labels. For Deployments, StatefulSets and DaemonSets with
// a rolling update the change is the restart; a CronJob follows it with its next run; the pods of others are evicted.
type templated struct {
	*Mover
	kind kind
}

// Read implements [Driver].
func (t templated) Read(ctx context.Context, ref mesh.Ref) (client.Object, error) {
	o := t.kind.empty()
	if err := t.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, o); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return o, nil
}

// Next implements [Driver].
func (t templated) Next(o client.Object, a rollout.Action) *corev1.Pod {
	template := t.kind.template(o)
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName = a.Ref.Namespace, a.Ref.Name+"-rehearsal-"
	pod.Labels = movedLabels(pod.Labels, a)
	return pod
}

// Begin implements [Driver].
func (t templated) Begin(ctx context.Context, o client.Object, a rollout.Action) error {
	if err := t.prepare(ctx, o, a); err != nil {
		return err
	}
	patch := templatePatch(t.kind, a)
	patch.SetUID(o.GetUID())
	if a.Method == rollout.ByTemplateAndEviction {
		patch.SetResourceVersion(o.GetResourceVersion()) // so that a change of its owner is not shipped unseen
	}
	return t.apply(ctx, a, patch)
}

func movedLabels(labels map[string]string, a rollout.Action) map[string]string {
	out := map[string]string{}
	for k, v := range labels {
		if k != v1alpha1.RevisionLabel {
			out[k] = v
		}
	}
	if a.Label {
		out[v1alpha1.RevisionLabel] = a.Target
	}
	if a.Pin != "" {
		out[mesh.LabelRev] = a.Pin
	}
	return out
}

// templatePatch is everything that Meshlift owns in a workload. Fields that an earlier move owned and this one does not
// name are taken away by the API server.
func templatePatch(k kind, a rollout.Action) *unstructured.Unstructured {
	labels, annotations := map[string]any{}, map[string]any{}
	if a.Label {
		labels[v1alpha1.RevisionLabel] = a.Target
		if a.Record.Attempt > 1 {
			annotations[v1alpha1.AttemptAnnotation] = strconv.Itoa(int(a.Record.Attempt))
		}
	}
	if a.Pin != "" {
		labels[mesh.LabelRev] = a.Pin
	}
	u := object(k.gvk, a)
	// Maps of strings and maps cannot fail to be set.
	_ = unstructured.SetNestedMap(u.Object, map[string]any{"labels": labels, "annotations": annotations}, append(k.path[:len(k.path):len(k.path)], "metadata")...)
	return u
}

func object(gvk schema.GroupVersionKind, a rollout.Action) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(gvk)
	u.SetNamespace(a.Ref.Namespace)
	u.SetName(a.Ref.Name)
	record, _ := json.Marshal(a.Record) // a struct of strings and numbers cannot fail
	u.SetAnnotations(map[string]string{v1alpha1.MoveAnnotation: string(record)})
	return u
}

// apply writes what Meshlift owns. Server-side apply creates what does not exist; a workload that was deleted since it was
// read must stay deleted, so the patch names the very object by its UID.
func (m *Mover) apply(ctx context.Context, a rollout.Action, patch *unstructured.Unstructured) error {
	err := m.Writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(patch), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership)
	switch {
	case err != nil && terminal(err):
		return &Refusal{v1alpha1.FailureApply, fmt.Sprintf("the change of %s was refused: %s", a.Ref, words(err))}
	case err != nil:
		return fmt.Errorf("move %s to %s: %w", a.Ref, a.Target, err)
	}
	return nil
}
