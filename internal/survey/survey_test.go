package survey

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/preflight"
)

func container(cpu, memory string) corev1.Container {
	return corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
	}}}
}

func TestRequestsAreCountedAsTheSchedulerDoes(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	native := container("100m", "1Mi")
	native.RestartPolicy = &always
	for name, c := range map[string]struct {
		init, containers []corev1.Container
		cpu, memory      int64
	}{
		"containers":        {nil, []corev1.Container{container("100m", "1Mi"), container("50m", "2Mi")}, 150, 3 << 20},
		"a large init":      {[]corev1.Container{container("1", "1Mi")}, []corev1.Container{container("50m", "2Mi")}, 1000, 2 << 20},
		"a native sidecar":  {[]corev1.Container{native}, []corev1.Container{container("50m", "2Mi")}, 150, 3 << 20},
		"an init behind it": {[]corev1.Container{native, container("1", "1Mi")}, []corev1.Container{container("50m", "2Mi")}, 1100, 3 << 20},
		"nothing":           {nil, []corev1.Container{{}}, 0, 0},
	} {
		cpu, memory := requests(&corev1.PodSpec{InitContainers: c.init, Containers: c.containers})
		if cpu != c.cpu || memory != c.memory {
			t.Errorf("%s: %d millicores and %d bytes, want %d and %d", name, cpu, memory, c.cpu, c.memory)
		}
	}
}

func TestHooksAndDrainsAreUnderstood(t *testing.T) {
	exec := func(command ...string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
	}
	for want, h := range map[int64]*corev1.LifecycleHandler{
		7: {Sleep: &corev1.SleepAction{Seconds: 7}}, 20: exec("/bin/sh", "-c", "sleep 20; nginx -s quit"), 5: exec("sleep", "5"), -1: exec("nginx", "-s", "quit"),
	} {
		if got := sleeps(h); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	for annotation, want := range map[string]int64{"": 5, "terminationDrainDuration: 30s": 30, "{": 5, "terminationDrainDuration: x": 5} {
		if got := drain(annotation); got != want {
			t.Errorf("%q: %d, want %d", annotation, got, want)
		}
	}
}

func TestWhatIsForbiddenIsSaidInFewWords(t *testing.T) {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "cacerts", errors.New(`User "ann" cannot get resource "secrets" in API group "" in the namespace "istio-system"`))
	if got := reason(err); got != `you may not get resource "secrets" in API group "" in the namespace "istio-system"` {
		t.Error(got)
	}
	if got := reason(errors.New("no route to host")); got != "no route to host" {
		t.Error(got)
	}
}

func TestAWebhookIsKnownByItsRules(t *testing.T) {
	ignore := admissionv1.Ignore
	rule := func(group, resource string, operation admissionv1.OperationType) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{operation}, Rule: admissionv1.Rule{APIGroups: []string{group}, Resources: []string{resource}}}}
	}
	client := admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "a", Name: "b"}}
	for name, c := range map[string]struct {
		rules       []admissionv1.RuleWithOperations
		pods, istio bool
	}{
		"pods":             {rule("", "pods", admissionv1.Create), true, false},
		"everything":       {rule("*", "*", admissionv1.OperationAll), true, true},
		"only deletions":   {rule("", "pods", admissionv1.Delete), false, false},
		"virtual services": {rule("networking.istio.io", "*", admissionv1.Create), false, true},
		"config maps":      {rule("", "configmaps", admissionv1.Create), false, false},
	} {
		w := webhookOf("c", "w", client, nil, c.rules)
		if w.Pods != c.pods || w.Istio != c.istio || !w.Fail || w.Service != "a/b" {
			t.Errorf("%s: %+v", name, w)
		}
	}
	if w := webhookOf("c", "w", client, &ignore, nil); w.Fail {
		t.Errorf("%+v", w)
	}
}

func TestATemplateSaysWhenItIsReadyAndWhatItMayBind(t *testing.T) {
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: "b"}
	probed := corev1.Container{Name: "app", ReadinessProbe: &corev1.Probe{}}
	got := templateOf(ref, &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{probed, {Name: "istio-proxy"}}, SecurityContext: &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: lowPortSysctl, Value: "0"}}}}})
	if !got.Readiness || !got.LowPorts || got.Grace != 30 {
		t.Errorf("%+v", got)
	}
	injected := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"inject.istio.io/templates": "gateway, ours"}}}
	if got := templateOf(ref, injected); !got.LowPorts {
		t.Errorf("%+v", got)
	}
	if got := templateOf(ref, &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{probed, {Name: "other"}}}}); got.Readiness || got.LowPorts {
		t.Errorf("%+v", got)
	}
}

func TestACertificateWithoutOneIsAnError(t *testing.T) {
	if _, err := certificate(preflight.Object{Kind: "Secret", Name: "x"}, []byte("nonsense"), nil); err == nil {
		t.Error("no error")
	}
}
