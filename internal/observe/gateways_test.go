package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/internal/mesh"
)

func TestGatewaysOfTheGatewayAPIAreWorkloadsOfTheirOwn(t *testing.T) {
	made := decoded[appsv1.Deployment](t, `
metadata: {name: web-istio, namespace: shop, generation: 2, labels: {gateway.istio.io/managed: istio.io-gateway-controller, gateway.networking.k8s.io/gateway-name: web},
	ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1beta1, kind: Gateway, name: web, uid: u}], annotations: {meshlift.dev/move: '{"to":"wrong"}'}}
spec: {replicas: 2, template: {metadata: {labels: {sidecar.istio.io/inject: "false", gateway.networking.k8s.io/gateway-name: web}, annotations: {istio.io/rev: 1-30}}}}`)
	waypoint := decoded[appsv1.Deployment](t, `
metadata: {name: waypoint, namespace: shop, labels: {gateway.istio.io/managed: istio.io-mesh-controller}, ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: waypoint, uid: u}]}
spec: {template: {metadata: {annotations: {istio.io/rev: 1-30}}}}`)
	foreign := decoded[appsv1.Deployment](t, `
metadata: {name: envoy-web, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: web}, ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: other, uid: u, controller: true}]}`)
	in := objects{
		istioNamespace: "istio-system",
		deployments:    []appsv1.Deployment{made, waypoint, foreign},
		gateways: []unstructured.Unstructured{
			unstructuredOf(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop, labels: {istio.io/rev: 1-30},
				annotations: {meshlift.dev/move: '{"to":"1-31","attempt":1}', note: x}, ownerReferences: [{apiVersion: v1, kind: App, name: shop, uid: u, controller: true}]}, spec: {gatewayClassName: istio}}`),
			unstructuredOf(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: shop}, spec: {gatewayClassName: istio-waypoint}}`),
			unstructuredOf(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: pinned, namespace: shop, labels: {istio.io/rev: 1-30}}, spec: {gatewayClassName: istio}}`),
			unstructuredOf(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: other, namespace: shop}, spec: {gatewayClassName: envoy}}`),
		},
		pods: []corev1.Pod{podOf("web-istio-abc-x", "", owner("apps/v1", "ReplicaSet", "web-istio-abc"), hashed("abc"), func(p *corev1.Pod) {
			p.Annotations = map[string]string{mesh.LabelRev: "1-30"}
		})},
	}
	want := []mesh.Workload{
		{Ref: mesh.Ref{Kind: "Gateway", Namespace: "shop", Name: "pinned"}, Role: mesh.IngressGateway, TemplateLabels: map[string]string{mesh.LabelRev: "1-30"}},
		{Ref: mesh.Ref{Kind: "Gateway", Namespace: "shop", Name: "waypoint"}, Role: mesh.GenericGateway, Desired: 1, Strategy: mesh.Strategy{Type: "RollingUpdate"}},
		{
			Ref: mesh.Ref{Kind: "Gateway", Namespace: "shop", Name: "web"}, Role: mesh.IngressGateway, Desired: 2,
			TemplateLabels:      map[string]string{mesh.LabelRev: "1-30"},
			TemplateAnnotations: map[string]string{"meshlift.dev/move": `{"to":"1-31","attempt":1}`},
			Annotations:         map[string]string{"meshlift.dev/move": `{"to":"1-31","attempt":1}`},
			Strategy:            mesh.Strategy{Type: "RollingUpdate"}, Progress: mesh.Progress{Generation: 2}, Owner: "App/shop",
			Move: &mesh.Move{To: "1-31", Attempt: 1},
			Pods: []mesh.Pod{{Name: "web-istio-abc-x", Revision: "1-30", Labels: map[string]string{"pod-template-hash": "abc"}}},
		},
	}
	if diff := cmp.Diff(want, build(in).Workloads); diff != "" {
		t.Errorf("the workloads differ (-want +got):\n%s", diff)
	}
}

