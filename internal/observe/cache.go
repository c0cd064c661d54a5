package observe

import (
	"strings"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// CacheOptions describes the agent's caches. They hold of each object only what an [Observer] looks at: never write an
// object that was read from them, and read a whole pod template live.
//
// Pods that have ended are not cached, and neither are ReplicaSets of Deployments. Services and Secrets are cached of the Istio namespace only, and of the Secrets
// only the remote ones; read them as metav1.PartialObjectMetadata, so that no secret data is ever in memory. Kinds that
// are not mentioned here are cached whole.
func CacheOptions(istioNamespace string) cache.Options {
	istio := map[string]cache.Config{istioNamespace: {}}
	remote := labels.SelectorFromSet(labels.Set{RemoteSecretLabel: "true"})
	running := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)
	return cache.Options{
		DefaultTransform: prune,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:        {Field: running},
			&corev1.Service{}:    {Namespaces: istio},
			&appsv1.ReplicaSet{}: {Label: bareReplicaSets()},
			&corev1.Secret{}:     {Namespaces: map[string]cache.Config{istioNamespace: {LabelSelector: remote}}},
		},
	}
}

// bareReplicaSets selects the ReplicaSets that no Deployment and no Argo Rollout made: those mark theirs with the hash of
// the pod template.
func bareReplicaSets() labels.Selector {
	selector := labels.NewSelector()
	for _, key := range []string{labelTemplateHash, labelRolloutHash} {
		absent, err := labels.NewRequirement(key, selection.DoesNotExist, nil)
		if err != nil {
			panic(err) // the keys are constants
		}
		selector = selector.Add(*absent)
	}
	return selector
}

// prune reduces an object on its way into a cache to what build reads. It is idempotent, and build makes the same of the
// pruned object as of the whole one.
func prune(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		prunePod(o)
	case *appsv1.Deployment:
		pruneWorkload(&o.ObjectMeta, &o.Spec.Template)
		o.Spec.Selector = nil
		o.Status.Conditions = keep(o.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
			return c.Type == appsv1.DeploymentProgressing || c.Type == appsv1.DeploymentReplicaFailure
		})
		for n, c := range o.Status.Conditions { // not its times: they change with every pod
			o.Status.Conditions[n] = appsv1.DeploymentCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message}
		}
	case *appsv1.StatefulSet:
		pruneWorkload(&o.ObjectMeta, &o.Spec.Template)
		o.Spec.Selector, o.Spec.VolumeClaimTemplates, o.Status.Conditions = nil, nil, nil
	case *appsv1.DaemonSet:
		pruneWorkload(&o.ObjectMeta, &o.Spec.Template)
		o.Spec.Selector, o.Status.Conditions = nil, nil
	case *appsv1.ReplicaSet:
		pruneWorkload(&o.ObjectMeta, &o.Spec.Template)
		o.Spec.Selector = nil
		o.Status.Conditions = keep(o.Status.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	case *batchv1.CronJob:
		pruneWorkload(&o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template)
	case *batchv1.Job:
		pruneWorkload(&o.ObjectMeta, &o.Spec.Template)
	case *corev1.Namespace:
		pruneMeta(&o.ObjectMeta)
		o.Spec, o.Status.Conditions = corev1.NamespaceSpec{}, nil
	case *corev1.Service:
		pruneMeta(&o.ObjectMeta)
		o.Spec, o.Status = corev1.ServiceSpec{Selector: o.Spec.Selector}, corev1.ServiceStatus{}
	case *metav1.PartialObjectMetadata:
		pruneMeta(&o.ObjectMeta)
	case *admissionv1.MutatingWebhookConfiguration:
		o.ManagedFields = nil
	case *admissionv1.ValidatingAdmissionPolicy:
		o.ManagedFields, o.Status = nil, admissionv1.ValidatingAdmissionPolicyStatus{}
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		o.ManagedFields = nil
	case *admissionv1.MutatingAdmissionPolicy:
		o.ManagedFields = nil
	case *admissionv1.MutatingAdmissionPolicyBinding:
		o.ManagedFields = nil
	case *v1alpha1.AdmissionClaims:
		o.ManagedFields = nil
	case *admissionv1.ValidatingWebhookConfiguration:
		o.ManagedFields = nil
	case *unstructured.Unstructured:
		switch o.GroupVersionKind().GroupKind() {
		case gatewayKind.GroupKind():
			pruneGateway(o)
		case rolloutKind.GroupKind():
			pruneRollout(o)
		}
	}
	return object, nil
}

