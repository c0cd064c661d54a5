package xdsdiff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

const (
	proxyContainer = "istio-proxy"
	hashLabel      = "pod-template-hash"
)

// Mark is what Meshlift adds to the name of a pod when it asks in its place. No pod can have such a name, so istiod finds the pod by
// its address, and whoever lists the connections of istiod sees that this one is no proxy.
const Mark = "_meshlift-diff"

// ProxyOf is the proxy of a pod; false when it has none that runs. It says of itself what pilot-agent would say
// (pkg/bootstrap/config.go of Istio), as far as a Pod object tells.
func ProxyOf(pod *corev1.Pod) (Proxy, bool) {
	c := proxyOf(pod)
	if c == nil || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
		return Proxy{}, false
	}
	env := environmentOf(pod, c)
	p := Proxy{
		Namespace: pod.Namespace, Pod: pod.Name, Workload: mesh.Ref{Kind: mesh.KindPod, Namespace: pod.Namespace, Name: pod.Name},
		Revision: mesh.RevisionOf(pod.Annotations), Version: mesh.VersionOfImage(c.Image), Type: typeOf(c), ServiceAccount: accountOf(pod), Labels: pod.Labels, Ports: map[string]int32{},
	}
	for n := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[n].Ports {
			if port.Name != "" {
				p.Ports[port.Name] = port.ContainerPort
			}
		}
	}
	config, err := configOf(env)
	if err != nil {
		p.Unfit = err.Error()
		return p, true
	}
	metadata := injected(env, config)
	known(metadata, pod, env, config)
	if v, ok := metadata["ISTIO_VERSION"].(string); ok {
		p.Version = v
	}
	p.Node = Node{
		ID:       fmt.Sprintf("%s~%s~%s%s.%s~%s", p.Type, pod.Status.PodIP, pod.Name, Mark, pod.Namespace, domainOf(pod, c, env)),
		Metadata: metadata,
	}
	p.Node.Cluster, _ = config["serviceCluster"].(string)
	switch {
	case metadata["GENERATOR"] == "grpc":
		p.Unfit = "it is no Envoy: its gRPC library asks for each name by itself"
	case p.Type == "ztunnel":
		p.Unfit = "ztunnel has a protocol of its own"
	}
	return p, true
}

// As is the node of a proxy of that version; "" leaves it as it is.
func (n Node) As(version string) Node {
	out := Node{ID: n.ID, Cluster: n.Cluster, Metadata: make(map[string]any, len(n.Metadata))}
	for k, v := range n.Metadata {
		out.Metadata[k] = v
	}
	if version != "" {
		out.Metadata["ISTIO_VERSION"] = version
	}
	return out
}

func proxyOf(pod *corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for n := range list {
			if list[n].Name == proxyContainer {
				return &list[n]
			}
		}
	}
	return nil
}

// environment of a container: plain values and those of the pod itself. Others are not announced.
type environment map[string]string

func environmentOf(pod *corev1.Pod, c *corev1.Container) environment {
	env := environment{}
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			env[e.Name] = env.expand(e.Value)
		case e.ValueFrom.FieldRef != nil:
			env[e.Name] = fieldOf(pod, e.ValueFrom.FieldRef.FieldPath)
		}
	}
	return env
}

