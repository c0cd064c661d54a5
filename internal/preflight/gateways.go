package preflight

import (
	"fmt"
	"slices"

	"meshlift.dev/meshlift/internal/mesh"
)

// gatewayTags finds Gateways of the Gateway API whose istiod is found through a tag or the default: istiod renders their Deployments anew within
// seconds when the tag moves, all at once.
func gatewayTags(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		if w.Kind != mesh.KindGateway {
			continue
		}
		name, from := w.TemplateLabels[mesh.LabelRev], "its label"
		if name == "" {
			name, from = f.Inventory.Namespaces[w.Namespace].Labels[mesh.LabelRev], "the label of its namespace"
		}
		if name == "" {
			name, from = mesh.DefaultRevision, "no label"
		}
		revision := f.Inventory.Resolve(name)
		if _, pinned := f.Inventory.Revision(name); revision == "" || pinned && name != mesh.DefaultRevision {
			continue
		}
		out = append(out, about(Info, objectOf(w.Ref), fmt.Sprintf("It follows the tag %s (by %s): when somebody moves the tag, istiod replaces its pods at once. Meshlift moves tags last, after the Gateway itself.", name, from),
			fmt.Sprintf("Leave the tag alone during the upgrade, or label the Gateway %s=%s.", mesh.LabelRev, revision)))
	}
	return out
}

// gatewaySelectors finds Gateways of Istio whose selector no pod has.
func gatewaySelectors(f *Facts) []Finding {
	var out []Finding
	for _, r := range f.Config {
		if r.Kind != "Gateway" || r.Group != "networking.istio.io" {
			continue
		}
		selector, _ := r.Content["spec"].(map[string]any)["selector"].(map[string]any)
		if len(selector) == 0 || f.anyPod(selector) {
			continue
		}
		out = append(out, about(Warning, r.Object, "No running pod of the mesh has the labels that it selects, so it configures nothing.",
			"Correct spec.selector, or delete it. Gateways that are made for the new revision need all labels that a Gateway or a Service selects."))
	}
	return out
}

func (f *Facts) anyPod(selector map[string]any) bool {
	has := func(labels map[string]string) bool {
		for key, value := range selector {
			if labels[key] != value {
				return false
			}
		}
		return true
	}
	for _, w := range f.Inventory.Workloads {
		if has(w.TemplateLabels) || slices.ContainsFunc(w.Pods, func(p mesh.Pod) bool { return has(p.Labels) }) {
			return true
		}
	}
	return slices.ContainsFunc(f.Inventory.LoosePods, func(p mesh.LoosePod) bool { return has(p.Labels) })
}

// gatewayPorts finds gateways that are to listen below port 1024 without the right to.
func gatewayPorts(f *Facts) []Finding {
	var out []Finding
	for _, t := range f.Templates {
		w, ok := f.Inventory.Workload(t.Ref)
		if !ok || !w.Role.IsGateway() || t.LowPorts {
			continue
		}
		for _, s := range f.Services {
			low := slices.IndexFunc(s.TargetPorts, func(p int32) bool { return p > 0 && p < 1024 })
			if s.Namespace != t.Namespace || low < 0 || !subset(s.Selector, t.Labels) {
				continue
			}
			out = append(out, about(Warning, objectOf(t.Ref), fmt.Sprintf("Service %s sends to its port %d, and its pods may not bind ports below 1024: proxies run without privileges.", s.Name, s.TargetPorts[low]),
				"Use a target port from 1024 on (8080, 8443), or the sysctl net.ipv4.ip_unprivileged_port_start=0 that the chart gateway sets."))
			break
		}
	}
	return out
}

// subset tells whether the labels have everything that the selector asks for; an empty selector selects nothing.
func subset(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// versionLabels are labels that say which version of Istio a pod has; one that a Service selects by keeps pods from it that have moved.
var versionLabels = []string{mesh.LabelRev, "sidecarVersion", "meshlift.dev/revision"}

func serviceSelectors(f *Facts) []Finding {
	var out []Finding
	for _, s := range f.Services {
		if s.Namespace == f.Inventory.IstioNamespace && s.Selector["app"] == "istiod" {
			continue // a Service of istiod has to
		}
		for _, key := range versionLabels {
			if value, ok := s.Selector[key]; ok {
				out = append(out, about(Warning, Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}, fmt.Sprintf("It selects pods by %s=%s: a pod that says otherwise after its move gets no traffic.", key, value),
					"Take this label out of the selector."))
			}
		}
	}
	return out
}
