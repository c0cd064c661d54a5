package simproxy

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// counts of a fleet, for its log.
type counts struct {
	proxies atomic.Int64 // pods that should be connected
	synced  atomic.Int64 // connected, with everything they asked for
}

// fleet runs one proxy per eligible pod.
type fleet struct {
	lookup *lookup
	turns  turns
	log    *slog.Logger
	counts counts

	mu      sync.Mutex
	running map[types.UID]member
	wg      sync.WaitGroup
}

// member is a running proxy.
type member struct {
	stop context.CancelFunc
	mode string
}

func newFleet(l *lookup, concurrentDials int, log *slog.Logger) *fleet {
	return &fleet{lookup: l, turns: make(turns, concurrentDials), log: log, running: map[types.UID]member{}}
}

// observe starts, restarts or stops the proxy of a pod according to what the pod is now.
func (f *fleet) observe(ctx context.Context, pod *corev1.Pod) {
	if !eligible(pod) {
		f.remove(pod.UID)
		return
	}
	mode := modeOf(pod)
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, ok := f.running[pod.UID]; ok {
		if m.mode == mode {
			return // what a proxy announces is fixed when it starts, as in a real sidecar
		}
		m.stop()
		f.counts.proxies.Add(-1)
	}
	ctx, stop := context.WithCancel(ctx)
	f.running[pod.UID] = member{stop: stop, mode: mode}
	f.counts.proxies.Add(1)
	p := &proxy{
		pod: pod, lookup: f.lookup, turns: f.turns, count: &f.counts,
		log: f.log.With("pod", pod.Namespace+"/"+pod.Name),
	}
	f.wg.Go(func() { p.run(ctx) })
}

// remove stops the proxy of a pod, if there is one.
func (f *fleet) remove(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, ok := f.running[uid]; ok {
		m.stop()
		delete(f.running, uid)
		f.counts.proxies.Add(-1)
	}
}

// wait returns when all proxies have stopped; their context must have ended.
func (f *fleet) wait() { f.wg.Wait() }

// eligible says whether a pod's proxy would be connected now.
func eligible(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil &&
		pod.Spec.NodeName != "" && pod.Spec.NodeName != ProcessNode &&
		pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "" &&
		modeOf(pod) != ModeOff &&
		speaks(pod)
}

// modeOf returns how the proxy of the pod behaves; "" in the ordinary way.
func modeOf(pod *corev1.Pod) string {
	mode, revision, only := strings.Cut(pod.Annotations[ModeAnnotation], "@")
	if only && pod.Annotations["istio.io/rev"] != revision {
		return ""
	}
	return mode
}

// speaks says whether the pod has an injected proxy that connects by itself and runs. Pods injected with the gRPC
// agent do not count: there it is the application that connects.
func speaks(pod *corev1.Pod) bool {
	c := proxyOf(pod)
	if c == nil || !named(c, "PROXY_CONFIG") && !named(c, "CA_ADDR") {
		return false
	}
	for _, e := range c.Env {
		if e.Name == "ISTIO_META_GENERATOR" && e.Value == "grpc" {
			return false
		}
	}
	status := proxyStatus(pod)
	return status == nil || status.State.Running != nil || (status.State.Waiting == nil && status.State.Terminated == nil)
}

// proxyStatus returns the status of the proxy's container, or nil when there is none yet.
func proxyStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == proxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

func named(c *corev1.Container, variable string) bool {
	for _, e := range c.Env {
		if e.Name == variable {
			return true
		}
	}
	return false
}

// prune keeps of a pod what this package reads: the cache holds every simulated pod of the cluster.
func prune(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	kept := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		DeletionTimestamp: pod.DeletionTimestamp,
	}}
	c := proxyOf(pod)
	if c == nil {
		return kept, nil
	}
	kept.Labels, kept.Annotations = pod.Labels, pod.Annotations
	kept.Spec.NodeName = pod.Spec.NodeName
	kept.Spec.ServiceAccountName = pod.Spec.ServiceAccountName
	kept.Spec.Containers = []corev1.Container{{Name: c.Name, Image: c.Image, Args: c.Args, Env: c.Env}}
	kept.Status = corev1.PodStatus{
		Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs, HostIP: pod.Status.HostIP,
	}
	if s := proxyStatus(pod); s != nil {
		kept.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: s.Name, State: s.State}}
	}
	return kept, nil
}
