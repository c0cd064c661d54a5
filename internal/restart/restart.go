// Package restart moves one workload: it rehearses the next pod, then changes the pod template by server-side apply.
// The change of the template is the restart, and the workload's own controller replaces the pods by its own strategy.
package restart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// Mover moves workloads of one cluster.
type Mover struct {
	// Live reads from the API server and not from a cache: a rehearsal needs the whole pod template of this moment.
	Live client.Reader
	// Writer writes.
	Writer client.Client
}

// Refusal says that the API server does not want the move as it is. Nothing was touched.
type Refusal struct {
	// Reason is [v1alpha1.FailureRehearsal] or [v1alpha1.FailureApply].
	Reason string
	// Message is one sentence with the API server's own words.
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Do carries out one action: rehearsal first, then the change. It returns a [*Refusal] when the move cannot be made as
// things are, and any other error when it should be tried again. Doing the same action twice changes nothing.
func (m *Mover) Do(ctx context.Context, a rollout.Action) error {
	switch {
	case a.Restore:
		return m.restore(ctx, a.Ref)
	case a.Ref.Kind == mesh.KindGateway:
		return m.gateway(ctx, a)
	}
	now, err := m.read(ctx, a.Ref)
	if err != nil {
		return err
	}
	if err := m.rehearse(ctx, a, now.template); err != nil {
		return err
	}
	if a.Surge {
		if err := m.surge(ctx, a.Ref); err != nil {
			return err
		}
	}
	return m.apply(ctx, a, workloadPatch(a), now.uid)
}

// gateway moves a Gateway of the Gateway API.
func (m *Mover) gateway(ctx context.Context, a rollout.Action) error {
	patch, now := gatewayPatch(a), &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(patch.GroupVersionKind())
	if err := m.Live.Get(ctx, client.ObjectKeyFromObject(patch), now); err != nil {
		return fmt.Errorf("read %s: %w", a.Ref, err)
	}
	return m.apply(ctx, a, patch, now.UID)
}

// Rehearse creates the next pod of the workload as a dry run: admission, injection, quota, pod security and every other
// policy answer as they would for the real pod, and nothing happens
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).
func (m *Mover) Rehearse(ctx context.Context, a rollout.Action) error {
	now, err := m.read(ctx, a.Ref)
	if err != nil {
		return err
	}
	return m.rehearse(ctx, a, now.template)
}

func (m *Mover) rehearse(ctx context.Context, a rollout.Action, template corev1.PodTemplateSpec) error {
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
	pod.Namespace, pod.GenerateName = a.Ref.Namespace, a.Ref.Name+"-rehearsal-"
	pod.Labels = movedLabels(pod.Labels, a)
	err := m.Writer.Create(ctx, pod, client.DryRunAll)
	switch {
	case err != nil && terminal(err):
		return &Refusal{v1alpha1.FailureRehearsal, fmt.Sprintf("the rehearsal of the next pod of %s was refused: %s", a.Ref, words(err))}
	case err != nil:
		return fmt.Errorf("rehearse the next pod of %s: %w", a.Ref, err)
	}
	if got := mesh.RevisionOf(pod.Annotations); got != a.Target {
		return &Refusal{v1alpha1.FailureRehearsal, fmt.Sprintf("the rehearsal of the next pod of %s was injected by %s and not by %s: check its labels and the injection webhooks, then retry", a.Ref, orNone(got), a.Target)}
	}
	return nil
}

// workload is what a move needs to know of a workload at this moment.
type workload struct {
	uid      types.UID
	template corev1.PodTemplateSpec
}

func (m *Mover) read(ctx context.Context, ref mesh.Ref) (workload, error) {
	var (
		o        client.Object
		template *corev1.PodTemplateSpec
	)
	switch ref.Kind {
	case mesh.KindDeployment:
		d := &appsv1.Deployment{}
		o, template = d, &d.Spec.Template
	case mesh.KindStatefulSet:
		s := &appsv1.StatefulSet{}
		o, template = s, &s.Spec.Template
	case mesh.KindDaemonSet:
		d := &appsv1.DaemonSet{}
		o, template = d, &d.Spec.Template
	default:
		return workload{}, &Refusal{v1alpha1.FailureApply, fmt.Sprintf("Meshlift does not drive the kind %s", ref.Kind)}
	}
	if err := m.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, o); err != nil {
		return workload{}, fmt.Errorf("read %s: %w", ref, err)
	}
	return workload{o.GetUID(), *template}, nil
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