var reference = regexp.MustCompile(`\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)

// expand replaces $(NAME) by what came before; unknown names stay, as in Kubernetes.
func (e environment) expand(s string) string {
	return reference.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := e[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

var subscript = regexp.MustCompile(`^metadata\.(labels|annotations)\['(.+)'\]$`)

// fieldOf is a field of the pod by its path in the downward API; unknown ones are empty.
func fieldOf(pod *corev1.Pod, path string) string {
	if m := subscript.FindStringSubmatch(path); m != nil {
		if m[1] == "labels" {
			return pod.Labels[m[2]]
		}
		return pod.Annotations[m[2]]
	}
	switch path {
	case "metadata.name":
		return pod.Name
	case "metadata.namespace":
		return pod.Namespace
	case "metadata.uid":
		return string(pod.UID)
	case "spec.nodeName":
		return pod.Spec.NodeName
	case "spec.serviceAccountName":
		return accountOf(pod)
	case "status.podIP":
		return pod.Status.PodIP
	case "status.podIPs":
		return strings.Join(addressesOf(pod), ",")
	case "status.hostIP":
		return pod.Status.HostIP
	}
	return ""
}

func accountOf(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}

func addressesOf(pod *corev1.Pod) []string {
	out := []string{pod.Status.PodIP}
	for _, p := range pod.Status.PodIPs {
		if !slices.Contains(out, p.IP) {
			out = append(out, p.IP)
		}
	}
	return out
}

// typeOf is the role in "pilot-agent proxy ROLE".
func typeOf(c *corev1.Container) string {
	if len(c.Args) > 1 && c.Args[0] == "proxy" && !strings.HasPrefix(c.Args[1], "-") {
		return c.Args[1]
	}
	return "sidecar"
}

func domainOf(pod *corev1.Pod, c *corev1.Container, env environment) string {
	for n, arg := range c.Args {
		if v, ok := strings.CutPrefix(arg, "--domain="); ok {
			return env.expand(v)
		}
		if arg == "--domain" && n+1 < len(c.Args) {
			return env.expand(c.Args[n+1])
		}
	}
	return pod.Namespace + ".svc.cluster.local"
}

// injected is what the configuration of the proxy and its environment announce.
func injected(env environment, config map[string]any) map[string]any {
	out := map[string]any{}
	if own, ok := config["proxyMetadata"].(map[string]any); ok {
		for k, v := range own {
			if name, ok := strings.CutPrefix(k, "ISTIO_META_"); ok {
				out[name] = v
			}
		}
	}
	for k, v := range env {
		if name, ok := strings.CutPrefix(k, "ISTIO_META_"); ok && v != "" {
			out[name] = v
		}
	}
	for k, v := range env {
		var object map[string]any
		if !strings.HasPrefix(k, "ISTIO_METAJSON_") || json.Unmarshal([]byte(v), &object) != nil {
			continue
		}
		for name, value := range object {
			out[name] = value
		}
		if k == "ISTIO_METAJSON_LABELS" {
			out["STATIC_LABELS"] = object
		}
	}
	return out
}

// known adds what pilot-agent knows by itself.
func known(m map[string]any, pod *corev1.Pod, env environment, config map[string]any) {
	labels, annotations := map[string]any{}, map[string]any{}
	if static, ok := m["STATIC_LABELS"].(map[string]any); ok {
		for k, v := range static {
			labels[k] = v
		}
	}
	for k, v := range pod.Labels {
		if k != hashLabel {
			labels[k] = v
		}
	}
	for k, v := range pod.Annotations {
		annotations[k] = v
	}
	if ports, ok := m["POD_PORTS"].(string); ok {
		var b bytes.Buffer
		if json.Compact(&b, []byte(ports)) == nil {
			m["POD_PORTS"] = b.String()
		}
	}
	m["NAME"], m["NAMESPACE"], m["SERVICE_ACCOUNT"] = pod.Name+Mark, pod.Namespace, accountOf(pod)
	m["INSTANCE_IPS"] = strings.Join(addressesOf(pod), ",")
	m["LABELS"], m["ANNOTATIONS"], m["PROXY_CONFIG"] = labels, annotations, config
	m["ENVOY_PROMETHEUS_PORT"], m["ENVOY_STATUS_PORT"] = 15090, 15021
	m["ENVOY_SKIP_DEPRECATED_LOGS"], m["METADATA_DISCOVERY"], m["WORKLOAD_IDENTITY_SOCKET_FILE"] = "true", "false", "socket"
	address, _ := config["discoveryAddress"].(string)
	host, _, _ := strings.Cut(address, ":")
	m["PILOT_SAN"] = []any{host}
	if _, ok := m["ISTIO_VERSION"]; !ok {
		m["ISTIO_VERSION"] = mesh.VersionOfImage(proxyOf(pod).Image)
	}
	for _, name := range []string{"EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "DNS_PROXY_ADDR"} {
		if v := env[name]; v != "" {
			m[name] = v
		}
	}
}

// configOf is PROXY_CONFIG over the defaults of pilot-agent.
func configOf(env environment) (map[string]any, error) {
	config := map[string]any{
		"binaryPath": "/usr/local/bin/envoy", "configPath": "./etc/istio/proxy", "controlPlaneAuthPolicy": "MUTUAL_TLS",
		"discoveryAddress": "istiod.istio-system.svc:15012", "drainDuration": "45s", "proxyAdminPort": 15000, "serviceCluster": "istio-proxy",
		"statNameLength": 189, "statusPort": 15020, "terminationDrainDuration": "5s",
	}
	if ca := env["CA_ADDR"]; ca != "" {
		config["discoveryAddress"] = ca
	}
	own := map[string]any{}
	if text := strings.TrimSpace(env["PROXY_CONFIG"]); text != "" {
		if err := json.Unmarshal([]byte(text), &own); err != nil {
			return nil, fmt.Errorf("its PROXY_CONFIG cannot be read: %w", err)
		}
	}
	for k, v := range own {
		config[k] = v
	}
	return config, nil
}
