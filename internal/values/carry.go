package values

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Target is what the new revision is.
type Target struct {
	// Revision name of the new istiod.
	Revision string
	// Hub is the registry of the images, without the image name.
	Hub string
	// Tag of the images, without variant: "1.31.0".
	Tag string
}

// Input is all that [Carry] looks at.
type Input struct {
	// Old are the values that the user gave to the old revision.
	Old map[string]any
	// OldChartVersion is the version of the old chart, for the report; "" when unknown.
	OldChartVersion string
	// NewDefaults is values.yaml of the new istiod chart.
	NewDefaults map[string]any
	// Files are the names of the other files of the new chart ("files/profile-demo.yaml"); nil when unknown.
	Files []string
	// Mentions tells whether a template of the new chart mentions a key; nil when unknown, then only NewDefaults counts.
	Mentions func(key string) bool
	// Target is what the new revision is.
	Target Target
	// Overrides are values that the user wants for the new revision. They win over everything but the identity of the
	// revision.
	Overrides map[string]any
}

// Carry returns the values of the new revision, and what became of each value of the old one. Every path of a value in
// Old (dots in keys are written "\.") starts exactly one line of the report. Neither input is changed; the order of the
// report is that of the paths.
func Carry(in Input) (map[string]any, v1alpha1.ValuesReport) {
	c := carrier{in: in, known: knownTree(in.NewDefaults), flat: isFlat(in.NewDefaults), out: map[string]any{}}
	for _, l := range leaves(in.Old) {
		c.leaf(l)
	}
	c.settle()
	c.override()
	slices.Sort(c.report.Carried)
	slices.Sort(c.report.Changed)
	slices.Sort(c.report.NotCarried)
	return c.out, c.report
}

// carrier is one run of [Carry].
type carrier struct {
	in      Input
	known   map[string]any
	flat    bool
	out     map[string]any
	variant string
	report  v1alpha1.ValuesReport
}

// leaf decides about one value of the old revision.
func (c *carrier) leaf(l leaf) {
	if verdict, ok := c.special(l); ok {
		switch {
		case verdict.drop:
			c.report.NotCarried = append(c.report.NotCarried, l.String()+": "+verdict.why)
		default:
			c.report.Changed = append(c.report.Changed, l.String()+": "+verdict.why)
		}
		return
	}
	target := c.place(l.path)
	if empty, ok := l.value.(map[string]any); ok && len(empty) == 0 && !c.knows(target) {
		c.report.Changed = append(c.report.Changed, l.String()+": dropped: it was empty")
		return
	}
	if !c.knows(target) {
		c.report.NotCarried = append(c.report.NotCarried, l.String()+": the new chart does not know it and would ignore it; look in the release notes for what took its place")
		return
	}
	if c.flat && l.path[0] != "pilot" && has(c.in.Old, append([]string{"pilot"}, target...)) {
		c.report.NotCarried = append(c.report.NotCarried, l.String()+": pilot."+dotted(target)+" is set too and wins")
		return
	}
	if cni := append([]string{"pilot", "cni"}, l.path[1:]...); l.path[0] == "istio_cni" && has(c.in.Old, cni) {
		c.report.NotCarried = append(c.report.NotCarried, l.String()+": "+dotted(cni)+" is set too and wins")
		return
	}
	set(c.out, target, clone(l.value))
	line := l.String()
	if moved := dotted(target); moved != line {
		line += " -> " + moved
	}
	c.report.Carried = append(c.report.Carried, line)
}

// place returns where the new chart wants a path.
func (c *carrier) place(path []string) []string {
	if path[0] == "istio_cni" && len(path) > 1 {
		path = append([]string{"pilot", "cni"}, path[1:]...)
	}
	if c.flat && path[0] == "pilot" && len(path) > 1 {
		return path[1:]
	}
	return path
}

// knows tells whether the new chart does something with a path. Below an empty map, a list or a scalar of the default
// values everything is free: annotations, labels, env, resources and meshConfig are such.
func (c *carrier) knows(path []string) bool {
	at := c.known
	for i, key := range path {
		if slices.Contains(free, key) {
			return true
		}
		next, ok := at[key]
		if !ok {
			return c.in.Mentions != nil && c.in.Mentions(key)
		}
		m, isMap := next.(map[string]any)
		if !isMap || len(m) == 0 || i == len(path)-1 {
			return true
		}
		at = m
	}
	return true
}

