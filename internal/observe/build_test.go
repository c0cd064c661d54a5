package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// decoded reads one object from YAML.
func decoded[T any](t testing.TB, text string) T {
	t.Helper()
	var out T
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", "  ")), &out); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return out
}

func unstructuredOf(t testing.TB, text string) unstructured.Unstructured {
	return unstructured.Unstructured{Object: decoded[map[string]any](t, text)}
}

// deployment and podOf are small builders; modifiers change what a test is about.
func deployment(name string, change ...func(*appsv1.Deployment)) appsv1.Deployment {
	d := appsv1.Deployment{}
	d.Name, d.Namespace = name, "shop"
	for _, c := range change {
		c(&d)
	}
	return d
}

func podOf(name, revision string, owner *metav1.OwnerReference, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{}
	p.Name, p.Namespace = name, "shop"
	p.Status.Phase = corev1.PodRunning
	if revision != "" {
		p.Annotations = map[string]string{mesh.AnnotationStatus: `{"containers":["istio-proxy"],"revision":"` + revision + `"}`}
	}
	if owner != nil {
		p.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func owner(apiVersion, kind, name string) *metav1.OwnerReference {
	yes := true
	return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, Controller: &yes}
}

func hashed(hash string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{"pod-template-hash": hash} }
}

func TestRevisionsAreReadFromTheDeploymentsOfTheIstioNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want []mesh.Revision
	}{
		"installed by Helm, with a variant": {
			`{metadata: {name: istiod-1-30, namespace: istio-system, labels: {app: istiod, app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: istiod-1-30}},
			spec: {replicas: 2, template: {metadata: {labels: {istio.io/rev: 1-30}}, spec: {containers: [{name: discovery, image: "docker.io/istio/pilot:1.30.0-distroless"}]}}}, status: {readyReplicas: 1}}`,
			[]mesh.Revision{{
				Name: "1-30", Version: "1.30.0", Deployment: "istiod-1-30", Hub: "docker.io/istio", Tag: "1.30.0-distroless",
				InstalledBy: "Helm", Release: "istiod-1-30", Replicas: 2, ReadyReplicas: 1,
			}},
		},
		"installed by istioctl, which renders the label of Helm as well": {
			`{metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, app.kubernetes.io/managed-by: Helm, operator.istio.io/managed: Reconcile}},
			spec: {template: {metadata: {labels: {istio.io/rev: default}}, spec: {containers: [{name: discovery, image: "registry:5000/a/pilot:1.18.7"}]}}}}`,
			[]mesh.Revision{{Name: "default", Version: "1.18.7", Deployment: "istiod", Hub: "registry:5000/a", Tag: "1.18.7", InstalledBy: "Istioctl", Replicas: 1}},
		},
		"from rendered charts, without a release": {
			`{metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, app.kubernetes.io/managed-by: Helm}}, spec: {replicas: 0}}`,
			[]mesh.Revision{{Name: "default", Deployment: "istiod", InstalledBy: "Helm"}},
		},
		"renamed, known by its image": {
			`{metadata: {name: asm-control, namespace: istio-system, labels: {istio.io/rev: blue}}, spec: {replicas: 1, template: {metadata: {labels: {istio.io/rev: blue}}, spec: {containers: [{name: main, image: "hub/pilot@sha256:0123"}]}}}}`,
			[]mesh.Revision{{Name: "blue", Deployment: "asm-control", Hub: "hub", InstalledBy: "Unknown", Replicas: 1}},
		},
		"in another namespace":            {`{metadata: {name: istiod, namespace: other, labels: {app: istiod}}, spec: {}}`, nil},
		"a gateway in the same namespace": {`{metadata: {name: gw, namespace: istio-system, labels: {istio.io/rev: blue}}, spec: {template: {spec: {containers: [{name: istio-proxy, image: auto}]}}}}`, nil},
	} {
		in := objects{istioNamespace: "istio-system", deployments: []appsv1.Deployment{decoded[appsv1.Deployment](t, c.yaml)}}
		inv := build(in)
		if diff := cmp.Diff(c.want, inv.Revisions); diff != "" {
			t.Errorf("%s: the revisions differ (-want +got):\n%s", name, diff)
		}
		for _, w := range inv.Workloads {
			if len(c.want) > 0 {
				t.Errorf("%s: istiod itself is taken for the data plane %s", name, w.Ref)
			}
		}
	}
}

