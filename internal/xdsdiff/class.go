package xdsdiff

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/mesh"
)

// Class are proxies that one istiod sends the same to, as far as a difference between two istiods is concerned: their type,
// namespace, the objects whose selectors select them, the ports by which Services reach them, and the settings that istiod reads.
// What they do not share are names and addresses.
type Class struct {
	Namespace, Type string
	// Selected are the objects with a selector that selects these proxies and not all, as "kind namespace/name"; sorted.
	Selected []string
	// Ports by which Services reach them, as "80→8080 http"; sorted.
	Ports []string
	// Settings are what is special in their metadata, as JSON.
	Settings string
	// Ask is the proxy in whose place istiods are asked.
	Ask Proxy
	// Workloads of the proxies, sorted, and the number of these.
	Workloads []mesh.Ref
	Proxies   int
}

// Classes sorts the proxies into classes, in the order of namespaces and workloads. Those that cannot be compared are in none.
func Classes(f *Facts) []Class {
	s := newSorter(f)
	byKey := map[string]*Class{}
	var order []*Class
	proxies := slices.Clone(f.Proxies)
	slices.SortFunc(proxies, func(a, b Proxy) int { return cmp.Or(a.Workload.Compare(b.Workload), cmp.Compare(a.Pod, b.Pod)) })
	for _, p := range proxies {
		if p.Unfit != "" {
			continue
		}
		c := s.class(p)
		key := strings.Join([]string{c.Namespace, c.Type, strings.Join(c.Selected, "|"), strings.Join(c.Ports, "|"), c.Settings}, "\x00")
		if byKey[key] == nil {
			byKey[key] = &c
			order = append(order, &c)
		}
		known := byKey[key]
		known.Proxies++
		if !slices.Contains(known.Workloads, p.Workload) {
			known.Workloads = append(known.Workloads, p.Workload)
		}
	}
	out := make([]Class, 0, len(order))
	for _, c := range order {
		out = append(out, *c)
	}
	return out
}

// sorter has the facts by namespace.
type sorter struct {
	root     string
	services map[string][]Service
	config   map[string][]Object // with a selector, by namespace; "" has those that select in all
	hosts    map[string][]Object // DestinationRules by the first word of their host
	asked    []string            // keys of metadata that EnvoyFilters match
	usual    []string            // versions
}

func newSorter(f *Facts) *sorter {
	s := &sorter{root: f.RootNamespace, usual: f.Usual, services: map[string][]Service{}, config: map[string][]Object{}, hosts: map[string][]Object{}}
	for _, service := range f.Services {
		if len(service.Selector) > 0 {
			s.services[service.Namespace] = append(s.services[service.Namespace], service)
		}
	}
	for _, o := range f.Config {
		if selective(o) {
			at := o.Namespace
			if everywhere(o, s.root) {
				at = ""
			}
			s.config[at] = append(s.config[at], o)
		}
		switch o.Kind {
		case "DestinationRule":
			host, _, _ := strings.Cut(text(o.Spec, "host"), ".")
			s.hosts[host] = append(s.hosts[host], o)
		case "EnvoyFilter":
			for _, patch := range items(o.Spec, "configPatches") {
				wanted, _ := dig(patch, "match", "proxy", "metadata").(map[string]any)
				for key := range wanted {
					s.asked = append(s.asked, key)
				}
			}
		}
	}
	slices.Sort(s.asked)
	s.asked = slices.Compact(s.asked)
	return s
}

// everywhere tells whether the object selects proxies of all namespaces.
func everywhere(o Object, root string) bool {
	switch o.Kind {
	case "Gateway", "VirtualService": // of Istio: PILOT_SCOPE_GATEWAY_TO_NAMESPACE is off unless somebody sets it
		return true
	case "DestinationRule", "ServiceEntry":
		return false
	}
	return o.Namespace == root
}

