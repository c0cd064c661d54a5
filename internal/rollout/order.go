package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// PlannedWave is one wave of a rollout with its data planes in the order in which their moves start.
type PlannedWave struct {
	// Name as in the spec; [v1alpha1.RestWave] is what no wave selects.
	Name string
	// Soak after the wave.
	Soak  time.Duration
	Items []Item
}

// Waves arranges the data planes of a rollout as they will move. Waves of the spec that select nothing are there, empty; the
// rest comes last and only when there is something in it or the spec has no waves.
func Waves(spec *v1alpha1.DataPlaneRolloutSpec, inv *mesh.Inventory, from, to string) ([]PlannedWave, error) {
	o, err := newOrder(spec, inv)
	if err != nil {
		return nil, err
	}
	out := make([]PlannedWave, len(spec.Waves)+1)
	for n := range out {
		out[n].Name, out[n].Soak = o.name(n), o.soak(n)
	}
	for _, p := range o.arrange(Plan(inv, from, to, spec.Direction)) {
		out[p.wave].Items = append(out[p.wave].Items, p.Item)
	}
	if rest := len(spec.Waves); rest > 0 && len(out[rest].Items) == 0 {
		out = out[:rest]
	}
	return out, nil
}

// CheckWaves returns what is wrong with the waves of a spec, as one sentence; nil when nothing is.
func CheckWaves(spec *v1alpha1.DataPlaneRolloutSpec) error {
	names := map[string]bool{}
	for n := range spec.Waves {
		w := &spec.Waves[n]
		switch {
		case w.Name == v1alpha1.RestWave:
			return fmt.Errorf("the name %q belongs to what no wave selects: choose another for wave %d", v1alpha1.RestWave, n+1)
		case names[w.Name]:
			return fmt.Errorf("two waves have the name %q: choose another for one of them", w.Name)
		case len(w.Targets) == 0 && w.NamespaceSelector == nil && w.PodSelector == nil && w.Role == "":
			return fmt.Errorf("wave %q selects nothing: give it targets, a namespaceSelector, a podSelector or a role", w.Name)
		case w.Soak != nil && w.Soak.Duration < 0:
			return fmt.Errorf("the soak of wave %q is %s: give a duration that is not negative", w.Name, w.Soak.Duration)
		}
		names[w.Name] = true
	}
	_, err := newOrder(spec, &mesh.Inventory{})
	return err
}

// planned is one data plane with its place in the order.
type planned struct {
	Item
	// wave and half count from 0; the second half of a wave waits for the first.
	wave, half int
	// place of its namespace in the order that the user gave.
	place int
}

// order knows the place of every data plane of a rollout.
type order struct {
	spec    *v1alpha1.DataPlaneRolloutSpec
	inv     *mesh.Inventory
	targets *targets
	waves   []waveSelector
	places  map[string]int
}

type waveSelector struct {
	targets         *targets
	namespace, pods labels.Selector
	role            v1alpha1.PlaneRole
}

// newOrder fails when a selector cannot be read, with one sentence.
func newOrder(spec *v1alpha1.DataPlaneRolloutSpec, inv *mesh.Inventory) (*order, error) {
	o := &order{spec: spec, inv: inv, targets: newTargets(spec.Targets), places: make(map[string]int, len(spec.NamespaceOrder))}
	for n := range spec.Waves {
		w := &spec.Waves[n]
		s := waveSelector{targets: newTargets(w.Targets), role: w.Role}
		var err error
		if s.namespace, err = selector(w.NamespaceSelector); err != nil {
			return nil, fmt.Errorf("the namespaceSelector of wave %q cannot be read (%w): correct it", w.Name, err)
		}
		if s.pods, err = selector(w.PodSelector); err != nil {
			return nil, fmt.Errorf("the podSelector of wave %q cannot be read (%w): correct it", w.Name, err)
		}
		o.waves = append(o.waves, s)
	}
	for n, ns := range spec.NamespaceOrder {
		if _, twice := o.places[ns]; !twice {
			o.places[ns] = n - len(spec.NamespaceOrder) // before the others, whose place is 0
		}
	}
	return o, nil
}

