package mesh

import "slices"

// Facts returns what admission would see of the next pod of the workload.
func (i *Inventory) Facts(w Workload) PodFacts {
	return PodFacts{
		Namespace: w.Namespace, NamespaceLabels: i.Namespaces[w.Namespace].Labels,
		Labels: w.NextLabels(), Annotations: w.TemplateAnnotations, HostNetwork: w.HostNetwork,
	}
}

// Uses tells whether a live pod of the workload was injected by the revision.
func (w Workload) Uses(revision string) bool {
	return slices.ContainsFunc(w.Pods, func(p Pod) bool { return p.Revision == revision })
}

// Needs tells whether a pod of the workload that is not terminating was injected by the revision.
func (w Workload) Needs(revision string) bool {
	return slices.ContainsFunc(w.Pods, func(p Pod) bool { return p.Revision == revision && !p.Terminating })
}

// Pinned is the revision or tag that the pod template names itself; "" when it names none. Istio heeds it only where the
// namespace says nothing about injection.
func (w Workload) Pinned() string { return w.TemplateLabels[LabelRev] }

// InUse tells whether the workload is a data plane of the revision: a live pod of it was injected by it, or it pins it.
func (w Workload) InUse(revision string) bool { return w.Uses(revision) || w.Pinned() == revision }

// GatewayRevision is the revision that owns a Gateway (gateway.networking.k8s.io): the label istio.io/rev of the Gateway,
// else of its namespace, else the default tag or revision; tags are resolved. "" when no istiod owns it.
// (https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#automated-deployment)
func (i *Inventory) GatewayRevision(w Workload) string {
	name := w.TemplateLabels[LabelRev]
	if name == "" {
		name = i.Namespaces[w.Namespace].Labels[LabelRev]
	}
	if name == "" {
		name = DefaultRevision
	}
	return i.Resolve(name)
}

// Resolve returns the revision behind a revision or tag name; "" when there is none.
func (i *Inventory) Resolve(name string) string {
	for _, r := range i.Revisions {
		if slices.Contains(r.Tags, name) {
			return r.Name
		}
	}
	if _, ok := i.Revision(name); ok {
		return name
	}
	return ""
}
