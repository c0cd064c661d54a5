package charts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func hub(t *testing.T, values string) []runtime.Object {
	t.Helper()
	out, err := renderChart(t, loadFrom(t, Hub), "v1.31.0", values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryObjectOfTheHubIsValidForEverySetOfValues(t *testing.T) {
	for name, values := range map[string]string{
		"defaults": "",
		"everything": `{imagePullSecrets: [{name: x}], nodeSelector: {a: b}, tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}, podLabels: {a: b},
			podAnnotations: {a: b}, extraArgs: ["--v"], priorityClassName: "", platformGate: {breakGlass: incident 12}, metrics: {dashboard: true}}`,
		"nothing": "{replicas: 1, networkPolicy: {enabled: false}, roles: {enabled: false}, platformGate: {enabled: false}, podDisruptionBudget: {enabled: false}}",
	} {
		t.Run(name, func(t *testing.T) {
			if n := len(hub(t, values)); n < 9 {
				t.Errorf("%d objects, that is not the whole chart", n)
			}
		})
	}
	for _, values := range []string{"{replica: 3}", "{istioNamespace: x}", "{platformGate: {on: true}}"} {
		if _, err := renderChart(t, loadFrom(t, Hub), "v1.31.0", values); err == nil {
			t.Errorf("%s was accepted", values)
		}
	}
}

func TestThePodsOfTheHubRunUnderTheRestrictedPodSecurityStandard(t *testing.T) {
	objects := hub(t, "")
	for name, pod := range map[string]corev1.PodSpec{
		"hub":  one[*appsv1.Deployment](t, objects).Spec.Template.Spec,
		"gate": one[*batchv1.Job](t, objects).Spec.Template.Spec,
	} {
		if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod security context %+v", name, pod.SecurityContext)
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: security context %+v", name, s)
			}
		}
	}
}

func TestTheWebhooksOfTheHubConcernItsKindsAndCallItsService(t *testing.T) {
	objects := hub(t, "")
	plurals := map[string]string{}
	for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](objects) {
		plurals[crd.Spec.Names.Plural] = crd.Spec.Group
	}
	service := one[*corev1.Service](t, objects)
	for _, w := range one[*admissionv1.ValidatingWebhookConfiguration](t, objects).Webhooks {
		resource := w.Rules[0].Resources[0]
		if plurals[resource] != "hub.meshlift.dev" || !slices.Equal(w.Rules[0].APIGroups, []string{"hub.meshlift.dev"}) {
			t.Errorf("webhook %q: no kind %q in group %q", w.Name, resource, plurals[resource])
		}
		if *w.FailurePolicy != admissionv1.Fail || w.ClientConfig.Service.Name != service.Name {
			t.Errorf("webhook %q: %v, %+v", w.Name, *w.FailurePolicy, w.ClientConfig.Service)
		}
	}
}

func TestNoRoleOfTheHubHoldsAWildcardOrSecretsOfOtherNamespaces(t *testing.T) {
	objects := hub(t, "")
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		for _, r := range role.Rules {
			if slices.Contains(r.Resources, "secrets") || slices.Contains(r.Verbs, "*") || slices.Contains(r.Resources, "*") || slices.Contains(r.APIGroups, "*") {
				t.Errorf("ClusterRole %q: %+v", role.Name, r)
			}
		}
	}
}

func TestTheNetworkPolicyLetsInEveryPortThatTheHubServesAndNoOther(t *testing.T) {
	objects := hub(t, "")
	var served, open []string
	for _, p := range one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Ports {
		served = append(served, p.Name)
	}
	for _, p := range one[*networkingv1.NetworkPolicy](t, objects).Spec.Ingress[0].Ports {
		open = append(open, p.Port.String())
	}
	slices.Sort(served)
	slices.Sort(open)
	if !slices.Equal(served, open) {
		t.Errorf("open %q, served %q", open, served)
	}
}

func TestThePlatformGateRunsBeforeAnUpgradeOnly(t *testing.T) {
	objects := hub(t, "{platformGate: {breakGlass: incident 12}}")
	job := one[*batchv1.Job](t, objects)
	c := job.Spec.Template.Spec.Containers[0]
	if got := job.Annotations["helm.sh/hook"]; got != "pre-upgrade" || *job.Spec.BackoffLimit != 0 {
		t.Errorf("hook %q, %d retries", got, *job.Spec.BackoffLimit)
	}
	want := []string{"/app/asm-controller", "platform", "check", "--offered=" + loadFrom(t, Hub).AppVersion(), "--hub-namespace=cpaas-system"}
	if !slices.Equal(c.Command, want) || !slices.Equal(c.Args, []string{"--break-glass=incident 12"}) {
		t.Errorf("it runs %q %q", c.Command, c.Args)
	}
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		for _, r := range role.Rules {
			if role.Name == job.Name && !slices.Equal(r.Verbs, []string{"list"}) && fmt.Sprint(r.Resources) != "[events]" {
				t.Errorf("the gate may do more than look: %+v", r)
			}
		}
	}
}

func TestTheDashboardCanBeRead(t *testing.T) {
	m := one[*corev1.ConfigMap](t, hub(t, "{metrics: {dashboard: true}}"))
	var dashboard struct {
		Panels []struct{ Title string }
	}
	if err := json.Unmarshal([]byte(m.Data["meshlift.json"]), &dashboard); err != nil || len(dashboard.Panels) == 0 || strings.TrimSpace(dashboard.Panels[0].Title) == "" {
		t.Errorf("%d panels, %v", len(dashboard.Panels), err)
	}
}
