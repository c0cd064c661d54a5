package restart

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

var gatewayKind = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: mesh.KindGateway}

// gateway drives Gateways of the Gateway API, waypoints among them: the istiod that the label names renders the
// Deployment, injection has no part in it
// (https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#automated-deployment).
type gateway struct{ *Mover }

// Read implements [Driver]; nothing but the identity is needed.
func (g gateway) Read(ctx context.Context, ref mesh.Ref) (client.Object, error) {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(gatewayKind)
	if err := g.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, o); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return o, nil
}

// Next implements [Driver]: istiod renders the pod.
func (gateway) Next(client.Object, rollout.Action) *corev1.Pod { return nil }

// Begin implements [Driver].
func (g gateway) Begin(ctx context.Context, o client.Object, a rollout.Action) error {
	patch := gatewayPatch(a)
	patch.SetUID(o.GetUID())
	return g.apply(ctx, a, patch)
}

// End implements [Driver]: nothing was changed for a while.
func (gateway) End(context.Context, client.Object) error { return nil }

func gatewayPatch(a rollout.Action) *unstructured.Unstructured {
	u := object(gatewayKind, a)
	u.SetLabels(map[string]string{mesh.LabelRev: a.Target})
	return u
}