func pruneMeta(m *metav1.ObjectMeta) {
	m.ManagedFields, m.Finalizers, m.GenerateName = nil, nil, ""
	m.Annotations = keptAnnotations(m.Annotations)
	m.OwnerReferences = keep(m.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Controller != nil && *o.Controller || o.Kind == mesh.KindGateway
	})
}

// pruneWorkload keeps of the template what admission decides by, ports of the node, and the image of an istiod.
func pruneWorkload(m *metav1.ObjectMeta, t *corev1.PodTemplateSpec) {
	pruneMeta(m)
	t.ObjectMeta = metav1.ObjectMeta{Labels: t.Labels, Annotations: keptAnnotations(t.Annotations)}
	t.Spec = corev1.PodSpec{
		HostNetwork:    t.Spec.HostNetwork,
		Containers:     pruneContainers(t.Spec.Containers),
		InitContainers: pruneContainers(t.Spec.InitContainers),
	}
}

func pruneContainers(all []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for n := range all {
		c := corev1.Container{Ports: keep(all[n].Ports, hasHostPort)}
		if isPilot(&all[n]) {
			c.Name, c.Image = all[n].Name, all[n].Image
		}
		if c.Image != "" || c.Ports != nil {
			out = append(out, c)
		}
	}
	return out
}

func prunePod(p *corev1.Pod) {
	pruneMeta(&p.ObjectMeta)
	annotations := map[string]string{}
	for key, value := range p.Annotations {
		if key == mesh.LabelRev || key == mesh.AnnotationTemplates || strings.HasPrefix(key, "meshlift.dev/") {
			annotations[key] = value
		}
	}
	if status, ok := p.Annotations[mesh.AnnotationStatus]; ok {
		annotations[mesh.AnnotationStatus] = shortStatus(status)
	}
	p.Annotations = annotations
	spec := corev1.PodSpec{}
	if image := proxyImage(&p.Spec); image != "" {
		spec.Containers = proxyOnly(image)
	}
	p.Spec = spec
	ready := keep(p.Status.Conditions, isReady)
	for n, c := range ready {
		ready[n] = corev1.PodCondition{Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime}
	}
	p.Status = corev1.PodStatus{Phase: p.Status.Phase, Conditions: ready}
}

// proxyOnlys are containers by their image, as many as there are images of proxies. What thousands of pods have in common is in memory
// once: nobody writes what is in a cache.
var proxyOnlys sync.Map

// proxyOnly is the container of a proxy, without everything that build does not read.
func proxyOnly(image string) []corev1.Container {
	if c, ok := proxyOnlys.Load(image); ok {
		return c.([]corev1.Container)
	}
	image = strings.Clone(image) // not a part of a larger text
	c, _ := proxyOnlys.LoadOrStore(image, []corev1.Container{{Name: proxyContainer, Image: image}})
	return c.([]corev1.Container)
}

func pruneGateway(g *unstructured.Unstructured) {
	class := gatewayClass(g)
	g.SetManagedFields(nil)
	g.SetAnnotations(keptAnnotations(g.GetAnnotations()))
	g.Object = map[string]any{
		"apiVersion": g.Object["apiVersion"], "kind": g.Object["kind"], "metadata": g.Object["metadata"],
		"spec": map[string]any{"gatewayClassName": class},
	}
}

// keep returns a new slice with the elements that are wanted; nil for none, so that nothing of the old array stays alive.
func keep[T any](all []T, wanted func(T) bool) []T {
	var out []T
	for _, e := range all {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}
