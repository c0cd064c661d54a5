package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/controlplane"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/internal/xds"
)

// The tests of this file need a cluster on which they may do what they like, with real istiods: a lab. Inside of it
// (lab up --install "" ; lab exec -- …) they run with
//
//	MESHLIFT_LAB_CHARTS=http://…/charts  the chart repository inside the lab
//	MESHLIFT_LAB_ISTIOCTL=…              istioctl, for the tests that install with it
//	MESHLIFT_LAB_AGENT=…/charts          where the chart of the agent is, to act with the agent's permissions only
const (
	envCharts   = "MESHLIFT_LAB_CHARTS"
	envIstioctl = "MESHLIFT_LAB_ISTIOCTL"
	envAgent    = "MESHLIFT_LAB_AGENT"
)

const istioSystem = "istio-system"

// lab is a cluster with nothing of Istio in it.
type lab struct {
	client.Client
	rest    *rest.Config
	charts  string
	helm    *helm.Client
	service *controlplane.Service
}

func newLab(t *testing.T) *lab {
	t.Helper()
	charts := os.Getenv(envCharts)
	if charts == "" {
		t.Skipf("needs a lab: set KUBECONFIG and %s", envCharts)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200
	log.SetLogger(logr.Discard())
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := helm.New(helm.Options{REST: config})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Client: c, rest: config, charts: charts, helm: h}
	l.wipe(t)
	l.namespace(t, istioSystem, nil)
	agent := rest.CopyConfig(config)
	if dir := os.Getenv(envAgent); dir != "" {
		agent.Impersonate.UserName = "system:serviceaccount:" + agentNamespace + ":" + l.permit(t, dir)
		agent.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + agentNamespace, "system:authenticated"}
	}
	if l.service, err = serviceOf(agent); err != nil {
		t.Fatal(err)
	}
	return l
}

const agentNamespace = "meshlift-agent-test"

// permit gives the agent what its chart gives it, and nothing else, and returns the name of its account.
func (l *lab) permit(t *testing.T, charts string) (account string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(charts, "meshlift-agent", "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct{ Version string }
	if err := yaml.Unmarshal(data, &chart); err != nil {
		t.Fatal(err)
	}
	objects, err := l.helm.Render(t.Context(), release.Spec{
		Name: "meshlift-agent", Namespace: agentNamespace,
		Source: release.Source{Repository: charts, Name: "meshlift-agent", Version: chart.Version},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.namespace(t, agentNamespace, nil)
	n := 0
	for _, o := range objects {
		switch o.GetKind() {
		case "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
			if err := l.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if o.GetKind() == "ServiceAccount" {
			account = o.GetName()
		}
	}
	if n < 8 || account == "" {
		t.Fatalf("the chart of the agent has %d objects about permissions and the account %q", n, account)
	}
	return account
}

// serviceOf makes the service as the agent does.
func serviceOf(config *rest.Config) (*controlplane.Service, error) {
	c, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	h, err := helm.New(helm.Options{REST: config})
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return controlplane.New(controlplane.Options{Client: c, Releases: h, Prober: xds.New(clients, istioSystem)})
}

// wipe removes everything of Istio and of earlier tests.
func (l *lab) wipe(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	check(l.DeleteAllOf(ctx, &admissionv1.MutatingWebhookConfiguration{}, client.HasLabels{mesh.LabelRev}))
	check(l.DeleteAllOf(ctx, &admissionv1.ValidatingWebhookConfiguration{}, client.HasLabels{mesh.LabelRev}))
	namespaces := &corev1.NamespaceList{}
	check(l.List(ctx, namespaces))
	for i := range namespaces.Items {
		if ns := &namespaces.Items[i]; ns.Name == istioSystem || ns.Labels["test"] == "controlplane" {
			check(l.Delete(ctx, ns))
		}
	}
	kinds := []string{"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
	for i, api := range []string{"apiextensions.k8s.io/v1", "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io/v1"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(api)
		list.SetKind(kinds[i] + "List")
		check(l.List(ctx, list))
		for n := range list.Items {
			if name := list.Items[n].GetName(); strings.HasSuffix(name, ".istio.io") || strings.HasPrefix(name, "istio") {
				check(l.Delete(ctx, &list.Items[n]))
			}
		}
	}
	l.eventually(t, "namespaces of earlier tests are gone", func() (bool, string) {
		check(l.List(ctx, namespaces))
		for _, ns := range namespaces.Items {
			if ns.Name == istioSystem || ns.Labels["test"] == "controlplane" {
				return false, ns.Name + " is still there"
			}
		}
		return true, ""
	})
}

// eventually polls until done or for two minutes.
func (l *lab) eventually(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		ok, why := done()
		if ok {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes: %s", what, why)
		}
	}
}

func (l *lab) namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	all := map[string]string{"test": "controlplane"}
	for k, v := range labels {
		all[k] = v
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}}
	if err := l.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	l.eventually(t, "service account of "+name, func() (bool, string) {
		err := l.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
		return err == nil, fmt.Sprint(err)
	})
}

// install installs a chart as a user would.
func (l *lab) install(t *testing.T, name, chart, version string, values map[string]any) {
	t.Helper()
	err := l.helm.Apply(t.Context(), release.Spec{
		Name: name, Namespace: istioSystem, Values: values,
		Source: release.Source{Repository: l.charts, Name: chart, Version: version},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ready waits until a revision is verified.
func (l *lab) ready(t *testing.T, revision string) {
	t.Helper()
	l.eventually(t, "revision "+revision, func() (bool, string) {
		ok, why, err := l.service.Verify(t.Context(), mesh.Revision{Name: revision})
		if err != nil {
			return false, err.Error()
		}
		return ok, why
	})
}

func (l *lab) istioctl(t *testing.T, args ...string) {
	t.Helper()
	bin := os.Getenv(envIstioctl)
	if bin == "" {
		t.Skipf("needs %s", envIstioctl)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Clean(bin), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("istioctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (l *lab) plan(from string) controlplane.Plan {
	return controlplane.Plan{
		Upgrade: "test", From: mesh.Revision{Name: from, Version: "1.30.0", Hub: "docker.io/istio"},
		To: v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}, ChartRepository: l.charts,
	}
}

func (l *lab) validator(t *testing.T) (service string, policy admissionv1.FailurePolicyType) {
	t.Helper()
	c := &admissionv1.ValidatingWebhookConfiguration{}
	if err := l.Get(t.Context(), client.ObjectKey{Name: "istiod-default-validator"}, c); err != nil {
		if apierrors.IsNotFound(err) {
			return "", ""
		}
		t.Fatal(err)
	}
	return c.Webhooks[0].ClientConfig.Service.Name, *c.Webhooks[0].FailurePolicy
}

func (l *lab) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := l.Get(t.Context(), client.ObjectKey{Namespace: istioSystem, Name: name}, d); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		t.Fatal(err)
	}
	return d
}

func refused(err error, reason string) bool {
	var r *controlplane.Refused
	return errors.As(err, &r) && r.Reason == reason && strings.Count(r.Message, "\n") == 0 && len(r.Message) > 30
}

// virtualService is a dry run of a write of Istio configuration that names no revision.
func (l *lab) virtualService(ctx context.Context, valid bool) error {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"name": "probe", "namespace": "default"},
		"spec":     map[string]any{"hosts": []any{"a"}, "http": []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "a"}}}}}},
	}}
	if !valid {
		u.Object["spec"].(map[string]any)["http"] = []any{map[string]any{"timeout": "1s"}}
	}
	return l.Create(ctx, u, client.DryRunAll)
}
