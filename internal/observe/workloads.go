package observe

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// candidate is a workload of which it is not decided yet whether it is a data plane.
type candidate struct {
	mesh.Workload
	// managed by Istio's Gateway controller: a data plane in any case.
	managed bool
	// ignored workloads are never data planes, and neither are their pods: istiod, Meshlift, the CNI agent.
	ignored bool
	// source is true for a Deployment that a Rollout takes its pod template from.
	source bool
}

// addWorkloads fills Workloads and LoosePods; everything else in the inventory must be there.
func addWorkloads(inv *mesh.Inventory, in objects) {
	all := candidates(in)
	inv.LoosePods = assignPods(all, in.pods)
	byRef := map[mesh.Ref]mesh.Workload{}
	for _, key := range slices.SortedFunc(maps.Keys(all), mesh.Ref.Compare) {
		c := all[key]
		if c.ignored || c.source && c.Desired == 0 && len(c.Pods) == 0 || !included(inv, c) {
			continue
		}
		if twin, ok := byRef[c.Ref]; ok { // a Gateway whose Deployment was renamed has two for a while
			c.Pods = append(twin.Pods, c.Pods...)
		}
		byRef[c.Ref] = c.Workload
	}
	inv.Workloads = append(slices.Collect(maps.Values(byRef)), idleGateways(in.gateways, byRef)...)
	slices.SortFunc(inv.Workloads, func(a, b mesh.Workload) int { return a.Compare(b.Ref) })
	claimed(inv.Workloads, in.claims)
}

// included tells whether the candidate is a data plane or could become one.
func included(inv *mesh.Inventory, c *candidate) bool {
	return c.managed ||
		slices.ContainsFunc(c.Pods, func(p mesh.Pod) bool { return p.Revision != "" }) ||
		c.TemplateLabels[mesh.LabelRev] != "" || c.TemplateLabels[v1alpha1.RevisionLabel] != "" ||
		len(inv.InjectedBy(inv.Facts(c.Workload))) > 0
}

// candidates returns every workload of the cluster by the reference of the object that owns the pods.
func candidates(in objects) map[mesh.Ref]*candidate {
	gateways := gatewaysByName(in.gateways)
	out := make(map[mesh.Ref]*candidate, len(in.deployments)+len(in.statefulSets)+len(in.daemonSets)+len(in.replicaSets)+len(in.cronJobs))
	for n := range in.deployments {
		d := &in.deployments[n]
		c := newCandidate(mesh.KindDeployment, d, &d.Spec.Template)
		c.ignored = c.ignored || isControlPlane(d, in.istioNamespace)
		c.Desired, c.Strategy, c.Progress = replicas(d.Spec.Replicas), deploymentStrategy(d), deploymentProgress(d)
		out[c.Ref] = c
		c.asGateway(d, gateways)
	}
	for n := range in.statefulSets {
		s := &in.statefulSets[n]
		c := newCandidate(mesh.KindStatefulSet, s, &s.Spec.Template)
		c.Desired, c.Strategy, c.Progress = replicas(s.Spec.Replicas), statefulSetStrategy(s), statefulSetProgress(s)
		out[c.Ref] = c
	}
	for n := range in.daemonSets {
		d := &in.daemonSets[n]
		c := newCandidate(mesh.KindDaemonSet, d, &d.Spec.Template)
		c.Desired, c.Strategy, c.Progress = d.Status.DesiredNumberScheduled, daemonSetStrategy(d), daemonSetProgress(d)
		out[c.Ref] = c
	}
	for n := range in.replicaSets {
		r := &in.replicaSets[n]
		c := newCandidate(mesh.KindReplicaSet, r, &r.Spec.Template)
		c.Desired, c.Progress = replicas(r.Spec.Replicas), replicaSetProgress(r)
		out[c.Ref] = c
	}
	for n := range in.cronJobs { // without pods: those of a run belong to its Job
		j := &in.cronJobs[n]
		c := newCandidate(mesh.KindCronJob, j, &j.Spec.JobTemplate.Spec.Template)
		out[c.Ref] = c
	}
	addRollouts(out, in.rollouts)
	return out
}

func newCandidate(kind string, o metav1.Object, t *corev1.PodTemplateSpec) *candidate {
	c := &candidate{Workload: mesh.Workload{
		Ref:                 mesh.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()},
		TemplateLabels:      maps.Clone(t.Labels),
		TemplateAnnotations: keptAnnotations(t.Annotations),
		Annotations:         keptAnnotations(o.GetAnnotations()),
		HostNetwork:         t.Spec.HostNetwork,
		HostPorts:           hostPorts(&t.Spec),
		Owner:               ownerOf(o),
		Move:                parseMove(o.GetAnnotations()[v1alpha1.MoveAnnotation]),
	}}
	c.Role = role(o.GetName(), t.Labels, t.Annotations)
	c.ignored = ignored(o, t)
	return c
}

// ignored recognises Meshlift itself, and Istio's CNI agent, which names a revision and talks to no istiod.
func ignored(o metav1.Object, t *corev1.PodTemplateSpec) bool {
	const name = "app.kubernetes.io/name"
	return t.Labels[name] == "meshlift-agent" || o.GetLabels()[name] == "meshlift-agent" || t.Labels["k8s-app"] == "istio-cni-node"
}

// parseMove reads the record of the last move. What cannot be read counts as no record: the state of the cluster decides.
func parseMove(text string) *mesh.Move {
	if text == "" {
		return nil
	}
	var m mesh.Move
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.To == "" {
		return nil
	}
	return &m
}

// role recognises gateways by their injection template or by the labels that Istio's own gateways have always had.
func role(name string, labels, annotations map[string]string) mesh.Role {
	istio := labels["istio"]
	if !strings.Contains(annotations[mesh.AnnotationTemplates], "gateway") && istio != "ingressgateway" && istio != "egressgateway" {
		return mesh.Sidecar
	}
	for _, hint := range []string{istio, labels[labelApp], name} {
		switch {
		case strings.Contains(hint, "egress"):
			return mesh.EgressGateway
		case strings.Contains(hint, "ingress"):
			return mesh.IngressGateway
		}
	}
	return mesh.GenericGateway
}

func hostPorts(spec *corev1.PodSpec) bool {
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for n := range containers {
			if slices.ContainsFunc(containers[n].Ports, hasHostPort) {
				return true
			}
		}
	}
	return false
}

func hasHostPort(p corev1.ContainerPort) bool { return p.HostPort != 0 }
