package simproxy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sidecarPod is a pod as injection by revision 1-31 leaves it, running on a simulated node.
func sidecarPod(change ...func(*corev1.Pod)) *corev1.Pod {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "reviews-1", Namespace: "bookinfo", UID: "uid-1",
			Labels:      map[string]string{"app": "reviews", hashLabel: "abc"},
			Annotations: map[string]string{"sidecar.istio.io/status": `{"revision":"1-31"}`},
		},
		Spec: corev1.PodSpec{
			NodeName: "sim-0", ServiceAccountName: "bookinfo-reviews",
			Containers: []corev1.Container{
				{Name: "reviews", Image: "docker.io/istio/examples-bookinfo-reviews-v1:1.20.3"},
				{
					Name: proxyContainer, Image: "docker.io/istio/proxyv2:1.31.0-distroless",
					Args: []string{"proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.example.org", "--proxyLogLevel=warning"},
					Env: []corev1.EnvVar{
						{Name: "CA_ADDR", Value: "istiod-1-31.istio-system.svc:15012"},
						{Name: "POD_NAMESPACE", ValueFrom: field("metadata.namespace")},
						{Name: "PROXY_CONFIG", Value: "{\"discoveryAddress\":\"istiod-1-31.istio-system.svc:15012\",\"proxyMetadata\":{\"ISTIO_META_COLOUR\":\"red\"}}\n"},
						{Name: "ISTIO_META_CLUSTER_ID", Value: "east"},
						{Name: "ISTIO_META_NODE_NAME", ValueFrom: field("spec.nodeName")},
						{Name: "ISTIO_META_APP", ValueFrom: field("metadata.labels['app']")},
						{Name: "ISTIO_METAJSON_ANNOTATIONS", Value: `{"EXTRA":"yes"}`},
						{Name: "ISTIO_META_POD_PORTS", Value: "[\n    {\"containerPort\":9080,\"protocol\":\"TCP\"}\n]"},
						{Name: "ISTIO_METAJSON_BROKEN", Value: `{`},
						{Name: "GOMAXPROCS", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
					},
				},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.160.0.7", PodIPs: []corev1.PodIP{{IP: "10.160.0.7"}, {IP: "fd00::7"}},
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: proxyContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

// native turns the proxy into a native sidecar.
func native(pod *corev1.Pod) {
	always := corev1.ContainerRestartPolicyAlways
	proxy := pod.Spec.Containers[1]
	proxy.RestartPolicy = &always
	pod.Spec.InitContainers = []corev1.Container{{Name: "istio-init"}, proxy}
	pod.Spec.Containers = pod.Spec.Containers[:1]
	pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = pod.Status.ContainerStatuses, nil
}

// setEnv sets or adds a variable of the proxy.
func setEnv(name, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		c := proxyOf(pod)
		for i := range c.Env {
			if c.Env[i].Name == name {
				c.Env[i] = corev1.EnvVar{Name: name, Value: value}
				return
			}
		}
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

func TestNodeOfSidecar(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{"classic": sidecarPod(), "native": sidecarPod(native)} {
		t.Run(name, func(t *testing.T) {
			node, err := nodeOf(pod)
			if err != nil {
				t.Fatal(err)
			}
			if want := "sidecar~10.160.0.7~reviews-1.bookinfo~bookinfo.svc.example.org"; node.GetId() != want {
				t.Errorf("id %q, want %q", node.GetId(), want)
			}
			m := node.GetMetadata().AsMap()
			for key, want := range map[string]any{
				"NAME": "reviews-1", "NAMESPACE": "bookinfo", "SERVICE_ACCOUNT": "bookinfo-reviews",
				"CLUSTER_ID": "east", "NODE_NAME": "sim-0", "APP": "reviews", "COLOUR": "red", "EXTRA": "yes",
				"INSTANCE_IPS": "10.160.0.7,fd00::7", "ISTIO_VERSION": "1.31.0", "ENVOY_STATUS_PORT": 15021.0,
				"POD_PORTS": `[{"containerPort":9080,"protocol":"TCP"}]`,
			} {
				if m[key] != want {
					t.Errorf("metadata %s = %v, want %v", key, m[key], want)
				}
			}
			labels, _ := m["LABELS"].(map[string]any)
			if labels["app"] != "reviews" || labels[hashLabel] != nil {
				t.Errorf("labels %v", labels)
			}
			config, _ := m["PROXY_CONFIG"].(map[string]any)
			if config["discoveryAddress"] != "istiod-1-31.istio-system.svc:15012" || config["statusPort"] != 15020.0 {
				t.Errorf("proxy configuration %v", config)
			}
			san, _ := m["PILOT_SAN"].([]any)
			if len(san) != 1 || san[0] != "istiod-1-31.istio-system.svc" {
				t.Errorf("PILOT_SAN %v", san)
			}
		})
	}
}

func TestNodeOfGateway(t *testing.T) {
	pod := sidecarPod(func(p *corev1.Pod) {
		p.Spec.Containers = p.Spec.Containers[1:]
		p.Spec.Containers[0].Args = []string{"proxy", "router"}
		p.Annotations = map[string]string{"istio.io/rev": "1-31"} // Gateway API: no status annotation
	})
	node, err := nodeOf(pod)
	if err != nil {
		t.Fatal(err)
	}
	if want := "router~10.160.0.7~reviews-1.bookinfo~bookinfo.svc.cluster.local"; node.GetId() != want {
		t.Errorf("id %q, want %q", node.GetId(), want)
	}
}

func TestNodeOfRefusesBrokenConfig(t *testing.T) {
	if _, err := nodeOf(sidecarPod(setEnv("PROXY_CONFIG", "{"))); err == nil {
		t.Error("accepted PROXY_CONFIG that is not JSON")
	}
	if _, err := nodeOf(&corev1.Pod{}); err == nil {
		t.Error("accepted a pod without proxy")
	}
}

func TestVersionOf(t *testing.T) {
	for image, want := range map[string]string{
		"docker.io/istio/proxyv2:1.31.0":                    "1.31.0",
		"docker.io/istio/proxyv2:1.31.0-distroless":         "1.31.0",
		"registry.local:5000/istio/proxyv2:1.30.3-debug":    "1.30.3",
		"registry.local:5000/istio/proxyv2":                 "",
		"proxyv2:1.31.0-rc.1":                               "1.31.0-rc.1",
		"istio/proxyv2:1.31.0@sha256:0123456789abcdef01234": "1.31.0",
	} {
		if got := versionOf(image); got != want {
			t.Errorf("versionOf(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestTargetOf(t *testing.T) {
	for name, test := range map[string]struct {
		pod           *corev1.Pod
		host, service string
	}{
		"PROXY_CONFIG first": {sidecarPod(setEnv("CA_ADDR", "other.istio-system.svc:15012")), "istiod-1-31.istio-system.svc", "istio-system/istiod-1-31"},
		"then CA_ADDR":       {sidecarPod(setEnv("PROXY_CONFIG", "{}")), "istiod-1-31.istio-system.svc", "istio-system/istiod-1-31"},
		"then the default":   {sidecarPod(setEnv("PROXY_CONFIG", "{}"), setEnv("CA_ADDR", "")), "istiod.istio-system.svc", "istio-system/istiod"},
		"full name":          {sidecarPod(setEnv("PROXY_CONFIG", `{"discoveryAddress":"istiod.mesh.svc.cluster.local:15012"}`)), "istiod.mesh.svc.cluster.local", "mesh/istiod"},
		"own namespace":      {sidecarPod(setEnv("PROXY_CONFIG", `{"discoveryAddress":"istiod:15012"}`)), "istiod", "bookinfo/istiod"},
		"address":            {sidecarPod(setEnv("PROXY_CONFIG", `{"discoveryAddress":"10.0.0.9:15012"}`)), "10.0.0.9", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := targetOf(test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != test.host || got.Namespace+"/"+got.Service != test.service || got.Port != "15012" || got.ClusterID != "east" {
				t.Errorf("got %+v", got)
			}
		})
	}
	for _, bad := range []string{"istiod.istio-system.svc", "istiod.example.com.org:15012", ":15012"} {
		if got, err := targetOf(sidecarPod(setEnv("PROXY_CONFIG", `{"discoveryAddress":"`+bad+`"}`))); err == nil {
			t.Errorf("accepted %q as %+v", bad, got)
		}
	}
}

func TestEligible(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"running sidecar": {func(*corev1.Pod) {}, true},
		"native sidecar":  {native, true},
		"terminating":     {func(p *corev1.Pod) { p.DeletionTimestamp = &now }, false},
		"process node":    {func(p *corev1.Pod) { p.Spec.NodeName = ProcessNode }, false},
		"pending":         {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false},
		"without address": {func(p *corev1.Pod) { p.Status.PodIP = "" }, false},
		"without proxy":   {func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, false},
		"not injected":    {func(p *corev1.Pod) { proxyOf(p).Env = nil }, false},
		"switched off":    {func(p *corev1.Pod) { p.Annotations[ModeAnnotation] = ModeOff }, false},
		"switched off elsewhere": {func(p *corev1.Pod) {
			p.Annotations[ModeAnnotation], p.Annotations["istio.io/rev"] = ModeOff+"@1-31", "1-30"
		}, true},
		"switched off here": {func(p *corev1.Pod) {
			p.Annotations[ModeAnnotation], p.Annotations["istio.io/rev"] = ModeOff+"@1-31", "1-31"
		}, false},
		"rejecting":          {func(p *corev1.Pod) { p.Annotations[ModeAnnotation] = ModeNack }, true},
		"gRPC agent":         {setEnv("ISTIO_META_GENERATOR", "grpc"), false},
		"proxy crashed":      {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = waiting("CrashLoopBackOff") }, false},
		"native crashed":     {func(p *corev1.Pod) { native(p); p.Status.InitContainerStatuses[0].State = waiting("CrashLoopBackOff") }, false},
		"status not written": {func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := sidecarPod(test.change)
			kept, err := prune(pod)
			if err != nil {
				t.Fatal(err)
			}
			if got := eligible(pod); got != test.want {
				t.Errorf("eligible %v, want %v", got, test.want)
			}
			if small, ok := kept.(*corev1.Pod); !ok || eligible(small) != test.want {
				t.Errorf("eligible of the pruned pod differs")
			}
		})
	}
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func TestPruneKeepsIdentity(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{"classic": sidecarPod(), "native": sidecarPod(native)} {
		kept, err := prune(pod)
		if err != nil {
			t.Fatal(err)
		}
		before, err := nodeOf(pod)
		if err != nil {
			t.Fatal(err)
		}
		after, err := nodeOf(kept.(*corev1.Pod))
		if err != nil {
			t.Fatal(err)
		}
		if before.String() != after.String() {
			t.Errorf("%s: node of the pruned pod differs:\n%s\n%s", name, before, after)
		}
	}
}
