package mesh

import (
	"fmt"
	"maps"
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Bounds of [Uses]; those of the API's schema.
const (
	maxUses        = 20
	maxUseExamples = 5
)

// Uses says for every revision who uses it and why: what points to it (tags, the default validator), what runs with it
// (live pods), and what asks for it (labels of namespaces, pods and Gateways). A revision that nobody uses is missing.
// A name in a label that is neither a revision nor a tag uses nothing.
//
// The order of the reasons is fixed, the examples are sorted, and both are bounded; the counts are complete.
func Uses(inv *Inventory) map[string][]v1alpha1.RevisionUse {
	u := uses{}
	for _, r := range inv.Revisions {
		for _, t := range r.Tags {
			u.add(r.Name, "tag points to it", t)
		}
	}
	for _, v := range inv.Validators {
		if v.Default {
			u.add(v.Revision, "validates configuration that names no revision", v.Name)
		}
	}
	u.live(inv) // before the labels, of which there may be more kinds than the bound
	u.namespaces(inv)
	u.wishes(inv)
	return u.finish()
}

// uses collects reasons by revision, in the order in which they were first given.
type uses map[string][]v1alpha1.RevisionUse

func (u uses) add(revision, why, example string) {
	if revision == "" {
		return
	}
	list := u[revision]
	n := slices.IndexFunc(list, func(r v1alpha1.RevisionUse) bool { return r.Why == why })
	if n < 0 {
		n, list = len(list), append(list, v1alpha1.RevisionUse{Why: why})
	}
	list[n].Count++
	list[n].Examples = append(list[n].Examples, example)
	u[revision] = list
}

// namespaces adds the namespaces whose label makes a revision inject every pod that does not say otherwise.
func (u uses) namespaces(inv *Inventory) {
	for _, name := range slices.Sorted(maps.Keys(inv.Namespaces)) {
		ns := inv.Namespaces[name]
		why, ok := namespaceRule(ns.Labels)
		if !ok {
			continue
		}
		for _, revision := range inv.InjectedBy(PodFacts{Namespace: name, NamespaceLabels: ns.Labels}) {
			u.add(revision, why, name)
		}
	}
}

// namespaceRule is what a namespace says about injection; istio-injection beats istio.io/rev
// (https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy).
func namespaceRule(labels map[string]string) (string, bool) {
	if v, ok := labels[LabelInjection]; ok {
		return fmt.Sprintf("namespace label %s=%s", LabelInjection, v), true
	}
	if v, ok := labels[LabelRev]; ok {
		return fmt.Sprintf("namespace label %s=%s", LabelRev, v), true
	}
	return "", false
}

// wishes adds the workloads that ask for a revision themselves, where their namespace does not decide.
func (u uses) wishes(inv *Inventory) {
	for _, w := range inv.Workloads {
		if w.Kind == KindGateway {
			if v := w.TemplateLabels[LabelRev]; v != "" {
				u.add(inv.Resolve(v), fmt.Sprintf("Gateway label %s=%s", LabelRev, v), w.Ref.String())
			} else if len(w.Pods) > 0 {
				u.add(inv.GatewayRevision(w), "Gateway of its namespace or of the default revision", w.Ref.String())
			}
			continue
		}
		if _, ok := namespaceRule(inv.Namespaces[w.Namespace].Labels); ok {
			continue
		}
		why := "injection without any label"
		switch {
		case w.Pinned() != "":
			why = fmt.Sprintf("pod label %s=%s", LabelRev, w.Pinned())
		case w.TemplateLabels[LabelInject] != "":
			why = fmt.Sprintf("pod label %s=%s", LabelInject, w.TemplateLabels[LabelInject])
		}
		for _, revision := range inv.InjectedBy(inv.Facts(w)) {
			u.add(revision, why, w.Ref.String())
		}
	}
}

// live adds what runs now.
func (u uses) live(inv *Inventory) {
	for _, w := range inv.Workloads {
		why := "sidecars run with it"
		if w.Role.IsGateway() {
			why = "gateways run with it"
		}
		var revisions []string
		for _, p := range w.Pods {
			revisions = append(revisions, p.Revision)
		}
		slices.Sort(revisions)
		for _, revision := range slices.Compact(revisions) {
			u.add(revision, why, w.Ref.String())
		}
	}
	for _, p := range inv.LoosePods {
		u.add(p.Revision, "pods outside the workloads that Meshlift drives run with it", p.Namespace+"/Pod/"+p.Name)
	}
}

// finish sorts the examples and bounds everything.
func (u uses) finish() map[string][]v1alpha1.RevisionUse {
	for revision, list := range u {
		for n := range list {
			slices.Sort(list[n].Examples)
			list[n].Examples = list[n].Examples[:min(len(list[n].Examples), maxUseExamples)]
		}
		u[revision] = list[:min(len(list), maxUses)]
	}
	return u
}
