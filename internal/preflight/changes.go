package preflight

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Kinds of Meshlift's own that a change may select, besides those of the cluster.
const (
	kindIstiod     = "Istiod"
	kindMeshConfig = "MeshConfig"
)

// changes tells which objects feel which change of behaviour.
func changes(f *Facts) []Finding {
	objects := append(slices.Clone(f.Config), f.own()...)
	var out []Finding
	for _, c := range f.Changes {
		for _, r := range objects {
			if slices.ContainsFunc(c.Touches, func(s v1alpha1.ObjectSelector) bool { return touches(s, r) }) {
				found := about(Severity(c.Severity), r.Object, fmt.Sprintf("Istio %s: %s", c.Version, sentence(c.Summary)), c.Remedy)
				found.Link = c.Link
				out = append(out, found)
			}
		}
	}
	return out
}

// own describes the old istiod and its mesh configuration as objects.
func (f *Facts) own() []Resource {
	i, ok := f.istiod()
	if !ok {
		return nil
	}
	env := map[string]any{}
	for key, value := range i.Env {
		env[key] = value
	}
	name := Object{Kind: "Deployment", Namespace: f.Inventory.IstioNamespace, Name: f.From.Deployment}
	config := Object{Kind: "ConfigMap", Namespace: f.Inventory.IstioNamespace, Name: "istio"}
	if f.From.Name != mesh.DefaultRevision {
		config.Name += "-" + f.From.Name
	}
	return []Resource{
		{Object: name, Group: kindIstiod, Content: map[string]any{"env": env, "hub": f.From.Hub, "version": f.From.Version}},
		{Object: config, Group: kindMeshConfig, Content: i.Mesh},
	}
}

// touches tells whether the selector selects the object. Meshlift's own kinds are told by Group, so that findings name what a person can change.
func touches(s v1alpha1.ObjectSelector, r Resource) bool {
	if own := r.Group == kindIstiod || r.Group == kindMeshConfig; own && (s.Group != "" || s.Kind != r.Group) || !own && (s.Group != r.Group || s.Kind != r.Kind) {
		return false
	}
	if s.Without != "" && len(values(r.Content, s.Without)) > 0 {
		return false
	}
	if s.Field == "" {
		return true
	}
	found := values(r.Content, s.Field)
	if s.Matches == "" {
		return len(found) > 0
	}
	whole, err := regexp.Compile("^(?:" + s.Matches + ")$")
	return err == nil && slices.ContainsFunc(found, func(v any) bool { return whole.MatchString(fmt.Sprint(v)) })
}

// step is one name of a path: a word, or what stands in brackets.
var step = regexp.MustCompile(`\[([^\]]*)\]|([^.\[\]]+)`)

// values returns what stands at the path; lists on the way are searched.
func values(content any, path string) []any {
	found := []any{content}
	for _, m := range step.FindAllStringSubmatch(path, -1) {
		name := m[1] + m[2]
		var next []any
		for _, v := range found {
			for _, item := range items(v) {
				if object, ok := item.(map[string]any); ok && object[name] != nil {
					next = append(next, object[name])
				}
			}
		}
		found = next
	}
	return found
}

// items are those of a list; what is no list is its own only item.
func items(v any) []any {
	list, ok := v.([]any)
	if !ok {
		return []any{v}
	}
	var out []any
	for _, item := range list {
		out = append(out, items(item)...)
	}
	return out
}

// deprecatedAnnotations are those that Istio's reference marks as deprecated, with what to use
// (https://istio.io/latest/docs/reference/config/annotations/).
var deprecatedAnnotations = map[string]string{
	"alpha.istio.io/kubernetes-serviceaccounts":   "It has no effect; take it away.",
	"alpha.istio.io/canonical-serviceaccounts":    "It has no effect; take it away.",
	"sidecar.istio.io/discoveryAddress":           "Use discoveryAddress in proxy.istio.io/config; Meshlift cannot move a proxy whose istiod is pinned.",
	"sidecar.istio.io/statsInclusionPrefixes":     "Use proxyStatsMatcher in proxy.istio.io/config.",
	"sidecar.istio.io/statsInclusionSuffixes":     "Use proxyStatsMatcher in proxy.istio.io/config.",
	"sidecar.istio.io/statsInclusionRegexps":      "Use proxyStatsMatcher in proxy.istio.io/config.",
	"sidecar.istio.io/extraStatTags":              "Use the Telemetry API.",
	"traffic.sidecar.istio.io/kubevirtInterfaces": "Use istio.io/reroute-virtual-interfaces.",
	"policy.istio.io/checkRetries":                "Mixer is gone since Istio 1.8; take it away.",
	"policy.istio.io/langCheckRetries":            "Mixer is gone since Istio 1.8; take it away.",
}

// removedAPIs are groups and kinds that no supported istiod reads any more.
var removedAPIs = []struct{ group, why string }{
	{"config.istio.io", "Mixer is gone since Istio 1.8."},
	{"authentication.istio.io", "The alpha authentication API is gone since Istio 1.6; use PeerAuthentication and RequestAuthentication."},
	{"rbac.istio.io", "The alpha RBAC API is gone since Istio 1.6; use AuthorizationPolicy."},
}

func deprecated(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		for _, key := range sortedKeys(w.TemplateAnnotations) {
			if remedy, ok := deprecatedAnnotations[key]; ok {
				out = append(out, about(Info, objectOf(w.Ref), "Its pod template has the deprecated annotation "+key+".", remedy))
			}
		}
		if _, label := w.TemplateLabels[mesh.LabelInject]; !label && w.TemplateAnnotations[mesh.LabelInject] != "" {
			out = append(out, about(Info, objectOf(w.Ref), "Its pod template has the annotation "+mesh.LabelInject+", which is deprecated.", "Use the label of the same name."))
		}
	}
	for _, r := range f.Config {
		for _, api := range removedAPIs {
			if r.Group == api.group {
				out = append(out, about(Warning, r.Object, "No istiod reads it: "+api.why, "Delete it, or write it anew in the present API."))
			}
		}
		if v, _ := r.Content["apiVersion"].(string); strings.HasPrefix(v, "gateway.networking.k8s.io/v1alpha") && r.Kind != "TLSRoute" && r.Kind != "TCPRoute" && r.Kind != "UDPRoute" {
			out = append(out, about(Info, r.Object, "It is of the alpha API "+v+", which may change or go without a warning.", "Use the API v1 where there is one."))
		}
	}
	return out
}
