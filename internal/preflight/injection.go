package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/version"
)

// danglingRevision finds labels that name neither a revision nor a tag. Istio says nothing about them: pods come without a sidecar.
func danglingRevision(f *Facts) []Finding {
	var out []Finding
	inv := f.Inventory
	for name, ns := range inv.Namespaces {
		rev := ns.Labels[mesh.LabelRev]
		if _, beaten := ns.Labels[mesh.LabelInjection]; rev == "" || beaten || inv.Resolve(rev) != "" {
			continue
		}
		severity, then := Warning, "pods that are created there get no sidecar, and nothing says so"
		if slices.ContainsFunc(inv.Workloads, func(w mesh.Workload) bool { return w.Namespace == name && injected(w) }) {
			severity, then = Error, "the pods with sidecars there lose them when they restart, and nothing says so"
		}
		out = append(out, about(severity, Object{Kind: "Namespace", Name: name}, fmt.Sprintf("Its label %s=%s names no revision and no tag: %s.", mesh.LabelRev, rev, then),
			"Label it with a revision or tag that exists: "+strings.Join(f.names(), ", ")+"."))
	}
	for _, w := range inv.Workloads {
		ns := inv.Namespaces[w.Namespace].Labels
		if pin := w.Pinned(); pin != "" && inv.Resolve(pin) == "" && ns[mesh.LabelRev] == "" && ns[mesh.LabelInjection] == "" {
			severity, then := Warning, "its pods get no sidecar"
			if injected(w) {
				severity, then = Error, "its pods lose their sidecars when they restart"
			}
			if w.Kind == mesh.KindGateway {
				then = "no istiod looks after it"
			}
			out = append(out, about(severity, objectOf(w.Ref), fmt.Sprintf("Its label %s=%s names no revision and no tag: %s.", mesh.LabelRev, pin, then),
				"Name a revision or tag that exists: "+strings.Join(f.names(), ", ")+"."))
		}
	}
	return out
}

// names are the revisions and tags that exist.
func (f *Facts) names() []string {
	var out []string
	for _, r := range f.Inventory.Revisions {
		out = append(append(out, r.Name), r.Tags...)
	}
	if len(out) == 0 {
		return []string{"none"}
	}
	return out
}

func injected(w mesh.Workload) bool {
	return slices.ContainsFunc(w.Pods, func(p mesh.Pod) bool { return p.Revision != "" })
}

func injectionLabels(f *Facts) []Finding {
	var out []Finding
	for name, ns := range f.Inventory.Namespaces {
		injection, both := ns.Labels[mesh.LabelInjection]
		if rev, ok := ns.Labels[mesh.LabelRev]; both && ok {
			out = append(out, about(Warning, Object{Kind: "Namespace", Name: name},
				fmt.Sprintf("It has the labels %s=%s and %s=%s, of which Istio heeds only the first: its pods do not go to %s.", mesh.LabelInjection, injection, mesh.LabelRev, rev, rev),
				fmt.Sprintf("Take the one away that you do not mean: kubectl label namespace %s %s- (or %s-).", name, mesh.LabelInjection, mesh.LabelRev)))
		}
	}
	return out
}

// lostSidecar finds workloads whose pods have a sidecar that the next ones would not get.
func lostSidecar(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		if w.Kind == mesh.KindGateway || !injected(w) || len(f.Inventory.InjectedBy(f.Inventory.Facts(w))) > 0 || f.dangles(w) {
			continue
		}
		out = append(out, about(Warning, objectOf(w.Ref), "Its pods have sidecars, and neither its namespace nor its pod template asks for one any more: they are lost at the next restart.",
			"Label the namespace, or restart the workload now if it is to leave the mesh."))
	}
	return out
}

// dangles tells whether the check dangling-revision tells of the workload already.
func (f *Facts) dangles(w mesh.Workload) bool {
	rev := f.Inventory.Namespaces[w.Namespace].Labels[mesh.LabelRev]
	return rev != "" && f.Inventory.Resolve(rev) == "" || w.Pinned() != "" && f.Inventory.Resolve(w.Pinned()) == ""
}

