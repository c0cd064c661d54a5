package charts

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/catalog"
)

func load(t *testing.T) *chartv2.Chart {
	t.Helper()
	return loadFrom(t, Agent)
}

func loadFrom(t *testing.T, from func() (fs.FS, error)) *chartv2.Chart {
	t.Helper()
	files, err := from()
	if err != nil {
		t.Fatal(err)
	}
	var buffered []*archive.BufferedFile
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		buffered = append(buffered, &archive.BufferedFile{Name: path, Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	chart, err := loader.LoadFiles(buffered)
	if err != nil {
		t.Fatal(err)
	}
	return chart
}

// render returns the objects that the chart makes, decoded strictly: an unknown field or kind fails the test.
func render(t *testing.T, kubernetes, values string) ([]runtime.Object, error) {
	t.Helper()
	return renderChart(t, load(t), kubernetes, values)
}

func renderChart(t *testing.T, chart *chartv2.Chart, kubernetes, values string) ([]runtime.Object, error) {
	t.Helper()
	var supplied map[string]any
	if err := yaml.Unmarshal([]byte(values), &supplied); err != nil {
		t.Fatal(err)
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = common.KubeVersion{Version: kubernetes}
	all, err := util.ToRenderValues(chart, supplied, common.ReleaseOptions{Name: "meshlift", Namespace: "cpaas-system"}, caps)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	decode := func(name string, data []byte) {
		for doc := range bytes.SplitSeq(data, []byte("\n---")) {
			if text := strings.TrimSpace(string(doc)); text == "" || text == "---" {
				continue
			}
			object, _, err := decoder.Decode(doc, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			out = append(out, object)
		}
	}
	for name, text := range rendered {
		if !strings.HasSuffix(name, "NOTES.txt") {
			decode(name, []byte(text))
		}
	}
	for _, crd := range chart.CRDObjects() {
		decode(crd.Filename, crd.File.Data)
	}
	return out, nil
}

func mustRender(t *testing.T, kubernetes, values string) []runtime.Object {
	t.Helper()
	out, err := render(t, kubernetes, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// all returns the objects of one type.
func all[T runtime.Object](objects []runtime.Object) []T {
	var out []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

func one[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	found := all[T](objects)
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}

func TestEveryObjectIsValidForEverySetOfValues(t *testing.T) {
	for name, values := range map[string]string{
		"defaults":  "",
		"one of it": "{replicas: 1, podDisruptionBudget: {enabled: true}}",
		"everything": `{imagePullSecrets: [{name: x}], nodeSelector: {a: b}, tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}},
			podLabels: {a: b}, podAnnotations: {a: b}, extraArgs: ["--install-timeout=1m"], rbac: {revisions: [1-30, 1-31]}, priorityClassName: ""}`,
	} {
		t.Run(name, func(t *testing.T) {
			if n := len(mustRender(t, "v1.31.0", values)); n < 10 {
				t.Errorf("%d objects, that is not the whole chart", n)
			}
		})
	}
}

func TestTheCatalogOffersTheAgentOfThisBuild(t *testing.T) {
	for _, c := range catalog.Default().Components {
		if c.Name == "asm" && c.Version == load(t).Metadata.Version && c.Helm.Chart == load(t).Name() {
			return
		}
	}
	t.Errorf("component asm of internal/catalog/catalog.yaml has not the version %s of the chart", load(t).Metadata.Version)
}

func TestTheSchemaRefusesWhatTheChartDoesNotKnow(t *testing.T) {
	for _, values := range []string{"{replica: 3}", "{replicas: many}", "{image: {name: x}}", "{istioNamespace: Istio}"} {
		if _, err := render(t, "v1.31.0", values); err == nil {
			t.Errorf("%s was accepted", values)
		}
	}
}

func TestTheAgentIsReachedByTheNamesThatPeopleType(t *testing.T) {
	d := one[*appsv1.Deployment](t, mustRender(t, "v1.31.0", ""))
	c := d.Spec.Template.Spec.Containers[0]
	got := fmt.Sprint(d.Namespace, " ", d.Name, " ", c.Name, " ", c.Command, " ", *d.Spec.Replicas, " ", c.Image)
	want := "cpaas-system asm-controller asm-controller [/app/asm-controller agent] 2 ghcr.io/meshlift/meshlift:" + load(t).AppVersion()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The rules of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted.
func TestTheAgentRunsUnderTheRestrictedPodSecurityStandard(t *testing.T) {
	pod := one[*appsv1.Deployment](t, mustRender(t, "v1.31.0", "")).Spec.Template.Spec
	if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context %+v", pod.SecurityContext)
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || s.Capabilities.Add != nil {
			t.Errorf("container %q: security context %+v", c.Name, s)
		}
	}
	for _, v := range pod.Volumes {
		if v.EmptyDir == nil {
			t.Errorf("volume %q is not an emptyDir", v.Name)
		}
	}
}

func TestTheWebhooksCallTheServiceAndConcernOnlyMeshliftsObjects(t *testing.T) {
	objects := mustRender(t, "v1.31.0", "")
	service := one[*corev1.Service](t, objects)
	container := one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0]
	if port := service.Spec.Ports[0].TargetPort.StrVal; !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == port && p.ContainerPort == 9443 }) {
		t.Errorf("no container port %q for the Service", port)
	}
	if !slices.Contains(container.Args, "--webhook-service="+service.Name) {
		t.Errorf("the agent is not told the name of its Service: %q", container.Args)
	}
	configuration := one[*admissionv1.ValidatingWebhookConfiguration](t, objects)
	if len(configuration.Webhooks) != 4 {
		t.Fatalf("%d webhooks, want one for each kind", len(configuration.Webhooks))
	}
	for _, w := range configuration.Webhooks {
		if *w.FailurePolicy != admissionv1.Fail || w.ClientConfig.Service.Name != service.Name || w.ClientConfig.Service.Namespace != service.Namespace {
			t.Errorf("webhook %q: %v, %+v", w.Name, *w.FailurePolicy, w.ClientConfig.Service)
		}
		for _, r := range w.Rules {
			if !slices.Equal(r.APIGroups, []string{"meshlift.dev"}) {
				t.Errorf("webhook %q concerns %q", w.Name, r.APIGroups)
			}
		}
	}
}

func TestTheKindsOfTheWebhooksExist(t *testing.T) {
	objects := mustRender(t, "v1.31.0", "")
	var plurals []string
	for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](objects) {
		plurals = append(plurals, crd.Spec.Names.Plural)
	}
	for _, w := range one[*admissionv1.ValidatingWebhookConfiguration](t, objects).Webhooks {
		if !slices.Contains(plurals, w.Rules[0].Resources[0]) {
			t.Errorf("webhook %q: there is no kind %q among %q", w.Name, w.Rules[0].Resources, plurals)
		}
	}
}

func TestNoRoleOfTheAgentHoldsAWildcard(t *testing.T) {
	objects := mustRender(t, "v1.31.0", "")
	var rules []rbacv1.PolicyRule
	for _, r := range all[*rbacv1.ClusterRole](objects) {
		rules = append(rules, r.Rules...)
	}
	for _, r := range all[*rbacv1.Role](objects) {
		rules = append(rules, r.Rules...)
	}
	if len(rules) < 10 {
		t.Fatalf("%d rules, that is not all of them", len(rules))
	}
	for _, r := range rules {
		for _, list := range [][]string{r.Verbs, r.APIGroups, r.Resources} {
			if slices.Contains(list, "*") {
				t.Errorf("a wildcard in %+v", r)
			}
		}
	}
}

func TestNoRoleReadsSecretsOfOtherNamespaces(t *testing.T) {
	for _, role := range all[*rbacv1.ClusterRole](mustRender(t, "v1.31.0", "")) {
		for _, r := range role.Rules {
			if slices.Contains(r.Resources, "secrets") || slices.Contains(r.Resources, "serviceaccounts/token") {
				t.Errorf("ClusterRole %q: %+v", role.Name, r)
			}
		}
	}
}

func TestBindIsLimitedToTheRevisionsThatAreListed(t *testing.T) {
	names := func(values string) []string {
		for _, r := range one[*rbacv1.ClusterRole](t, mustRender(t, "v1.31.0", values)).Rules {
			if slices.Contains(r.Verbs, "bind") {
				return r.ResourceNames
			}
		}
		t.Fatal("no rule with the verb bind")
		return nil
	}
	if got := names(""); got != nil {
		t.Errorf("without revisions: %q", got)
	}
	want := []string{"istiod-clusterrole-1-31-istio-system", "istiod-gateway-controller-1-31-istio-system", "istio-reader-clusterrole-1-31-istio-system"}
	if got := names("{rbac: {revisions: [1-31]}}"); !slices.Equal(got, want) {
		t.Errorf("with one revision: %q, want %q", got, want)
	}
}

func TestGuardrailsAreInstalledWhereKubernetesHasThem(t *testing.T) {
	for kubernetes, want := range map[string]int{"v1.27.3": 0, "v1.29.9-eks-1": 0, "v1.30.0": 3, "v1.31.2-gke.1": 3} {
		objects := mustRender(t, kubernetes, "")
		policies, bindings := all[*admissionv1.ValidatingAdmissionPolicy](objects), all[*admissionv1.ValidatingAdmissionPolicyBinding](objects)
		if len(policies) != want || len(bindings) != want {
			t.Errorf("Kubernetes %s: %d policies and %d bindings, want %d", kubernetes, len(policies), len(bindings), want)
		}
	}
	if n := len(all[*admissionv1.ValidatingAdmissionPolicy](mustRender(t, "v1.31.0", "{guardrails: {enabled: false}}"))); n != 0 {
		t.Errorf("%d policies although they are switched off", n)
	}
}