func TestTheRevisionOfAWebhookIsThatOfTheIstiodBehindItsService(t *testing.T) {
	in := charted(t, "istiod", "istiod-1-30", "istiod-1-31 is prod")
	everything := corev1.Service{}
	everything.Name, everything.Namespace = "any", "istio-system"
	everything.Spec.Selector = map[string]string{mesh.LabelRev: "1-30"}
	orphan := corev1.Service{}
	orphan.Name, orphan.Namespace = "istiod-old", "istio-system"
	orphan.Spec.Selector = map[string]string{"app": "istiod", mesh.LabelRev: "older"}
	external := corev1.Service{}
	external.Name, external.Namespace = "istiod-remote", "istio-system"
	in.services = append(in.services, everything, orphan, external)
	r := newResolver(in, controlPlanes(in))
	service := func(namespace, name string) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: namespace, Name: name}}
	}
	url := "https://istiod.example:15017/inject"
	for name, c := range map[string]struct {
		config admissionv1.WebhookClientConfig
		want   string
		exists bool
	}{
		"its own Service":                       {service("istio-system", "istiod-1-30"), "1-30", true},
		"the Service without a revision":        {service("istio-system", "istiod"), "default", true},
		"the Service of a tag":                  {service("istio-system", "istiod-revision-tag-prod"), "1-31", true},
		"a Service of any name":                 {service("istio-system", "any"), "1-30", true},
		"a Service whose Deployment is gone":    {service("istio-system", "istiod-old"), "older", true},
		"a Service without a selector":          {service("istio-system", "istiod-remote"), "remote", true},
		"a Service that is gone":                {service("istio-system", "istiod-1-29"), "1-29", false},
		"a Service that is gone, no revision":   {service("istio-system", "nothing"), "default", false},
		"an istiod of another mesh":             {service("istio-other", "istiod-1-30"), "istio-other/1-30", false},
		"an istiod outside the cluster, by URL": {admissionv1.WebhookClientConfig{URL: &url}, "far", true},
	} {
		if got := r.revision(c.config, map[string]string{mesh.LabelRev: "far"}); got != c.want {
			t.Errorf("%s answers as revision %q, want %q", name, got, c.want)
		}
		if got := r.exists(c.config); got != c.exists {
			t.Errorf("%s: exists is %v, want %v", name, got, c.exists)
		}
	}
}

func TestOnlyIstiosInjectorsAreInjectors(t *testing.T) {
	webhook := func(name string) []admissionv1.MutatingWebhook { return []admissionv1.MutatingWebhook{{Name: name}} }
	for name, c := range map[string]struct {
		labels  map[string]string
		webhook string
		want    bool
	}{
		"by the webhook's name":       {nil, "rev.namespace.sidecar-injector.istio.io", true},
		"by the name of 1.18":         {nil, "sidecar-injector.istio.io", true},
		"by its labels":               {map[string]string{"app": "sidecar-injector", mesh.LabelRev: "x"}, "inject.vendor.example", true},
		"a twin":                      {nil, "rev.namespace.handover.meshlift.dev", true},
		"another mesh's injector":     {map[string]string{"app": "sidecar-injector"}, "linkerd-proxy-injector.linkerd.io", false},
		"Istio's other webhooks":      {map[string]string{mesh.LabelRev: "x"}, "defaults.istio.io", false},
		"a webhook that names itself": {nil, "sidecar-injector.istio.io.example.com", false},
	} {
		list := []admissionv1.MutatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "w", Labels: c.labels}, Webhooks: webhook(c.webhook)}}
		if got := len(configurations(list, resolver{})) == 1; got != c.want {
			t.Errorf("%s: injector is %v, want %v", name, got, c.want)
		}
	}
}

