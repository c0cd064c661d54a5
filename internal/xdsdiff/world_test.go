package xdsdiff

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/envoyapi"
	"meshlift.dev/meshlift/internal/mesh"
)

var (
	before = Revision{"1-30", "1.30.0"}
	after  = Revision{"1-31", "1.31.0"}
)

// encode is a message as istiod sends it, from YAML.
func encode(t testing.TB, name, text string) []byte {
	t.Helper()
	m, err := envoyapi.Types().FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d := dynamicpb.NewMessage(m.Descriptor())
	if err := (protojson.UnmarshalOptions{Resolver: envoyapi.Types()}).Unmarshal(raw, d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var messages = map[Kind]string{
	Clusters: "envoy.config.cluster.v3.Cluster", Endpoints: "envoy.config.endpoint.v3.ClusterLoadAssignment", Listeners: "envoy.config.listener.v3.Listener",
	Routes: "envoy.config.route.v3.RouteConfiguration", Extensions: "envoy.config.core.v3.TypedExtensionConfig",
}

// answer has these resources, in YAML.
func answer(t testing.TB, resources map[Kind][]string) Answer {
	t.Helper()
	out := Answer{}
	for k, list := range resources {
		for _, text := range list {
			out.Add(k, encode(t, messages[k], text))
		}
	}
	return out
}

// compared is a comparison in which a new istiod says the same to old and new proxies.
func compared(t testing.TB, old, young map[Kind][]string, filters ...Object) ClassReport {
	t.Helper()
	b := answer(t, young)
	return Compare(Class{}, Answers{Old: answer(t, old), NewOldProxy: b, New: b}, before, after, filters)
}

func object(t testing.TB, kind, namespace, name, spec string) Object {
	t.Helper()
	o := Object{Kind: kind, Namespace: namespace, Name: name}
	if err := yaml.Unmarshal([]byte(spec), &o.Spec); err != nil {
		t.Fatal(err)
	}
	return o
}

// pod is one with a sidecar.
func pod(name string, labels map[string]string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Labels: labels, Annotations: map[string]string{mesh.LabelRev: "1-30", "kubectl.kubernetes.io/restartedAt": name},
	}}
	p.Spec.Containers = []corev1.Container{
		{Name: "app", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}},
		{Name: "istio-proxy", Image: "docker.io/istio/proxyv2:1.30.0-distroless", Args: []string{"proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"}, Env: []corev1.EnvVar{
			{Name: "POD_NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
			{Name: "PROXY_CONFIG", Value: `{"discoveryAddress":"istiod-1-30.istio-system.svc:15012","proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}`},
			{Name: "ISTIO_META_WORKLOAD_NAME", Value: name},
			{Name: "ISTIO_META_CLUSTER_ID", Value: "Kubernetes"},
			{Name: "ISTIO_META_POD_PORTS", Value: "[\n{\"containerPort\": 8080}\n]"},
			{Name: "ISTIO_METAJSON_LABELS", Value: `{"canonical": "yes"}`},
			{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "x"}}},
		}},
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7"}
	for _, c := range change {
		c(p)
	}
	return p
}

func env(name, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[1].Env = append(p.Spec.Containers[1].Env, corev1.EnvVar{Name: name, Value: value})
	}
}
