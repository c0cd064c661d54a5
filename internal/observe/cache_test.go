package observe

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

func pruned[T any](list []T) []T {
	out := make([]T, len(list))
	for n := range list {
		out[n] = list[n]
		if _, err := prune(&out[n]); err != nil {
			panic(err)
		}
	}
	return out
}

// prunedObjects is the cluster as the caches hold it. The argument is given up.
func prunedObjects(in objects) objects {
	in.mutating, in.validating, in.namespaces = pruned(in.mutating), pruned(in.validating), pruned(in.namespaces)
	in.deployments, in.statefulSets, in.daemonSets = pruned(in.deployments), pruned(in.statefulSets), pruned(in.daemonSets)
	in.pods, in.services, in.envoyFilters = pruned(in.pods), pruned(in.services), pruned(in.envoyFilters)
	in.gateways, in.remoteSecrets = pruned(in.gateways), pruned(in.remoteSecrets)
	return in
}

// word draws a key or value; few different ones, so that things meet.
func word(t *rapid.T, of ...string) string { return rapid.SampledFrom(of).Draw(t, "word") }

func words(t *rapid.T, keys []string, values []string) map[string]string {
	return rapid.MapOfN(rapid.SampledFrom(keys), rapid.SampledFrom(values), -1, 4).Draw(t, "map")
}

var (
	revisionNames  = []string{"1-30", "1-31", "default", "prod", "false", "true", "enabled", "istio-cni-node", "ingressgateway", "gateway", "meshlift-agent"}
	labelKeys      = []string{"app", "istio", mesh.LabelRev, mesh.LabelInjection, mesh.LabelInject, v1alpha1.RevisionLabel, mesh.LabelGatewayManaged, mesh.LabelGatewayName, "pod-template-hash", "k8s-app", "app.kubernetes.io/name"}
	annotationKeys = []string{mesh.LabelRev, mesh.LabelInject, mesh.AnnotationTemplates, mesh.AnnotationProxyImage, "kubectl.kubernetes.io/last-applied-configuration", "prometheus.io/port", "meta.helm.sh/release-name"}
)

func anyMeta(t *rapid.T, name string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Name: name, Namespace: word(t, "shop", "istio-system"), Generation: 2, UID: "u", ResourceVersion: "7",
		Labels: words(t, labelKeys, revisionNames), Annotations: words(t, annotationKeys, revisionNames),
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}, Finalizers: []string{"f"},
	}
	if rapid.Bool().Draw(t, "moved") {
		m.Annotations[v1alpha1.MoveAnnotation] = word(t, `{"to":"1-31","attempt":1}`, "{", "null")
	}
	if rapid.Bool().Draw(t, "injected") {
		m.Annotations[mesh.AnnotationStatus] = word(t, `{"containers":["istio-proxy"],"revision":"1-30"}`, `{"containers":null}`, "{", `{"revision":7}`)
	}
	if rapid.Bool().Draw(t, "owned") {
		m.OwnerReferences = []metav1.OwnerReference{*owner(word(t, "apps/v1", "batch/v1", "gateway.networking.k8s.io/v1"), word(t, "ReplicaSet", "StatefulSet", "Gateway", "Job"), word(t, "a", "b", "a-1-30", "b-true"))}
		m.OwnerReferences[0].Controller = rapid.SampledFrom([]*bool{nil, m.OwnerReferences[0].Controller}).Draw(t, "controller")
	}
	return m
}

func anySpec(t *rapid.T) corev1.PodSpec {
	container := func() corev1.Container {
		return corev1.Container{
			Name: word(t, "app", "istio-proxy", "discovery"), Image: word(t, "docker.io/istio/pilot:1.30.0", "docker.io/istio/proxyv2:1.31.0-debug", "app"),
			Env:   []corev1.EnvVar{{Name: "A", Value: "B"}},
			Ports: []corev1.ContainerPort{{ContainerPort: 80, HostPort: rapid.SampledFrom([]int32{0, 80}).Draw(t, "host port")}},
		}
	}
	s := corev1.PodSpec{HostNetwork: rapid.Bool().Draw(t, "host network"), ServiceAccountName: "default", Volumes: []corev1.Volume{{Name: "v"}}}
	for range rapid.IntRange(0, 2).Draw(t, "containers") {
		s.Containers = append(s.Containers, container())
	}
	for range rapid.IntRange(0, 1).Draw(t, "init containers") {
		s.InitContainers = append(s.InitContainers, container())
	}
	return s
}