func TestValidatorsSayWhomTheyCallAndWhetherTheyRefuse(t *testing.T) {
	in := charted(t, "istiod-1-30")
	in.validating = append(in.validating, decoded[admissionv1.ValidatingWebhookConfiguration](t, `
metadata: {name: istiod-default-validator, labels: {istio.io/rev: default}}
webhooks: [{name: validation.istio.io, failurePolicy: Ignore, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {namespace: istio-system, name: istiod}}}]`),
		decoded[admissionv1.ValidatingWebhookConfiguration](t, `
metadata: {name: other}
webhooks: [{name: validate.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {}}]`))
	want := []mesh.Validator{
		{Name: "istio-validator-1-30-istio-system", Revision: "1-30", Service: "istiod-1-30"},
		{Name: "istiod-default-validator", Service: "istiod", Default: true},
	}
	if diff := cmp.Diff(want, build(in).Validators); diff != "" {
		t.Errorf("the validators differ (-want +got):\n%s", diff)
	}
	fail := admissionv1.Fail
	in.validating[1].Webhooks[0].FailurePolicy = &fail
	in.validating[1].Webhooks[0].ClientConfig.Service.Name = "istiod-1-30"
	want[1] = mesh.Validator{Name: "istiod-default-validator", Service: "istiod-1-30", Revision: "1-30", Default: true, Fail: true}
	if diff := cmp.Diff(want, build(in).Validators); diff != "" {
		t.Errorf("after re-homing, the validators differ (-want +got):\n%s", diff)
	}
}

