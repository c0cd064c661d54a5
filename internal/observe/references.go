package observe

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

// templateReferences are the pod templates of Jobs that may still make pods and name a revision themselves. Such a template
// asks for the revision again although no pod of it runs at the moment, and it cannot be changed.
func templateReferences(inv *mesh.Inventory, jobs []batchv1.Job) []mesh.TemplateReference {
	var out []mesh.TemplateReference
	for n := range jobs {
		j := &jobs[n]
		if revision := inv.Resolve(j.Spec.Template.Labels[mesh.LabelRev]); revision != "" && !ended(j) {
			out = append(out, mesh.TemplateReference{Ref: mesh.Ref{Kind: "Job", Namespace: j.Namespace, Name: j.Name}, Revision: revision})
		}
	}
	return out
}

func ended(j *batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
