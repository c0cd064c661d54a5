package agent

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/controller/controlplane"
)

// coalesce is how long the first event after a quiet time waits for others, and the interval of a controller is how long
// the next ones wait: a thousand pods that become ready together are looked at a few times and not a thousand times. Moves
// are what a user waits for; an upgrade and the list of revisions only count while data planes move.
const (
	coalesce             = 20 * time.Millisecond
	rolloutInterval      = 100 * time.Millisecond
	upgradeInterval      = time.Second
	controlPlaneInterval = 2 * time.Second
	sidecarsInterval     = 10 * time.Second
)

type requests func(ctx context.Context, reader client.Reader) []reconcile.Request

// meshWatch watches, once for all controllers, the kinds that an inventory is made of. It begins when the first
// controller starts, that is, in the replica that leads.
type meshWatch struct {
	cache  cache.Cache
	reader client.Reader
	kinds  []client.Object

	begin   sync.Once
	synced  chan struct{} // closed when the watches are complete, or failed with err
	err     error
	watches atomic.Bool
	changes atomic.Uint64

	mu        sync.Mutex
	listeners []*listener
}

func newMeshWatch(mgr ctrl.Manager) *meshWatch {
	return &meshWatch{cache: mgr.GetCache(), reader: mgr.GetClient(), kinds: watched(mgr), synced: make(chan struct{})}
}

// version counts the changes of the mesh; known is false while nobody counts.
func (m *meshWatch) version() (changes uint64, known bool) { return m.changes.Load(), m.watches.Load() }

// every has a controller look at its unfinished objects after a change in the mesh, at most once in each interval.
func (m *meshWatch) every(interval time.Duration, f requests) func(ctrl.Manager, *builder.Builder) *builder.Builder {
	return func(_ ctrl.Manager, b *builder.Builder) *builder.Builder {
		return b.WatchesRawSource(&listener{watch: m, requests: f, interval: interval})
	}
}

// watched are the kinds that an inventory is made of. Kinds of CRDs are watched where they are installed.
func watched(mgr ctrl.Manager) []client.Object {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	out := []client.Object{
		&appsv1.Deployment{}, &appsv1.StatefulSet{}, &appsv1.DaemonSet{}, &appsv1.ReplicaSet{}, &corev1.Pod{}, &corev1.Namespace{}, &batchv1.CronJob{}, &batchv1.Job{},
		&corev1.Service{}, secret, &admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{},
		&v1alpha1.Catalog{}, &v1alpha1.ClusterUpgrade{}, &v1alpha1.AdmissionClaims{},
	}
	for _, policies := range [][]client.Object{
		{&admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}}, // from Kubernetes 1.30 on
		{&admissionv1.MutatingAdmissionPolicy{}, &admissionv1.MutatingAdmissionPolicyBinding{}},     // from Kubernetes 1.36 on
	} {
		for _, o := range policies {
			gvk, err := apiutil.GVKForObject(o, mgr.GetScheme())
			if err != nil {
				continue // they are in the scheme
			}
			if _, err := mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err == nil {
				out = append(out, o)
			}
		}
	}
	for _, gvk := range []schema.GroupVersionKind{
		{Group: "networking.istio.io", Version: "v1alpha3", Kind: "EnvoyFilter"},
		{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"},
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"},
	} {
		if _, err := mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err == nil {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			out = append(out, u)
		}
	}
	return out
}

// start registers with the informers of the cache, in the background: they may take a while.
func (m *meshWatch) start(ctx context.Context) {
	m.begin.Do(func() {
		go func() {
			defer close(m.synced)
			if m.err = m.register(ctx); m.err == nil {
				m.watches.Store(true)
			}
		}()
	})
}

func (m *meshWatch) register(ctx context.Context) error {
	for _, o := range m.kinds {
		informer, err := m.cache.GetInformer(ctx, o)
		if err != nil {
			return fmt.Errorf("watch %T: %w", o, err)
		}
		handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { m.changed(ctx) },
			UpdateFunc: func(before, after any) {
				if !same(before, after) {
					m.changed(ctx)
				}
			},
			DeleteFunc: func(any) { m.changed(ctx) },
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", o, err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			return fmt.Errorf("watch %T: the first list did not arrive: %w", o, context.Cause(ctx))
		}
	}
	return nil
}

func (m *meshWatch) changed(ctx context.Context) {
	m.changes.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.listeners {
		l.poke(ctx)
	}
}

// same tells whether an update changed nothing that the caches keep, apart from the version of the object.
func same(before, after any) bool {
	was, ok := before.(client.Object)
	is, ok2 := after.(client.Object)
	if !ok || !ok2 || reflect.TypeOf(was) != reflect.TypeOf(is) {
		return false
	}
	if _, ok := was.(*unstructured.Unstructured); ok {
		was = was.DeepCopyObject().(client.Object) // its metadata is a map, which a copy of the struct would share
	} else {
		c := reflect.New(reflect.TypeOf(was).Elem())
		c.Elem().Set(reflect.ValueOf(was).Elem())
		was = c.Interface().(client.Object)
	}
	was.SetResourceVersion(is.GetResourceVersion())
	was.SetManagedFields(is.GetManagedFields())
	return reflect.DeepEqual(was, is)
}

// listener is one controller as a [meshWatch] sees it: a source of requests.
type listener struct {
	watch    *meshWatch
	requests requests
	interval time.Duration

	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]
	waiting bool
	last    time.Time
}

// Start implements source.Source.
func (l *listener) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	l.queue = queue
	l.watch.mu.Lock()
	l.watch.listeners = append(l.watch.listeners, l)
	l.watch.mu.Unlock()
	l.watch.start(ctx)
	l.poke(ctx)
	return nil
}

// WaitForSync implements source.SyncingSource: a controller does not look before every kind is known.
func (l *listener) WaitForSync(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the watches of the mesh: %w", context.Cause(ctx))
	case <-l.watch.synced:
		return l.watch.err
	}
}

// poke enqueues the unfinished objects after a short while; what happens until then needs no second look.
func (l *listener) poke(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting {
		return
	}
	l.waiting = true
	time.AfterFunc(max(coalesce, l.interval-time.Since(l.last)), func() {
		l.mu.Lock()
		l.waiting, l.last = false, time.Now()
		l.mu.Unlock()
		for _, r := range l.requests(ctx, l.watch.reader) {
			l.queue.Add(r)
		}
	})
}

func controlPlaneRequests(context.Context, client.Reader) []reconcile.Request {
	return []reconcile.Request{controlplane.Request()}
}
