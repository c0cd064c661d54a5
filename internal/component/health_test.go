package component

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAReleaseIsReadyWhenEveryPodIsOfTheNewVersion(t *testing.T) {
	two := int32(2)
	good := func() *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "x", Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2},
		}
	}
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		ready  bool
		failed bool
		about  string
	}{
		"ready":            {func(*appsv1.Deployment) {}, true, false, ""},
		"not looked at":    {func(d *appsv1.Deployment) { d.Generation = 3 }, false, false, "not looked at"},
		"old pods remain":  {func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, false, false, "2 of 2 pods of the new version"},
		"one is not ready": {func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, false, false, "1 ready"},
		"given up": {func(d *appsv1.Deployment) {
			d.Status.AvailableReplicas = 1
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", Message: "m"}}
		}, false, true, "Deployment ops/x"},
		"given up on an older template": {func(d *appsv1.Deployment) {
			d.Generation = 3
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}}
		}, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := good()
			c.change(d)
			h := Judge([]Workload{OfDeployment(good()), OfDeployment(d)})
			if h.Ready != c.ready || h.Failed != c.failed || !strings.Contains(h.Message, c.about) {
				t.Errorf("got %+v", h)
			}
		})
	}
	if h := Judge(nil); !h.Ready {
		t.Error("a release without pods is ready")
	}
	if h := Judge([]Workload{{Name: "Deployment a/b", Missing: true}}); h.Ready || h.Message != "Deployment a/b does not exist" {
		t.Errorf("%+v", h)
	}
}

func TestWhatAPodSaysComesFromItsContainersAndItsNewestWarning(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x-1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "back-off\npulling"}}},
	}}}
	event := func(pod, kind, reason string, second int64) corev1.Event {
		return corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: pod}, Type: kind, Reason: reason, Message: "m", LastTimestamp: metav1.Unix(second, 0)}
	}
	got := PodTrouble(p, []corev1.Event{event("x-1", "Warning", "Old", 1), event("x-1", "Warning", "Failed", 2), event("x-1", "Normal", "Pulling", 3), event("y", "Warning", "Other", 4)})
	if want := "pod x-1: ImagePullBackOff: back-off pulling; Failed: m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if got := PodTrouble(p, nil); got != "" {
		t.Errorf("a pod that is ready says %q", got)
	}
}
