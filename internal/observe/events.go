package observe

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
)

const (
	maxPodEvents   = 10
	eventsPageSize = 500
)

// PodEvents reads the events of the pods: warnings before normal ones, then the newest first, at most ten, one for each
// pod and reason. It asks the API server each time, so it is for the few workloads that failed.
func (o *Observer) PodEvents(ctx context.Context, namespace string, pods []string) ([]v1alpha1.PodEvent, error) {
	if len(pods) == 0 {
		return nil, nil
	}
	selector := fields.OneTermEqualSelector("involvedObject.kind", "Pod")
	if len(pods) == 1 {
		selector = fields.AndSelectors(selector, fields.OneTermEqualSelector("involvedObject.name", pods[0]))
	}
	var events []corev1.Event
	next := ""
	for {
		var page corev1.EventList
		err := o.live.List(ctx, &page, client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: selector},
			client.Limit(eventsPageSize), client.Continue(next))
		if err != nil {
			return nil, fmt.Errorf("list the events of pods in namespace %q: %w", namespace, err)
		}
		events = append(events, page.Items...)
		if next = page.Continue; next == "" {
			return podEvents(events, pods), nil
		}
	}
}

// podEvents selects, joins and orders events. It is pure.
func podEvents(events []corev1.Event, pods []string) []v1alpha1.PodEvent {
	type key struct{ pod, reason string }
	joined := map[key]v1alpha1.PodEvent{}
	for n := range events {
		e := &events[n]
		if e.InvolvedObject.Kind != "Pod" || !slices.Contains(pods, e.InvolvedObject.Name) {
			continue
		}
		k, next := key{e.InvolvedObject.Name, e.Reason}, podEvent(e)
		if known, ok := joined[k]; ok {
			count := known.Count + next.Count
			if !known.LastSeen.Before(&next.LastSeen) {
				next = known
			}
			next.Count = count
		}
		joined[k] = next
	}
	out := make([]v1alpha1.PodEvent, 0, len(joined))
	for _, e := range joined {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b v1alpha1.PodEvent) int {
		return cmp.Or(
			-cmp.Compare(warning(a), warning(b)), b.LastSeen.Compare(a.LastSeen.Time),
			cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Reason, b.Reason),
		)
	})
	return out[:min(len(out), maxPodEvents)]
}

func warning(e v1alpha1.PodEvent) int {
	if e.Type == corev1.EventTypeWarning {
		return 1
	}
	return 0
}

// podEvent reads both ways in which Kubernetes counts repeated events: core/v1 (count) and events.k8s.io (series).
func podEvent(e *corev1.Event) v1alpha1.PodEvent {
	out := v1alpha1.PodEvent{
		Pod: e.InvolvedObject.Name, Type: e.Type, Reason: e.Reason, Message: e.Message, Count: max(1, e.Count),
	}
	seen := []metav1.Time{e.LastTimestamp, metav1.NewTime(e.EventTime.Time), e.FirstTimestamp, e.CreationTimestamp}
	if e.Series != nil {
		out.Count = max(out.Count, e.Series.Count)
		seen = slices.Insert(seen, 0, metav1.NewTime(e.Series.LastObservedTime.Time))
	}
	for _, t := range seen {
		if !t.IsZero() {
			out.LastSeen = t
			break
		}
	}
	return out
}
