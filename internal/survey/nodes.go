package survey

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"meshlift.dev/meshlift/internal/preflight"
)

// nodes reads the nodes, and takes off what the pods on them ask for.
func (l *look) nodes(ctx context.Context) error {
	found := map[string]*preflight.Node{}
	nodes := &corev1.NodeList{}
	err := l.pages(ctx, nodes, func() {
		for n := range nodes.Items {
			found[nodes.Items[n].Name] = nodeOf(&nodes.Items[n])
		}
	})
	if err != nil {
		return err
	}
	pods := &corev1.PodList{}
	err = l.pages(ctx, pods, func() {
		for n := range pods.Items {
			p := &pods.Items[n]
			node := found[p.Spec.NodeName]
			if node == nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			cpu, memory := requests(&p.Spec)
			node.FreeCPU, node.FreeMemory, node.FreePods = node.FreeCPU-cpu, node.FreeMemory-memory, node.FreePods-1
			if p.Namespace == l.istio {
				node.ControlPlanePods = append(node.ControlPlanePods, p.Labels)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, n := range found {
		l.facts.Nodes = append(l.facts.Nodes, *n)
	}
	return nil
}

func nodeOf(n *corev1.Node) *preflight.Node {
	out := &preflight.Node{
		Name: n.Name, Kubelet: n.Status.NodeInfo.KubeletVersion, Labels: n.Labels,
		FreeCPU: n.Status.Allocatable.Cpu().MilliValue(), FreeMemory: n.Status.Allocatable.Memory().Value(), FreePods: n.Status.Allocatable.Pods().Value(),
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			out.Schedulable = !n.Spec.Unschedulable
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule {
			out.Taints = append(out.Taints, preflight.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
		}
	}
	return out
}

// requests are what the scheduler counts for a pod: its containers and native sidecars together, or a larger init container; and the overhead
// (https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers).
func requests(s *corev1.PodSpec) (cpu, memory int64) {
	var sum, most [2]int64
	for n := range s.InitContainers {
		c := &s.InitContainers[n]
		need := [2]int64{c.Resources.Requests.Cpu().MilliValue(), c.Resources.Requests.Memory().Value()}
		for i := range need {
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				sum[i] += need[i]
				most[i] = max(most[i], sum[i])
			} else {
				most[i] = max(most[i], sum[i]+need[i])
			}
		}
	}
	for n := range s.Containers {
		sum[0] += s.Containers[n].Resources.Requests.Cpu().MilliValue()
		sum[1] += s.Containers[n].Resources.Requests.Memory().Value()
	}
	return max(sum[0], most[0]) + s.Overhead.Cpu().MilliValue(), max(sum[1], most[1]) + s.Overhead.Memory().Value()
}

func (l *look) quotas(ctx context.Context) error {
	list := &corev1.ResourceQuotaList{}
	return l.pages(ctx, list, func() {
		for n := range list.Items {
			q := &list.Items[n]
			if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
				continue // it counts some pods only
			}
			out := preflight.Quota{Namespace: q.Namespace, Name: q.Name, Left: map[string]int64{}}
			for name, hard := range q.Status.Hard {
				used := q.Status.Used[name]
				out.Left[string(name)] = milli(hard) - milli(used)
			}
			l.facts.Quotas = append(l.facts.Quotas, out)
		}
	})
}

// milli is the value in thousandths, as far as that fits.
func milli(q resource.Quantity) int64 {
	const most = 1 << 52
	if v := q.Value(); v > most || v < -most {
		return most * 1000
	}
	return q.MilliValue()
}
