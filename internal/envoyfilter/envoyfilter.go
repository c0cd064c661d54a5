// Package envoyfilter judges what an EnvoyFilter will be worth with another version of Istio: whether it applies at all, whether the target
// knows the types and fields that it sets, and whether what it points at is still there. It is pure; what the new istiod itself
// says is added by package preflight.
package envoyfilter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/envoyapi"
)

// Outcome is the verdict about an EnvoyFilter.
type Outcome string

// Outcomes, the best first.
const (
	// Fine does the same with both versions, as far as can be seen.
	Fine Outcome = "fine"
	// Changes does something else, or says something that will go.
	Changes Outcome = "changes"
	// Unknown cannot be judged.
	Unknown Outcome = "unknown"
	// Breaks does not do any more what it does now, or is refused.
	Breaks Outcome = "breaks"
)

var order = []Outcome{Fine, Changes, Unknown, Breaks}

// Reason is one thing that was found.
type Reason struct {
	Outcome Outcome `json:"outcome"`
	// Patch counts the patches of spec.configPatches from 1; 0 for the whole object.
	Patch int `json:"patch,omitempty"`
	// Text is one sentence.
	Text string `json:"text"`
}

// String is the text, with the patch that it is about.
func (r Reason) String() string {
	if r.Patch == 0 {
		return r.Text
	}
	return fmt.Sprintf("patch %d: %s", r.Patch, r.Text)
}

// Verdict is the worst outcome of all reasons.
type Verdict struct {
	Outcome Outcome  `json:"outcome"`
	Reasons []Reason `json:"reasons"`
}

// Add adds a reason. Fine ones are notes.
func (v *Verdict) Add(o Outcome, patch int, format string, args ...any) {
	v.Reasons = append(v.Reasons, Reason{o, patch, fmt.Sprintf(format, args...)})
	if slices.Index(order, o) > slices.Index(order, v.Outcome) {
		v.Outcome = o
	}
}

// Explain puts the reasons of the outcome into one text; notes are left out unless all are notes.
func (v Verdict) Explain() string {
	var out []string
	for _, r := range v.Reasons {
		if r.Outcome == Fine && v.Outcome != Fine {
			continue
		}
		out = append(out, r.String())
	}
	return strings.Join(out, "; ")
}

// Versions says between what the EnvoyFilter is judged.
type Versions struct {
	// From and To are full versions of Istio, as proxies announce them.
	From, To string
	// Table of the Envoy API.
	Table *envoyapi.Table
	// Added are the names of filters, clusters and listeners that EnvoyFilters of the cluster add: anchors that Istio does not make.
	Added map[string]bool
}

// JudgeAll judges the specs of all EnvoyFilters of a cluster, in the same order: what one of them adds, another may point at.
func JudgeAll(specs []map[string]any, from, to string) []Verdict {
	v := Versions{From: from, To: to, Table: envoyapi.Default(), Added: map[string]bool{}}
	for _, spec := range specs {
		for _, name := range Names(spec) {
			v.Added[name] = true
		}
	}
	var out []Verdict
	for _, spec := range specs {
		out = append(out, Judge(spec, v))
	}
	return out
}

// Judge judges the spec of an EnvoyFilter, as decoded JSON.
func Judge(spec map[string]any, v Versions) Verdict {
	out := Verdict{Outcome: Fine, Reasons: []Reason{}}
	patches, _ := spec["configPatches"].([]any)
	for n, item := range patches {
		patch, _ := item.(map[string]any)
		p := &judge{Versions: v, verdict: &out, number: n + 1, seen: map[string]bool{}}
		if !p.applies(patch) {
			continue
		}
		p.types(patch)
		p.anchors(patch)
	}
	return out
}

// Names returns the names that the patches of an EnvoyFilter add.
func Names(spec map[string]any) []string {
	var out []string
	patches, _ := spec["configPatches"].([]any)
	for _, item := range patches {
		operation := text(item, "patch", "operation")
		if name := text(item, "patch", "value", "name"); name != "" && (operation == "ADD" || strings.HasPrefix(operation, "INSERT")) {
			out = append(out, name)
		}
	}
	return out
}

// judge looks at one patch.
type judge struct {
	Versions
	verdict *Verdict
	number  int
	seen    map[string]bool
}

// say adds a reason once.
func (j *judge) say(o Outcome, format string, args ...any) {
	if message := fmt.Sprintf(format, args...); !j.seen[message] {
		j.seen[message] = true
		j.verdict.Add(o, j.number, "%s", message)
	}
}

// maxExpression is the length from which on Istio takes an expression for one that matches nothing.
const maxExpression = 1024

// applies compares the match on the version of the proxy. It returns false when the target is not concerned. Istio matches without anchors
// (https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-ProxyMatch).
func (j *judge) applies(patch map[string]any) bool {
	expression := text(patch, "match", "proxy", "proxyVersion")
	if expression == "" {
		return true
	}
	match, err := regexp.Compile(expression)
	if err != nil {
		j.say(Breaks, "its proxyVersion %q is no regular expression: a new istiod refuses it, and an old one applies it to every version", expression)
		return true
	}
	long := len(expression) > maxExpression
	before, after := !long && match.MatchString(j.From), !long && match.MatchString(j.To)
	switch {
	case before && !after:
		j.say(Changes, "it stops: its proxyVersion %q matches %s and not %s", expression, j.From, j.To)
	case !before && after:
		j.say(Changes, "it begins: its proxyVersion %q matches %s and not %s", expression, j.To, j.From)
	}
	return after
}