func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) { // the same error every time, which map iteration does not give
		if _, err := labels.NewRequirement(key, selection.Equals, []string{s.MatchLabels[key]}); err != nil {
			return nil, err
		}
	}
	return metav1.LabelSelectorAsSelector(s)
}

// arrange keeps the data planes that the rollout selects and puts them in order: by wave, half, namespace in the given order,
// else as they are in the plan.
func (o *order) arrange(items []Item) []planned {
	out := make([]planned, 0, len(items))
	for _, i := range items {
		if o.targets.selects(i.Ref) {
			out = append(out, planned{Item: i, wave: o.wave(i), half: o.half(i.Role), place: o.places[i.Ref.Namespace]})
		}
	}
	before := func(a, b planned) int {
		if c := cmp.Or(cmp.Compare(a.wave, b.wave), cmp.Compare(a.half, b.half), cmp.Compare(a.place, b.place)); c != 0 {
			return c
		}
		return a.Ref.Compare(b.Ref)
	}
	if !slices.IsSortedFunc(out, before) { // a plan has this order already when the user gave none
		slices.SortStableFunc(out, before)
	}
	return out
}

// half says whether the role moves in the first or in the second half of its wave.
func (o *order) half(r mesh.Role) int {
	first := !r.IsGateway()
	switch o.spec.Gateways {
	case v1alpha1.GatewaysMixed:
		first = true
	case v1alpha1.GatewaysFirst:
		first = r.IsGateway()
	}
	if first {
		return 0
	}
	return 1
}

// wave is the index of the first wave that selects the item; that of the rest comes after all others.
func (o *order) wave(i Item) int {
	if len(o.waves) == 0 {
		return 0
	}
	var pod map[string]string
	if w, ok := o.inv.Workload(i.Ref); ok {
		pod = w.TemplateLabels
	}
	for n, s := range o.waves {
		if s.selects(i, o.inv.Namespaces[i.Ref.Namespace].Labels, pod) {
			return n
		}
	}
	return len(o.waves)
}

func (s waveSelector) selects(i Item, namespace, pod map[string]string) bool {
	role := s.role == "" || (s.role == v1alpha1.RoleGateway) == i.Role.IsGateway()
	return role && s.targets.selects(i.Ref) && s.namespace.Matches(labels.Set(namespace)) && s.pods.Matches(labels.Set(pod))
}

func (o *order) name(wave int) string {
	if wave < len(o.spec.Waves) {
		return o.spec.Waves[wave].Name
	}
	return v1alpha1.RestWave
}

func (o *order) soak(wave int) time.Duration {
	if wave < len(o.spec.Waves) && o.spec.Waves[wave].Soak != nil {
		return o.spec.Waves[wave].Soak.Duration
	}
	return 0
}

// targets answers quickly whether a data plane was named; no targets name every one.
type targets struct {
	namespaces map[string]bool
	workloads  map[mesh.Ref]bool
}

func newTargets(list []v1alpha1.RolloutTarget) *targets {
	if len(list) == 0 {
		return nil
	}
	t := &targets{namespaces: map[string]bool{}, workloads: make(map[mesh.Ref]bool, len(list))}
	for _, x := range list {
		if x.Kind == "" {
			t.namespaces[x.Namespace] = true
		} else {
			t.workloads[mesh.Ref{Kind: x.Kind, Namespace: x.Namespace, Name: x.Name}] = true
		}
	}
	return t
}

func (t *targets) selects(ref mesh.Ref) bool {
	return t == nil || t.namespaces[ref.Namespace] || t.workloads[ref]
}

// Selected tells whether the targets of a rollout contain the workload; no targets mean every workload.
func Selected(list []v1alpha1.RolloutTarget, ref mesh.Ref) bool { return newTargets(list).selects(ref) }
