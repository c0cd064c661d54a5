package xdsdiff

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"meshlift.dev/meshlift/internal/envoyapi"
	"meshlift.dev/meshlift/internal/envoyfilter"
)

// Seen says where the value of a patch is seen.
type Seen string

// Where it is seen.
const (
	// Kept is in the same number of places.
	Kept Seen = "kept"
	// Lost is in none of the new ones; Fewer is in less of them.
	Lost  Seen = "lost"
	Fewer Seen = "fewer"
	// More is in more places than before.
	More Seen = "more"
	// Nowhere is in neither: the patch does nothing for these proxies.
	Nowhere Seen = "nowhere"
	// Unseen cannot be looked for.
	Unseen Seen = "unseen"
)

// Effect is where the value of one patch of an EnvoyFilter is seen. That it is seen proves that the value is there, and not that the
// patch put it there: istiod may send the same by itself.
type Effect struct {
	// EnvoyFilter as "namespace/name", and its patch, which counts from 1.
	EnvoyFilter string `json:"envoyFilter"`
	Patch       int    `json:"patch"`
	ApplyTo     string `json:"applyTo"`
	Verdict     Seen   `json:"verdict"`
	// Old and New count the resources with the value; OldProxy those of the new istiod for the proxy as it is.
	Old      int `json:"old"`
	OldProxy int `json:"oldProxy"`
	New      int `json:"new"`
	// Missing are those that had it and have it no more, as "kind name"; sorted.
	Missing []string `json:"missing,omitempty"`
	// Why it cannot be looked for.
	Why string `json:"why,omitempty"`
}

// patch of an EnvoyFilter.
type patch struct {
	filter  string
	number  int
	applyTo string
	root    protoreflect.FullName
	value   any
	why     string
	// where the value is, as "kind name".
	old, oldProxy, young map[string]bool
}

func patchesOf(filters []Object) []*patch {
	var out []*patch
	for _, f := range filters {
		for n, item := range items(f.Spec, "configPatches") {
			p := &patch{filter: f.Namespace + "/" + f.Name, number: n + 1, applyTo: text(item, "applyTo"), old: map[string]bool{}, oldProxy: map[string]bool{}, young: map[string]bool{}}
			p.read(item)
			out = append(out, p)
		}
	}
	return out
}

// read makes a tree of the value, or says why there is nothing to look for.
func (p *patch) read(item any) {
	value, _ := dig(item, "patch", "value").(map[string]any)
	operation := text(item, "patch", "operation")
	root := envoyfilter.Root(p.applyTo)
	switch {
	case p.applyTo == "BOOTSTRAP":
		p.why = "the bootstrap is no part of what istiod sends later"
	case operation == "REMOVE":
		p.why = "what a patch removes cannot be looked for; a difference would show it"
	case len(value) == 0:
		p.why = "it has no value"
	case root == "":
		p.why = fmt.Sprintf("what %q applies to is not known", p.applyTo)
	}
	if p.why != "" {
		return
	}
	p.root = protoreflect.FullName(root)
	t, err := envoyapi.Types().FindMessageByName(p.root)
	if err != nil {
		p.why = fmt.Sprintf("the type %s is not known", root)
		return
	}
	raw, err := json.Marshal(value)
	if err != nil {
		p.why = fmt.Sprintf("its value cannot be read: %v", err)
		return
	}
	m := dynamicpb.NewMessage(t.Descriptor())
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, Resolver: envoyapi.Types()}).Unmarshal(raw, m); err != nil {
		p.why = "its value has a type or a form that Meshlift does not know"
		return
	}
	p.value = reader{}.message(m)
	if fields, ok := p.value.(map[string]any); ok && len(fields) == 0 {
		p.why = "its value has no field that Envoy knows"
	}
}

// kinds of resources in which the patch can be seen.
func (p *patch) kinds() []Kind {
	switch p.applyTo {
	case "CLUSTER":
		return []Kind{Clusters}
	case "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE":
		return []Kind{Routes, Listeners} // inbound routes are part of listeners
	case "EXTENSION_CONFIG":
		return []Kind{Extensions}
	}
	return []Kind{Listeners}
}

// look finds the values of all patches in all answers; each resource is read once.
func look(patches []*patch, a Answers) {
	for _, k := range Kinds {
		var wanted []*patch
		for _, p := range patches {
			if p.why == "" && slices.Contains(p.kinds(), k) {
				wanted = append(wanted, p)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		for n, answer := range []Answer{a.Old, a.NewOldProxy, a.New} {
			for resource, value := range answer[k] {
				in := reader{each: func(name protoreflect.FullName, tree any) {
					for _, p := range wanted {
						if p.root == name && contains(tree, p.value) {
							[]map[string]bool{p.old, p.oldProxy, p.young}[n][string(k)+" "+resource] = true
						}
					}
				}}
				in.resource(k, value)
			}
		}
	}
}

func (p *patch) effect() Effect {
	e := Effect{EnvoyFilter: p.filter, Patch: p.number, ApplyTo: p.applyTo, Old: len(p.old), OldProxy: len(p.oldProxy), New: len(p.young), Why: p.why}
	for _, at := range slices.Sorted(maps.Keys(p.old)) {
		if !p.young[at] {
			e.Missing = append(e.Missing, at)
		}
	}
	switch {
	case p.why != "":
		e.Verdict = Unseen
	case e.Old == 0 && e.New == 0:
		e.Verdict = Nowhere
	case e.New == 0:
		e.Verdict = Lost
	case len(e.Missing) > 0:
		e.Verdict = Fewer
	case e.New > e.Old:
		e.Verdict = More
	default:
		e.Verdict = Kept
	}
	return e
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// explain names the patches that are seen on one side only and whose value is what differs.
func explain(patches []*patch, f found) []string {
	at := string(f.kind) + " " + f.resource
	path := index.ReplaceAllString(f.path, "")
	var out []string
	for _, p := range patches {
		if p.old[at] && !(p.young[at] && p.oldProxy[at]) && p.within(path, f.old) || !p.old[at] && (p.young[at] || p.oldProxy[at]) && p.within(path, f.new) {
			out = append(out, fmt.Sprintf("%s patch %d", p.filter, p.number))
		}
	}
	return out
}

// within tells whether the value that differs is the patch's, or a part of it, or has it in it.
func (p *patch) within(path string, value any) bool {
	return value != nil && slices.ContainsFunc(parts("", p.value), func(part difference) bool {
		return (part.path == "" || path == part.path || strings.HasSuffix(path, "."+part.path)) && contains(value, part.old)
	})
}

// parts of a tree, itself first, with their paths without the places in lists.
func parts(path string, tree any) []difference {
	out := []difference{{path: path, old: tree}}
	switch t := tree.(type) {
	case map[string]any:
		if len(t) == 0 {
			return nil // it is in everything
		}
		for name, value := range t {
			out = append(out, parts(join(path, name), value)...)
		}
	case []any:
		out = nil
		for _, item := range t {
			out = append(out, parts(path, item)...)
		}
	}
	return out
}
