package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settle is how long memory is let come to rest: the Go runtime collects garbage every two minutes at the latest, and gives memory
// back bit by bit.
const settle = 150 * time.Second

// manyPods fills the cluster up with copies of injected pods that are never scheduled: to the agent they are pods like
// all others, and the lab need not simulate them.
func (b *bench) manyPods(ctx context.Context) error {
	now := b.report.workloads * 2
	if err := pause(ctx, settle); err != nil {
		return err
	}
	b.memory(now)
	progress("%d more pods, for the agent's memory", b.many-now)
	sample := &corev1.PodList{}
	if err := b.lab.Client.List(ctx, sample, client.InNamespace(workloadPrefix+"0"), client.Limit(1)); err != nil || len(sample.Items) == 0 {
		return fmt.Errorf("find a pod to copy: %w", err)
	}
	// Not of the mesh, so that nothing is injected once more: the copies have their sidecars.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "many"}}
	if err := b.lab.Client.Create(ctx, ns); err != nil {
		return fmt.Errorf("make the namespace of the copies: %w", err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n := range b.many - now {
		group.Go(func() error {
			p := sample.Items[0].DeepCopy()
			p.ObjectMeta = metav1.ObjectMeta{Namespace: ns.Name, Name: fmt.Sprintf("copy-%05d", n), Labels: p.Labels, Annotations: p.Annotations}
			p.Spec.NodeName, p.Status = "", corev1.PodStatus{}
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "bench.meshlift.dev/never"}}
			return b.lab.Client.Create(gctx, p)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("make the copies: %w", err)
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	b.memory(b.many)
	return nil
}

func (b *bench) memory(pods int) {
	all, err := processes(b.lab.Root + "/.lab/run/" + b.name)
	if err == nil {
		b.report.memory = append(b.report.memory, memoryAt{pods: pods, rss: all["agent"].rss, file: all["agent"].file, peak: all["agent"].peak})
	}
}
