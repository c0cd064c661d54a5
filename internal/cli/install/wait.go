package install

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/cli/exit"
)

// waitReady waits until the present version of the part is available, and says how far it came when it is not.
func (p part) waitReady(ctx context.Context, c client.WithWatch, namespace string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var seen *appsv1.Deployment
	for ctx.Err() == nil {
		done, err := p.watchReady(ctx, c, namespace, &seen)
		if done {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch Deployment %s/%s: %w", namespace, p.deployment, err)
		}
	}
	state := "it is not there"
	if seen != nil {
		state = fmt.Sprintf("%d of %d replicas are ready", seen.Status.AvailableReplicas, replicas(seen))
	}
	return exit.Unfinishedf("the %s is installed but not ready (%s): see kubectl -n %s describe deployment %s", p.name, state, namespace, p.deployment)
}

// watchReady follows the Deployment until it is ready (true) or the API server ends the watch.
func (p part) watchReady(ctx context.Context, c client.WithWatch, namespace string, seen **appsv1.Deployment) (bool, error) {
	w, err := c.Watch(ctx, &appsv1.DeploymentList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": p.deployment})
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case e, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			d, ok := e.Object.(*appsv1.Deployment)
			if !ok || e.Type == watch.Deleted {
				continue
			}
			*seen = d
			if ready(d) {
				return true, nil
			}
		}
	}
}

// ready follows `kubectl rollout status`: every replica is of the present template and available.
func ready(d *appsv1.Deployment) bool {
	want := replicas(d)
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= want &&
		d.Status.Replicas <= d.Status.UpdatedReplicas && d.Status.AvailableReplicas >= want
}

func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}
