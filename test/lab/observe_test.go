package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"meshlift.dev/meshlift/internal/agent"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/observe"
	"meshlift.dev/meshlift/internal/xds"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// zoo holds one of everything that is not a Deployment with a sidecar.
const zoo = `
apiVersion: v1
kind: Namespace
metadata: {name: zoo, labels: {istio.io/rev: 1-30}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: zoo}
spec: {replicas: 2, serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: app, image: app}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log, namespace: zoo}
spec: {selector: {matchLabels: {app: log}}, template: {metadata: {labels: {app: log}}, spec: {nodeSelector: {kubernetes.io/hostname: sim-0}, tolerations: [{operator: Exists}], containers: [{name: app, image: app}]}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: loose, namespace: zoo}
spec: {replicas: 1, selector: {matchLabels: {app: loose}}, template: {metadata: {labels: {app: loose}}, spec: {containers: [{name: app, image: app}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: zoo, labels: {app: bare}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, namespace: zoo, labels: {app: nowhere}}
spec: {nodeSelector: {no: such}, containers: [{name: app, image: app}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: opted-out, namespace: zoo}
spec: {selector: {matchLabels: {app: out}}, template: {metadata: {labels: {app: out, sidecar.istio.io/inject: "false"}}, spec: {containers: [{name: app, image: app}]}}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limits, namespace: zoo}
spec: {configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 3s}}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: remote-east, namespace: istio-system, labels: {istio/multiCluster: "true"}}
`

