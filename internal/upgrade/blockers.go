// Package upgrade decides about one cluster's upgrade: what stands in the way, what to do next, what to tell. It is
// pure: a snapshot of the cluster goes in, one action and the conditions come out.
package upgrade

import (
	"cmp"
	"fmt"
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Connection is one proxy that is connected to an istiod of the old revision.
type Connection struct {
	// Namespace and Pod of the proxy, as it calls itself.
	Namespace, Pod string
	// Replica of istiod that it is connected to.
	Replica string
	// Cluster of the proxy.
	Cluster string
}

// Connections is the second source of truth. Known is false when a replica did not answer; Problem says which.
type Connections struct {
	Known   bool
	Problem string
	Live    []Connection
}

// MaxBlockers is how many blockers a status lists.
const MaxBlockers = 100

// Blockers lists everything that keeps the revision in use, by the three sources of truth: pods, live connections and
// references. Namespace labels, tags and the default validator are not among them: Meshlift moves those itself, see
// [Switchable].
func Blockers(inv *mesh.Inventory, revision string, c Connections) []v1alpha1.Blocker {
	out := podBlockers(inv, revision)
	out = append(out, referenceBlockers(inv, revision)...)
	ending := terminating(inv)
	for _, l := range c.Live {
		b := v1alpha1.Blocker{
			Source: v1alpha1.BlockerConnection, Category: v1alpha1.CategoryConnection, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod,
			Ending: ending[l.Namespace+"/"+l.Pod],
		}
		todo := "move its workload to the new revision"
		if b.Ending {
			todo = "it is ending, wait until it is gone"
		}
		b.Message = fmt.Sprintf("Pod %s/%s of cluster %s has a live xDS connection to %s: %s", l.Namespace, l.Pod, orUnknown(l.Cluster), l.Replica, todo)
		out = append(out, b)
	}
	if !c.Known && c.Problem != "" {
		out = append(out, v1alpha1.Blocker{
			Source: v1alpha1.BlockerConnection, Category: v1alpha1.CategoryUnknown, Kind: "Revision", Name: revision,
			Message: fmt.Sprintf("nobody knows which proxies are connected to revision %s: %s; unknown is never \"no\", make every replica of its istiod answer", revision, c.Problem),
		})
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.Blocker) int {
		return cmp.Or(cmp.Compare(rank[a.Category], rank[b.Category]), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out
}

var rank = map[v1alpha1.BlockerCategory]int{
	v1alpha1.CategoryIngressGateway: 0, v1alpha1.CategoryEgressGateway: 1, v1alpha1.CategoryGateway: 2, v1alpha1.CategorySidecar: 3,
	v1alpha1.CategoryReference: 4, v1alpha1.CategoryConnection: 5, v1alpha1.CategoryUnknown: 6,
}

// terminating are the pods that are being deleted, as namespace/name. A remote cluster may have pods of the same names; then
// the connection of a pod that stays is taken for one that ends, which only makes the command line wait: the removal begins
// when there is no connection at all.
func terminating(inv *mesh.Inventory) map[string]bool {
	out := map[string]bool{}
	for _, w := range inv.Workloads {
		for _, p := range w.Pods {
			if p.Terminating {
				out[w.Namespace+"/"+p.Name] = true
			}
		}
	}
	return out
}

func podBlockers(inv *mesh.Inventory, revision string) []v1alpha1.Blocker {
	var out []v1alpha1.Blocker
	for _, w := range inv.Workloads {
		n, ending := 0, true
		for _, p := range w.Pods {
			if p.Revision == revision {
				n, ending = n+1, ending && p.Terminating
			}
		}
		if n == 0 {
			continue
		}
		todo := fmt.Sprintf("move it with \"meshlift rollout %s/%s/%s\"", w.Namespace, w.Kind, w.Name)
		if ending {
			todo = "still ending, wait until it is gone"
		}
		out = append(out, v1alpha1.Blocker{
			Source: v1alpha1.BlockerPod, Category: category(w.Role), Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Ending: ending,
			Message: fmt.Sprintf("%s %s/%s has %s on revision %s: %s", w.Kind, w.Namespace, w.Name, pods(n), revision, todo),
		})
	}
	for _, p := range inv.LoosePods {
		if p.Revision != revision {
			continue
		}
		owner := "a pod that nothing owns: delete it"
		if p.Owner != "" {
			owner = "owned by " + p.Owner + ": let it finish, or restart its owner"
		}
		out = append(out, v1alpha1.Blocker{
			Source: v1alpha1.BlockerPod, Category: category(p.Role), Kind: "Pod", Namespace: p.Namespace, Name: p.Name,
			Message: fmt.Sprintf("Pod %s/%s runs on revision %s and is %s", p.Namespace, p.Name, revision, owner),
		})
	}
	return out
}

// referenceBlockers are objects that would use the revision again although no pod does: a pod template or a Gateway that
// names it.
func referenceBlockers(inv *mesh.Inventory, revision string) []v1alpha1.Blocker {
	var out []v1alpha1.Blocker
	for _, w := range inv.Workloads {
		message := ""
		switch {
		case w.Uses(revision):
			continue // listed by its pods
		case w.Kind == mesh.KindGateway && inv.GatewayRevision(w) == revision && w.Pinned() != "":
			message = fmt.Sprintf("Gateway %s/%s names revision %s by its label istio.io/rev: move it with \"meshlift rollout %s/Gateway/%s\"", w.Namespace, w.Name, revision, w.Namespace, w.Name)
		case w.Kind != mesh.KindGateway && w.Pinned() == revision:
			message = fmt.Sprintf("the pod template of %s %s/%s names revision %s by its label istio.io/rev: move it with \"meshlift rollout %s/%s/%s\"", w.Kind, w.Namespace, w.Name, revision, w.Namespace, w.Kind, w.Name)
		default:
			continue
		}
		out = append(out, v1alpha1.Blocker{Source: v1alpha1.BlockerReference, Category: v1alpha1.CategoryReference, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Message: message})
	}
	for _, r := range inv.TemplateReferences {
		if r.Revision == revision {
			out = append(out, v1alpha1.Blocker{
				Source: v1alpha1.BlockerReference, Category: v1alpha1.CategoryReference, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name,
				Message: fmt.Sprintf("the pod template of %s %s/%s names revision %s by its label istio.io/rev: change or remove that label", r.Kind, r.Namespace, r.Name, revision),
			})
		}
	}
	return out
}

// Switchable lists the references to the revision that Meshlift moves by itself when the decommission begins: labels of
// namespaces, tags, and the default validator. It returns one sentence for each.
func Switchable(inv *mesh.Inventory, revision string) []v1alpha1.Blocker {
	var out []v1alpha1.Blocker
	add := func(kind, name, message string) {
		out = append(out, v1alpha1.Blocker{Source: v1alpha1.BlockerReference, Category: v1alpha1.CategoryReference, Kind: kind, Name: name, Message: message})
	}
	for name, ns := range inv.Namespaces {
		if ns.Labels[mesh.LabelRev] == revision && !ns.Terminating && revision != mesh.DefaultRevision {
			add("Namespace", name, fmt.Sprintf("Namespace %s has the label istio.io/rev=%s", name, revision))
		}
	}
	if r, ok := inv.Revision(revision); ok {
		for _, tag := range r.Tags {
			add("Tag", tag, fmt.Sprintf("tag %s points to revision %s", tag, revision))
		}
	}
	if revision == mesh.DefaultRevision && inv.Resolve(mesh.DefaultRevision) == revision {
		add("Tag", mesh.DefaultRevision, "namespaces with istio-injection=enabled follow the revision without a name")
	}
	for _, v := range inv.Validators {
		if v.Default && v.Revision == revision {
			add("ValidatingWebhookConfiguration", v.Name, fmt.Sprintf("the default validator %s calls revision %s", v.Name, revision))
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.Blocker) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func category(r mesh.Role) v1alpha1.BlockerCategory {
	switch r {
	case mesh.IngressGateway:
		return v1alpha1.CategoryIngressGateway
	case mesh.EgressGateway:
		return v1alpha1.CategoryEgressGateway
	case mesh.GenericGateway:
		return v1alpha1.CategoryGateway
	}
	return v1alpha1.CategorySidecar
}

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}
