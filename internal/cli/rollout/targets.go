package rollout

import (
	"cmp"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/view"
)

// target is what a user names: a namespace, or one workload with or without its kind.
type target struct{ namespace, kind, name string }

func (t target) String() string {
	return strings.Trim(strings.ReplaceAll(t.namespace+"/"+t.kind+"/"+t.name, "//", "/"), "/")
}

// kinds maps what people write to the kinds of the API.
func kinds(word string) (string, bool) {
	switch strings.ToLower(word) {
	case "deployment", "deployments", "deploy":
		return mesh.KindDeployment, true
	case "statefulset", "statefulsets", "sts":
		return mesh.KindStatefulSet, true
	case "daemonset", "daemonsets", "ds":
		return mesh.KindDaemonSet, true
	case "cronjob", "cronjobs", "cj":
		return mesh.KindCronJob, true
	case "rollout", "rollouts", "ro":
		return mesh.KindRollout, true
	case "replicaset", "replicasets", "rs":
		return mesh.KindReplicaSet, true
	case "pod", "pods", "po":
		return mesh.KindPod, true
	case "gateway", "gateways", "gtw":
		return mesh.KindGateway, true
	}
	return "", false
}

// parseTargets reads NAMESPACE, NAMESPACE/NAME and NAMESPACE/KIND/NAME.
func parseTargets(args, namespaces []string) ([]target, error) {
	var out []target
	for _, ns := range namespaces {
		out = append(out, target{namespace: ns})
	}
	for _, a := range args {
		parts := strings.Split(strings.TrimSuffix(a, "/"), "/")
		if slices.Contains(parts, "") || len(parts) > 3 {
			return nil, exit.Usagef("%q is not a target: write NAMESPACE, NAMESPACE/NAME or NAMESPACE/KIND/NAME", a)
		}
		t := target{namespace: parts[0]}
		switch len(parts) {
		case 2:
			t.name = parts[1]
		case 3:
			kind, ok := kinds(parts[1])
			if !ok {
				return nil, exit.Usagef("%q: Meshlift does not move the kind %q: name a Deployment, StatefulSet, DaemonSet, CronJob, Rollout, ReplicaSet, Pod or Gateway", a, parts[1])
			}
			t.kind, t.name = kind, parts[2]
		}
		out = append(out, t)
	}
	return out, nil
}

func (t target) matches(d view.DataPlane) bool {
	return t.namespace == d.Namespace && (t.name == "" || t.name == d.Name && (t.kind == "" || t.kind == d.Kind))
}

// pick keeps the data planes that the targets name; no targets keep all. It is an error to name a namespace or workload
// that is not there, or a name that two kinds have.
func pick(groups []view.Group, targets []target, exists func(namespace string) bool) ([]view.Group, error) {
	if len(targets) == 0 {
		return groups, nil
	}
	for _, t := range targets {
		if err := t.check(groups, exists); err != nil {
			return nil, err
		}
	}
	var out []view.Group
	for _, g := range groups {
		kept := view.Group{Namespace: g.Namespace}
		for _, d := range g.DataPlanes {
			if !slices.ContainsFunc(targets, func(t target) bool { return t.matches(d) }) {
				continue
			}
			if d.OnRequest && slices.ContainsFunc(targets, func(t target) bool { return t.kind != "" && t.matches(d) }) {
				d = d.Requested()
			}
			kept.DataPlanes = append(kept.DataPlanes, d)
		}
		if len(kept.DataPlanes) > 0 {
			out = append(out, kept)
		}
	}
	return out, nil
}

func (t target) check(groups []view.Group, exists func(string) bool) error {
	if !exists(t.namespace) {
		return exit.Usagef("there is no namespace %q in this cluster", t.namespace)
	}
	if t.name == "" {
		return nil
	}
	var found []string
	for _, g := range groups {
		for _, d := range g.DataPlanes {
			if t.matches(d) {
				found = append(found, d.String())
			}
		}
	}
	switch len(found) {
	case 0:
		return exit.Usagef("%q is not a data plane of this upgrade: see what is with \"plan\"", t)
	case 1:
		return nil
	}
	return exit.Usagef("%q can be several data planes (%s): name its kind too", t, strings.Join(found, ", "))
}

// spec turns the chosen data planes into the targets of a rollout. Everything chosen and nothing named by the user means
// every data plane of the cluster, which is nil; all of a namespace means the namespace, unless the user named workloads
// of it; else it is a list of workloads.
func spec(groups []view.Group, chosen map[string]bool, named []target) []v1alpha1.RolloutTarget {
	all := len(named) == 0
	var out []v1alpha1.RolloutTarget
	for _, g := range groups {
		whole, precise := true, slices.ContainsFunc(named, func(t target) bool { return t.namespace == g.Namespace && t.name != "" })
		var list []v1alpha1.RolloutTarget
		for _, d := range g.DataPlanes {
			if !d.Movable() {
				continue
			}
			if !chosen[d.String()] {
				whole = false
				continue
			}
			list = append(list, v1alpha1.RolloutTarget{Namespace: d.Namespace, Kind: d.Kind, Name: d.Name})
		}
		if whole && !precise && len(list) > 0 {
			list = []v1alpha1.RolloutTarget{{Namespace: g.Namespace}}
		}
		all = all && whole
		out = append(out, list...)
	}
	if all {
		return nil
	}
	return out
}

// everything chooses all that can be moved.
func everything(groups []view.Group) map[string]bool {
	out := map[string]bool{}
	for _, g := range groups {
		for _, d := range g.DataPlanes {
			if d.Movable() {
				out[d.String()] = true
			}
		}
	}
	return out
}

// warnings of the data planes that are chosen, in order.
func warnings(groups []view.Group, chosen map[string]bool) []string {
	var out []string
	for _, g := range groups {
		for _, d := range g.DataPlanes {
			if chosen[d.String()] {
				out = append(out, d.Warnings...)
			}
		}
	}
	return out
}

// tally counts the chosen workloads with sidecars, gateways and pods.
func tally(groups []view.Group, chosen map[string]bool) (sidecars, gateways int, pods int32) {
	for _, g := range groups {
		for _, d := range g.DataPlanes {
			switch {
			case !chosen[d.String()]:
				continue
			case d.Gateway():
				gateways++
			default:
				sidecars++
			}
			pods += d.Pods
		}
	}
	return sidecars, gateways, pods
}

// inWords is "5 workloads with sidecars and 1 gateway (12 pods)".
func inWords(groups []view.Group, chosen map[string]bool) string {
	sidecars, gateways, pods := tally(groups, chosen)
	var parts []string
	if sidecars > 0 {
		parts = append(parts, view.Count(sidecars, "workload")+" with sidecars")
	}
	if gateways > 0 {
		parts = append(parts, view.Count(gateways, "gateway"))
	}
	return cmp.Or(strings.Join(parts, " and "), "nothing") + " (" + view.Count(pods, "pod") + ")"
}

// Named reads arguments as "meshlift rollout" does. There is one test for each argument, which tells whether it means a workload.
func Named(args []string) ([]func(mesh.Ref) bool, error) {
	targets, err := parseTargets(args, nil)
	var out []func(mesh.Ref) bool
	for _, t := range targets {
		out = append(out, func(r mesh.Ref) bool {
			return t.namespace == r.Namespace && (t.name == "" || t.name == r.Name && (t.kind == "" || t.kind == r.Kind))
		})
	}
	return out, err
}
