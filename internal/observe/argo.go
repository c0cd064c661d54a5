package observe

import (
	"cmp"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"meshlift.dev/meshlift/internal/mesh"
)

// rolloutKind exists only where Argo Rollouts is installed.
var rolloutKind = schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: mesh.KindRollout}

// argoRollout is what an inventory needs of a Rollout (https://argo-rollouts.readthedocs.io/en/stable/features/specification/).
type argoRollout struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Replicas *int32                 `json:"replicas,omitempty"`
		Template corev1.PodTemplateSpec `json:"template,omitempty"`
		// WorkloadRef names the Deployment that the pod template is taken from instead.
		WorkloadRef *rolloutReference `json:"workloadRef,omitempty"`
	} `json:"spec"`
	Status struct {
		// ObservedGeneration is a number in a string.
		ObservedGeneration string `json:"observedGeneration,omitempty"`
		Replicas           int32  `json:"replicas,omitempty"`
		UpdatedReplicas    int32  `json:"updatedReplicas,omitempty"`
		ReadyReplicas      int32  `json:"readyReplicas,omitempty"`
		AvailableReplicas  int32  `json:"availableReplicas,omitempty"`
	} `json:"status,omitempty"`
}

type rolloutReference struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
}

func parseRollout(u *unstructured.Unstructured) (*argoRollout, error) {
	r := &argoRollout{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil {
		return nil, fmt.Errorf("read Rollout %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return r, nil
}

// pruneRollout keeps what [parseRollout] reads. One that cannot be read is left as it is.
func pruneRollout(u *unstructured.Unstructured) {
	r, err := parseRollout(u)
	if err != nil {
		return
	}
	pruneWorkload(&r.ObjectMeta, &r.Spec.Template)
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err != nil {
		return
	}
	fields["apiVersion"], fields["kind"] = u.Object["apiVersion"], u.Object["kind"]
	u.Object = fields
}

// addRollouts adds the Rollouts of Argo to the candidates. The Deployment that one takes its pod template from has no pods
// of its own, or only until the Rollout has taken over: it is a data plane only while it has some, and a change of its
// template would be a change of the Rollout's.
//
// A Rollout that cannot be read is left out: its pods are then in nobody's care, are reported, and hold up the decommission.
func addRollouts(out map[mesh.Ref]*candidate, list []unstructured.Unstructured) {
	for n := range list {
		r, err := parseRollout(&list[n])
		if err != nil {
			continue
		}
		template := &r.Spec.Template
		c := newCandidate(mesh.KindRollout, &r.ObjectMeta, template)
		if ref := r.Spec.WorkloadRef; ref != nil && ref.Kind == mesh.KindDeployment {
			of := mesh.Ref{Kind: mesh.KindDeployment, Namespace: r.Namespace, Name: ref.Name}
			if d := out[of]; d != nil {
				c.TemplateLabels, c.TemplateAnnotations, c.HostNetwork, c.HostPorts, c.Role = d.TemplateLabels, d.TemplateAnnotations, d.HostNetwork, d.HostPorts, d.Role
				d.Foreign = fmt.Sprintf("a change of its pod template would start an update of Rollout/%s, which takes its template from it", r.Name)
				d.source = true
			}
		}
		c.Foreign = "a change of its pod template would start its canary steps, as if the application had changed"
		c.Desired = replicas(r.Spec.Replicas)
		observed, _ := strconv.ParseInt(cmp.Or(r.Status.ObservedGeneration, "0"), 10, 64) // before v1.0 a hash: not observed
		c.Progress = mesh.Progress{
			Generation: r.Generation, ObservedGeneration: observed, Replicas: r.Status.Replicas, Updated: r.Status.UpdatedReplicas,
			Ready: r.Status.ReadyReplicas, Available: r.Status.AvailableReplicas, Unavailable: max(0, c.Desired-r.Status.AvailableReplicas),
		}
		out[c.Ref] = c
	}
}
