package preflight

import (
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

// defaultValidator looks at what validates configuration that names no revision: nobody, or an istiod that is gone.
func defaultValidator(f *Facts) []Finding {
	n := slices.IndexFunc(f.Inventory.Validators, func(v mesh.Validator) bool { return v.Default })
	if n < 0 {
		return []Finding{general(Warning, "There is no istiod-default-validator, so configuration that names no revision is stored without a look; removing the tag default takes it away.",
			"Make it again with the tag default (istioctl tag set default), or know that mistakes are not caught.")}
	}
	v := f.Inventory.Validators[n]
	o := Object{Kind: "ValidatingWebhookConfiguration", Name: v.Name}
	r, ok := f.Inventory.Revision(v.Revision)
	if ok && r.ReadyReplicas > 0 {
		return nil
	}
	service := v.Service
	if service == "" {
		return nil // a URL, outside the cluster
	}
	if v.Fail {
		return []Finding{about(Error, o, fmt.Sprintf("It calls the Service %s, which no istiod answers, and refuses on failure: no configuration of Istio that names no revision can be created or changed.", service),
			"Point it to the revision that runs (istioctl tag set default --revision REVISION --overwrite), or delete it.")}
	}
	return []Finding{about(Warning, o, fmt.Sprintf("It calls the Service %s, which no istiod answers; what fails is let in, so nothing is validated.", service),
		"Set defaultRevision of the base chart to the revision that runs.")}
}

// deadWebhooks finds webhooks of anybody that refuse pods or configuration of the mesh because nobody answers. Those of Istio's own
// injection and validation are looked at by other checks.
func deadWebhooks(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Webhooks {
		if !w.Fail || !w.Pods && !w.Istio || w.Backend == Answers || w.Backend == Outside || f.ofIstio(w.Configuration) {
			continue
		}
		kind := "ValidatingWebhookConfiguration"
		if w.Mutating {
			kind = "MutatingWebhookConfiguration"
		}
		what := "pods"
		if !w.Pods {
			what = "configuration of Istio"
		}
		why := "does not exist"
		if w.Backend == NoEndpoints {
			why = "has no ready pod"
		}
		severity := Error
		if w.Pods && !f.hits(w) {
			severity = Warning
		}
		out = append(out, about(severity, Object{Kind: kind, Name: w.Configuration},
			fmt.Sprintf("Its webhook %s refuses %s when it is not answered, and the Service %s behind it %s.", w.Name, what, w.Service, why),
			"Bring the program behind it up, or delete the configuration if the program is gone."))
	}
	return out
}

// ofIstio tells whether the configuration is one of Istio's injectors or validators.
func (f *Facts) ofIstio(configuration string) bool {
	return slices.ContainsFunc(f.Inventory.Configurations, func(c mesh.Configuration) bool { return c.Name == configuration }) ||
		slices.ContainsFunc(f.Inventory.Validators, func(v mesh.Validator) bool { return v.Name == configuration })
}

// hits tells whether the webhook is called for the next pod of a workload of the mesh.
func (f *Facts) hits(w Webhook) bool {
	called := func(namespace string, pod map[string]string) bool {
		ns := f.Inventory.Namespaces[namespace].Labels
		return (w.NamespaceSelector == nil || selects(w.NamespaceSelector, ns)) && (w.ObjectSelector == nil || selects(w.ObjectSelector, pod))
	}
	if called(f.Inventory.IstioNamespace, map[string]string{"app": "istiod"}) {
		return true
	}
	return slices.ContainsFunc(f.Inventory.Workloads, func(d mesh.Workload) bool { return called(d.Namespace, d.NextLabels()) })
}

// leftoverInjectors finds injectors and tags of revisions that have no istiod any more, and that refuse or lose pods.
func leftoverInjectors(f *Facts) []Finding {
	var out []Finding
	for _, c := range f.Inventory.Configurations {
		for _, w := range c.Webhooks {
			if _, ok := f.Inventory.Revision(w.Revision); ok || strings.Contains(w.Revision, "/") || w.Handover {
				continue // it runs, or it is of another mesh
			}
			severity, selected := Warning, "no namespace of today"
			if names := f.selectedBy(c, w); len(names) > 0 {
				severity, selected = Error, gate.List(names)
			}
			what := "injector"
			if c.Tag != "" {
				what = "tag " + c.Tag
			}
			out = append(out, about(severity, Object{Kind: "MutatingWebhookConfiguration", Name: c.Name},
				fmt.Sprintf("This %s belongs to revision %s, of which there is no istiod: a pod that it selects cannot be created. It selects %s.", what, w.Revision, selected),
				"Delete it, or point the tag to a revision that runs."))
			break
		}
	}
	return out
}

// selectedBy returns the namespaces whose pods the webhook would get if they said nothing themselves.
func (f *Facts) selectedBy(c mesh.Configuration, w mesh.Injector) []string {
	alone := &mesh.Inventory{Configurations: []mesh.Configuration{{Name: c.Name, Webhooks: []mesh.Injector{w}}}}
	var out []string
	for name, ns := range f.Inventory.Namespaces {
		if len(alone.InjectedBy(mesh.PodFacts{Namespace: name, NamespaceLabels: ns.Labels})) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func injectorOverlap(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.Inventory.Workloads {
		if by := f.Inventory.InjectedBy(f.Inventory.Facts(w)); len(by) > 1 && w.Kind != mesh.KindGateway {
			out = append(out, about(Error, objectOf(w.Ref), fmt.Sprintf("Its next pod would be injected by the revisions %s one after the other.", strings.Join(by, " and ")),
				"Take one of the labels away, or the webhook that should not select it."))
		}
	}
	return out
}