func (s *sorter) class(p Proxy) Class {
	c := Class{Namespace: p.Namespace, Type: p.Type, Ask: p, Settings: s.settings(p)}
	for _, at := range []string{"", p.Namespace} {
		for _, o := range s.config[at] {
			if selects(o, p) {
				c.Selected = append(c.Selected, o.String())
			}
		}
	}
	for _, service := range s.services[p.Namespace] {
		if !within(p.Labels, service.Selector) {
			continue
		}
		for _, port := range service.Ports {
			c.Ports = append(c.Ports, words(port, p, service.Headless))
		}
		for _, rule := range s.hosts[service.Name] {
			c.Selected = append(c.Selected, rule.String())
		}
	}
	slices.Sort(c.Ports)
	c.Ports = slices.Compact(c.Ports)
	slices.Sort(c.Selected)
	c.Selected = slices.Compact(c.Selected)
	return c
}

func words(port ServicePort, p Proxy, headless bool) string {
	target := port.Target
	if target == 0 {
		target = p.Ports[port.TargetName]
	}
	out := fmt.Sprintf("%d→%d %s", port.Port, target, port.Protocol)
	if headless {
		out += " headless"
	}
	return out
}

// personal are parts of the metadata that are each proxy's own, and do not change what istiod sends but for names.
var personal = []string{
	"NAME", "NAMESPACE", "SERVICE_ACCOUNT", "INSTANCE_IPS", "LABELS", "STATIC_LABELS", "ANNOTATIONS", "WORKLOAD_NAME", "OWNER", "POD_PORTS", "APP_CONTAINERS",
	"NODE_NAME", "PILOT_SAN", "PROXY_CONFIG", "PLATFORM_METADATA", "ENVOY_PROMETHEUS_PORT", "ENVOY_STATUS_PORT", "ENVOY_SKIP_DEPRECATED_LOGS",
	"METADATA_DISCOVERY", "WORKLOAD_IDENTITY_SOCKET_FILE", "ISTIO_VERSION",
}

// settings is what istiod reads of the metadata besides that.
func (s *sorter) settings(p Proxy) string {
	out := map[string]any{}
	for k, v := range p.Node.Metadata {
		if !slices.Contains(personal, k) || slices.Contains(s.asked, k) {
			out[k] = v
		}
	}
	if config, ok := p.Node.Metadata["PROXY_CONFIG"].(map[string]any); ok {
		for k, v := range config {
			if k != "discoveryAddress" {
				out["PROXY_CONFIG."+k] = v
			}
		}
	}
	annotations, _ := p.Node.Metadata["ANNOTATIONS"].(map[string]any)
	for k, v := range annotations {
		if _, rest, ok := strings.Cut(k, "istio.io/"); ok && rest != "status" && rest != "rev" {
			out[k] = v
		}
	}
	for _, k := range []string{mesh.LabelGatewayManaged, "gateway.networking.k8s.io/gateway-name", "topology.istio.io/network"} {
		if v, ok := p.Labels[k]; ok {
			out["label "+k] = v
		}
	}
	if p.Type != "sidecar" {
		out["workload"] = p.Workload.String() // a gateway is told of routes by its name
	}
	if len(s.usual) > 0 && !slices.Contains(s.usual, p.Version) {
		out["version"] = p.Version
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Sprint(out)
	}
	return string(text)
}

// LeftOut are the workloads whose proxies cannot be compared, with the reason.
func LeftOut(f *Facts) []Left {
	var out []Left
	for _, p := range f.Proxies {
		if l := (Left{p.Workload.String(), p.Unfit}); p.Unfit != "" && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Left) int { return cmp.Or(cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Why, b.Why)) })
	return out
}

// Filters are the EnvoyFilters that concern the class, in the order of their names.
func Filters(f *Facts, c Class) []Object {
	var out []Object
	for _, o := range f.Config {
		if o.Kind == "EnvoyFilter" && Concerns(o, c.Ask, f.RootNamespace) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b Object) int { return cmp.Compare(a.String(), b.String()) })
	return out
}
