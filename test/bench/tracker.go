package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// tracker watches from the outside what becomes of the workloads, with the same cost for everything that is measured.
type tracker struct {
	mu    sync.Mutex
	began time.Time
	// generations at the beginning, by namespace/name.
	known   map[string]int64
	courses map[string]*course
}

// workloadPrefix begins the names of the namespaces of the lab's workload "scale".
const workloadPrefix = "scale-"

func newTracker(ctx context.Context, kube kubernetes.Interface) (*tracker, error) {
	t := &tracker{known: map[string]int64{}, courses: map[string]*course{}}
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTransform(func(o any) (any, error) {
		if m, ok := o.(metav1.Object); ok {
			m.SetManagedFields(nil)
		}
		if p, ok := o.(*corev1.Pod); ok {
			p.Spec = corev1.PodSpec{}
		}
		return o, nil
	}))
	for _, i := range []cache.SharedIndexInformer{factory.Apps().V1().Deployments().Informer(), factory.Core().V1().Pods().Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    t.see,
			UpdateFunc: func(_, o any) { t.see(o) },
		}); err != nil {
			return nil, fmt.Errorf("watch the workloads: %w", err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return t, nil
}

// begin forgets what was seen: everything from now on belongs to the next restart.
func (t *tracker) begin() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began, t.courses = time.Now(), map[string]*course{}
	return t.began
}

func (t *tracker) see(o any) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch o := o.(type) {
	case *appsv1.Deployment:
		t.deployment(o, now)
	case *corev1.Pod:
		if app := o.Labels["app"]; strings.HasPrefix(o.Namespace, workloadPrefix) && !o.CreationTimestamp.Time.Before(t.began.Truncate(time.Second)) && ready(o) {
			if c := t.courses[o.Namespace+"/"+app]; c != nil && c.done.IsZero() {
				c.ready = now
			}
		}
	}
}

func (t *tracker) deployment(d *appsv1.Deployment, now time.Time) {
	if !strings.HasPrefix(d.Namespace, workloadPrefix) {
		return
	}
	key := d.Namespace + "/" + d.Name
	if d.Generation > t.known[key] {
		t.known[key] = d.Generation
		if t.courses[key] == nil {
			t.courses[key] = &course{name: key, patched: now}
		}
	}
	s := d.Status
	if c := t.courses[key]; c != nil && c.done.IsZero() && s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas &&
		s.AvailableReplicas == *d.Spec.Replicas && s.Replicas == s.UpdatedReplicas {
		c.done = now
		if c.ready.IsZero() {
			c.ready = now // the event of the pod came later than that of its Deployment
		}
	}
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// finished waits until so many workloads have been restarted, and returns what was seen of each.
func (t *tracker) finished(ctx context.Context, workloads int) ([]course, error) {
	count := 0
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 10*time.Minute, true, func(context.Context) (bool, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		count = 0
		for _, c := range t.courses {
			if c.complete() {
				count++
			}
		}
		return count >= workloads, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d workloads were restarted: %w", count, workloads, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []course
	for _, key := range slices.Sorted(maps.Keys(t.courses)) {
		out = append(out, *t.courses[key])
	}
	return out, nil
}
