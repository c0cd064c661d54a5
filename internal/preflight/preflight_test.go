package preflight

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

func config(group, kind, name, text string) Resource {
	r := Resource{Object: Object{Kind: kind, Namespace: "shop", Name: name}, Group: group}
	if err := json.Unmarshal([]byte(text), &r.Content); err != nil {
		panic(err)
	}
	return r
}

// problem is a cluster in which one check finds one thing.
type problem struct {
	check    string
	plant    func(*Facts)
	severity Severity
	object   string
	says     string
}

func problems() map[string]problem {
	return map[string]problem{
		"no such path": {"upgrade-path", func(f *Facts) {
			f.Verdict = gate.Block(v1alpha1.ReasonUnsupportedPath, "Istio 1.30 cannot be upgraded to 1.40: go by way of 1.31")
		}, Error, "", "Go by way of 1.31."},
		"an old kubelet": {"node-versions", func(f *Facts) { f.Nodes[0].Kubelet = "v1.35.0" }, Warning, "", "Node a runs Kubernetes 1.35"},
		"old CRDs of the Gateway API": {
			"gateway-api-version", func(f *Facts) { f.CRDs[0].Bundle = "v1.4.0" }, Warning,
			"CustomResourceDefinition/gateways.gateway.networking.k8s.io", "v1.4.0",
		},
		"TLSRoutes that become invisible": {"gateway-api-version", func(f *Facts) {
			f.CRDs = append(f.CRDs, CRD{Name: "tlsroutes.gateway.networking.k8s.io", Bundle: "v1.4.1"})
		}, Error, "CustomResourceDefinition/tlsroutes.gateway.networking.k8s.io", "1.5.0 or later"},
		"an old proxy":    {"proxy-skew", func(f *Facts) { f.cart().Pods[1].ProxyVersion = "1.27.1" }, Warning, "shop/Deployment/cart", "cart-2 has the proxy of Istio 1.27"},
		"a proxy too new": {"proxy-skew", func(f *Facts) { f.cart().Pods[0].ProxyVersion = "1.31.0" }, Warning, "shop/Deployment/cart", "never supported"},
		"a touched object": {"behaviour-changes", func(f *Facts) {
			f.Config = append(f.Config, config("networking.istio.io", "WorkloadEntry", "vm", `{"metadata": {"annotations": {"istio.io/autoRegistrationGroup": "vms"}}}`))
		}, Warning, "shop/WorkloadEntry/vm", "Istio 1.31: "},
		"a touched setting": {"behaviour-changes", func(f *Facts) { f.Istiods[0].Env["PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY"] = "false" }, Warning, "istio-system/Deployment/istiod-1-30", "one more span"},
		"a touched mesh configuration": {"behaviour-changes", func(f *Facts) {
			f.Changes = catalog.Default().Between("1.24", "1.26")
			f.Istiods[0].Mesh = map[string]any{"extensionProviders": []any{map[string]any{"name": "a"}, map[string]any{"name": "b", "opencensus": map[string]any{}}}}
		}, Error, "istio-system/ConfigMap/istio-1-30", "OpenCensus"},
		"a deprecated annotation": {"deprecated", func(f *Facts) {
			f.cart().TemplateAnnotations = map[string]string{"sidecar.istio.io/extraStatTags": "x"}
		}, Info, "shop/Deployment/cart", "extraStatTags"},
		"a dead API": {"deprecated", func(f *Facts) { f.Config = append(f.Config, config("rbac.istio.io", "ServiceRole", "old", `{}`)) }, Warning, "shop/ServiceRole/old", "AuthorizationPolicy"},

		"an istiod that does not run":         {"istiod-health", func(f *Facts) { f.Inventory.Revisions[0].ReadyReplicas = 0 }, Error, "istio-system/Deployment/istiod-1-30", "refuses every pod"},
		"an istiod with a replica that fails": {"istiod-health", func(f *Facts) { f.Inventory.Revisions[0].Replicas = 2 }, Warning, "istio-system/Deployment/istiod-1-30", "1 of 2 replicas"},
		"full nodes":                          {"istiod-capacity", func(f *Facts) { f.Nodes[0].FreeCPU = 499 }, Error, "", "500 millicores"},
		"room for one of two":                 {"istiod-capacity", func(f *Facts) { f.From.Replicas, f.Nodes[0].FreeMemory = 2, 3<<30 }, Warning, "", "have room for 1"},
		"a node that only others may use":     {"istiod-capacity", func(f *Facts) { f.Nodes[0].Taints = []Taint{{"only", "gpu", "NoSchedule"}} }, Error, "", "have room for 0"},
		"hard anti-affinity on one node": {"istiod-anti-affinity", func(f *Facts) {
			f.Istiods[0].Apart = []Apart{{&metav1.LabelSelector{MatchLabels: map[string]string{"app": "istiod"}}, "kubernetes.io/hostname"}}
		}, Error, "istio-system/Deployment/istiod-1-30", "Pending"},
		"a tight quota": {"istiod-quota", func(f *Facts) {
			f.Quotas[0].Namespace, f.Quotas[0].Left = "istio-system", map[string]int64{"requests.memory": 1 << 30 * 1000}
		}, Error, "istio-system/ResourceQuota/team", "requests.memory"},
		"a refused pod": {"istiod-rehearsal", func(f *Facts) { f.Rehearsal = "violates PodSecurity" }, Error, "", "violates PodSecurity"},
		"another root": {"ca-root", func(f *Facts) {
			f.Certificates.Plugged = &Certificate{Where: Object{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}, Roots: []string{"bb"}, NotAfter: now.AddDate(1, 0, 0)}
		}, Error, "istio-system/Secret/cacerts", "refuse each other"},
		"hidden secrets":    {"ca-root", func(f *Facts) { f.Certificates.Hidden = "you may not get secrets" }, Unknown, "", "you may not get secrets"},
		"a CA that expires": {"ca-validity", func(f *Facts) { f.Certificates.SelfSigned.NotAfter = now.Add(20 * 24 * time.Hour) }, Warning, "istio-system/Secret/istio-ca-secret", "20 days"},
		"a CA that expired": {"ca-validity", func(f *Facts) { f.Certificates.Distributed.NotAfter = now.Add(-time.Hour) }, Error, "istio-system/ConfigMap/istio-ca-root-cert", "expired"},
		"an old CNI agent":  {"ambient-order", func(f *Facts) { f.Daemons[0].Version = "1.29.0" }, Error, "istio-system/DaemonSet/istio-cni-node", "more than one minor version behind"},
		"ztunnel first":     {"ambient-order", func(f *Facts) { f.Daemons[0].Component = "ztunnel" }, Warning, "istio-system/DaemonSet/istio-cni-node", "wrong order"},

		"a validator that nobody answers":     {"default-validator", func(f *Facts) { f.Inventory.Validators[0].Revision = "1-28" }, Error, "ValidatingWebhookConfiguration/istiod-default-validator", "no configuration of Istio"},
		"a validator that checks nothing":     {"default-validator", func(f *Facts) { f.Inventory.Validators[0].Revision, f.Inventory.Validators[0].Fail = "", false }, Warning, "ValidatingWebhookConfiguration/istiod-default-validator", "nothing is validated"},
		"no validator":                        {"default-validator", func(f *Facts) { f.Inventory.Validators = nil }, Warning, "", "no istiod-default-validator"},
		"a webhook of a program that is gone": {"dead-webhooks", func(f *Facts) { f.Webhooks[0].Backend = NoService }, Error, "ValidatingWebhookConfiguration/policy", "does not exist"},
		"a webhook whose program is down":     {"dead-webhooks", func(f *Facts) { f.Webhooks[0].Backend, f.Webhooks[0].Mutating = NoEndpoints, true }, Error, "MutatingWebhookConfiguration/policy", "has no ready pod"},
		"a dead webhook elsewhere": {"dead-webhooks", func(f *Facts) {
			f.Webhooks[0].Backend, f.Webhooks[0].NamespaceSelector = NoEndpoints, &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
		}, Warning, "ValidatingWebhookConfiguration/policy", "refuses pods"},
		"an injector of a revision that is gone": {"leftover-injectors", func(f *Facts) {
			f.Inventory.Configurations = append(f.Inventory.Configurations, injector("1-28", "1-28", ""))
		}, Warning, "MutatingWebhookConfiguration/istio-sidecar-injector-1-28", "no namespace of today"},
		"a tag of a revision that is gone": {"leftover-injectors", func(f *Facts) {
			f.Inventory.Configurations = append(f.Inventory.Configurations, injector("1-28", "prod", "prod"))
			f.Inventory.Namespaces["other"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: "prod"}}
		}, Error, "MutatingWebhookConfiguration/istio-revision-tag-prod", "It selects other"},
		"two injectors for one pod": {"injector-overlap", func(f *Facts) {
			f.Inventory.Configurations = append(f.Inventory.Configurations, injector("1-29", "1-30", ""))
			f.Inventory.Namespaces["edge"] = mesh.Namespace{}
		}, Error, "shop/Deployment/cart", "1-29 and 1-30"},

		"a namespace of a revision that is gone": {"dangling-revision", func(f *Facts) {
			f.Inventory.Namespaces["other"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: "1-20"}}
		}, Warning, "Namespace/other", "no sidecar"},
		"a namespace whose pods lose their sidecars": {"dangling-revision", func(f *Facts) {
			f.Inventory.Namespaces["shop"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: "1-20"}}
		}, Error, "Namespace/shop", "lose them"},
		"two labels": {"injection-labels", func(f *Facts) {
			f.Inventory.Namespaces["other"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: "1-30", mesh.LabelInjection: "enabled"}}
		}, Warning, "Namespace/other", "heeds only the first"},
		"a label that was taken away": {"lost-sidecar", func(f *Facts) { f.Inventory.Namespaces["shop"] = mesh.Namespace{} }, Warning, "shop/Deployment/cart", "lost at the next restart"},
		"a pod from before the label": {"not-injected", func(f *Facts) { f.cart().Pods[0].Revision = "" }, Info, "shop/Deployment/cart", "without a sidecar"},
		"a pinned proxy": {"proxy-image", func(f *Facts) {
			f.cart().TemplateAnnotations = map[string]string{mesh.AnnotationProxyImage: "proxyv2:1.28"}
		}, Warning, "shop/Deployment/cart", "proxyv2:1.28"},
		"an unknown template": {"injection-templates", func(f *Facts) {
			f.cart().TemplateAnnotations = map[string]string{mesh.AnnotationTemplates: "sidecar, asm-gateway"}
		}, Error, "shop/Deployment/cart", `"asm-gateway"`},
		"native sidecars come":     {"native-sidecars", func(f *Facts) { f.From.Version = "1.26.4" }, Warning, "", "becomes an init container"},
		"native sidecars for some": {"native-sidecars", func(f *Facts) { f.Nodes = append(f.Nodes, Node{Name: "b", Kubelet: "v1.32.9"}); f.Kubernetes = nil }, Warning, "", "1 of 2 nodes"},

		"a Gateway that follows a tag": {"gateway-tags", func(f *Facts) {
			f.Inventory.Revisions[0].Tags = []string{"prod"}
			f.Inventory.Workloads = append(f.Inventory.Workloads, mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindGateway, Namespace: "shop", Name: "api"}, Role: mesh.IngressGateway, TemplateLabels: map[string]string{mesh.LabelRev: "prod"}})
		}, Info, "shop/Gateway/api", "follows the tag prod"},
		"a Gateway of no pods": {"gateway-selectors", func(f *Facts) {
			f.Config[1] = config("networking.istio.io", "Gateway", "web", `{"spec": {"selector": {"istio": "gone"}}}`)
		}, Warning, "shop/Gateway/web", "configures nothing"},
		"a low port": {"gateway-ports", func(f *Facts) { f.Services[0].TargetPorts = []int32{80} }, Warning, "edge/Deployment/web", "below 1024"},
		"a Service for one revision": {"service-selectors", func(f *Facts) {
			f.Services = append(f.Services, Service{Namespace: "shop", Name: "cart", Selector: map[string]string{"app": "cart", mesh.LabelRev: "1-30"}})
		}, Warning, "shop/Service/cart", "no traffic"},

		"a paused Deployment":     {"workload-health", func(f *Facts) { f.cart().Progress.Paused = true }, Warning, "shop/Deployment/cart", "paused"},
		"pods that are not ready": {"workload-health", func(f *Facts) { f.cart().Progress.Ready = 1 }, Warning, "shop/Deployment/cart", "1 of 2 pods"},
		"one pod and no surge":    {"single-replica", func(f *Facts) { f.cart().Desired, f.cart().Strategy.MaxSurge = 1, 0 }, Warning, "shop/Deployment/cart", "unreachable"},
		"all pods at once":        {"max-unavailable", func(f *Facts) { f.cart().Strategy.MaxUnavailable, f.cart().Strategy.RawMaxUnavailable = 2, "100%" }, Warning, "shop/Deployment/cart", "maxUnavailable 100%"},
		"no readiness probe":      {"readiness-probes", func(f *Facts) { f.Templates[0].Readiness = false }, Warning, "shop/Deployment/cart", "as soon as it runs"},
		"a long preStop hook":     {"graceful-end", func(f *Facts) { f.Templates[0].PreStop = 30 }, Warning, "shop/Deployment/cart", "sleeps 30 s"},
		"a short grace period":    {"graceful-end", func(f *Facts) { f.Templates[0].Grace, f.Templates[0].PreStop = 5, 0 }, Warning, "shop/Deployment/cart", "drains for 5 s"},
		"a budget that blocks":    {"disruption-budgets", func(f *Facts) { f.Budgets[0].Allowed = 0 }, Warning, "shop/PodDisruptionBudget/cart", "wait for it without end"},
		"no room to surge":        {"workload-quota", func(f *Facts) { f.Quotas[0].Left["pods"] = 0 }, Warning, "shop/Deployment/cart", "ResourceQuota team"},

		"an EnvoyFilter that stops": {"envoyfilters", func(f *Facts) {
			f.Config = append(f.Config, config("networking.istio.io", "EnvoyFilter", "old", `{"spec": {"configPatches": [{"applyTo": "CLUSTER", "match": {"proxy": {"proxyVersion": "^1\\.30.*"}}, "patch": {"operation": "MERGE", "value": {}}}]}}`))
		}, Warning, "shop/EnvoyFilter/old", "it stops"},
		"an EnvoyFilter that istiod refuses": {"envoyfilters", func(f *Facts) {
			r := config("networking.istio.io", "EnvoyFilter", "bad", `{"spec": {"configPatches": []}}`)
			f.Config, f.Admission = append(f.Config, r), []Answer{{Object: r.Object, Denied: "unknown type"}}
		}, Warning, "shop/EnvoyFilter/bad", "istiod 1-31 refuses it: unknown type"},
		"a VirtualService that istiod refuses": {"config-admission", func(f *Facts) { f.Admission = []Answer{{Object: f.Config[0].Object, Denied: "no hosts"}} }, Warning, "shop/VirtualService/cart", "no hosts"},
	}
}

