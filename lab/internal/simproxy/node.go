package simproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
)

// proxyContainer is the name that injection gives to the proxy, in all templates of all versions.
const proxyContainer = "istio-proxy"

// hashLabel is left out of the announced labels, as pilot-agent does.
const hashLabel = "pod-template-hash"

// proxyOf returns the injected proxy container of a pod (an ordinary container or a native sidecar), or nil.
func proxyOf(pod *corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == proxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// environment is the evaluated environment of a container.
type environment map[string]string

// environmentOf evaluates the literal and downward API variables of a container, with $(NAME) references. Variables
// from Secrets, ConfigMaps and resource fields are left out: pilot-agent announces none of them.
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

// expand replaces $(NAME) by the value of an earlier variable; unknown references stay, as in Kubernetes.
func (e environment) expand(s string) string {
	return reference.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := e[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

// fieldOf evaluates a downward API path; unknown paths are empty.
func fieldOf(pod *corev1.Pod, path string) string {
	if key, ok := subscript(path, "metadata.labels"); ok {
		return pod.Labels[key]
	}
	if key, ok := subscript(path, "metadata.annotations"); ok {
		return pod.Annotations[key]
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
		return serviceAccountOf(pod)
	case "status.podIP":
		return pod.Status.PodIP
	case "status.podIPs":
		return strings.Join(addressesOf(pod), ",")
	case "status.hostIP":
		return pod.Status.HostIP
	}
	return ""
}

// subscript returns key of a path of the form name['key'].
func subscript(path, name string) (string, bool) {
	rest, ok := strings.CutPrefix(path, name+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

func serviceAccountOf(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}

// addressesOf lists the pod's addresses, the primary one first.
func addressesOf(pod *corev1.Pod) []string {
	ips := []string{pod.Status.PodIP}
	for _, p := range pod.Status.PodIPs {
		if p.IP != pod.Status.PodIP {
			ips = append(ips, p.IP)
		}
	}
	return ips
}

// nodeOf builds the xDS node that the pod's pilot-agent and Envoy would announce.
func nodeOf(pod *corev1.Pod) (*core.Node, error) {
	c := proxyOf(pod)
	if c == nil {
		return nil, fmt.Errorf("pod %s/%s has no container %s", pod.Namespace, pod.Name, proxyContainer)
	}
	env := environmentOf(pod, c)
	config, err := proxyConfigOf(env)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	metadata := injectedMetadata(env, config)
	addWellKnownMetadata(metadata, pod, c, env, config)
	fields, err := structpb.NewStruct(metadata)
	if err != nil {
		return nil, fmt.Errorf("node metadata of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return &core.Node{
		Id: fmt.Sprintf("%s~%s~%s.%s~%s", proxyType(c), pod.Status.PodIP, pod.Name, pod.Namespace,
			dnsDomain(pod, c, env)),
		Cluster:  serviceCluster(config),
		Metadata: fields,
	}, nil
}

// injectedMetadata collects what the proxy configuration and ISTIO_META_* and ISTIO_METAJSON_* variables say. An
// ill-formed JSON variable is skipped, as pilot-agent does.
func injectedMetadata(env environment, config map[string]any) map[string]any {
	m := map[string]any{}
	if fromConfig, ok := config["proxyMetadata"].(map[string]any); ok {
		for k, v := range fromConfig {
			if name, ok := strings.CutPrefix(k, "ISTIO_META_"); ok {
				m[name] = v
			}
		}
	}
	for k, v := range env {
		if name, ok := strings.CutPrefix(k, "ISTIO_META_"); ok {
			m[name] = v
		}
	}
	for k, v := range env {
		if !strings.HasPrefix(k, "ISTIO_METAJSON_") {
			continue
		}
		var object map[string]any
		if json.Unmarshal([]byte(v), &object) != nil {
			continue
		}
		for name, value := range object {
			m[name] = value
		}
		if k == "ISTIO_METAJSON_LABELS" {
			m["STATIC_LABELS"] = object
		}
	}
	return m
}

// addWellKnownMetadata adds what pilot-agent knows by itself, over what was injected.
func addWellKnownMetadata(m map[string]any, pod *corev1.Pod, c *corev1.Container, env environment, config map[string]any) {
	labels := map[string]any{}
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
	annotations := make(map[string]any, len(pod.Annotations))
	for k, v := range pod.Annotations {
		annotations[k] = v
	}
	if ports, ok := m["POD_PORTS"].(string); ok {
		m["POD_PORTS"] = compactJSON(ports)
	}
	m["NAME"] = pod.Name
	m["NAMESPACE"] = pod.Namespace
	m["SERVICE_ACCOUNT"] = serviceAccountOf(pod)
	m["INSTANCE_IPS"] = strings.Join(addressesOf(pod), ",")
	m["LABELS"] = labels
	m["ANNOTATIONS"] = annotations
	m["PROXY_CONFIG"] = config
	m["ENVOY_PROMETHEUS_PORT"] = 15090
	m["ENVOY_STATUS_PORT"] = 15021
	m["ENVOY_SKIP_DEPRECATED_LOGS"] = "true"
	m["METADATA_DISCOVERY"] = "false"
	m["WORKLOAD_IDENTITY_SOCKET_FILE"] = "socket"
	m["PILOT_SAN"] = []any{hostOf(discoveryAddress(env, config))}
	if _, ok := m["ISTIO_VERSION"]; !ok {
		m["ISTIO_VERSION"] = versionOf(c.Image)
	}
	if env["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"] == "true" {
		m["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"] = "true"
	}
	if v := env["DNS_PROXY_ADDR"]; v != "" {
		m["DNS_PROXY_ADDR"] = v
	}
}

// compactJSON removes white space; what is not JSON stays as it is.
func compactJSON(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) != nil {
		return s
	}
	return b.String()
}

// proxyConfigOf is PROXY_CONFIG over pilot-agent's own defaults.
func proxyConfigOf(env environment) (map[string]any, error) {
	config := map[string]any{
		"binaryPath":               "/usr/local/bin/envoy",
		"configPath":               "./etc/istio/proxy",
		"controlPlaneAuthPolicy":   "MUTUAL_TLS",
		"discoveryAddress":         defaultDiscoveryAddress,
		"drainDuration":            "45s",
		"proxyAdminPort":           15000,
		"serviceCluster":           "istio-proxy",
		"statNameLength":           189,
		"statusPort":               15020,
		"terminationDrainDuration": "5s",
	}
	if ca := env["CA_ADDR"]; ca != "" {
		config["discoveryAddress"] = ca
	}
	raw := strings.TrimSpace(env["PROXY_CONFIG"])
	if raw == "" {
		return config, nil
	}
	var injected map[string]any
	if err := json.Unmarshal([]byte(raw), &injected); err != nil {
		return nil, fmt.Errorf("PROXY_CONFIG: %w", err)
	}
	for k, v := range injected {
		config[k] = v
	}
	return config, nil
}

func serviceCluster(config map[string]any) string {
	name, _ := config["serviceCluster"].(string)
	return name
}

// proxyType is the role argument of `pilot-agent proxy ROLE`: sidecar, router or waypoint.
func proxyType(c *corev1.Container) string {
	if len(c.Args) > 1 && c.Args[0] == "proxy" && !strings.HasPrefix(c.Args[1], "-") {
		return c.Args[1]
	}
	return "sidecar"
}

// dnsDomain is the value of --domain, or pilot-agent's default.
func dnsDomain(pod *corev1.Pod, c *corev1.Container, env environment) string {
	for i, arg := range c.Args {
		if v, ok := strings.CutPrefix(arg, "--domain="); ok {
			return env.expand(v)
		}
		if arg == "--domain" && i+1 < len(c.Args) {
			return env.expand(c.Args[i+1])
		}
	}
	return pod.Namespace + ".svc.cluster.local"
}

// versionOf derives the version that is compiled into the proxy from its image tag: the tag without the name of an
// image variant. An image without a tag (or only with a digest) has no known version.
func versionOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndex(image, "/")+1:]
	_, tag, ok := strings.Cut(name, ":")
	if !ok {
		return ""
	}
	for _, variant := range []string{"-distroless", "-debug"} {
		tag = strings.TrimSuffix(tag, variant)
	}
	return tag
}