const gateways = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: zoo, annotations: {networking.istio.io/service-type: ClusterIP}}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: lost, namespace: zoo, labels: {istio.io/rev: gone}}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
`

// described is what of an inventory can be said in advance, one line for each thing.
func described(inv *mesh.Inventory) []string {
	var out []string
	for _, r := range inv.Revisions {
		out = append(out, fmt.Sprintf("revision %s %s by %s %s, tags %v", r.Name, r.Version, r.InstalledBy, r.Release, r.Tags))
	}
	for _, w := range inv.Workloads {
		revisions := []string{}
		for _, p := range w.Pods {
			revisions = append(revisions, strings.TrimSpace(p.Revision+" "+p.ProxyVersion))
		}
		out = append(out, fmt.Sprintf("%s %s %d %v", w.Role, w.Ref, w.Desired, revisions))
	}
	for _, p := range inv.LoosePods {
		out = append(out, fmt.Sprintf("loose %s/%s of %s on %s", p.Namespace, strings.TrimRight(p.Name, "bcdfghjklmnpqrstvwxz2456789"), p.Owner, p.Revision))
	}
	for _, f := range inv.EnvoyFilters {
		out = append(out, fmt.Sprintf("filter %s/%s %s by %s", f.Namespace, f.Name, f.Hash, f.Owner))
	}
	return append(out, "remote secrets "+strings.Join(inv.RemoteSecrets, ","))
}

func TestTheInventoryIsWhatRuns(t *testing.T) {
	t.Parallel()
	log.SetLogger(logr.Discard())
	l := up(t, "observe", "--install", "1.30.0", "--tag", "default", "--workloads", "bookinfo,grpc,gateway")
	disco, err := discovery.NewDiscoveryClientForConfig(l.REST)
	if err != nil {
		t.Fatal(err)
	}
	live := observe.New(l.Client, "istio-system", observe.WithDiscovery(disco))
	cached := observe.New(startCache(t, l), "istio-system", observe.WithDiscovery(disco))

	t.Run("without the Gateway API there are no Gateways and no error", func(t *testing.T) {
		for _, o := range []*observe.Observer{live, cached} {
			if _, err := o.Inventory(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	l.Kubectl(t, nil, "apply", "-f", gatewayCRDs(t, l))
	l.Kubectl(t, nil, "wait", "--for=condition=Established", "crd/gateways.gateway.networking.k8s.io")
	l.Kubectl(t, strings.NewReader(zoo), "apply", "-f", "-")
	l.Kubectl(t, strings.NewReader(gateways), "apply", "-f", "-")

	want := []string{
		"revision 1-30 1.30.0 by Helm istiod-1-30, tags [default]",
		"Sidecar bookinfo/Deployment/details-v1 1 [1-30 1.30.0]",
		"Sidecar bookinfo/Deployment/productpage-v1 1 [1-30 1.30.0]",
		"Sidecar bookinfo/Deployment/ratings-v1 1 [1-30 1.30.0]",
		"Sidecar bookinfo/Deployment/reviews-v1 1 [1-30 1.30.0]",
		"Sidecar bookinfo/Deployment/reviews-v2 1 [1-30 1.30.0]",
		"Sidecar bookinfo/Deployment/reviews-v3 1 [1-30 1.30.0]",
		"Sidecar grpc/Deployment/echo-client 1 [1-30 1.30.0]",
		"Sidecar grpc/Deployment/echo-server 2 [1-30 1.30.0 1-30 1.30.0]",
		"IngressGateway istio-ingress/Deployment/istio-ingressgateway 1 [1-30 1.30.0]",
		"Sidecar zoo/DaemonSet/log 1 [1-30 1.30.0]",
		"IngressGateway zoo/Gateway/lost 0 []",
		"IngressGateway zoo/Gateway/web 1 [1-30 1.30.0]",
		"Sidecar zoo/ReplicaSet/loose 1 [1-30 1.30.0]",
		"Sidecar zoo/StatefulSet/db 2 [1-30 1.30.0 1-30 1.30.0]",
		"loose zoo/bare of  on 1-30",
		"loose zoo/nowhere of  on 1-30",
		"filter zoo/limits d4d5ff2c9b82ca4a by kubectl-client-side-apply",
		"remote secrets istio-system/remote-east",
	}
	labtest.Eventually(t, "the inventory is what runs", func(ctx context.Context) string {
		inv, err := live.Inventory(ctx)
		if err != nil {
			return err.Error()
		}
		return cmp.Diff(want, described(inv))
	})
	t.Run("the pruned cache shows the same", func(t *testing.T) {
		labtest.Eventually(t, "cached and live inventory agree", func(ctx context.Context) string {
			fromCache, err := cached.Inventory(ctx)
			if err != nil {
				return err.Error()
			}
			fromServer, err := live.Inventory(ctx)
			if err != nil {
				return err.Error()
			}
			return cmp.Diff(fromServer, fromCache)
		})
	})
	t.Run("an annotation opts a pod out", func(t *testing.T) { optedOut(t, l, live) })
	t.Run("events of a pod that cannot be scheduled", func(t *testing.T) { unschedulable(t, live) })
	t.Run("connections", func(t *testing.T) { insideLab(t, l, "TestInsideALabTheConnectionsAreThoseOfTheInjectedPods") })
}

// startCache starts the agent's cache and waits until it is filled.
func startCache(t *testing.T, l *labtest.Lab) cache.Cache {
	t.Helper()
	options := observe.CacheOptions("istio-system")
	var err error
	if options.Scheme, err = agent.Scheme(); err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(l.REST, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if !c.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache did not start")
	}
	return c
}

// gatewayCRDs is the Gateway API of the module that the lab's Istio uses.
func gatewayCRDs(t *testing.T, l *labtest.Lab) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(l.Root, "lab", "istio")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find the module of the Gateway API: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard")
}

func optedOut(t *testing.T, l *labtest.Lab, o *observe.Observer) {
	inv, err := o.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"true": "1-30", "false": ""} {
		annotations := map[string]string{mesh.LabelInject: value}
		facts := mesh.PodFacts{Namespace: "zoo", NamespaceLabels: inv.Namespaces["zoo"].Labels, Annotations: annotations}
		if got := strings.Join(inv.InjectedBy(facts), "+"); got != want {
			t.Errorf("annotation %s=%s: predicted %q, want %q", mesh.LabelInject, value, got, want)
		}
		out := l.Kubectl(t, strings.NewReader(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"zoo","annotations":{%q:%q}},"spec":{"containers":[{"name":"app","image":"app"}]}}`,
			mesh.LabelInject, value)), "create", "--dry-run=server", "-o", `jsonpath={.metadata.annotations.istio\.io/rev}`, "-f", "-")
		if out != want {
			t.Errorf("annotation %s=%s: the API server says %q, want %q", mesh.LabelInject, value, out, want)
		}
	}
}

