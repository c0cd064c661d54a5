package mesh

import appsv1 "k8s.io/api/apps/v1"

// StatefulSetBehind tells whether pods of an older pod template live, or may: a rolling update that is not through, one
// that a partition holds back, or pods that OnDelete has not replaced. Unknown counts as behind.
//
// With OnDelete the current revision of the status never follows, so the pods are counted
// (completeRollingUpdate in k8s.io/kubernetes/pkg/controller/statefulset/stateful_set_utils.go).
func StatefulSetBehind(s *appsv1.StatefulSet) bool {
	st := s.Status
	switch {
	case st.ObservedGeneration < s.Generation:
		return true
	case s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return st.UpdatedReplicas < st.Replicas
	}
	return st.CurrentRevision != st.UpdateRevision
}

// DaemonSetBehind tells whether pods of an older pod template live, or may.
func DaemonSetBehind(d *appsv1.DaemonSet) bool {
	return d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedNumberScheduled < d.Status.CurrentNumberScheduled
}