// anyCluster draws a cluster in which everything that build looks at occurs.
func anyCluster(t *rapid.T, charts objects) objects {
	in := charts
	in.namespaces = []corev1.Namespace{{ObjectMeta: anyMeta(t, "shop"), Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}}}, {ObjectMeta: anyMeta(t, "istio-system")}}
	replicas := int32(3)
	for _, name := range []string{"a", "b"} {
		template := corev1.PodTemplateSpec{ObjectMeta: anyMeta(t, ""), Spec: anySpec(t)}
		in.deployments = append(slices.Clip(in.deployments), appsv1.Deployment{
			ObjectMeta: anyMeta(t, name), Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: template, Selector: &metav1.LabelSelector{}},
			Status: appsv1.DeploymentStatus{Replicas: 3, Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
				{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "quota"},
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"},
			}},
		})
		in.statefulSets = append(in.statefulSets, appsv1.StatefulSet{ObjectMeta: anyMeta(t, name), Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Template: *template.DeepCopy()}})
		in.daemonSets = append(in.daemonSets, appsv1.DaemonSet{ObjectMeta: anyMeta(t, name), Spec: appsv1.DaemonSetSpec{Template: *template.DeepCopy()}})
	}
	for n := range rapid.IntRange(0, 4).Draw(t, "pods") {
		p := corev1.Pod{ObjectMeta: anyMeta(t, fmt.Sprintf("pod-%d", n)), Spec: anySpec(t)}
		p.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodPending, corev1.PodFailed}).Draw(t, "phase")
		p.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
			{Type: corev1.PodReady, Status: rapid.SampledFrom([]corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse}).Draw(t, "ready")},
		}
		in.pods = append(in.pods, p)
	}
	g := unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"gatewayClassName": word(t, "istio", "istio-waypoint"), "listeners": []any{"l"}}}}
	g.SetGroupVersionKind(gatewayKind)
	m := anyMeta(t, "a")
	g.SetName(m.Name)
	g.SetNamespace(m.Namespace)
	g.SetLabels(m.Labels)
	g.SetAnnotations(m.Annotations)
	in.gateways = []unstructured.Unstructured{g}
	f := g.DeepCopy()
	f.SetGroupVersionKind(envoyFilterKind)
	f.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "alice", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}})
	in.envoyFilters = []unstructured.Unstructured{*f}
	in.remoteSecrets = []metav1.PartialObjectMetadata{{ObjectMeta: anyMeta(t, "remote")}}
	return in
}

func TestPruningChangesNothingInTheInventory(t *testing.T) {
	charts := charted(t, "istiod-1-30 is default", "istiod-1-31 is prod")
	workloads, loose := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		in := anyCluster(t, charts)
		whole := build(in)
		workloads, loose = workloads+len(whole.Workloads), loose+len(whole.LoosePods)
		once := prunedObjects(in)
		got := build(once)
		if diff := cmp.Diff(whole, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("pruned objects make another inventory (-whole +pruned):\n%s", diff)
		}
		if diff := cmp.Diff(got, build(prunedObjects(once)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("pruning twice differs (-once +twice):\n%s", diff)
		}
	})
	if workloads == 0 || loose == 0 {
		t.Errorf("the drawn clusters hold %d workloads and %d loose pods: the property proves nothing", workloads, loose)
	}
}