// workloadPatch is everything that Meshlift owns in a workload. Fields that an earlier move owned and this one does not
// name are taken away by the API server.
func workloadPatch(a rollout.Action) *unstructured.Unstructured {
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
	template := map[string]any{"metadata": map[string]any{"labels": labels, "annotations": annotations}}
	u := object("apps/v1", a)
	u.Object["spec"] = map[string]any{"template": template}
	return u
}

func gatewayPatch(a rollout.Action) *unstructured.Unstructured {
	u := object("gateway.networking.k8s.io/v1", a)
	u.SetLabels(map[string]string{mesh.LabelRev: a.Target})
	return u
}

func object(apiVersion string, a rollout.Action) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(apiVersion)
	u.SetKind(a.Ref.Kind)
	u.SetNamespace(a.Ref.Namespace)
	u.SetName(a.Ref.Name)
	record, _ := json.Marshal(a.Record) // a struct of strings and numbers cannot fail
	u.SetAnnotations(map[string]string{v1alpha1.MoveAnnotation: string(record)})
	return u
}

// apply writes what Meshlift owns. Server-side apply creates what does not exist; a workload that was deleted since it was
// read must stay deleted, so the patch names the very object.
func (m *Mover) apply(ctx context.Context, a rollout.Action, patch *unstructured.Unstructured, uid types.UID) error {
	patch.SetUID(uid)
	err := m.Writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(patch), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership)
	switch {
	case err != nil && terminal(err):
		return &Refusal{v1alpha1.FailureApply, fmt.Sprintf("the change of %s was refused: %s", a.Ref, words(err))}
	case err != nil:
		return fmt.Errorf("move %s to %s: %w", a.Ref, a.Target, err)
	}
	return nil
}

// surge lets a gateway create its new pod before the old one goes, and keeps the strategy it had in an annotation; one
// write does both, so a crash cannot lose it.
func (m *Mover) surge(ctx context.Context, ref mesh.Ref) error {
	d := &appsv1.Deployment{}
	if err := m.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, d); err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if d.Annotations[v1alpha1.StrategyAnnotation] != "" || d.Spec.Strategy.RollingUpdate == nil {
		return nil
	}
	saved, err := json.Marshal(d.Spec.Strategy)
	if err != nil {
		return fmt.Errorf("save the strategy of %s: %w", ref, err)
	}
	return m.strategy(ctx, d, string(saved), map[string]any{"rollingUpdate": map[string]any{"maxSurge": 1, "maxUnavailable": 0}})
}

// restore gives a gateway the strategy back that [Mover.surge] saved.
func (m *Mover) restore(ctx context.Context, ref mesh.Ref) error {
	d := &appsv1.Deployment{}
	if err := m.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, d); err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	saved := d.Annotations[v1alpha1.StrategyAnnotation]
	if saved == "" {
		return nil
	}
	var strategy map[string]any
	if err := json.Unmarshal([]byte(saved), &strategy); err != nil {
		return m.strategy(ctx, d, nil, nil) // somebody edited the annotation: nothing to restore from
	}
	return m.strategy(ctx, d, nil, strategy)
}

func (m *Mover) strategy(ctx context.Context, d *appsv1.Deployment, saved any, strategy map[string]any) error {
	patch := map[string]any{"metadata": map[string]any{
		"annotations":     map[string]any{v1alpha1.StrategyAnnotation: saved},
		"resourceVersion": d.ResourceVersion,
	}}
	if strategy != nil {
		patch["spec"] = map[string]any{"strategy": strategy}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the strategy of %s/%s: %w", d.Namespace, d.Name, err)
	}
	if err := m.Writer.Patch(ctx, d, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(v1alpha1.FieldManager+"-surge")); err != nil {
		return fmt.Errorf("change the strategy of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	return nil
}

// terminal tells whether trying again without a change somewhere else would get the same answer.
func terminal(err error) bool {
	switch {
	case apierrors.IsInternalError(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsConflict(err), apierrors.IsUnexpectedServerError(err):
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err)
}

func words(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

func orNone(s string) string {
	if s == "" {
		return "no revision"
	}
	return s
}
