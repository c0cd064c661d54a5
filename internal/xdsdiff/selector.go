package xdsdiff

// selectors of an object are the sets of labels by which it selects proxies; it selects those that one of them selects. None means
// that it selects by no labels.
func selectors(o Object) []map[string]any {
	var out []map[string]any
	add := func(v any) {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			out = append(out, m)
		}
	}
	switch o.Kind {
	case "EnvoyFilter", "Sidecar", "ServiceEntry":
		add(dig(o.Spec, "workloadSelector", "labels"))
	case "DestinationRule":
		add(dig(o.Spec, "workloadSelector", "matchLabels"))
	case "Gateway":
		add(dig(o.Spec, "selector"))
	case "VirtualService":
		for _, protocol := range []string{"http", "tcp", "tls"} {
			for _, route := range items(o.Spec, protocol) {
				for _, match := range items(route, "match") {
					add(dig(match, "sourceLabels"))
				}
			}
		}
	default:
		add(dig(o.Spec, "selector", "matchLabels"))
	}
	return out
}

// targets of an object are the names of Gateways and Services of its namespace that it is for.
func targets(o Object) []string {
	var out []string
	for _, t := range append(items(o.Spec, "targetRefs"), dig(o.Spec, "targetRef")) {
		if name := text(t, "name"); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// selective tells whether the object may be for some proxies of its namespaces and not for others.
func selective(o Object) bool { return len(selectors(o)) > 0 || len(targets(o)) > 0 }

// selects tells whether a selective object is for the proxy. Whatever is for Gateways and Services may be for each proxy that has the
// name of one; a Service's waypoint is not looked up.
func selects(o Object, p Proxy) bool {
	for _, s := range selectors(o) {
		wanted := map[string]string{}
		for k, v := range s {
			wanted[k], _ = v.(string)
		}
		if within(p.Labels, wanted) {
			return true
		}
	}
	for _, name := range targets(o) {
		if p.Type != "sidecar" && (p.Labels["gateway.networking.k8s.io/gateway-name"] == name || p.Type == "waypoint") {
			return true
		}
	}
	return false
}

// Concerns tells whether the object is for the proxy: by its namespace, and by its selector when it has one.
func Concerns(o Object, p Proxy, root string) bool {
	if o.Namespace != p.Namespace && !everywhere(o, root) {
		return false
	}
	return !selective(o) || selects(o, p)
}

func within(labels, wanted map[string]string) bool {
	for k, v := range wanted {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// dig goes down a path of names.
func dig(v any, path ...string) any {
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func text(v any, path ...string) string {
	s, _ := dig(v, path...).(string)
	return s
}

func items(v any, path ...string) []any {
	list, _ := dig(v, path...).([]any)
	return list
}