// notInjected finds workloads that injectors select and whose pods have no sidecar: they get one when they move.
func notInjected(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		bare := slices.ContainsFunc(w.Pods, func(p mesh.Pod) bool { return p.Revision == "" && !p.Terminating })
		if w.Kind == mesh.KindGateway || !bare || len(f.Inventory.InjectedBy(f.Inventory.Facts(w))) == 0 {
			continue
		}
		out = append(out, about(Info, objectOf(w.Ref), "It has pods without a sidecar although injection selects them; it is not a data plane yet and does not move, and gets its first sidecar at the next restart.",
			"Restart it if it is to be in the mesh; else label its pods sidecar.istio.io/inject=false."))
	}
	return out
}

func proxyImage(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		if image := w.TemplateAnnotations[mesh.AnnotationProxyImage]; image != "" {
			out = append(out, about(Warning, objectOf(w.Ref), fmt.Sprintf("Its annotation %s pins the proxy to %s: after the move a new istiod configures an old proxy.", mesh.AnnotationProxyImage, image),
				"Take the annotation away, or set it to the image of Istio "+f.To.Version+", before the workload moves."))
		}
	}
	return out
}

// injectionTemplates compares what pods ask for with what the old istiod has; custom templates are carried over to the new one.
func injectionTemplates(f *Facts) []Finding {
	i, ok := f.istiod()
	if !ok || len(i.Templates) == 0 {
		return nil
	}
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		for _, name := range strings.Split(w.TemplateAnnotations[mesh.AnnotationTemplates], ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(i.Templates, name) {
				out = append(out, about(Error, objectOf(w.Ref), fmt.Sprintf("It asks for the injection template %q, which istiod %s does not have: its next pod is refused, forward and back.", name, f.From.Name),
					"Add the template to sidecarInjectorWebhook.templates, or ask for one of "+strings.Join(i.Templates, ", ")+"."))
			}
		}
	}
	return out
}

// Native sidecars are the default from Istio 1.27 on, where every kubelet is 1.33 or newer
// (https://istio.io/latest/news/releases/1.27.x/announcing-1.27/upgrade-notes/).
var (
	nativeSince   = version.Minor{Major: 1, Minor: 27}
	nativeKubelet = version.Minor{Major: 1, Minor: 33}
)

const nativeSetting = "ENABLE_NATIVE_SIDECARS"

func nativeSidecars(f *Facts) []Finding {
	from, err := version.ParseMinor(f.From.Version)
	to, terr := version.ParseMinor(f.To.Version)
	if err != nil || terr != nil || to.Compare(nativeSince) < 0 {
		return nil
	}
	old, young := 0, 0
	for _, n := range f.Nodes {
		switch k, err := version.ParseMinor(n.Kubelet); {
		case err != nil:
		case k.Compare(nativeKubelet) < 0:
			old++
		default:
			young++
		}
	}
	i, _ := f.istiod()
	switch setting := i.Env[nativeSetting]; {
	case setting == "true" || setting == "false":
		return nil // chosen, and carried over
	case old > 0 && young > 0:
		return []Finding{general(Warning, fmt.Sprintf("%d of %d nodes have a kubelet older than %s: the proxy is an ordinary container as long as one such node is left, and an init container afterwards, so the order of start and end changes in the middle.", old, old+young, nativeKubelet),
			"Upgrade the nodes first, or choose with "+nativeSetting+" on the new istiod.")}
	case young > 0 && from.Compare(nativeSince) < 0:
		return []Finding{general(Warning, fmt.Sprintf("istio-proxy becomes an init container (native sidecar) with Istio %s on these nodes. Jobs end by themselves then; policies, webhooks, dashboards and `kubectl logs -c` that look for it among the containers do not find it.", to),
			"Check what looks at the container istio-proxy; to decide later set "+nativeSetting+"=false on the new istiod, or the annotation sidecar.istio.io/nativeSidecar on a workload.")}
	}
	return nil
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
