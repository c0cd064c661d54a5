package preflight

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// healthy is a cluster in which no check finds anything: Istio 1.30 as revision 1-30, a Deployment, a gateway, and an upgrade to 1.31.
func healthy() *Facts {
	revision := mesh.Revision{Name: "1-30", Version: "1.30.0", Deployment: "istiod-1-30", Hub: "docker.io/istio", Replicas: 1, ReadyReplicas: 1}
	labels := map[string]string{"app": "cart"}
	pod := func(name string, labels map[string]string) mesh.Pod {
		return mesh.Pod{Name: name, Revision: "1-30", ProxyVersion: "1.30.0", Ready: true, Labels: labels}
	}
	cart := mesh.Workload{
		Ref: cartRef, Role: mesh.Sidecar, TemplateLabels: labels, Desired: 2, Strategy: mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1},
		Progress: mesh.Progress{Ready: 2}, Pods: []mesh.Pod{pod("cart-1", labels), pod("cart-2", labels)},
	}
	edge := map[string]string{"istio": "ingressgateway"}
	gateway := mesh.Workload{
		Ref: gatewayRef, Role: mesh.IngressGateway, TemplateLabels: edge, Desired: 2, Strategy: mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1},
		Progress: mesh.Progress{Ready: 2}, Pods: []mesh.Pod{pod("web-1", edge), pod("web-2", edge)},
	}
	root := &Certificate{Where: Object{Kind: "ConfigMap", Namespace: "istio-system", Name: "istio-ca-root-cert"}, Roots: []string{"aa"}, NotAfter: now.AddDate(5, 0, 0)}
	return &Facts{
		Now: now, From: revision, To: v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}, Verdict: gate.Pass(),
		Kubernetes: []string{"1.36", "1.37"}, Changes: catalog.Default().Between("1.30", "1.31"), Unknown: map[Source]string{},
		Inventory: &mesh.Inventory{
			IstioNamespace: "istio-system", KubernetesVersion: "v1.37.2", Revisions: []mesh.Revision{revision},
			Configurations: []mesh.Configuration{injector("1-30", "1-30", "")},
			Validators:     []mesh.Validator{{Name: "istiod-default-validator", Default: true, Fail: true, Revision: "1-30", Service: "istiod-1-30"}},
			Namespaces: map[string]mesh.Namespace{
				"shop": {Labels: map[string]string{mesh.LabelRev: "1-30"}}, "edge": {Labels: map[string]string{mesh.LabelRev: "1-30"}}, "istio-system": {}, "other": {},
			},
			Workloads: []mesh.Workload{gateway, cart},
		},
		Nodes: []Node{{
			Name: "a", Kubelet: "v1.37.2", Labels: map[string]string{"kubernetes.io/hostname": "a"}, Schedulable: true, FreeCPU: 4000, FreeMemory: 8 << 30, FreePods: 50,
			ControlPlanePods: []map[string]string{{"app": "istiod", mesh.LabelRev: "1-30"}},
		}},
		Templates: []Template{
			{Ref: cartRef, Labels: labels, Readiness: true, Grace: 30, Drain: 5, PreStop: 5, CPU: 100, Memory: 64 << 20},
			{Ref: gatewayRef, Labels: edge, Readiness: true, Grace: 30, Drain: 5},
		},
		Budgets:      []Budget{{Namespace: "shop", Name: "cart", Selector: &metav1.LabelSelector{MatchLabels: labels}, Allowed: 1, Expected: 2, Healthy: 2}},
		Quotas:       []Quota{{Namespace: "shop", Name: "team", Left: map[string]int64{"pods": 5000, "requests.cpu": 2000}}},
		Webhooks:     []Webhook{{Configuration: "policy", Name: "validate.policy.io", Fail: true, Service: "policy/hook", Backend: Answers, Pods: true}},
		Services:     []Service{{Namespace: "edge", Name: "web", Selector: edge, TargetPorts: []int32{8080}}},
		Certificates: CA{SelfSigned: &Certificate{Where: Object{Kind: "Secret", Namespace: "istio-system", Name: "istio-ca-secret"}, Roots: []string{"aa"}, NotAfter: root.NotAfter}, Distributed: root},
		CRDs:         []CRD{{Name: "gateways.gateway.networking.k8s.io", Bundle: "v1.6.0"}, {Name: "envoyfilters.networking.istio.io"}},
		Daemons:      []Daemon{{Object: Object{Kind: "DaemonSet", Namespace: "istio-system", Name: "istio-cni-node"}, Component: "istio-cni", Version: "1.31.0"}},
		Istiods:      []Istiod{{Revision: "1-30", CPU: 500, Memory: 2 << 30, Env: map[string]string{}, Mesh: map[string]any{}, Templates: []string{"gateway", "sidecar"}}},
		Config: []Resource{
			config("networking.istio.io", "VirtualService", "cart", `{}`),
			config("networking.istio.io", "Gateway", "web", `{"spec": {"selector": {"istio": "ingressgateway"}}}`),
		},
	}
}

var (
	cartRef    = mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}
	gatewayRef = mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "web"}
)

// cart is the Deployment of the cluster.
func (f *Facts) cart() *mesh.Workload { return &f.Inventory.Workloads[1] }

// injector is the webhook configuration by which a revision injects the namespaces and pods that name it.
func injector(revision, label, tag string) mesh.Configuration {
	name := "istio-sidecar-injector-" + revision
	if tag != "" {
		name = "istio-revision-tag-" + tag
	}
	in := func(value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: mesh.LabelRev, Operator: metav1.LabelSelectorOpIn, Values: []string{value}}}}
	}
	return mesh.Configuration{Name: name, Tag: tag, Webhooks: []mesh.Injector{{Name: "rev.namespace.sidecar-injector.istio.io", Revision: revision, NamespaceSelector: in(label)}}}
}
