package xdsdiff

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

func TestAProxySaysOfItselfWhatPilotAgentWould(t *testing.T) {
	p, ok := ProxyOf(pod("cart-1", map[string]string{"app": "cart", hashLabel: "x"}))
	if !ok || p.Unfit != "" {
		t.Fatalf("%t %+v", ok, p)
	}
	if want := "sidecar~10.0.0.7~cart-1_meshlift-diff.shop~shop.svc.cluster.local"; p.Node.ID != want {
		t.Errorf("id %q, want %q", p.Node.ID, want)
	}
	m := p.Node.As("1.31.0").Metadata
	for key, want := range map[string]string{
		"ISTIO_VERSION": "1.31.0", "DNS_CAPTURE": "true", "CLUSTER_ID": "Kubernetes", "POD_PORTS": `[{"containerPort":8080}]`, "SERVICE_ACCOUNT": "default", "INSTANCE_IPS": "10.0.0.7", "NAMESPACE": "shop",
	} {
		if m[key] != want {
			t.Errorf("%s is %v, want %q", key, m[key], want)
		}
	}
	labels, _ := m["LABELS"].(map[string]any)
	if labels["app"] != "cart" || labels["canonical"] != "yes" || labels[hashLabel] != nil {
		t.Errorf("labels %v", labels)
	}
	if p.Version != "1.30.0" || p.Node.Metadata["ISTIO_VERSION"] != "1.30.0" || p.Revision != "1-30" || p.Ports["web"] != 8080 {
		t.Errorf("%+v", p)
	}
}

func TestWhatIsNoRunningEnvoyIsNotCompared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		ok     bool
		why    string
	}{
		"a proxy": {func(*corev1.Pod) {}, true, ""},
		"a native sidecar": {func(p *corev1.Pod) {
			p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers[1:], p.Spec.Containers[:1]
		}, true, ""},
		"no proxy":          {func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, false, ""},
		"it ends":           {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, false, ""},
		"it has no address": {func(p *corev1.Pod) { p.Status.PodIP = "" }, false, ""},
		"it waits":          {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false, ""},
		"gRPC":              {env("ISTIO_META_GENERATOR", "grpc"), true, "no Envoy"},
		"broken settings":   {env("PROXY_CONFIG", "{"), true, "PROXY_CONFIG cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := ProxyOf(pod("cart-1", nil, c.change))
			if ok != c.ok || !strings.Contains(p.Unfit, c.why) || (p.Unfit == "") != (c.why == "") {
				t.Errorf("%t, %q", ok, p.Unfit)
			}
		})
	}
}

// facts are two workloads of one namespace and their Services, with these objects.
func facts(t *testing.T, change func(cart, pay *Proxy), config ...Object) *Facts {
	t.Helper()
	cart, _ := ProxyOf(pod("cart-1", map[string]string{"app": "cart", "tier": "web"}))
	pay, _ := ProxyOf(pod("pay-1", map[string]string{"app": "pay", "tier": "web"}))
	cart.Workload, pay.Workload = mesh.Ref{Kind: "Deployment", Namespace: "shop", Name: "cart"}, mesh.Ref{Kind: "Deployment", Namespace: "shop", Name: "pay"}
	if change != nil {
		change(&cart, &pay)
	}
	return &Facts{
		RootNamespace: "istio-system", Usual: []string{"1.30.0", "1.31.0"}, Proxies: []Proxy{pay, cart}, Config: config,
		Services: []Service{
			{Namespace: "shop", Name: "cart", Selector: map[string]string{"app": "cart"}, Ports: []ServicePort{{Port: 80, TargetName: "web", Protocol: "http"}}},
			{Namespace: "shop", Name: "pay", Selector: map[string]string{"app": "pay"}, Ports: []ServicePort{{Port: 80, Target: 8080, Protocol: "http"}}},
			{Namespace: "other", Name: "cart", Selector: map[string]string{"app": "cart"}, Ports: []ServicePort{{Port: 81, Target: 81, Protocol: "tcp"}}},
		},
	}
}