// roots are the messages that the value of a patch is merged into or made of, by applyTo
// (https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-ApplyTo).
var roots = map[string]string{
	"LISTENER": "envoy.config.listener.v3.Listener", "FILTER_CHAIN": "envoy.config.listener.v3.FilterChain", "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
	"LISTENER_FILTER": "envoy.config.listener.v3.ListenerFilter", "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
	"ROUTE_CONFIGURATION": "envoy.config.route.v3.RouteConfiguration", "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost", "HTTP_ROUTE": "envoy.config.route.v3.Route",
	"CLUSTER": "envoy.config.cluster.v3.Cluster", "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig", "BOOTSTRAP": "envoy.config.bootstrap.v3.Bootstrap",
}

// Root is the message that the value of a patch is merged into or made of; "" when that is not known.
func Root(applyTo string) string { return roots[applyTo] }

func (j *judge) types(patch map[string]any) {
	value, _ := dig(patch, "patch", "value").(map[string]any)
	if len(value) == 0 {
		return
	}
	old, young := envoyapi.OfIstio(j.From), envoyapi.OfIstio(j.To)
	if !j.Table.Has(old) || !j.Table.Has(young) {
		j.say(Unknown, "Meshlift has no table of the API of Envoy %s and %s: have the new istiod judge it (%q)", old, young, "meshlift envoyfilters check")
		return
	}
	applyTo := text(patch, "applyTo")
	root, ok := roots[applyTo]
	if !ok {
		j.say(Unknown, "what %q applies to is not known", applyTo)
		return
	}
	(&walk{judge: j, old: old, young: young}).message(root, value, "")
}

// walk goes through a value with the API of both versions.
type walk struct {
	*judge
	old, young string
}

func (w *walk) message(name string, value map[string]any, at string) {
	if name == "google.protobuf.Any" {
		w.any(value, at)
		return
	}
	if strings.HasPrefix(name, "google.protobuf.") {
		return // free content, times and numbers
	}
	for _, key := range slices.Sorted(maps.Keys(value)) {
		field, there, known := w.Table.Field(w.young, name, key)
		before, thereBefore, _ := w.Table.Field(w.old, name, key)
		path := strings.TrimPrefix(at+"."+key, ".")
		switch {
		case !known && key != "@type":
			w.say(Fine, "%s has no field %s in either version: it is ignored, now and after the upgrade", short(name), path)
		case !known:
		case !there && thereBefore:
			w.say(Breaks, "the field %s of %s is gone in Envoy %s", path, short(name), w.young)
		case !there:
			w.say(Fine, "the field %s of %s is in neither version: it is ignored, now and after the upgrade", path, short(name))
		case field.Disallowed && !before.Disallowed:
			w.say(Breaks, "the field %s of %s is deprecated in Envoy %s to the point of being refused", path, short(name), w.young)
		case field.Disallowed:
			w.say(Unknown, "the field %s of %s is refused by Envoy unless a runtime setting allows it, in both versions", path, short(name))
		case field.Deprecated && !before.Deprecated:
			w.say(Changes, "the field %s of %s is deprecated from Envoy %s on; it still works", path, short(name), w.young)
		case field.Deprecated:
			w.say(Fine, "the field %s of %s is deprecated in both versions; it still works", path, short(name))
		}
		if known && there && field.Message != "" {
			w.inside(field, value[key], path)
		}
	}
}

// inside goes into the messages that a field holds: one, a list or a map of them.
func (w *walk) inside(f envoyapi.Field, value any, at string) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			w.inside(f, item, at)
		}
	case map[string]any:
		if !f.Map {
			w.message(f.Message, v, at)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.inside(envoyapi.Field{Message: f.Message}, v[key], at+"."+key)
		}
	}
}

// typedStructs name their type in a field and carry the content as free JSON.
var typedStructs = []string{"udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"}

func (w *walk) any(value map[string]any, at string) {
	name := typeName(text(value, "@type"))
	if slices.Contains(typedStructs, name) {
		inner, _ := value["value"].(map[string]any)
		if name = typeName(text(value, "type_url") + text(value, "typeUrl")); w.there(name, at) {
			w.message(name, inner, at)
		}
		return
	}
	if name == "" {
		w.say(Unknown, "%s has no @type", at)
		return
	}
	if w.there(name, at) {
		w.message(name, value, at)
	}
}

// there tells whether the target has the type, and says what follows when it has not.
func (w *walk) there(name, at string) bool {
	now, known := w.Table.Message(w.young, name)
	before, _ := w.Table.Message(w.old, name)
	switch {
	case strings.HasPrefix(name, "envoy.") && strings.Contains(name, ".v2."):
		// Its descriptor is still published.
		w.say(Breaks, "the type %s (%s) is of the API v2, which Envoy has not had since 1.18", name, at)
	case now:
		return true
	case before:
		w.say(Breaks, "the type %s (%s) is gone in Envoy %s: istiod drops the patch without a word", name, at, w.young)
	case known:
		w.say(Breaks, "the type %s (%s) is neither in Envoy %s nor in %s: istiod drops the patch already", name, at, w.old, w.young)
	default:
		w.say(Unknown, "the type %s (%s) is not in Meshlift's table: it is an extension of a distribution, or misspelt", name, at)
	}
	return false
}

func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// short is the name of a message without its package.
func short(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

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
