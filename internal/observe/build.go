package observe

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

// build makes the inventory. It is pure and changes nothing of its input, which may belong to a cache; neither does the
// result share anything with it that could be changed.
func build(in objects) *mesh.Inventory {
	inv := &mesh.Inventory{
		IstioNamespace:    in.istioNamespace,
		KubernetesVersion: in.kubernetesVersion,
		Claimable:         in.claimable,
		Namespaces:        namespaces(in.namespaces),
		EnvoyFilters:      envoyFilters(in.envoyFilters),
		RemoteSecrets:     secretNames(in.remoteSecrets),
	}
	planes := controlPlanes(in)
	r := newResolver(in, planes)
	inv.Configurations = configurations(in.mutating, r)
	inv.Validators = validators(in.validating, r)
	inv.Revisions = revisions(planes, inv.Configurations)
	addWorkloads(inv, in)
	inv.TemplateReferences = templateReferences(inv, in.jobs)
	return inv
}

func namespaces(list []corev1.Namespace) map[string]mesh.Namespace {
	out := make(map[string]mesh.Namespace, len(list))
	for n := range list {
		ns := &list[n]
		out[ns.Name] = mesh.Namespace{
			Labels:      maps.Clone(ns.Labels),
			Annotations: keptAnnotations(ns.Annotations),
			Terminating: ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating,
		}
	}
	return out
}

func secretNames(list []metav1.PartialObjectMetadata) []string {
	var out []string
	for n := range list {
		out = append(out, list[n].Namespace+"/"+list[n].Name)
	}
	slices.Sort(out)
	return out
}

// keptDomains are the domains of annotations that decisions look at; subdomains count as well.
var keptDomains = []string{"istio.io", "meshlift.dev", "meta.helm.sh"}

// keptAnnotations returns the annotations that Istio, Helm or Meshlift gave a meaning; nil for none.
func keptAnnotations(all map[string]string) map[string]string {
	var out map[string]string
	for key, value := range all {
		domain, _, ok := strings.Cut(key, "/")
		if !ok || !slices.ContainsFunc(keptDomains, func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out
}

// ownerOf is the controller of the object as kind/name; "" when it has none.
func ownerOf(o metav1.Object) string {
	c := metav1.GetControllerOfNoCopy(o)
	if c == nil {
		return ""
	}
	return c.Kind + "/" + c.Name
}
