package controlplane

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// RelabelNamespaces moves the label istio.io/rev of namespaces from one revision to the other and returns their names.
// Nothing restarts by it. Namespaces of tags and of istio-injection=enabled need no change: their tags have moved.
func (s *Service) RelabelNamespaces(ctx context.Context, from, to mesh.Revision) (moved []string, err error) {
	if from.Name == mesh.DefaultRevision {
		return nil, nil // istio.io/rev=default is the tag default now
	}
	list := &corev1.NamespaceList{}
	if err := s.o.Live.List(ctx, list, client.MatchingLabels{mesh.LabelRev: from.Name}); err != nil {
		return nil, fmt.Errorf("list namespaces of revision %s: %w", from.Name, err)
	}
	for i := range list.Items {
		ns := &list.Items[i]
		if ns.DeletionTimestamp != nil {
			continue
		}
		before := ns.DeepCopy()
		ns.Labels[mesh.LabelRev] = to.Name
		if err := s.o.Client.Patch(ctx, ns, client.MergeFrom(before), client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return moved, fmt.Errorf("label namespace %q with istio.io/rev=%s: %w", ns.Name, to.Name, err)
		}
		moved = append(moved, ns.Name)
	}
	return moved, nil
}
