package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// diagnose says in one sentence why a Deployment of istiod is not available, with the words of Kubernetes: what its pods
// wait for, why they died, why they are not scheduled, or why there are none.
func (s *Service) diagnose(ctx context.Context, d *appsv1.Deployment) (string, error) {
	name := d.Namespace + "/" + d.Name
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return "", fmt.Errorf("read the selector of Deployment %q: %w", name, err)
	}
	pods := &corev1.PodList{}
	if err := s.o.Live.List(ctx, pods, client.InNamespace(d.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return "", err
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return fmt.Sprintf("Deployment %s cannot make its pods: %s", name, sentence(c.Message)), nil
		}
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp != nil {
			continue
		}
		if why := trouble(pod); why != "" {
			return fmt.Sprintf("Pod %s/%s %s", pod.Namespace, pod.Name, why), nil
		}
		if event, err := s.lastWarning(ctx, pod); err != nil {
			return "", err
		} else if event != "" && !podReady(pod) {
			return fmt.Sprintf("Pod %s/%s is not ready: %s", pod.Namespace, pod.Name, event), nil
		}
	}
	wanted := ptr.Deref(d.Spec.Replicas, 1)
	if wanted == 0 {
		return fmt.Sprintf("Deployment %s is scaled to zero", name), nil
	}
	return fmt.Sprintf("Deployment %s has %d of %d replicas ready", name, d.Status.ReadyReplicas, wanted), nil
}

// trouble says what is wrong with a pod, "" when nothing is known to be.
func trouble(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "finds no node: " + sentence(c.Message)
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		waiting := c.State.Waiting
		if waiting == nil || waiting.Reason == "ContainerCreating" || waiting.Reason == "PodInitializing" {
			continue
		}
		out := fmt.Sprintf("waits with %s", waiting.Reason)
		if waiting.Message != "" {
			out += ": " + sentence(waiting.Message)
		}
		if last := c.LastTerminationState.Terminated; last != nil {
			out += fmt.Sprintf(" (container %s ended with exit code %d, %s%s)", c.Name, last.ExitCode, last.Reason, prefixed(": ", sentence(last.Message)))
		}
		return out
	}
	for _, c := range pod.Status.ContainerStatuses {
		t := c.State.Terminated
		if t == nil && !c.Ready { // it was started again just now
			t = c.LastTerminationState.Terminated
		}
		if t != nil && t.ExitCode != 0 {
			return fmt.Sprintf("died (restarts: %d): container %s ended with exit code %d, %s%s", c.RestartCount, c.Name, t.ExitCode, t.Reason, prefixed(": ", sentence(t.Message)))
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return fmt.Sprintf("failed: %s %s", pod.Status.Reason, sentence(pod.Status.Message))
	}
	return ""
}

// lastWarning returns the newest warning about a pod.
func (s *Service) lastWarning(ctx context.Context, pod *corev1.Pod) (string, error) {
	list := &corev1.EventList{}
	err := s.o.Live.List(ctx, list, client.InNamespace(pod.Namespace),
		client.MatchingFields{"involvedObject.kind": "Pod", "involvedObject.name": pod.Name, "type": corev1.EventTypeWarning}, client.Limit(50))
	if err != nil {
		return "", err
	}
	var newest *corev1.Event
	for i := range list.Items {
		e := &list.Items[i]
		if newest == nil || when(newest).Before(when(e)) {
			newest = e
		}
	}
	if newest == nil {
		return "", nil
	}
	return newest.Reason + ": " + sentence(newest.Message), nil
}

func when(e *corev1.Event) *metav1.Time {
	if !e.LastTimestamp.IsZero() {
		return &e.LastTimestamp
	}
	return &metav1.Time{Time: e.EventTime.Time}
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// sentence makes one line of a message and limits it.
func sentence(message string) string {
	message = strings.TrimRight(strings.Join(strings.Fields(message), " "), ".")
	const limit = 300
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "") + "…"
	}
	return message
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
