package component

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Workload is one object of a release that makes pods: a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	// Name says which, for the eye: "Deployment ops/flagger".
	Name string
	// Missing is true when it does not exist.
	Missing bool
	// Observed is false until its controller has looked at the present template.
	Observed             bool
	Want, Updated, Ready int32
	Old                  int32
	Failed               string // why its controller has given up
	Reasons              []string
}

// OfDeployment follows `kubectl rollout status`.
func OfDeployment(d *appsv1.Deployment) Workload {
	w := Workload{
		Name: "Deployment " + d.Namespace + "/" + d.Name, Observed: d.Status.ObservedGeneration >= d.Generation, Want: replicas(d.Spec.Replicas),
		Updated: d.Status.UpdatedReplicas, Ready: d.Status.AvailableReplicas, Old: d.Status.Replicas - d.Status.UpdatedReplicas,
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded" {
			w.Failed = c.Message
		}
	}
	return w
}

// OfStatefulSet follows `kubectl rollout status`.
func OfStatefulSet(s *appsv1.StatefulSet) Workload {
	w := Workload{Name: "StatefulSet " + s.Namespace + "/" + s.Name, Observed: s.Status.ObservedGeneration >= s.Generation, Want: replicas(s.Spec.Replicas), Ready: s.Status.ReadyReplicas}
	if w.Updated = s.Status.UpdatedReplicas; s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		w.Updated = w.Want // its owner replaces the pods when they like
	}
	return w
}

// OfDaemonSet follows `kubectl rollout status`.
func OfDaemonSet(s *appsv1.DaemonSet) Workload {
	w := Workload{Name: "DaemonSet " + s.Namespace + "/" + s.Name, Observed: s.Status.ObservedGeneration >= s.Generation, Want: s.Status.DesiredNumberScheduled, Ready: s.Status.NumberAvailable}
	if w.Updated = s.Status.UpdatedNumberScheduled; s.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		w.Updated = w.Want
	}
	return w
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// Done tells whether every pod is of the present template and ready.
func (w Workload) Done() bool {
	return !w.Missing && w.Observed && w.Updated >= w.Want && w.Ready >= w.Want && w.Old <= 0
}

// Judge says how the workloads of a release are: the first one that is not done is told.
func Judge(workloads []Workload) Health {
	for _, w := range workloads {
		if w.Done() {
			continue
		}
		h := Health{Failed: w.Failed != "" && w.Observed}
		switch {
		case w.Missing:
			h.Message = w.Name + " does not exist"
		case !w.Observed:
			h.Message = w.Name + " was not looked at by its controller yet"
		default:
			h.Message = fmt.Sprintf("%s has %d of %d pods of the new version, and %d ready", w.Name, w.Updated, w.Want, w.Ready)
		}
		for _, r := range w.Reasons {
			h.Message += "; " + r
		}
		return h
	}
	return Health{Ready: true}
}

// PodTrouble says why a pod is not ready; empty when it is, or nothing is known.
func PodTrouble(p *corev1.Pod, events []corev1.Event) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	why := ""
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			why = w.Reason
			if w.Message != "" {
				why += ": " + w.Message
			}
		}
	}
	newest := -1
	for n := range events {
		e := &events[n]
		if e.InvolvedObject.Kind == "Pod" && e.InvolvedObject.Name == p.Name && e.Type == corev1.EventTypeWarning && (newest < 0 || seen(&events[newest]) <= seen(e)) {
			newest = n
		}
	}
	if newest >= 0 {
		if why != "" {
			why += "; "
		}
		why += events[newest].Reason + ": " + events[newest].Message
	}
	if why == "" {
		return ""
	}
	return "pod " + p.Name + ": " + oneLine(why)
}

// seen is when an event happened last.
func seen(e *corev1.Event) int64 {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Unix()
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Unix()
	case !e.EventTime.IsZero():
		return e.EventTime.Unix()
	}
	return e.CreationTimestamp.Unix()
}
