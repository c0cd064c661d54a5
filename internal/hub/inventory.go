package hub

import (
	"context"
	"fmt"

	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/observe"
)

// inventories reads the mesh of a cluster live, through its API server: the hub keeps no pods of its members.
func inventories(p part) func(ctx context.Context, cluster string) (*mesh.Inventory, error) {
	return func(ctx context.Context, cluster string) (*mesh.Inventory, error) {
		c, err := p.Links.Client(cluster)
		if err != nil {
			return nil, err
		}
		config, err := p.Links.Config(cluster)
		if err != nil {
			return nil, err
		}
		d, err := discovery.NewDiscoveryClientForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("connect with cluster %q: %w", cluster, err)
		}
		cached, err := p.Links.Cached(cluster)
		if err != nil {
			return nil, err
		}
		namespace := "istio-system"
		cp := &v1alpha1.ControlPlane{}
		if err := cached.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err == nil && cp.Spec.IstioNamespace != "" {
			namespace = cp.Spec.IstioNamespace
		}
		return observe.New(c, namespace, observe.WithDiscovery(d)).Inventory(ctx)
	}
}
