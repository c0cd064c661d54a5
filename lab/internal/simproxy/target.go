package simproxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaultDiscoveryAddress is where pilot-agent connects when nothing names an istiod.
const defaultDiscoveryAddress = "istiod.istio-system.svc:15012"

// target is the control plane that a pod's environment names.
type target struct {
	Host      string     // as written; the name that istiod's certificate must carry
	Port      string     //
	Namespace string     // of the Service; empty when Host is an address
	Service   string     // name of the Service; empty when Host is an address
	Address   netip.Addr // set when Host is an address
	ClusterID string     // announced in the request header, for istiods that serve several clusters
}

// targetOf derives the control plane of a pod: discoveryAddress of PROXY_CONFIG, else CA_ADDR.
func targetOf(pod *corev1.Pod) (target, error) {
	c := proxyOf(pod)
	if c == nil {
		return target{}, fmt.Errorf("pod %s/%s has no container %s", pod.Namespace, pod.Name, proxyContainer)
	}
	env := environmentOf(pod, c)
	config, err := proxyConfigOf(env)
	if err != nil {
		return target{}, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	t, err := parseTarget(discoveryAddress(env, config), pod.Namespace)
	if err != nil {
		return target{}, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	t.ClusterID = env["ISTIO_META_CLUSTER_ID"]
	return t, nil
}

// discoveryAddress is the address of istiod, host:port.
func discoveryAddress(env environment, config map[string]any) string {
	if a, _ := config["discoveryAddress"].(string); a != "" {
		return a
	}
	if a := env["CA_ADDR"]; a != "" {
		return a
	}
	return defaultDiscoveryAddress
}

// hostOf is the host of host:port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// parseTarget understands address:port and the names of Services: name, name.namespace, name.namespace.svc,
// name.namespace.svc.cluster.local.
func parseTarget(address, podNamespace string) (target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return target{}, fmt.Errorf("istiod address %q: %w", address, err)
	}
	t := target{Host: host, Port: port}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.Address = ip
		return t, nil
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	t.Service, t.Namespace = labels[0], podNamespace
	if len(labels) > 1 {
		t.Namespace = labels[1]
	}
	if t.Service == "" || t.Namespace == "" || (len(labels) > 2 && labels[2] != "svc") {
		return target{}, fmt.Errorf("istiod address %q does not name a Service of this cluster", address)
	}
	return t, nil
}
