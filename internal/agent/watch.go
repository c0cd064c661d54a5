package agent

import (
	"context"
	"reflect"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/controller/controlplane"
)

// coalesce is how long events are collected before a controller looks: a thousand pods that become ready together are
// looked at a few times and not a thousand times. It is well below the half second that a user may wait for the next move.
const coalesce = 100 * time.Millisecond

type requests func(ctx context.Context, reader client.Reader) []reconcile.Request

// watchMesh has a controller look at its unfinished objects whenever anything changes in the mesh.
func watchMesh(f requests) func(ctrl.Manager, *builder.Builder) *builder.Builder {
	return func(mgr ctrl.Manager, b *builder.Builder) *builder.Builder {
		h := collector(mgr.GetClient(), f)
		for _, o := range watched(mgr) {
			b = b.Watches(o, h, builder.WithPredicates(changed{}))
		}
		return b
	}
}

// watched are the kinds that an inventory is made of. Kinds of CRDs are watched where they are installed.
func watched(mgr ctrl.Manager) []client.Object {
	out := []client.Object{
		&appsv1.Deployment{}, &appsv1.StatefulSet{}, &appsv1.DaemonSet{}, &corev1.Pod{}, &corev1.Namespace{}, &batchv1.CronJob{}, &batchv1.Job{},
		&admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{},
		&v1alpha1.Catalog{}, &v1alpha1.ClusterUpgrade{},
	}
	if _, err := mgr.GetRESTMapper().RESTMapping(schema.GroupKind{Group: admissionv1.GroupName, Kind: "ValidatingAdmissionPolicyBinding"}, "v1"); err == nil {
		out = append(out, &admissionv1.ValidatingAdmissionPolicyBinding{}) // from Kubernetes 1.30 on
	}
	for _, gvk := range []schema.GroupVersionKind{
		{Group: "networking.istio.io", Version: "v1alpha3", Kind: "EnvoyFilter"},
		{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"},
	} {
		if _, err := mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err == nil {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			out = append(out, u)
		}
	}
	return out
}

// collector enqueues the unfinished objects after a short while; the queue keeps one entry for each.
func collector(reader client.Reader, f requests) handler.EventHandler {
	add := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, r := range f(ctx, reader) {
			q.AddAfter(r, coalesce)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
		UpdateFunc: func(ctx context.Context, _ event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
	}
}

// changed drops updates that changed nothing that the caches keep.
type changed struct{ predicate.Funcs }

// Update compares the pruned objects apart from their resource versions.
func (changed) Update(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.DeepCopyObject().(client.Object)
	if !ok {
		return true
	}
	before.SetResourceVersion(e.ObjectNew.GetResourceVersion())
	before.SetManagedFields(e.ObjectNew.GetManagedFields())
	return !reflect.DeepEqual(before, e.ObjectNew)
}

func controlPlaneRequests(context.Context, client.Reader) []reconcile.Request {
	return []reconcile.Request{controlplane.Request()}
}
