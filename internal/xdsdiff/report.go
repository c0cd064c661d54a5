package xdsdiff

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/mesh"
)

// Report is the whole comparison.
type Report struct {
	From    Revision      `json:"from"`
	To      Revision      `json:"to"`
	Classes []ClassReport `json:"classes"`
	// Left are the proxies that cannot be compared.
	Left []Left `json:"left,omitempty"`
	// Differences counts the changes that are not harmless, over all classes; Harmless those that are, and Lost the EnvoyFilters with a
	// patch that is seen in less places than before.
	Differences int `json:"differences"`
	Harmless    int `json:"harmless"`
	Lost        int `json:"lost"`
}

// Revision is one of the two istiods.
type Revision struct {
	Name    string `json:"revision"`
	Version string `json:"version"`
}

// Left is a workload whose proxies cannot be compared.
type Left struct {
	Workload string `json:"workload"`
	Why      string `json:"why"`
}

// ClassReport is what differs for one class.
type ClassReport struct {
	Namespace string   `json:"namespace"`
	Type      string   `json:"type"`
	Workloads []string `json:"workloads"`
	Proxies   int      `json:"proxies"`
	// Asked is the pod in whose place istiods were asked.
	Asked string `json:"asked"`
	// Selected are the objects that select these proxies by their labels.
	Selected []string    `json:"selected,omitempty"`
	Counts   []KindCount `json:"counts"`
	Changes  []Change    `json:"changes"`
	Effects  []Effect    `json:"envoyFilters,omitempty"`
	// Unsettled is true when the old istiod changed its answer each time it was asked, so that some of it may be nothing but time.
	Unsettled bool `json:"unsettled,omitempty"`
}

// KindCount says how many resources of a kind there are, and how many differ with a new proxy.
type KindCount struct {
	Kind   Kind `json:"kind"`
	Old    int  `json:"old"`
	New    int  `json:"new"`
	Differ int  `json:"differ"`
}

// With says for which proxies of the new istiod a change is there.
type With string

// Proxies of the new istiod.
const (
	AnyProxy With = "any"
	NewProxy With = "new"
	OldProxy With = "old"
)

// Values of resources that only one istiod has.
const (
	wholeAdd    = "(only the new istiod has it)"
	wholeRemove = "(only the old istiod has it)"
)

// Change is one difference, with all resources that have it.
type Change struct {
	Kind Kind `json:"kind"`
	// Path of the field, with "*" for the names of filter chains, hosts and routes when it is the same in several; "" for whole resources, of
	// which Added or Removed is true.
	Path    string `json:"path,omitempty"`
	Added   bool   `json:"added,omitempty"`
	Removed bool   `json:"removed,omitempty"`
	// Old and New values; null when the field is not set.
	Old any `json:"old"`
	New any `json:"new"`
	// Resources that have it, sorted, and in how many places of these it is.
	Resources []string `json:"resources"`
	Places    int      `json:"places"`
	With      With     `json:"with"`
	// Rule that knows it; nil when none does.
	Rule *Rule `json:"rule,omitempty"`
	// EnvoyFilters whose patch explains it, as "namespace/name patch n".
	EnvoyFilters []string `json:"envoyFilters,omitempty"`
}

// Harmless tells whether a rule says so.
func (c *Change) Harmless() bool { return c.Rule != nil && c.Rule.Harmless }

// Answers are what the istiods send to one proxy.
type Answers struct {
	// Old istiod to the proxy as it is, new istiod to the same proxy, and new istiod to the proxy in the new version.
	Old, NewOldProxy, New Answer
}

// Compare compares the answers to a class. The filters are the EnvoyFilters that concern it.
func Compare(c Class, a Answers, from, to Revision, filters []Object) ClassReport {
	r := ClassReport{Namespace: c.Namespace, Type: c.Type, Proxies: c.Proxies, Asked: c.Namespace + "/" + c.Ask.Pod, Selected: c.Selected, Changes: []Change{}}
	for _, w := range c.Workloads {
		r.Workloads = append(r.Workloads, name(w))
	}
	patches := patchesOf(filters)
	look(patches, a)
	young := differences(a.Old, a.New)
	old := young
	if !same(a.New, a.NewOldProxy) {
		old = differences(a.Old, a.NewOldProxy)
	}
	r.Changes = group(young, old, patches, Rules(from.Version, to.Version))
	for _, p := range patches {
		r.Effects = append(r.Effects, p.effect())
	}
	differ := map[Kind]map[string]bool{}
	for _, f := range young {
		if differ[f.kind] == nil {
			differ[f.kind] = map[string]bool{}
		}
		differ[f.kind][f.resource] = true
	}
	for _, k := range Kinds {
		if len(a.Old[k])+len(a.New[k]) > 0 {
			r.Counts = append(r.Counts, KindCount{k, len(a.Old[k]), len(a.New[k]), len(differ[k])})
		}
	}
	return r
}