func TestAGatewayWithTwoDeploymentsIsOneWorkloadWithAllItsPods(t *testing.T) {
	made := func(name string) appsv1.Deployment {
		return deployment(name, func(d *appsv1.Deployment) {
			d.Labels = map[string]string{mesh.LabelGatewayManaged: "istio.io-gateway-controller", mesh.LabelGatewayName: "web"}
		})
	}
	in := objects{
		deployments: []appsv1.Deployment{made("web"), made("web-istio")},
		pods: []corev1.Pod{
			podOf("web-1-x", "1-29", owner("apps/v1", "ReplicaSet", "web-1"), hashed("1")),
			podOf("web-istio-2-x", "1-30", owner("apps/v1", "ReplicaSet", "web-istio-2"), hashed("2")),
		},
	}
	inv := build(in)
	if len(inv.Workloads) != 1 || !inv.Workloads[0].Uses("1-29") || !inv.Workloads[0].Uses("1-30") {
		t.Errorf("want one Gateway that uses both revisions, got %+v", inv.Workloads)
	}
}

func TestEnvoyFiltersTellTheirHashAndTheirOwner(t *testing.T) {
	const head = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n"
	fields := `managedFields: [{manager: istiod, operation: Update, time: "2026-01-02T00:00:00Z", fieldsType: FieldsV1, fieldsV1: {"f:status": {}}},
	{manager: alice-tool, operation: Apply, time: "2026-01-01T00:00:00Z", fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}},
	{manager: kubectl-edit, operation: Update, time: "2026-01-03T00:00:00Z", fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:priority": {}}}}]`
	filters := map[string]string{
		"a creator":      head + "metadata: {name: f, namespace: shop, annotations: {cpaas.io/creator: alice@example.com, meta.helm.sh/release-name: r}}\nspec: {priority: 1}",
		"a Helm release": head + "metadata: {name: f, namespace: shop, labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: r, meta.helm.sh/release-namespace: ops}}\nspec: {priority: 1}",
		"a manager":      head + "metadata: {name: f, namespace: shop, labels: {app.kubernetes.io/managed-by: flagger}, " + fields + "}\nspec: {priority: 1}",
		"a writer":       head + "metadata: {name: f, namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}, " + fields + "}\nspec: {priority: 1}",
		"kubectl apply":  head + "metadata: {name: f, namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}\nspec: {priority: 1}",
		"nothing":        head + "metadata: {name: f, namespace: shop}\nspec: {priority: 1}",
	}
	want := map[string]string{
		"a creator": "alice@example.com", "a Helm release": "Helm release ops/r", "a manager": "flagger", "a writer": "kubectl-edit",
		"kubectl apply": "kubectl apply", "nothing": "",
	}
	hashes := map[string]bool{}
	for name, text := range filters {
		got := envoyFilters([]unstructured.Unstructured{unstructuredOf(t, text)})[0]
		if got.Owner != want[name] {
			t.Errorf("with %s the owner is %q, want %q", name, got.Owner, want[name])
		}
		hashes[got.Hash] = true
	}
	if len(hashes) != 1 {
		t.Errorf("the same spec has %d hashes", len(hashes))
	}
	ordered := envoyFilters([]unstructured.Unstructured{
		unstructuredOf(t, head+"metadata: {name: b, namespace: shop}\nspec: {priority: 2, workloadSelector: {labels: {app: a, tier: b}}}"),
		unstructuredOf(t, head+"metadata: {name: a, namespace: shop}\nspec: {workloadSelector: {labels: {tier: b, app: a}}, priority: 2}"),
	})
	if ordered[0].Name != "a" || ordered[0].Hash != ordered[1].Hash || hashes[ordered[0].Hash] || len(ordered[0].Hash) != 16 {
		t.Errorf("want sorted filters with one new hash of 16 digits whatever the order of keys, got %+v", ordered)
	}
}
