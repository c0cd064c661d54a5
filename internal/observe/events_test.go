package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func at(second int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 11, 23, 13, 0, second, 0, time.UTC))
}

func event(pod, kind, reason string, second int, change ...func(*corev1.Event)) corev1.Event {
	e := corev1.Event{Type: kind, Reason: reason, Message: fmt.Sprintf("at %d", second), LastTimestamp: at(second), Count: 1}
	e.InvolvedObject.Kind, e.InvolvedObject.Name = "Pod", pod
	for _, c := range change {
		c(&e)
	}
	return e
}

func TestPodEventsShowWarningsFirstThenTheNewest(t *testing.T) {
	events := []corev1.Event{
		event("a", "Normal", "Scheduled", 9),
		event("a", "Warning", "BackOff", 3),
		event("a", "Warning", "BackOff", 5, func(e *corev1.Event) { e.Count = 4 }),
		event("a", "Warning", "BackOff", 4),
		event("b", "Warning", "Unhealthy", 7),
		event("other", "Warning", "Unhealthy", 8),
		event("a", "Warning", "Node", 8, func(e *corev1.Event) { e.InvolvedObject.Kind = "Node" }),
		event("b", "Warning", "Series", 0, func(e *corev1.Event) {
			e.Count, e.LastTimestamp, e.EventTime = 0, metav1.Time{}, metav1.NewMicroTime(at(1).Time)
			e.Series = &corev1.EventSeries{Count: 12, LastObservedTime: metav1.NewMicroTime(at(6).Time)}
		}),
		event("b", "Normal", "Pulled", 0, func(e *corev1.Event) { e.LastTimestamp, e.CreationTimestamp = metav1.Time{}, at(2) }),
	}
	want := []v1alpha1.PodEvent{
		{Pod: "b", Type: "Warning", Reason: "Unhealthy", Message: "at 7", Count: 1, LastSeen: at(7)},
		{Pod: "b", Type: "Warning", Reason: "Series", Message: "at 0", Count: 12, LastSeen: at(6)},
		{Pod: "a", Type: "Warning", Reason: "BackOff", Message: "at 5", Count: 6, LastSeen: at(5)},
		{Pod: "a", Type: "Normal", Reason: "Scheduled", Message: "at 9", Count: 1, LastSeen: at(9)},
		{Pod: "b", Type: "Normal", Reason: "Pulled", Message: "at 0", Count: 1, LastSeen: at(2)},
	}
	if diff := cmp.Diff(want, podEvents(events, []string{"a", "b"})); diff != "" {
		t.Errorf("the events differ (-want +got):\n%s", diff)
	}
}

func TestPodEventsAreAtMostTenAndKeepTheWarnings(t *testing.T) {
	var events []corev1.Event
	for n := range 30 {
		events = append(events, event("a", "Normal", fmt.Sprintf("Normal%d", n), 30+n))
	}
	events = append(events, event("a", "Warning", "Failed", 1))
	got := podEvents(events, []string{"a"})
	if len(got) != maxPodEvents || got[0].Reason != "Failed" || got[1].Reason != "Normal29" {
		t.Errorf("want ten events with the warning first and then the newest, got %v", got)
	}
}