// free are maps that users fill as they like, wherever they stand.
var free = []string{
	"meshConfig", "env", "resources", "nodeSelector", "affinity", "tolerations", "annotations", "labels", "podAnnotations",
	"podLabels", "serviceAnnotations", "deploymentLabels", "deploymentAnnotations", "serviceAccountAnnotations",
}

// settle sets what the new revision is.
func (c *carrier) settle() {
	set(c.out, []string{"revision"}, c.in.Target.Revision)
	if c.in.Target.Hub != "" {
		set(c.out, []string{"global", "hub"}, c.in.Target.Hub)
	}
	if c.in.Target.Tag != "" {
		set(c.out, []string{"global", "tag"}, c.in.Target.Tag+c.variant)
	}
}

// override lays the user's values for the new revision over the result.
func (c *carrier) override() {
	for _, l := range leaves(c.in.Overrides) {
		if slices.Contains(identity, c.place(l.path)[0]) {
			c.report.Changed = append(c.report.Changed, "spec.values."+l.String()+": ignored; Meshlift decides about the revision and moves tags and the validator when the old one is decommissioned")
			continue
		}
		set(c.out, c.place(l.path), clone(l.value))
	}
}

// identity are the values that say which revision a release is and what is routed to it.
var identity = []string{"revision", "revisionTags", "defaultRevision"}

// knownTree returns the default values that users may set: from 1.22 on they are below a key of their own
// (templates/zzz_profile.yaml).
func knownTree(defaults map[string]any) map[string]any {
	for _, key := range []string{"_internal_defaults_do_not_set", "defaults"} {
		if m, ok := defaults[key].(map[string]any); ok {
			rest := maps.Clone(m)
			for k, v := range defaults {
				if k != key {
					rest[k] = v
				}
			}
			return rest
		}
	}
	return defaults
}

// isFlat tells whether the chart takes the settings of istiod at the top level.
func isFlat(defaults map[string]any) bool {
	known := knownTree(defaults)
	_, pilot := known["pilot"].(map[string]any)
	_, autoscale := known["autoscaleEnabled"]
	return autoscale && !pilot
}

// leaf is one value with its path.
type leaf struct {
	path  []string
	value any
}

func (l leaf) String() string { return dotted(l.path) }

// leaves lists the values of a tree in the order of their paths. Lists, scalars, null and empty maps are values.
func leaves(tree map[string]any) []leaf {
	var out []leaf
	var walk func(path []string, m map[string]any)
	walk = func(path []string, m map[string]any) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			at := append(slices.Clone(path), key)
			if child, ok := m[key].(map[string]any); ok && len(child) > 0 {
				walk(at, child)
				continue
			}
			out = append(out, leaf{at, m[key]})
		}
	}
	walk(nil, tree)
	return out
}

// dotted writes a path as helm --set does.
func dotted(path []string) string {
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = strings.ReplaceAll(p, ".", `\.`)
	}
	return strings.Join(escaped, ".")
}

// set puts a value at a path and makes room for it: what is no map on the way is replaced.
func set(tree map[string]any, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		child, ok := tree[key].(map[string]any)
		if !ok {
			child = map[string]any{}
			tree[key] = child
		}
		tree = child
	}
	last := path[len(path)-1]
	if empty, ok := value.(map[string]any); ok && len(empty) == 0 {
		if _, exists := tree[last].(map[string]any); exists {
			return // an empty map adds nothing to a map
		}
	}
	tree[last] = value
}

func has(tree map[string]any, path []string) bool {
	_, ok := get(tree, path)
	return ok
}

func get(tree map[string]any, path []string) (any, bool) {
	for _, key := range path[:len(path)-1] {
		child, ok := tree[key].(map[string]any)
		if !ok {
			return nil, false
		}
		tree = child
	}
	v, ok := tree[path[len(path)-1]]
	return v, ok
}

// clone copies maps and lists of a value.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}

// text shows a scalar in the report.
func text(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(v)
}
