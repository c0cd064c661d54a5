package preflight

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/version"
)

// istiodHealth finds revisions that pods are sent to and that have no istiod that runs: no pod can be created there.
func istiodHealth(f *Facts) []Finding {
	var out []Finding
	uses := mesh.Uses(f.Inventory)
	for _, r := range f.Inventory.Revisions {
		o := Object{Kind: "Deployment", Namespace: f.Inventory.IstioNamespace, Name: r.Deployment}
		switch used := len(uses[r.Name]) > 0; {
		case r.ReadyReplicas > 0 && r.ReadyReplicas < r.Replicas:
			out = append(out, about(Warning, o, fmt.Sprintf("%d of %d replicas of istiod %s are ready.", r.ReadyReplicas, r.Replicas, r.Name), "Find out why before the upgrade adds another istiod."))
		case r.ReadyReplicas == 0 && used:
			out = append(out, about(Error, o, fmt.Sprintf("No replica of istiod %s is ready, and its webhook refuses every pod that it should inject; running proxies get no configuration and no certificates.", r.Name),
				"Bring it up before the upgrade."))
		case r.ReadyReplicas == 0 && r.Replicas > 0:
			out = append(out, about(Warning, o, fmt.Sprintf("No replica of istiod %s is ready; nothing uses it.", r.Name), "Bring it up, or uninstall it."))
		}
	}
	return out
}

// istiod is the Deployment that the new one will be like, because the values of the old one are carried over.
func (f *Facts) istiod() (Istiod, bool) {
	n := slices.IndexFunc(f.Istiods, func(i Istiod) bool { return i.Revision == f.From.Name })
	if n < 0 {
		return Istiod{}, false
	}
	return f.Istiods[n], true
}

// wanted is how many pods the new istiod will have.
func (f *Facts) wanted() int { return int(max(1, f.From.Replicas)) }

// places counts on how many nodes' worth of room the pods of the new istiod fit, by the rules that are asked for.
func (f *Facts) places(i Istiod, room, apart bool) int {
	placed := 0
	taken := map[string]bool{} // topology domains, by rule
	for _, n := range f.Nodes {
		if !n.takes(i) {
			continue
		}
		for placed < f.wanted() && (!room || n.FreePods > 0 && n.FreeCPU >= i.CPU && n.FreeMemory >= i.Memory) && (!apart || f.farEnough(i, n, taken)) {
			placed++
			n.FreePods, n.FreeCPU, n.FreeMemory = n.FreePods-1, n.FreeCPU-i.CPU, n.FreeMemory-i.Memory
			for _, a := range i.Apart {
				taken[a.Topology+"="+n.Labels[a.Topology]] = true
			}
			if !room && !apart {
				break
			}
		}
	}
	return placed
}

// takes tells whether the node can be chosen at all.
func (n Node) takes(i Istiod) bool {
	if !n.Schedulable || !labels.SelectorFromSet(i.NodeSelector).Matches(labels.Set(n.Labels)) {
		return false
	}
	return !slices.ContainsFunc(n.Taints, func(t Taint) bool {
		return !slices.ContainsFunc(i.Tolerations, func(o Taint) bool {
			return (o.Key == "" || o.Key == t.Key) && (o.Value == "" || o.Value == t.Value) && (o.Effect == "" || o.Effect == t.Effect)
		})
	})
}

// farEnough tells whether no rule keeps a pod of the new istiod away from the node: no pod of the Istio namespace that a rule selects runs in
// the same domain, and none that was placed before.
func (f *Facts) farEnough(i Istiod, n Node, taken map[string]bool) bool {
	for _, a := range i.Apart {
		domain, ok := n.Labels[a.Topology]
		if !ok {
			continue
		}
		if taken[a.Topology+"="+domain] {
			return false
		}
		for _, other := range f.Nodes {
			if other.Labels[a.Topology] == domain && slices.ContainsFunc(other.ControlPlanePods, func(l map[string]string) bool { return selects(a.Selector, l) }) {
				return false
			}
		}
	}
	return true
}

// selects follows selectors of pods: a missing one selects nothing.
func selects(s *metav1.LabelSelector, set map[string]string) bool {
	if s == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}

func capacity(f *Facts) []Finding {
	i, ok := f.istiod()
	if f.Installed || !ok {
		return nil
	}
	if placed := f.places(i, true, false); placed < f.wanted() {
		severity := Error
		if placed > 0 {
			severity = Warning
		}
		return []Finding{general(severity, fmt.Sprintf("The new istiod needs room for %s of %d millicores and %d MiB beside the old one, and the nodes that take it have room for %d.",
			gate.Count(f.wanted(), "pod"), i.CPU, i.Memory>>20, placed), "Add a node, make room, or lower pilot.resources of the new istiod by --set.")}
	}
	return nil
}