func TestPodsBelongToTheWorkloadThatOwnsThem(t *testing.T) {
	set := appsv1.StatefulSet{}
	set.Name, set.Namespace = "db", "shop"
	daemon := appsv1.DaemonSet{}
	daemon.Name, daemon.Namespace = "log", "shop"
	in := objects{
		istioNamespace: "istio-system",
		deployments:    []appsv1.Deployment{deployment("web"), deployment("web-1"), deployment("plain")},
		statefulSets:   []appsv1.StatefulSet{set},
		daemonSets:     []appsv1.DaemonSet{daemon},
		pods: []corev1.Pod{
			podOf("web-1-abc-x", "1-30", owner("apps/v1", "ReplicaSet", "web-1-abc"), hashed("abc")),
			podOf("web-abc-x", "1-31", owner("apps/v1", "ReplicaSet", "web-abc"), hashed("abc")),
			podOf("plain-abc-x", "", owner("apps/v1", "ReplicaSet", "plain-abc"), hashed("abc")),
			podOf("db-0", "1-30", owner("apps/v1", "StatefulSet", "db")),
			podOf("log-x", "1-30", owner("apps/v1", "DaemonSet", "log")),
			podOf("kruise-0", "1-30", owner("apps.kruise.io/v1beta1", "StatefulSet", "db")),
			podOf("bare", "1-30", nil),
			podOf("job-x", "1-30", owner("batch/v1", "Job", "job")),
			podOf("job-done", "1-30", owner("batch/v1", "Job", "job"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
			podOf("web-abc-evicted", "1-30", owner("apps/v1", "ReplicaSet", "web-abc"), hashed("abc"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			podOf("orphan-x", "1-30", owner("apps/v1", "ReplicaSet", "orphan-abc")),
			podOf("canary-x", "1-30", owner("apps/v1", "ReplicaSet", "web-def"), func(p *corev1.Pod) {
				p.Labels = map[string]string{"rollouts-pod-template-hash": "def", "pod-template-hash": "def"}
			}),
			podOf("bare-plain", "", nil),
		},
	}
	inv := build(in)
	got := map[string][]string{}
	for _, w := range inv.Workloads {
		for _, p := range w.Pods {
			got[w.Ref.String()] = append(got[w.Ref.String()], p.Name+" "+p.Revision)
		}
	}
	for _, p := range inv.LoosePods {
		got["owner "+p.Owner] = append(got["owner "+p.Owner], p.Name+" "+p.Revision)
	}
	want := map[string][]string{
		"shop/Deployment/web": {"web-abc-x 1-31"}, "shop/Deployment/web-1": {"web-1-abc-x 1-30"},
		"shop/StatefulSet/db": {"db-0 1-30"}, "shop/DaemonSet/log": {"log-x 1-30"},
		"owner StatefulSet/db": {"kruise-0 1-30"}, "owner ": {"bare 1-30"}, "owner Job/job": {"job-x 1-30"},
		"owner ReplicaSet/orphan-abc": {"orphan-x 1-30"}, "owner Rollout/web": {"canary-x 1-30"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the owners of pods differ (-want +got):\n%s", diff)
	}
}

func TestAPodTellsWhoInjectedItAndWithWhichProxy(t *testing.T) {
	image := func(native bool, image string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			c := []corev1.Container{{Name: "app", Image: "shop:2"}, {Name: proxyContainer, Image: image}}
			if p.Spec.Containers = c; native {
				p.Spec.Containers, p.Spec.InitContainers = c[:1], c[1:]
			}
		}
	}
	annotations := func(a map[string]string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Annotations = a } }
	for name, c := range map[string]struct {
		pod               corev1.Pod
		revision, version string
	}{
		"classic sidecar":  {podOf("p", "1-30", nil, image(false, "docker.io/istio/proxyv2:1.30.0-distroless")), "1-30", "1.30.0"},
		"native sidecar":   {podOf("p", "1-31", nil, image(true, "docker.io/istio/proxyv2:1.31.0")), "1-31", "1.31.0"},
		"Gateway API":      {podOf("p", "", nil, annotations(map[string]string{mesh.LabelRev: "1-31"})), "1-31", ""},
		"the label lies":   {podOf("p", "1-30", nil, func(p *corev1.Pod) { p.Labels = map[string]string{mesh.LabelRev: "1-31"} }), "1-30", ""},
		"only the label":   {podOf("p", "", nil, func(p *corev1.Pod) { p.Labels = map[string]string{mesh.LabelRev: "1-31"} }), "", ""},
		"a broken status":  {podOf("p", "", nil, annotations(map[string]string{mesh.AnnotationStatus: "{", mesh.LabelRev: "1-29"})), "1-29", ""},
		"an unnamed one":   {podOf("p", "", nil, annotations(map[string]string{mesh.AnnotationStatus: `{"containers":["istio-proxy"]}`})), "default", ""},
		"its own image":    {podOf("p", "1-30", nil, image(false, "local/proxy:dev")), "1-30", ""},
		"nothing injected": {podOf("p", "", nil), "", ""},
	} {
		got := proxies{}.pod(&c.pod)
		if got.Revision != c.revision || got.ProxyVersion != c.version {
			t.Errorf("%s: revision %q and proxy %q, want %q and %q", name, got.Revision, got.ProxyVersion, c.revision, c.version)
		}
	}
}

func TestWorkloadsAreIncludedWhenTheyAreOrCouldBecomeDataPlanes(t *testing.T) {
	label := func(key, value string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.Spec.Template.Labels = map[string]string{key: value} }
	}
	for name, c := range map[string]struct {
		namespace map[string]string
		change    func(*appsv1.Deployment)
		pods      []corev1.Pod
		want      bool
	}{
		"nothing":                     {nil, label("app", "web"), nil, false},
		"a namespace that injects":    {map[string]string{mesh.LabelRev: "1-30"}, label("app", "web"), nil, true},
		"a pod label that is served":  {nil, label(mesh.LabelInject, "true"), nil, true},
		"a pin to nothing":            {nil, label(mesh.LabelRev, "gone"), nil, true},
		"moved earlier":               {nil, label(v1alpha1.RevisionLabel, "1-31"), nil, true},
		"opted out":                   {map[string]string{mesh.LabelRev: "1-30"}, label(mesh.LabelInject, "false"), nil, false},
		"host network":                {map[string]string{mesh.LabelRev: "1-30"}, func(d *appsv1.Deployment) { d.Spec.Template.Spec.HostNetwork = true }, nil, false},
		"injected once, not any more": {nil, label("app", "web"), []corev1.Pod{podOf("web-1-x", "1-29", owner("apps/v1", "ReplicaSet", "web-1"), hashed("1"))}, true},
		"Meshlift itself":             {map[string]string{mesh.LabelRev: "1-30"}, label("app.kubernetes.io/name", "meshlift-agent"), nil, false},
		"the CNI agent with a revision": {nil, func(d *appsv1.Deployment) {
			d.Spec.Template.Labels = map[string]string{"k8s-app": "istio-cni-node", mesh.LabelRev: "1-30"}
		}, nil, false},
	} {
		in := charted(t, "istiod-1-30 is default")
		in.namespaces = []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: c.namespace}}}
		in.deployments, in.pods = append(in.deployments, deployment("web", c.change)), c.pods
		if _, got := build(in).Workload(mesh.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}); got != c.want {
			t.Errorf("%s: included is %v, want %v", name, got, c.want)
		}
	}
}