func TestBuildNeitherChangesNorSharesItsInput(t *testing.T) {
	charts := charted(t, "istiod-1-30 is default", "istiod-1-31 is prod")
	rapid.Check(t, func(t *rapid.T) {
		in := anyCluster(t, charts)
		first := build(in)
		second := build(in)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("building again differs (-first +second):\n%s", diff)
		}
		for n := range first.Workloads {
			w := &first.Workloads[n]
			for _, m := range []map[string]string{w.TemplateLabels, w.TemplateAnnotations, w.Annotations} {
				if m != nil {
					m["spoiled"] = "yes"
				}
			}
			for _, p := range w.Pods {
				maps.DeleteFunc(p.Labels, func(string, string) bool { return true })
			}
		}
		for _, ns := range first.Namespaces {
			maps.DeleteFunc(ns.Labels, func(string, string) bool { return true })
		}
		if diff := cmp.Diff(second, build(in)); diff != "" {
			t.Errorf("a change of the inventory reached the cache (-want +got):\n%s", diff)
		}
	})
}

// realisticPod is as large as an injected pod of a real cluster.
func realisticPod(n int) *corev1.Pod {
	p := podOf(fmt.Sprintf("productpage-v1-6c9f8d7b5c-%05d", n), "1-30", owner("apps/v1", "ReplicaSet", fmt.Sprintf("productpage-v1-%d", n)))
	p.UID = "2f1c1e9e-4f5b-4a43-9a51-0d7d4e0b3c11"
	p.Labels = map[string]string{
		"app": "productpage", "version": "v1", "pod-template-hash": fmt.Sprint(n), "security.istio.io/tlsMode": "istio",
		"service.istio.io/canonical-name": "productpage", "service.istio.io/canonical-revision": "v1", v1alpha1.RevisionLabel: "1-31",
	}
	p.Annotations[mesh.LabelRev] = "1-30"
	p.Annotations["prometheus.io/path"], p.Annotations["kubectl.kubernetes.io/default-container"] = "/stats/prometheus", "productpage"
	p.Annotations[mesh.AnnotationStatus] = `{"initContainers":["istio-init"],"containers":["istio-proxy"],"volumes":["workload-socket","credential-socket","workload-certs","istio-envoy","istio-data","istio-podinfo","istio-token","istiod-ca-cert"],"imagePullSecrets":null,"revision":"1-30"}`
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", FieldsV1: metav1.NewFieldsV1(string(make([]byte, 4000)))}}
	for _, name := range []string{"productpage", "istio-proxy"} {
		c := corev1.Container{Name: name, Image: fmt.Sprintf("docker.io/istio/proxyv2:1.30.%d", n%3)}
		for e := range 25 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("ISTIO_META_%d_%d", e, n), Value: fmt.Sprintf("value %d of %d", e, n)})
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	for v := range 8 {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("volume-%d", v)})
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	return &p
}

// maxPodBytes is what a cached pod may cost; 10 000 of them fit into 40 MiB.
const maxPodBytes = 4096

func bytesPerPod(t testing.TB, count int, change func(*corev1.Pod)) int {
	t.Helper()
	cached := make([]*corev1.Pod, 0, count)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range count {
		p := realisticPod(n).DeepCopy()
		change(p)
		cached = append(cached, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(cached)
	return (int(after.HeapAlloc) - int(before.HeapAlloc)) / count
}

func pruneForTest(p *corev1.Pod) {
	if _, err := prune(p); err != nil {
		panic(err)
	}
}

func TestACachedPodIsSmall(t *testing.T) {
	whole, small := bytesPerPod(t, 2000, func(*corev1.Pod) {}), bytesPerPod(t, 2000, pruneForTest)
	t.Logf("a pod costs %d bytes whole and %d bytes pruned", whole, small)
	if small > maxPodBytes || small >= whole {
		t.Errorf("a cached pod costs %d bytes (whole: %d), want at most %d", small, whole, maxPodBytes)
	}
}

func BenchmarkPodMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(bytesPerPod(b, 10000, pruneForTest)), "bytes/pod")
	}
}

func BenchmarkBuildTenThousandPods(b *testing.B) {
	in := objects{istioNamespace: "istio-system", namespaces: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{mesh.LabelRev: "1-30"}}}}}
	for n := range 10000 {
		p := realisticPod(n)
		pruneForTest(p)
		in.pods = append(in.pods, *p)
	}
	in.deployments = append(in.deployments, deployment("productpage-v1"))
	b.ReportAllocs()
	for b.Loop() {
		build(in)
	}
}
