package observe

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	proxyContainer    = "istio-proxy"
	labelTemplateHash = "pod-template-hash"
	labelRolloutHash  = "rollouts-pod-template-hash"
)

// assignPods gives every live pod to the candidate that owns it and returns the injected ones that none owns.
func assignPods(all map[mesh.Ref]*candidate, pods []corev1.Pod) []mesh.LoosePod {
	var loose []mesh.LoosePod
	known := proxies{}
	for n := range pods {
		p := &pods[n]
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		ref, owner := podOwner(p)
		if c := all[ref]; c != nil {
			c.Pods = append(c.Pods, known.pod(p))
			continue
		}
		if l := (mesh.LoosePod{Pod: known.pod(p), Namespace: p.Namespace, Owner: owner}); l.Revision != "" {
			l.Role = role(p.Name, p.Labels, p.Annotations)
			if p.Labels[mesh.LabelGatewayManaged] != "" {
				l.Role = mesh.IngressGateway
			}
			loose = append(loose, l)
		}
	}
	for _, c := range all {
		slices.SortFunc(c.Pods, func(a, b mesh.Pod) int { return cmp.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(loose, func(a, b mesh.LoosePod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return loose
}

// podOwner returns the workload that owns the pod, and how people would name it. A ReplicaSet is not looked up: the
// Deployment controller names it after the Deployment and the pod's label pod-template-hash
// (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label); Argo Rollouts does the
// same with a label of its own.
func podOwner(p *corev1.Pod) (ref mesh.Ref, owner string) {
	c := metav1.GetControllerOfNoCopy(p)
	if c == nil {
		return mesh.Ref{}, ""
	}
	owner = c.Kind + "/" + c.Name
	if group, _, _ := strings.Cut(c.APIVersion, "/"); group != "apps" {
		return mesh.Ref{}, owner
	}
	switch c.Kind {
	case mesh.KindStatefulSet, mesh.KindDaemonSet:
		return mesh.Ref{Kind: c.Kind, Namespace: p.Namespace, Name: c.Name}, owner
	case "ReplicaSet":
		if name, ok := cutHash(c.Name, p.Labels[labelRolloutHash]); ok {
			return mesh.Ref{Kind: mesh.KindRollout, Namespace: p.Namespace, Name: name}, mesh.KindRollout + "/" + name
		}
		if name, ok := cutHash(c.Name, p.Labels[labelTemplateHash]); ok {
			return mesh.Ref{Kind: mesh.KindDeployment, Namespace: p.Namespace, Name: name}, owner
		}
		return mesh.Ref{Kind: mesh.KindReplicaSet, Namespace: p.Namespace, Name: c.Name}, owner
	}
	return mesh.Ref{}, owner
}

func cutHash(name, hash string) (string, bool) {
	if hash == "" {
		return "", false
	}
	return strings.CutSuffix(name, "-"+hash)
}

// source is all that says which proxy a pod has; proxies are what it says. A mesh has a handful of them and many thousand
// pods, so each is read once for an inventory.
type (
	source  struct{ status, revision, image string }
	proxy   struct{ revision, version string }
	proxies map[source]proxy
)

func (all proxies) of(p *corev1.Pod) proxy {
	from := source{p.Annotations[mesh.AnnotationStatus], p.Annotations[mesh.LabelRev], proxyImage(&p.Spec)}
	known, ok := all[from]
	if !ok {
		known = proxy{mesh.RevisionOf(p.Annotations), mesh.VersionOfImage(from.image)}
		all[from] = known
	}
	return known
}

func (all proxies) pod(p *corev1.Pod) mesh.Pod {
	injected := all.of(p)
	out := mesh.Pod{
		Name:         p.Name,
		Revision:     injected.revision,
		ProxyVersion: injected.version,
		Terminating:  p.DeletionTimestamp != nil,
		Labels:       maps.Clone(p.Labels),
		UID:          string(p.UID),
		Created:      p.CreationTimestamp.Time,
		Attempt:      p.Annotations[v1alpha1.AttemptAnnotation],
	}
	if n := slices.IndexFunc(p.Status.Conditions, isReady); n >= 0 {
		out.Ready, out.ReadyAfter = true, p.Status.Conditions[n].LastTransitionTime.Sub(p.CreationTimestamp.Time)
	}
	return out
}

// proxyImage looks among the init containers as well, where native sidecars are.
func proxyImage(spec *corev1.PodSpec) string {
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for n := range containers {
			if containers[n].Name == proxyContainer {
				return containers[n].Image
			}
		}
	}
	return ""
}

func isReady(c corev1.PodCondition) bool {
	return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
}

// shortStatus reduces Istio's status annotation (about 600 bytes) to what [injectedBy] reads of it.
func shortStatus(text string) string {
	var status struct {
		Revision string `json:"revision,omitempty"`
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return text
	}
	short, err := json.Marshal(status)
	if err != nil {
		return text
	}
	return string(short)
}
