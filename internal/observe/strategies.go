package observe

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/internal/mesh"
)

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
		Behind: mesh.StatefulSetBehind(s),
	}
}

func daemonSetProgress(d *appsv1.DaemonSet) mesh.Progress {
	return mesh.Progress{
		Generation: d.Generation, ObservedGeneration: d.Status.ObservedGeneration,
		Replicas: d.Status.CurrentNumberScheduled, Updated: d.Status.UpdatedNumberScheduled, Ready: d.Status.NumberReady,
		Available: d.Status.NumberAvailable, Unavailable: d.Status.NumberUnavailable,
		Behind: mesh.DaemonSetBehind(d),
	}
}

// replicaSetProgress counts as updated what has the labels of the pod template, which is all that a ReplicaSet knows.
func replicaSetProgress(r *appsv1.ReplicaSet) mesh.Progress {
	p := mesh.Progress{
		Generation: r.Generation, ObservedGeneration: r.Status.ObservedGeneration,
		Replicas: r.Status.Replicas, Updated: r.Status.FullyLabeledReplicas, Ready: r.Status.ReadyReplicas,
		Available: r.Status.AvailableReplicas, Unavailable: max(0, replicas(r.Spec.Replicas)-r.Status.AvailableReplicas),
		Behind: r.Status.ObservedGeneration < r.Generation || r.Status.FullyLabeledReplicas < r.Status.Replicas,
	}
	for _, c := range r.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
			p.Failure = c.Message
		}
	}
	return p
}
