package observe

import (
	"cmp"
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	waypointClass   = "istio-waypoint"
	waypointManager = "istio.io-mesh-controller"
)

func gatewaysByName(list []unstructured.Unstructured) map[types.NamespacedName]*unstructured.Unstructured {
	out := make(map[types.NamespacedName]*unstructured.Unstructured, len(list))
	for n := range list {
		out[types.NamespacedName{Namespace: list[n].GetNamespace(), Name: list[n].GetName()}] = &list[n]
	}
	return out
}

// asGateway turns the candidate into that of a Gateway when Istio made its Deployment for one: then the Gateway is what a
// person changes, and istiod renders the Deployment anew
// (https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#automated-deployment).
func (c *candidate) asGateway(d *appsv1.Deployment, gateways map[types.NamespacedName]*unstructured.Unstructured) {
	name, manager := gatewayOf(d)
	if name == "" {
		return
	}
	c.managed = true
	c.Kind, c.Name = mesh.KindGateway, name
	c.TemplateLabels, c.TemplateAnnotations, c.Annotations, c.Owner, c.Move = nil, nil, nil, "", nil
	class := d.Labels["gateway.networking.k8s.io/gateway-class-name"]
	if g := gateways[types.NamespacedName{Namespace: d.Namespace, Name: name}]; g != nil {
		c.describe(g)
		class = cmp.Or(gatewayClass(g), class)
	}
	c.Role = mesh.IngressGateway
	if class == waypointClass || manager == waypointManager {
		c.Role = mesh.GenericGateway
	}
}

// describe takes over what the Gateway object says.
func (c *candidate) describe(g *unstructured.Unstructured) {
	c.TemplateLabels = g.GetLabels()
	c.TemplateAnnotations = keptAnnotations(g.GetAnnotations())
	c.Annotations = maps.Clone(c.TemplateAnnotations)
	c.Owner = ownerOf(g)
	c.Move = parseMove(g.GetAnnotations()[v1alpha1.MoveAnnotation])
}

// gatewayOf returns the name of the Gateway for which Istio made the Deployment, and the controller that did. Other
// implementations of the Gateway API own Deployments too; Istio's carry its label or the annotation of its revision.
func gatewayOf(d *appsv1.Deployment) (name, manager string) {
	manager = cmp.Or(d.Labels[mesh.LabelGatewayManaged], d.Spec.Template.Labels[mesh.LabelGatewayManaged])
	if manager == "" && d.Spec.Template.Annotations[mesh.LabelRev] == "" {
		return "", ""
	}
	if o := metav1.GetControllerOfNoCopy(d); o != nil {
		if o.Kind != mesh.KindGateway || !strings.HasPrefix(o.APIVersion, gatewayKind.Group+"/") {
			return "", ""
		}
		return o.Name, manager
	}
	// Istio's own owner reference is not a controller reference in every version.
	for _, o := range d.OwnerReferences {
		if o.Kind == mesh.KindGateway && strings.HasPrefix(o.APIVersion, gatewayKind.Group+"/") {
			return o.Name, manager
		}
	}
	if manager == "" {
		return "", ""
	}
	return cmp.Or(d.Labels[mesh.LabelGatewayName], d.Spec.Template.Labels[mesh.LabelGatewayName]), manager
}

func gatewayClass(g *unstructured.Unstructured) string {
	class, _, _ := unstructured.NestedString(g.Object, "spec", "gatewayClassName")
	return class
}

// idleGateways returns the Gateways that pin a revision and have no Deployment (yet): nothing runs for them, and still
// they need the revision.
func idleGateways(list []unstructured.Unstructured, deployed map[mesh.Ref]mesh.Workload) []mesh.Workload {
	var out []mesh.Workload
	for n := range list {
		g := &list[n]
		ref := mesh.Ref{Kind: mesh.KindGateway, Namespace: g.GetNamespace(), Name: g.GetName()}
		if _, ok := deployed[ref]; ok || g.GetLabels()[mesh.LabelRev] == "" {
			continue
		}
		c := candidate{Workload: mesh.Workload{Ref: ref, Role: mesh.IngressGateway}}
		if gatewayClass(g) == waypointClass {
			c.Role = mesh.GenericGateway
		}
		c.describe(g)
		out = append(out, c.Workload)
	}
	return out
}
