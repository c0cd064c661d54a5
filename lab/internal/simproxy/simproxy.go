package simproxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// concurrentDials is how many proxies connect at the same time. istiod itself admits about 25 a second on a small
// machine and refuses those that wait for more than a second.
const concurrentDials = 16

// reportEvery is how often a changed number of connections is logged.
const reportEvery = 5 * time.Second

// Run keeps the proxies of all simulated pods of one cluster connected until ctx ends; then all are closed. The
// addresses of the cluster's Services must be reachable from here.
func Run(ctx context.Context, cfg *rest.Config, log *slog.Logger) error {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // thousands of tokens at start-up; the dials are bounded
	cfg.UserAgent = "lab-simproxy"
	cfg.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("simulated proxies: %w", err)
	}
	return run(ctx, client, log)
}

// run is Run with a client.
func run(ctx context.Context, client kubernetes.Interface, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f := newFleet(newLookup(client), concurrentDials, log)
	defer f.wait()
	defer stop()

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(prune),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.AndSelectors(
				fields.OneTermNotEqualSelector("spec.nodeName", ProcessNode),
				fields.OneTermEqualSelector("status.phase", string(corev1.PodRunning)),
			).String()
		}))
	pods := factory.Core().V1().Pods().Informer()
	if _, err := pods.AddEventHandler(handler(ctx, f)); err != nil {
		return fmt.Errorf("simulated proxies: watch pods: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer stop()
	report(ctx, &f.counts, log)
	return nil
}

// handler feeds pod events to the fleet. Replaced objects with the same name have another UID.
func handler(ctx context.Context, f *fleet) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if pod, ok := o.(*corev1.Pod); ok {
				f.observe(ctx, pod)
			}
		},
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*corev1.Pod)
			pod, ok2 := now.(*corev1.Pod)
			if !ok1 || !ok2 {
				return
			}
			if before.UID != pod.UID {
				f.remove(before.UID)
			}
			f.observe(ctx, pod)
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				f.remove(pod.UID)
			}
		},
	}
}

// report logs the number of connections when it has changed, until ctx ends.
func report(ctx context.Context, c *counts, log *slog.Logger) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	var proxies, synced int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if p, s := c.proxies.Load(), c.synced.Load(); p != proxies || s != synced {
			proxies, synced = p, s
			log.Info("simulated proxies", "pods", p, "synced", s)
		}
	}
}
