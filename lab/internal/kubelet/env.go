package kubelet

import (
	"fmt"
	"math"
	"net"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"meshlift.dev/meshlift/lab/internal/container"
)

// environment is a container's environment variables in the order of their definition.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) get(name string) (string, bool) {
	v, ok := e.values[name]
	return v, ok
}

func (e *environment) list() []string {
	all := make([]string, 0, len(e.names))
	for _, n := range e.names {
		all = append(all, n+"="+e.values[n])
	}
	return all
}

// environment works out the variables of a container; an error names what is missing.
func (c *ctr) environment(image container.Image) (*environment, error) {
	e := &environment{values: map[string]string{}}
	object, spec := c.p.latest(), c.spec()
	e.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	e.set("HOME", "/root")
	e.set("HOSTNAME", hostname(object))
	for _, name := range sortedKeys(image.Env) {
		e.set(name, image.Env[name])
	}
	c.p.k.serviceEnvironment(e)
	for _, from := range spec.EnvFrom {
		if err := c.p.environmentFrom(e, from); err != nil {
			return nil, err
		}
	}
	for _, v := range spec.Env {
		value, found, err := expand(v.Value, e.get), true, error(nil)
		if v.Value == "" && v.ValueFrom != nil {
			value, found, err = c.valueFrom(v.ValueFrom)
		}
		if err != nil {
			return nil, err
		}
		if found {
			e.set(v.Name, value)
		}
	}
	return e, nil
}

// serviceEnvironment tells the container where the API server is, as in-cluster clients expect.
func (k *kubelet) serviceEnvironment(e *environment) {
	host := fmt.Sprintf("10.%d.0.1", firstServiceOctet+k.Index)
	url := "tcp://" + net.JoinHostPort(host, "443")
	for _, v := range [][2]string{
		{"KUBERNETES_SERVICE_HOST", host},
		{"KUBERNETES_SERVICE_PORT", "443"},
		{"KUBERNETES_SERVICE_PORT_HTTPS", "443"},
		{"KUBERNETES_PORT", url},
		{"KUBERNETES_PORT_443_TCP", url},
		{"KUBERNETES_PORT_443_TCP_PROTO", "tcp"},
		{"KUBERNETES_PORT_443_TCP_PORT", "443"},
		{"KUBERNETES_PORT_443_TCP_ADDR", host},
	} {
		e.set(v[0], v[1])
	}
}

// firstServiceOctet is the second octet of cluster 0's Service addresses.
const firstServiceOctet = 96

func (p *pod) environmentFrom(e *environment, from corev1.EnvFromSource) error {
	namespace := p.latest().Namespace
	switch {
	case from.ConfigMapRef != nil:
		m, ok := p.objects.configMap(namespace, from.ConfigMapRef.Name)
		if !ok {
			return missing(from.ConfigMapRef.Optional, "configmap %q not found", from.ConfigMapRef.Name)
		}
		for _, key := range sortedKeys(m.Data) {
			e.set(from.Prefix+key, m.Data[key])
		}
	case from.SecretRef != nil:
		s, ok := p.objects.secret(namespace, from.SecretRef.Name)
		if !ok {
			return missing(from.SecretRef.Optional, "secret %q not found", from.SecretRef.Name)
		}
		for _, key := range sortedKeys(s.Data) {
			e.set(from.Prefix+key, string(s.Data[key]))
		}
	}
	return nil
}

// valueFrom is a variable's value from elsewhere; found is false if it is optional and missing.
func (c *ctr) valueFrom(from *corev1.EnvVarSource) (value string, found bool, err error) {
	namespace := c.p.latest().Namespace
	switch {
	case from.FieldRef != nil:
		value, err = c.p.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = c.p.resourceField(c.name, from.ResourceFieldRef)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		m, ok := c.p.objects.configMap(namespace, ref.Name)
		if !ok {
			return "", false, missing(ref.Optional, "configmap %q not found", ref.Name)
		}
		if value, found = m.Data[ref.Key]; found {
			return value, true, nil
		}
		return "", false, missing(ref.Optional, "couldn't find key %s in ConfigMap %s/%s", ref.Key, namespace, ref.Name)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, ok := c.p.objects.secret(namespace, ref.Name)
		if !ok {
			return "", false, missing(ref.Optional, "secret %q not found", ref.Name)
		}
		if text, found := s.Data[ref.Key]; found {
			return string(text), true, nil
		}
		return "", false, missing(ref.Optional, "couldn't find key %s in Secret %s/%s", ref.Key, namespace, ref.Name)
	}
	return "", false, fmt.Errorf("unsupported source of an environment variable")
}

// missing is an error unless what is missing is optional.
func missing(optional *bool, format string, args ...any) error {
	if isTrue(optional) {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// field is a field of the pod by its path, as the downward API defines it.
func (p *pod) field(path string) (string, error) {
	object, ip := p.latest(), p.address()
	if name, key, ok := strings.Cut(strings.TrimSuffix(path, "']"), "['"); ok {
		switch name {
		case "metadata.labels":
			return object.Labels[key], nil
		case "metadata.annotations":
			return object.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return object.Name, nil
	case "metadata.namespace":
		return object.Namespace, nil
	case "metadata.uid":
		return string(object.UID), nil
	case "metadata.labels":
		return formatMap(object.Labels), nil
	case "metadata.annotations":
		return formatMap(object.Annotations), nil
	case "spec.nodeName":
		return object.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return object.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return ip, nil
	case "status.hostIP", "status.hostIPs":
		return p.k.Network.Gateway().String(), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

// formatMap writes labels as the downward API does.
func formatMap(m map[string]string) string {
	var b strings.Builder
	for _, key := range sortedKeys(m) {
		fmt.Fprintf(&b, "%s=%q\n", key, m[key])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// resourceField is a request or limit of a container; without a limit it is what the machine has.
func (p *pod) resourceField(name string, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" {
		name = ref.ContainerName
	}
	spec := findContainer(p.latest(), name)
	if spec == nil {
		return "", fmt.Errorf("resourceFieldRef: container %q not found", name)
	}
	kind, what, _ := strings.Cut(ref.Resource, ".")
	list := spec.Resources.Limits
	if kind == "requests" {
		list = spec.Resources.Requests
	}
	quantity, ok := list[corev1.ResourceName(what)]
	if !ok && kind == "limits" {
		switch what {
		case "cpu":
			quantity = *resource.NewQuantity(p.k.machine.cpus, resource.DecimalSI)
		case "memory":
			quantity = *resource.NewQuantity(p.k.machine.memory, resource.BinarySI)
		}
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if what == "cpu" {
		return ratio(quantity.MilliValue(), divisor.MilliValue()), nil
	}
	return ratio(quantity.Value(), divisor.Value()), nil
}

func ratio(value, divisor int64) string {
	return fmt.Sprintf("%d", int64(math.Ceil(float64(value)/float64(divisor))))
}

func findContainer(object *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{object.Spec.Containers, object.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// expand replaces $(NAME) by the value of NAME, $$ by $, and leaves unknown names as they are.
func expand(text string, get func(string) (string, bool)) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(text[i:], ')')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			if value, ok := get(text[i+2 : i+end]); ok {
				b.WriteString(value)
			} else {
				b.WriteString(text[i : i+end+1])
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
