package controlplane

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

func TestAnIstioOperatorBecomesValues(t *testing.T) {
	var spec, want map[string]any
	for text, into := range map[string]*map[string]any{`
hub: mirror.example/istio
tag: 1.22.1
meshConfig: {accessLogFile: /dev/stdout}
values: {global: {meshID: m}, pilot: {env: {A: a}}}
components:
  pilot:
    k8s:
      resources: {requests: {cpu: 2}}
      replicaCount: 3
      hpaSpec: {minReplicas: 2, maxReplicas: 7}
      env: [{name: B, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
      overlays: [{kind: Deployment}]
`: &spec, `
meshConfig: {accessLogFile: /dev/stdout}
global: {meshID: m, hub: mirror.example/istio, tag: 1.22.1}
pilot:
  env: {A: a, B: b}
  resources: {requests: {cpu: 2}}
  replicaCount: 3
  autoscaleMin: 2
  autoscaleMax: 7
`: &want} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	got := fromOperator(spec)
	if diff := cmp.Diff(want, got.values); diff != "" {
		t.Errorf("values:\n%s", diff)
	}
	lost := strings.Join(got.lost, "\n")
	for _, part := range []string{"k8s.env.C:", "k8s.overlays:"} {
		if !strings.Contains(lost, part) {
			t.Errorf("%q is not among what is lost: %s", part, lost)
		}
	}
	if len(got.lost) != 2 {
		t.Errorf("lost: %q", got.lost)
	}
}

func TestVersionsAreComparedAsVersions(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"1.9.0", "1.10.0", true},
		{"1.31.0", "1.31.0", false},
		{"1.31.1", "1.31.0", false},
		{"1.31.0-rc.1", "1.31.0", true},
		{"latest", "1.31.0", false},
		{"1.31.0", "latest", false},
	} {
		if got := older(test.a, test.b); got != test.want {
			t.Errorf("%s is older than %s: %v", test.a, test.b, got)
		}
	}
}

func TestTheNameOfAnyUpgradeMakesALabel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9]([-.a-z0-9]{0,250}[a-z0-9])?`).Draw(t, "name")
		if errs := validation.IsValidLabelValue(LabelValue(name)); len(errs) > 0 {
			t.Fatalf("%q makes %q: %v", name, LabelValue(name), errs)
		}
		if len(name) <= 63 && LabelValue(name) != name {
			t.Fatalf("%q is changed to %q", name, LabelValue(name))
		}
	})
}

func TestThePodSaysWhatIsWrongWithIt(t *testing.T) {
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "discovery", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
	}
	for _, test := range []struct {
		name   string
		status corev1.PodStatus
		want   string
	}{
		{"it starts", waiting("ContainerCreating", ""), ""},
		{"its image cannot be pulled", waiting("ImagePullBackOff", "Back-off pulling\n image \"x\"."), `waits with ImagePullBackOff: Back-off pulling image "x"`},
		{
			"it finds no node",
			corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."}}},
			"finds no node: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules",
		},
		{
			"it was started again just now",
			corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				Name: "discovery", RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no CRDs"}},
			}}},
			"died (restarts: 2): container discovery ended with exit code 1, Error: no CRDs",
		},
		{"it runs after it died once", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}},
		}}}, ""},
		{"it was evicted", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}, "failed: Evicted low on memory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := trouble(&corev1.Pod{Status: test.status}); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
