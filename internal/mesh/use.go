package mesh

import "slices"

// Facts returns what admission would see of the next pod of the workload.
func (i *Inventory) Facts(w Workload) PodFacts {
	return PodFacts{
		Namespace: w.Namespace, NamespaceLabels: i.Namespaces[w.Namespace].Labels,
		Labels: w.TemplateLabels, Annotations: w.TemplateAnnotations, HostNetwork: w.HostNetwork,
	}
}

// Uses tells whether a live pod of the workload was injected by the revision.
func (w Workload) Uses(revision string) bool {
	return slices.ContainsFunc(w.Pods, func(p Pod) bool { return p.Revision == revision })
}

// Pinned is the revision or tag that the pod template names itself; "" when it names none. Istio heeds it only where the
// namespace says nothing about injection.
func (w Workload) Pinned() string { return w.TemplateLabels[LabelRev] }

// InUse tells whether the workload is a data plane of the revision: a live pod of it was injected by it, or it pins it.
func (w Workload) InUse(revision string) bool { return w.Uses(revision) || w.Pinned() == revision }