func TestEveryCheckFindsItsProblemAndNothingElse(t *testing.T) {
	covered := map[string]bool{}
	for name, p := range problems() {
		covered[p.check] = true
		t.Run(name, func(t *testing.T) {
			f := healthy()
			p.plant(f)
			for _, r := range Run(All(), f) {
				switch {
				case r.ID != p.check:
					if p.severity == Error || r.Severity.Compare(Warning) < 0 {
						continue // one trouble may be seen from several sides
					}
					t.Errorf("%s finds %+v", r.ID, r.Findings)
				case len(r.Findings) == 0:
					t.Errorf("%s finds nothing", r.ID)
				default:
					got := r.Findings[0]
					if got.Severity != p.severity || got.place() != p.object || !strings.Contains(got.Explanation+" "+got.Remedy, p.says) || got.Check != p.check || got.Link == "" {
						t.Errorf("%s finds %+v (%s), want %s about %q that says %q", r.ID, got, got.place(), p.severity, p.object, p.says)
					}
				}
			}
		})
	}
	for _, c := range All() {
		if !covered[c.ID] {
			t.Errorf("%s has no test in which its problem exists", c.ID)
		}
	}
}

func TestAHealthyClusterPassesEveryCheck(t *testing.T) {
	for _, r := range Run(All(), healthy()) {
		if r.Severity != OK {
			t.Errorf("%s: %s %+v", r.ID, r.Severity, r.Findings)
		}
	}
}

