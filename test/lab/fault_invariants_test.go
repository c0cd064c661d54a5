package lab

import (
	"context"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// guard checks what must hold at every moment of a cycle, until stop is called.
func (w *world) guard(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.probes(ctx) })
	wg.Go(func() { w.follow(ctx, &corev1.PodList{}, w.realPod) })
	wg.Go(func() { w.follow(ctx, &appsv1.DeploymentList{}, func(e watch.Event) { w.oldIstiod(ctx, e) }) })
	return func() { cancel(); wg.Wait() }
}

// probes creates pods as dry runs without end: none may come out bare or injected twice.
func (w *world) probes(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		var labels map[string]string
		if n%2 == 1 {
			labels = map[string]string{v1alpha1.RevisionLabel: revisionOf(w.minor + 1)}
		}
		got, err := probe(ctx, w.Client, shop, labels)
		switch {
		case err == nil && got == "":
			w.problem("a pod with the labels %v came out bare", labels)
		case err != nil && (strings.Contains(err.Error(), "proxies") || strings.Contains(err.Error(), "talks to")):
			w.problem("a pod with the labels %v was injected twice: %v", labels, err)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// realPod checks a pod of a workload: injected by one revision, and by the one that its label asks for.
func (w *world) realPod(e watch.Event) {
	p, ok := e.Object.(*corev1.Pod)
	if !ok || e.Type == watch.Deleted || p.Namespace != shop && p.Namespace != annex {
		return
	}
	by := injectedBy(p)
	if by == "" {
		w.problem("pod %s/%s came out bare", p.Namespace, p.Name)
	} else if err := both(p, by); err != nil {
		w.problem("pod %s/%s: %v", p.Namespace, p.Name, err)
	} else if wanted := p.Labels[v1alpha1.RevisionLabel]; wanted != "" && wanted != by && !w.unguarded {
		w.problem("pod %s/%s asks for %s and was injected by %s", p.Namespace, p.Name, wanted, by)
	}
}

// oldIstiod checks, when an istiod is scaled to zero or deleted, that no pod needs it.
func (w *world) oldIstiod(ctx context.Context, e watch.Event) {
	d, ok := e.Object.(*appsv1.Deployment)
	if !ok || d.Namespace != "istio-system" || d.Name != "istiod-"+revisionOf(w.minor) || e.Type != watch.Deleted && *d.Spec.Replicas > 0 {
		return
	}
	pods := &corev1.PodList{}
	if err := w.Client.List(ctx, pods); err != nil {
		return
	}
	for n := range pods.Items {
		if p := &pods.Items[n]; injectedBy(p) == revisionOf(w.minor) && p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			w.problem("istiod %s is gone while pod %s/%s needs it", revisionOf(w.minor), p.Namespace, p.Name)
		}
	}
}

// done checks a rollout that says that it is: everything that it was to move runs on the revision.
func (w *world) done(ctx context.Context, revision string) {
	for _, o := range workloads() {
		if restarts, gone := w.excused(refOf(o)); gone || restarts > 0 {
			continue
		}
		pods := &corev1.PodList{}
		if err := w.Client.List(ctx, pods, client.InNamespace(o.GetNamespace()), client.MatchingLabels{"app": o.GetName()}); err != nil {
			return
		}
		for n := range pods.Items {
			if p := &pods.Items[n]; p.DeletionTimestamp == nil && injectedBy(p) != revision {
				w.problem("the rollout says that it is done, but pod %s/%s runs on %q", p.Namespace, p.Name, injectedBy(p))
			}
		}
	}
}
