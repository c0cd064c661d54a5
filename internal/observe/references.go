package observe

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

// templateReferences are the pod templates of CronJobs, and of Jobs that may still make pods, that name a revision
// themselves. Such a template asks for the revision again although no pod of it runs at the moment.
func templateReferences(inv *mesh.Inventory, cronJobs []batchv1.CronJob, jobs []batchv1.Job) []mesh.TemplateReference {
	var out []mesh.TemplateReference
	add := func(kind, namespace, name string, t *corev1.PodTemplateSpec) {
		if revision := inv.Resolve(t.Labels[mesh.LabelRev]); revision != "" {
			out = append(out, mesh.TemplateReference{Ref: mesh.Ref{Kind: kind, Namespace: namespace, Name: name}, Revision: revision})
		}
	}
	for n := range cronJobs {
		c := &cronJobs[n]
		add("CronJob", c.Namespace, c.Name, &c.Spec.JobTemplate.Spec.Template)
	}
	for n := range jobs {
		j := &jobs[n]
		if !ended(j) {
			add("Job", j.Namespace, j.Name, &j.Spec.Template)
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