func unschedulable(t *testing.T, o *observe.Observer) {
	labtest.Eventually(t, "the event of the scheduler", func(ctx context.Context) string {
		events, err := o.PodEvents(ctx, "zoo", []string{"nowhere", "bare"})
		if err != nil {
			return err.Error()
		}
		if len(events) == 0 || events[0].Pod != "nowhere" || events[0].Type != "Warning" || events[0].Reason != "FailedScheduling" || events[0].LastSeen.IsZero() || events[0].Count < 1 {
			return fmt.Sprintf("%+v", events)
		}
		return ""
	})
}

// insideVariable tells a test that it runs inside the lab, where pods can be reached; KUBECONFIG is that of the lab then.
const insideVariable = "MESHLIFT_INSIDE_LAB"

// insideLab runs one test of this binary inside the lab.
func insideLab(t *testing.T, l *labtest.Lab, test string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.Root, ".lab", "bin", "lab"), "exec", "--name", l.Name, "--",
		"env", insideVariable+"=1", self, "-test.run", "^"+test+"$", "-test.v")
	cmd.Dir = l.Root
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("%s: %v\n%s", test, err, out)
	}
}

func TestInsideALabTheConnectionsAreThoseOfTheInjectedPods(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		t.Skip("runs inside a lab, started by TestTheInventoryIsWhatRuns")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := agent.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	observer, istiods := observe.New(c, "istio-system"), xds.New(kube, "istio-system")
	inv, err := observer.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rev, ok := inv.Revision("1-30")
	if !ok {
		t.Fatal("there is no revision 1-30")
	}
	if err := istiods.Serves(t.Context(), rev); err != nil {
		t.Error(err)
	}
	labtest.Eventually(t, "the connections are those of the injected pods", func(ctx context.Context) string {
		inv, err := observer.Inventory(ctx)
		if err != nil {
			return err.Error()
		}
		report, err := istiods.Connections(ctx, rev)
		if err != nil {
			return err.Error()
		}
		var got []string
		for _, p := range report.Proxies {
			got = append(got, fmt.Sprintf("%s version %s synced %v", p.ID, p.Version, p.Synced))
		}
		return cmp.Diff(connectable(inv), got)
	})
	if err := istiods.Serves(t.Context(), mesh.Revision{Name: "none", Deployment: "istiod-none"}); err == nil {
		t.Error("a revision that does not exist serves")
	}
	if r, err := istiods.Connections(t.Context(), mesh.Revision{Name: "none", Deployment: "istiod-none"}); err != nil || len(r.Replicas) > 0 {
		t.Errorf("a revision that does not exist has %+v, %v", r, err)
	}
}

// connectable are the injected pods that run; the one that cannot be scheduled does not.
func connectable(inv *mesh.Inventory) []string {
	var out []string
	add := func(namespace string, p mesh.Pod) {
		if p.Revision == "1-30" && p.Ready {
			out = append(out, fmt.Sprintf("%s.%s version %s synced true", p.Name, namespace, p.ProxyVersion))
		}
	}
	for _, w := range inv.Workloads {
		for _, p := range w.Pods {
			add(w.Namespace, p)
		}
	}
	for _, p := range inv.LoosePods {
		add(p.Namespace, p.Pod)
	}
	slices.Sort(out)
	return out
}