func TestWhatIsUnknownIsNeverFineAndHidesNothingElse(t *testing.T) {
	for _, source := range []Source{Nodes, Quotas, Templates, Budgets, Webhooks, Services, Certificates, CRDs, Daemons, Istiods, Config, Rehearsal, Admission} {
		t.Run(string(source), func(t *testing.T) {
			f := healthy()
			f.Unknown[source] = "you may not list them"
			needed := 0
			for n, r := range Run(All(), f) {
				needs := slices.Contains(All()[n].Needs, source)
				if needs {
					needed++
				}
				if needs != (r.Severity == Unknown) {
					t.Errorf("%s is %s, and needs it: %v", r.ID, r.Severity, needs)
				}
			}
			if needed == 0 || source.Words() == string(source) {
				t.Errorf("%d checks need it, and it is called %q", needed, source.Words())
			}
		})
	}
}

// A check that used a source without saying so would find something else once the source is empty.
func TestChecksUseOnlyWhatTheyNeed(t *testing.T) {
	empty := map[Source]func(*Facts){
		Nodes: func(f *Facts) { f.Nodes = nil }, Quotas: func(f *Facts) { f.Quotas = nil }, Templates: func(f *Facts) { f.Templates = nil }, Budgets: func(f *Facts) { f.Budgets = nil },
		Webhooks: func(f *Facts) { f.Webhooks = nil }, Services: func(f *Facts) { f.Services = nil }, Certificates: func(f *Facts) { f.Certificates = CA{} }, CRDs: func(f *Facts) { f.CRDs = nil },
		Daemons: func(f *Facts) { f.Daemons = nil }, Istiods: func(f *Facts) { f.Istiods = nil }, Rehearsal: func(f *Facts) { f.Rehearsal = "" },
	}
	for name, p := range problems() {
		n := slices.IndexFunc(All(), func(c Check) bool { return c.ID == p.check })
		for source, forget := range empty {
			f := healthy()
			p.plant(f)
			before := All()[n].run(f)
			forget(f)
			if after := All()[n].run(f); !slices.Contains(All()[n].Needs, source) && len(after.Findings) != len(before.Findings) {
				t.Errorf("%s: check %s does not need %s and finds %d instead of %d without it", name, p.check, source, len(after.Findings), len(before.Findings))
			}
		}
	}
}