func TestProxiesAreInOneClassUnlessIstiodTellsThemApart(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(cart, pay *Proxy)
		config  []Object
		classes int
	}{
		"the same":                         {nil, nil, 1},
		"an EnvoyFilter for all":           {nil, []Object{object(t, "EnvoyFilter", "shop", "x", "{configPatches: []}")}, 1},
		"an EnvoyFilter for both":          {nil, []Object{object(t, "EnvoyFilter", "shop", "x", "{workloadSelector: {labels: {tier: web}}}")}, 1},
		"an EnvoyFilter for one":           {nil, []Object{object(t, "EnvoyFilter", "shop", "x", "{workloadSelector: {labels: {app: pay}}}")}, 2},
		"one of the root namespace":        {nil, []Object{object(t, "EnvoyFilter", "istio-system", "x", "{workloadSelector: {labels: {app: pay}}}")}, 2},
		"one of another namespace":         {nil, []Object{object(t, "EnvoyFilter", "other", "x", "{workloadSelector: {labels: {app: pay}}}")}, 1},
		"one that asks for metadata":       {nil, []Object{object(t, "EnvoyFilter", "shop", "x", "{configPatches: [{match: {proxy: {metadata: {WORKLOAD_NAME: pay-1}}}}]}")}, 2},
		"a Sidecar":                        {nil, []Object{object(t, "Sidecar", "shop", "x", "{workloadSelector: {labels: {app: pay}}}")}, 2},
		"an AuthorizationPolicy":           {nil, []Object{object(t, "AuthorizationPolicy", "shop", "x", "{selector: {matchLabels: {app: pay}}}")}, 2},
		"a VirtualService by who calls":    {nil, []Object{object(t, "VirtualService", "other", "x", "{http: [{match: [{sourceLabels: {app: pay}}]}]}")}, 2},
		"a DestinationRule for its host":   {nil, []Object{object(t, "DestinationRule", "shop", "x", "{host: pay.shop.svc.cluster.local}")}, 2},
		"a DestinationRule for other host": {nil, []Object{object(t, "DestinationRule", "shop", "x", "{host: away.example.com}")}, 1},
		"another port":                     {func(cart, _ *Proxy) { cart.Ports = map[string]int32{"web": 9000} }, nil, 2},
		"another type":                     {func(cart, _ *Proxy) { cart.Type = "router" }, nil, 2},
		"another namespace":                {func(cart, _ *Proxy) { cart.Namespace = "other" }, nil, 2},
		"another setting":                  {func(cart, _ *Proxy) { cart.Node.Metadata["DNS_CAPTURE"] = "false" }, nil, 2},
		"another annotation of Istio": {func(cart, _ *Proxy) {
			cart.Node.Metadata["ANNOTATIONS"].(map[string]any)["sidecar.istio.io/statsInclusionPrefixes"] = "x"
		}, nil, 2},
		"another annotation of somebody": {func(cart, _ *Proxy) { cart.Node.Metadata["ANNOTATIONS"].(map[string]any)["example.com/x"] = "x" }, nil, 1},
		"another istiod":                 {func(cart, _ *Proxy) { cart.Node.Metadata["PROXY_CONFIG"].(map[string]any)["discoveryAddress"] = "x" }, nil, 1},
		"the new version":                {func(cart, _ *Proxy) { cart.Version = "1.31.0" }, nil, 1},
		"a version of another time":      {func(cart, _ *Proxy) { cart.Version = "1.28.0" }, nil, 2},
		"one that cannot be compared":    {func(cart, _ *Proxy) { cart.Unfit = "no Envoy" }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := Classes(facts(t, c.change, c.config...))
			if len(got) != c.classes {
				t.Errorf("%d classes, want %d: %+v", len(got), c.classes, got)
			}
		})
	}
	got := Classes(facts(t, nil))
	if got[0].Ask.Pod != "cart-1" || got[0].Proxies != 2 || len(got[0].Workloads) != 2 || strings.Join(got[0].Ports, ",") != "80→8080 http" {
		t.Errorf("%+v", got[0])
	}
}

func TestAnEnvoyFilterConcernsTheClassesThatItSelects(t *testing.T) {
	f := facts(t, nil, object(t, "EnvoyFilter", "shop", "one", "{workloadSelector: {labels: {app: pay}}}"), object(t, "EnvoyFilter", "istio-system", "all", "{}"), object(t, "EnvoyFilter", "other", "no", "{}"))
	var got []string
	for _, c := range Classes(f) {
		for _, o := range Filters(f, c) {
			got = append(got, c.Ask.Pod+" "+o.Name)
		}
	}
	if strings.Join(got, ", ") != "cart-1 all, pay-1 all, pay-1 one" {
		t.Error(got)
	}
}