func antiAffinity(f *Facts) []Finding {
	i, ok := f.istiod()
	if f.Installed || !ok || len(i.Apart) == 0 {
		return nil
	}
	if placed := f.places(i, false, true); placed < f.wanted() {
		severity := Error
		if placed > 0 {
			severity = Warning
		}
		return []Finding{about(severity, Object{Kind: "Deployment", Namespace: f.Inventory.IstioNamespace, Name: f.From.Deployment},
			fmt.Sprintf("Its required anti-affinity, which the new istiod takes over, leaves a place for %d of %s while the old istiod runs: the rest stays Pending.", placed, gate.Count(f.wanted(), "new pod")),
			"Have the rule name the revision too (istio.io/rev), make it preferred and not required, or add nodes.")}
	}
	return nil
}

func istiodQuota(f *Facts) []Finding {
	i, ok := f.istiod()
	if f.Installed || !ok {
		return nil
	}
	var out []Finding
	for _, q := range f.Quotas {
		if q.Namespace != f.Inventory.IstioNamespace {
			continue
		}
		if lacks := q.lacks(int64(f.wanted()), i.CPU, i.Memory); len(lacks) > 0 {
			out = append(out, about(Error, Object{Kind: "ResourceQuota", Namespace: q.Namespace, Name: q.Name},
				fmt.Sprintf("It does not leave enough %s for %s of the new istiod.", strings.Join(lacks, ", "), gate.Count(f.wanted(), "pod")), "Raise it for the time of the upgrade."))
		}
	}
	return out
}

// lacks names the resources of which the quota has too little for so many pods of that size.
func (q Quota) lacks(pods, cpu, memory int64) []string {
	var out []string
	for _, need := range []struct {
		names  []string
		amount int64
	}{
		{[]string{"pods", "count/pods"}, pods * 1000},
		{[]string{"cpu", "requests.cpu"}, pods * cpu},
		{[]string{"memory", "requests.memory"}, pods * memory * 1000},
	} {
		for _, name := range need.names {
			if left, limited := q.Left[name]; limited && left < need.amount {
				out = append(out, name)
			}
		}
	}
	return out
}

func rehearsal(f *Facts) []Finding {
	if f.Rehearsal == "" || f.Installed {
		return nil
	}
	return []Finding{general(Error, "A pod like that of the new istiod was refused in a dry run: "+strings.TrimSuffix(f.Rehearsal, ".")+".", "Have the policy or the quota that refuses it let it in.")}
}

// ambientOrder compares the daemons with the target. Istio upgrades istiod first, then istio-cni, then ztunnel; the CNI agent works with a control
// plane one minor version apart (https://istio.io/latest/docs/setup/additional-setup/cni/#upgrading).
func ambientOrder(f *Facts) []Finding {
	to, err := version.ParseMinor(f.To.Version)
	if err != nil {
		return nil
	}
	var out []Finding
	for _, d := range f.Daemons {
		have, err := version.ParseMinor(d.Version)
		switch apart := have.Minor - to.Minor; {
		case err != nil:
			out = append(out, about(Unknown, d.Object, "The version of "+d.Component+" cannot be read from its image.", "Make sure that it is at most one minor version from the new istiod."))
		case d.Component == "ztunnel" && newer(d.Version, f.From.Version) && have.Compare(to) <= 0:
			out = append(out, about(Warning, d.Object, fmt.Sprintf("ztunnel is %s and the istiod that it uses is %s: it was upgraded before istiod, which is the wrong order.", have, f.From.Version), "Go on with istiod at once."))
		case apart > 0:
			out = append(out, about(Error, d.Object, fmt.Sprintf("%s is %s, which is newer than the new istiod %s.", d.Component, have, to), "Upgrade to a newer Istio, or bring it back first."))
		case apart < -1:
			out = append(out, about(Error, d.Object, fmt.Sprintf("%s is %s, more than one minor version behind the new istiod %s.", d.Component, have, to), fmt.Sprintf("Upgrade it to 1.%d first; Meshlift does not touch it.", to.Minor-1)))
		case apart < 0:
			out = append(out, about(Info, d.Object, fmt.Sprintf("%s is %s. Meshlift does not upgrade it: there is one on each node, for both revisions.", d.Component, have), "Upgrade it after the new istiod runs: istio-cni first, then ztunnel."))
		}
	}
	return out
}
