package controlplane

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// ScaleDown scales the istiod of a revision to zero and returns the replicas that it had, also when it is called again:
// they are noted on the Deployment in the same write. A HorizontalPodAutoscaler leaves a Deployment with zero replicas
// alone (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation).
//
// It refuses while anything leads requests to the revision: with failurePolicy Fail every such request would fail.
// A revision that is gone has zero replicas.
func (s *Service) ScaleDown(ctx context.Context, revision mesh.Revision) (replicas int32, err error) {
	fail := func(err error) (int32, error) {
		return 0, fmt.Errorf("scale istiod %s down: %w", revision.Name, err)
	}
	d, err := s.deployment(ctx, revision.Name)
	if err != nil {
		return fail(err)
	}
	if d == nil {
		return 0, nil
	}
	if err := foreign(d); err != nil {
		return fail(err)
	}
	if err := s.unrouted(ctx, revision.Name); err != nil {
		return fail(err)
	}
	_, err = s.patch(ctx, d, func() {
		if replicas = ptr.Deref(d.Spec.Replicas, 1); replicas == 0 {
			noted, _ := strconv.ParseInt(d.Annotations[ReplicasAnnotation], 10, 32)
			replicas = int32(noted)
			return
		}
		d.Spec.Replicas = ptr.To[int32](0)
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[ReplicasAnnotation] = strconv.Itoa(int(replicas))
	})
	if err != nil {
		return fail(err)
	}
	return replicas, nil
}

// ScaleUp brings the istiod of a revision back with that many replicas; with 0 those that were noted, or one.
func (s *Service) ScaleUp(ctx context.Context, revision mesh.Revision, replicas int32) error {
	d, err := s.deployment(ctx, revision.Name)
	if err != nil {
		return fmt.Errorf("scale istiod %s up: %w", revision.Name, err)
	}
	if d == nil {
		return fmt.Errorf("scale istiod %s up: %w", revision.Name, &Refused{v1alpha1.ReasonUnknownRevision, fmt.Sprintf(
			"Deployment %s/%s is gone: install the revision again", s.o.Namespace, object("istiod", revision.Name))})
	}
	if replicas == 0 {
		noted, _ := strconv.ParseInt(d.Annotations[ReplicasAnnotation], 10, 32)
		replicas = max(1, int32(noted))
	}
	_, err = s.patch(ctx, d, func() {
		if ptr.Deref(d.Spec.Replicas, 1) == 0 {
			d.Spec.Replicas = &replicas
		}
		delete(d.Annotations, ReplicasAnnotation)
	})
	if err != nil {
		return fmt.Errorf("scale istiod %s up: %w", revision.Name, err)
	}
	return nil
}

// unrouted refuses while anything leads requests to the revision.
func (s *Service) unrouted(ctx context.Context, revision string) error {
	found, err := s.routes(ctx, revision)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &Refused{v1alpha1.ReasonInUse, fmt.Sprintf("Requests are still led to revision %s by %s: switch these over first", revision, strings.Join(found, ", "))}
	}
	return nil
}
