package observe

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

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
}

// addWorkloads fills Workloads and LoosePods; everything else in the inventory must be there.
func addWorkloads(inv *mesh.Inventory, in objects) {
	all := candidates(in)
	inv.LoosePods = assignPods(all, in.pods)
	byRef := map[mesh.Ref]mesh.Workload{}
	for _, key := range slices.SortedFunc(maps.Keys(all), mesh.Ref.Compare) {
		c := all[key]
		if c.ignored || !included(inv, c) {
			continue
		}
		if twin, ok := byRef[c.Ref]; ok { // a Gateway whose Deployment was renamed has two for a while
			c.Pods = append(twin.Pods, c.Pods...)
		}
		byRef[c.Ref] = c.Workload
	}
	inv.Workloads = append(slices.Collect(maps.Values(byRef)), idleGateways(in.gateways, byRef)...)
	slices.SortFunc(inv.Workloads, func(a, b mesh.Workload) int { return a.Compare(b.Ref) })
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
	out := make(map[mesh.Ref]*candidate, len(in.deployments)+len(in.statefulSets)+len(in.daemonSets))
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

func deploymentStrategy(d *appsv1.Deployment) mesh.Strategy {
	s := mesh.Strategy{Type: string(d.Spec.Strategy.Type)}
	if s.Type == "" {
		s.Type = string(appsv1.RollingUpdateDeploymentStrategyType)
	}
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		s.RawMaxSurge, s.MaxSurge = resolve(r.MaxSurge, replicas(d.Spec.Replicas), true)
		s.RawMaxUnavailable, s.MaxUnavailable = resolve(r.MaxUnavailable, replicas(d.Spec.Replicas), false)
		// Both zero after rounding would never move; the Deployment controller then takes one pod away
		// (ResolveFenceposts in k8s.io/kubectl/pkg/util/deployment).
		if s.MaxSurge == 0 && s.MaxUnavailable == 0 {
			s.MaxUnavailable = 1
		}
	}
	return s
}

func statefulSetStrategy(s *appsv1.StatefulSet) mesh.Strategy {
	out := mesh.Strategy{Type: string(s.Spec.UpdateStrategy.Type)}
	if out.Type == "" {
		out.Type = string(appsv1.RollingUpdateStatefulSetStrategyType)
	}
	if out.Type == string(appsv1.RollingUpdateStatefulSetStrategyType) {
		out.MaxUnavailable = 1
	}
	if r := s.Spec.UpdateStrategy.RollingUpdate; r != nil {
		if r.Partition != nil {
			out.Partition = *r.Partition
		}
		if r.MaxUnavailable != nil {
			out.RawMaxUnavailable, out.MaxUnavailable = resolve(r.MaxUnavailable, replicas(s.Spec.Replicas), false)
			out.MaxUnavailable = max(1, out.MaxUnavailable)
		}
	}
	return out
}

func daemonSetStrategy(d *appsv1.DaemonSet) mesh.Strategy {
	out := mesh.Strategy{Type: string(d.Spec.UpdateStrategy.Type)}
	if out.Type == "" {
		out.Type = string(appsv1.RollingUpdateDaemonSetStrategyType)
	}
	if r := d.Spec.UpdateStrategy.RollingUpdate; r != nil {
		// Both round up (k8s.io/api/apps/v1 RollingUpdateDaemonSet).
		out.RawMaxSurge, out.MaxSurge = resolve(r.MaxSurge, d.Status.DesiredNumberScheduled, true)
		out.RawMaxUnavailable, out.MaxUnavailable = resolve(r.MaxUnavailable, d.Status.DesiredNumberScheduled, true)
	}
	return out
}

// resolve returns a number or percentage as written and as pods; a value that cannot be read counts as zero.
func resolve(v *intstr.IntOrString, total int32, up bool) (raw string, pods int32) {
	if v == nil {
		return "", 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(total), up)
	if err != nil || n < 0 {
		return v.String(), 0
	}
	return v.String(), int32(n)
}

func deploymentProgress(d *appsv1.Deployment) mesh.Progress {
	p := mesh.Progress{
		Generation: d.Generation, ObservedGeneration: d.Status.ObservedGeneration,
		Replicas: d.Status.Replicas, Updated: d.Status.UpdatedReplicas, Ready: d.Status.ReadyReplicas,
		Available: d.Status.AvailableReplicas, Unavailable: d.Status.UnavailableReplicas, Paused: d.Spec.Paused,
	}
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded":
			p.DeadlineExceeded = true
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			p.Failure = c.Message
		}
	}
	return p
}

func statefulSetProgress(s *appsv1.StatefulSet) mesh.Progress {
	return mesh.Progress{
		Generation: s.Generation, ObservedGeneration: s.Status.ObservedGeneration,
		Replicas: s.Status.Replicas, Updated: s.Status.UpdatedReplicas, Ready: s.Status.ReadyReplicas,
		Available: s.Status.AvailableReplicas, Unavailable: max(0, replicas(s.Spec.Replicas)-s.Status.AvailableReplicas),
	}
}

func daemonSetProgress(d *appsv1.DaemonSet) mesh.Progress {
	return mesh.Progress{
		Generation: d.Generation, ObservedGeneration: d.Status.ObservedGeneration,
		Replicas: d.Status.CurrentNumberScheduled, Updated: d.Status.UpdatedNumberScheduled, Ready: d.Status.NumberReady,
		Available: d.Status.NumberAvailable, Unavailable: d.Status.NumberUnavailable,
	}
}