func TestRolesOfDataPlanes(t *testing.T) {
	gateway := map[string]string{mesh.AnnotationTemplates: "gateway"}
	for _, c := range []struct {
		name                string
		labels, annotations map[string]string
		want                mesh.Role
	}{
		{"web", map[string]string{"app": "ingress-demo"}, nil, mesh.Sidecar},
		{"web", nil, map[string]string{mesh.AnnotationTemplates: "sidecar,custom"}, mesh.Sidecar},
		{"gw", map[string]string{"istio": "ingress"}, gateway, mesh.IngressGateway},
		{"gw", map[string]string{"istio": "edge", "app": "egress-edge"}, gateway, mesh.EgressGateway},
		{"istio-ingress", nil, gateway, mesh.IngressGateway},
		{"edge", map[string]string{"istio": "edge"}, gateway, mesh.GenericGateway},
		{"gw", map[string]string{"istio": "ingressgateway"}, nil, mesh.IngressGateway},
		{"gw", map[string]string{"istio": "egressgateway"}, nil, mesh.EgressGateway},
	} {
		if got := role(c.name, c.labels, c.annotations); got != c.want {
			t.Errorf("%s with labels %v and annotations %v is a %s, want %s", c.name, c.labels, c.annotations, got, c.want)
		}
	}
}

func TestAMoveIsReadFromTheAnnotation(t *testing.T) {
	d := deployment("web", func(d *appsv1.Deployment) {
		d.Annotations = map[string]string{v1alpha1.MoveAnnotation: `{"to":"1-31","from":"1-30","started":"2026-11-23T13:00:00Z","attempt":2,"rollout":"r"}`, "note": "x"}
		d.Spec.Template.Labels = map[string]string{v1alpha1.RevisionLabel: "1-31"}
	})
	w, _ := build(objects{deployments: []appsv1.Deployment{d}}).Workload(mesh.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"})
	want := &mesh.Move{To: "1-31", From: "1-30", Started: time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC), Attempt: 2, Rollout: "r"}
	if diff := cmp.Diff(want, w.Move); diff != "" {
		t.Errorf("the move differs (-want +got):\n%s", diff)
	}
	if _, ok := w.Annotations["note"]; ok {
		t.Error("an annotation without a meaning was kept")
	}
}

func FuzzAMoveNeverPanics(f *testing.F) {
	for _, seed := range []string{"", "{}", "null", "[]", `{"to":"1-31","attempt":1}`, `{"to":1}`, `{"to":"x","started":"yesterday"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m := parseMove(text); m != nil && m.To == "" {
			t.Errorf("%q is read as a move to nowhere", text)
		}
	})
}