func TestACheckThatPanicsHidesNoOther(t *testing.T) {
	checks := []Check{
		{ID: "a", Find: func(*Facts) []Finding { panic("oh") }},
		{ID: "b", Find: func(*Facts) []Finding { return []Finding{general(Error, "No.", "")} }},
	}
	r := Run(checks, healthy())
	if r[0].Severity != Unknown || !strings.Contains(r[0].Findings[0].Explanation, "oh") || r[1].Severity != Error {
		t.Errorf("%+v", r)
	}
}

func TestOnlyErrorsThatNobodyIgnoresKeepAnUpgradeFromStarting(t *testing.T) {
	f := healthy()
	f.Rehearsal, f.Unknown[Nodes] = "no", "no"
	r := NewReport(f)
	if v := r.Start("meshlift", "--ignore-check"); v.Passed() || r.Passed || !strings.Contains(v.Message, "istiod-rehearsal") || !strings.Contains(v.Message, "--ignore-check istiod-rehearsal") {
		t.Errorf("%+v", v)
	}
	if unknown := Ignore(r.Checks, []string{"istiod-rehearsal", "nonsense"}); !slices.Equal(unknown, []string{"nonsense"}) {
		t.Error(unknown)
	}
	r.Count()
	if v := r.Start("meshlift", "--ignore-check"); !v.Passed() || !r.Passed || r.Summary[Error] != 1 {
		t.Errorf("%+v %+v", v, r.Summary)
	}
}

func TestChecksHaveNamesTitlesAndLinksAndADescription(t *testing.T) {
	text, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## What is checked")
	section, _, _ = strings.Cut(section, "\n## ")
	seen := map[string]bool{}
	for _, c := range All() {
		if seen[c.ID] || c.Title == "" || !strings.HasPrefix(c.Link, "https://") {
			t.Errorf("%+v", c)
		}
		seen[c.ID] = true
		if !strings.Contains(section, "| `"+c.ID+"` |") {
			t.Errorf("docs/check.md does not describe %s", c.ID)
		}
	}
	for _, line := range strings.Split(section, "\n") {
		if id, ok := strings.CutPrefix(line, "| `"); ok {
			if id, _, _ = strings.Cut(id, "`"); !seen[id] {
				t.Errorf("docs/check.md describes %s, which does not exist", id)
			}
		}
	}
}