func name(r mesh.Ref) string { return r.Kind + "/" + r.Name }

// Count sums the classes up.
func (r *Report) Count() {
	r.Differences, r.Harmless = 0, 0
	lost := map[string]bool{}
	for n := range r.Classes {
		for i := range r.Classes[n].Changes {
			if r.Classes[n].Changes[i].Harmless() {
				r.Harmless++
			} else {
				r.Differences++
			}
		}
		for _, e := range r.Classes[n].Effects {
			if e.Verdict == Lost || e.Verdict == Fewer {
				lost[e.EnvoyFilter] = true
			}
		}
	}
	r.Lost = len(lost)
}

// found is a difference in one resource.
type found struct {
	kind     Kind
	resource string
	difference
}

// differences of two answers, in the order of kinds, resources and paths.
func differences(a, b Answer) []found {
	var out []found
	for _, k := range Kinds {
		names := map[string]bool{}
		for n := range a[k] {
			names[n] = true
		}
		for n := range b[k] {
			names[n] = true
		}
		wanted, wantedB := map[string]bool{}, map[string]bool{}
		if k == Endpoints {
			wanted, wantedB = setOf(a.Names(k)), setOf(b.Names(k))
		}
		for _, n := range slices.Sorted(maps.Keys(names)) {
			x, inA := a[k][n]
			y, inB := b[k][n]
			switch {
			case inA && inB && bytes.Equal(x, y):
			case !inA || !inB:
				// Endpoints come and go with their cluster.
				if k == Endpoints && (!wanted[n] || !wantedB[n]) {
					continue
				}
				d := difference{old: wholeRemove}
				if inB {
					d = difference{new: wholeAdd}
				}
				out = append(out, found{k, n, d})
			default:
				var all []difference
				compare("", reader{}.resource(k, x), reader{}.resource(k, y), &all)
				for _, d := range all {
					out = append(out, found{k, n, d})
				}
			}
		}
	}
	return out
}

func setOf(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

func same(a, b Answer) bool {
	for _, k := range Kinds {
		if !maps.EqualFunc(a[k], b[k], bytes.Equal) {
			return false
		}
	}
	return true
}

// Same tells whether two answers say the same, so that nothing has changed between them.
func Same(a, b Answer) bool { return same(a, b) || len(differences(a, b)) == 0 }

// group puts together what is the same in several resources.
func group(young, old []found, patches []*patch, rules []Rule) []Change {
	with := map[string]With{}
	for _, f := range young {
		with[f.key()] = NewProxy
	}
	for _, f := range old {
		if with[f.key()] == NewProxy {
			with[f.key()] = AnyProxy
		} else if with[f.key()] == "" {
			with[f.key()] = OldProxy
		}
	}
	only := slices.DeleteFunc(slices.Clone(old), func(f found) bool { return with[f.key()] != OldProxy })
	groups := map[string]*Change{}
	var order []*Change
	for _, f := range append(slices.Clone(young), only...) {
		c := Change{Kind: f.kind, Path: f.path, Old: f.old, New: f.new, With: with[f.key()], EnvoyFilters: explain(patches, f), Rule: match(rules, f)}
		c.Added, c.Removed = f.new == wholeAdd, f.old == wholeRemove
		if c.Added || c.Removed {
			c.Old, c.New = nil, nil
		}
		key := f.sameness() + "\x00" + string(c.With) + "\x00" + strings.Join(c.EnvoyFilters, ",")
		if groups[key] == nil {
			groups[key] = &c
			order = append(order, &c)
		}
		known := groups[key]
		if known.Places++; !slices.Contains(known.Resources, f.resource) {
			known.Resources = append(known.Resources, f.resource)
		}
		if known.Path != f.path {
			known.Path = f.pattern()
		}
	}
	slices.SortStableFunc(order, func(a, b *Change) int { return slices.Index(Kinds, a.Kind) - slices.Index(Kinds, b.Kind) })
	out := []Change{}
	for _, c := range order {
		out = append(out, *c)
	}
	return out
}

// sameness is what differences have in common that are shown as one.
func (f found) sameness() string {
	values, err := json.Marshal([]any{f.old, f.new})
	if err != nil {
		return f.key()
	}
	return string(f.kind) + "\x00" + f.pattern() + "\x00" + string(values)
}

var several = regexp.MustCompile(`\b(filter_chains|virtual_hosts|routes|thresholds)\[[^\]]*\]`)

// pattern is the path without the names of what comes in many.
func (f found) pattern() string { return several.ReplaceAllString(f.path, "$1[*]") }

func (f found) key() string {
	values, err := json.Marshal([]any{f.old, f.new})
	if err != nil {
		values = []byte(err.Error())
	}
	return string(f.kind) + "\x00" + f.resource + "\x00" + f.path + "\x00" + string(values)
}
