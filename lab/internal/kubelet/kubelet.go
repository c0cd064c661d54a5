// Package kubelet runs one Kubernetes node whose pods are ordinary local processes.
//
// It does what the Istio charts, the agent and the tests expect of a real kubelet: it registers
// the Node, runs the pods that are bound to it (volumes, environment, init containers and
// sidecars, hooks, probes, restarts, graceful deletion), reports their status and events, and
// serves the kubelet API for `kubectl logs`, `exec` and `port-forward`. What needs a real machine
// (cgroups, users, security contexts, persistent volumes) is left out.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"meshlift.dev/meshlift/lab/internal/container"
	"meshlift.dev/meshlift/lab/internal/podnet"
)

// Config describes a node and where it finds what it needs.
type Config struct {
	// Cluster is the name of the cluster, Index its number in the lab.
	Cluster string
	Index   int
	// REST leads to the cluster's API server.
	REST *rest.Config
	// NodeName is the name of the Node.
	NodeName string
	// StateDir holds volumes; it is emptied at start. LogDir holds the containers' output.
	StateDir, LogDir string
	// Images are the container images that the node can run.
	Images []container.Image
	// Network is the pod network of the cluster.
	Network *podnet.Network
	// DNS is the address of the cluster's DNS server, ClusterDomain its zone.
	DNS           netip.Addr
	ClusterDomain string
	// TLSCert and TLSKey are the files of the kubelet's serving certificate, ClientCA that of the
	// authority that signed the API server's client certificate.
	TLSCert, TLSKey, ClientCA string
	// Executable is the lab binary, which becomes the shim of every container.
	Executable string
	Log        *slog.Logger
}

// apiRetry is the pause before a failed request to the API server is tried again.
const apiRetry = 500 * time.Millisecond

// kubelet is a running node.
type kubelet struct {
	Config
	client   kubernetes.Interface
	recorder record.EventRecorder
	objects  *objectCache
	machine  machine

	mu      sync.Mutex
	pods    map[types.UID]*pod
	running sync.WaitGroup
}

// Run registers the node and runs its pods until ctx ends; then it kills every process that it
// started and returns. The API server may be gone by then.
func Run(ctx context.Context, c Config) error {
	k, err := newKubelet(c)
	if err != nil {
		return fmt.Errorf("kubelet %s: %w", c.NodeName, err)
	}
	events := record.NewBroadcaster(record.WithContext(ctx))
	defer events.Shutdown()
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.client.CoreV1().Events("")})
	k.recorder = events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: c.NodeName})
	k.objects = newObjectCache(ctx, k.client, c.Log)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server, err := k.newServer()
	if err != nil {
		return fmt.Errorf("kubelet %s: %w", c.NodeName, err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := server.serve(ctx); err != nil {
			cancel(fmt.Errorf("kubelet API: %w", err))
		}
	})
	if err := k.register(ctx); err != nil {
		cancel(err)
	} else {
		tasks.Go(func() { k.renewLease(ctx) })
		k.watchPods(ctx)
	}
	<-ctx.Done()
	tasks.Wait()
	k.running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("kubelet %s: %w", c.NodeName, err)
	}
	return nil
}

func newKubelet(c Config) (*kubelet, error) {
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	c.Log = c.Log.With("node", c.NodeName, "cluster", c.Cluster)
	config := rest.CopyConfig(c.REST)
	config.QPS, config.Burst = -1, 0
	config.UserAgent = "meshlift-lab-kubelet"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(c.StateDir, "pods")); err != nil {
		return nil, fmt.Errorf("empty state directory: %w", err)
	}
	for _, dir := range []string{c.StateDir, c.LogDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return &kubelet{Config: c, client: client, machine: inspectMachine(), pods: map[types.UID]*pod{}}, nil
}

// watchPods starts, updates and removes the workers of the node's pods until ctx ends.
func (k *kubelet) watchPods(ctx context.Context) {
	onNode := fields.OneTermEqualSelector("spec.nodeName", k.NodeName)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(k.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, onNode),
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { k.podChanged(ctx, o) },
			UpdateFunc: func(_, o any) { k.podChanged(ctx, o) },
			DeleteFunc: k.podGone,
		},
	})
	informer.RunWithContext(ctx)
}

func (k *kubelet) podChanged(ctx context.Context, o any) {
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	p := k.pods[object.UID]
	if p == nil && object.DeletionTimestamp == nil && !finished(object.Status.Phase) {
		p = k.newPod(object)
		k.pods[object.UID] = p
		k.running.Go(func() {
			p.run(ctx)
			k.mu.Lock()
			delete(k.pods, object.UID)
			k.mu.Unlock()
		})
	}
	k.mu.Unlock()
	switch {
	case p != nil:
		p.update(object)
	case object.DeletionTimestamp != nil:
		k.running.Go(func() { k.deletePod(ctx, object) })
	}
}

func (k *kubelet) podGone(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	p := k.pods[object.UID]
	k.mu.Unlock()
	if p != nil {
		p.removed(object)
	}
}

// findPod returns the running pod of a name, and of a UID if there is one given.
func (k *kubelet) findPod(namespace, name, uid string) (*pod, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *pod
	for _, p := range k.pods {
		o := p.latest()
		if o.Namespace != namespace || o.Name != name || (uid != "" && string(o.UID) != uid) {
			continue
		}
		if found == nil || found.latest().CreationTimestamp.Before(&o.CreationTimestamp) {
			found = p
		}
	}
	return found, found != nil
}

// deletePod tells the API server that nothing of a deleted pod is left on the node.
func (k *kubelet) deletePod(ctx context.Context, object *corev1.Pod) {
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(object.UID))}
	for ctx.Err() == nil {
		err := k.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, options)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		k.Log.Warn("cannot complete the deletion of a pod", "pod", object.Namespace+"/"+object.Name, "error", err)
		sleep(ctx, apiRetry)
	}
}

func finished(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

// sleep waits for a time or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
