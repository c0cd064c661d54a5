package controlplane_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

func TestAFailedInstallationIsRemovedAndSaysWhy(t *testing.T) {
	l := newLab(t)
	l.install(t, "istio-base", "base", "1.30.0", nil)
	l.install(t, "istiod-1-30", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30"}))
	l.ready(t, "1-30")
	l.namespace(t, "by-revision", map[string]string{"istio.io/rev": "1-30"})
	for _, test := range []struct {
		name   string
		values map[string]any
		quota  bool
		want   []string
	}{
		{"an istiod that dies", map[string]any{"extraContainerArgs": []any{"--httpAddr=nowhere"}}, false, []string{"Pod istio-system/istiod-1-31-", "ended with exit code"}},
		{"an istiod that finds no node", map[string]any{"nodeSelector": map[string]any{"no": "such-node"}}, false, []string{"Pod istio-system/istiod-1-31-", "finds no node", "didn't match"}},
		{"an istiod that a quota refuses", nil, true, []string{"Deployment istio-system/istiod-1-31 cannot make its pods", "exceeded quota"}},
		{"an istiod whose image does not exist", map[string]any{"image": "nowhere.example/pilot:0.0.1"}, false, []string{"Pod istio-system/istiod-1-31-", "Image"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			if test.quota {
				quota := &corev1.ResourceQuota{
					ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "none"},
					Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
				}
				if err := l.Create(ctx, quota); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Delete(ctx, quota) }()
				l.eventually(t, "quota", func() (bool, string) {
					err := l.Get(ctx, client.ObjectKeyFromObject(quota), quota)
					used := quota.Status.Used[corev1.ResourcePods]
					return err == nil && used.Value() > 0, used.String()
				})
			}
			p := l.plan("1-30")
			p.Values = test.values
			if _, err := l.service.Install(ctx, p); err != nil {
				t.Fatal(err)
			}
			l.eventually(t, "the reason", func() (bool, string) {
				ok, why, err := l.service.Verify(ctx, mesh.Revision{Name: "1-31"})
				if ok || err != nil {
					t.Fatalf("it is ready: %v, %v", ok, err)
				}
				for _, part := range test.want {
					if !strings.Contains(why, part) {
						return false, why
					}
				}
				return true, ""
			})
			other := p
			other.Upgrade = "somebody-else"
			if _, err := l.service.RemoveFailed(ctx, other); !refused(err, v1alpha1.ReasonRevisionConflict) {
				t.Errorf("another upgrade may remove it: %v", err)
			}
			why, err := l.service.RemoveFailed(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(why)
			for _, part := range test.want {
				if !strings.Contains(why, part) {
					t.Errorf("it says %q, want %q in it", why, part)
				}
			}
			if l.deployment(t, "istiod-1-31") != nil {
				t.Error("the Deployment is still there")
			}
			if remaining, err := l.service.Leftovers(ctx, "1-31"); err != nil || len(remaining) > 0 {
				t.Errorf("left: %q, %v", remaining, err)
			}
			if _, err := l.service.RemoveFailed(ctx, p); err != nil {
				t.Errorf("repeated: %v", err)
			}
			l.wantInjected(t, "by-revision", nil, "1-30")
		})
	}
}

func TestARevisionThatSomethingLeadsToIsNotRemoved(t *testing.T) {
	l := newLab(t)
	l.install(t, "istio-base", "base", "1.30.0", nil)
	l.install(t, "istiod-1-30", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30"}))
	if _, err := l.service.Install(t.Context(), l.plan("1-30")); err != nil {
		t.Fatal(err)
	}
	l.namespace(t, "early", map[string]string{"istio.io/rev": "1-31"})
	if _, err := l.service.RemoveFailed(t.Context(), l.plan("1-30")); !refused(err, v1alpha1.ReasonInUse) || !strings.Contains(err.Error(), "Namespace early") {
		t.Errorf("it is removed although a namespace names it: %v", err)
	}
}

func TestARevisionOfSomebodyElseIsLeftAlone(t *testing.T) {
	l := newLab(t)
	l.install(t, "istio-base", "base", "1.30.0", nil)
	l.install(t, "istiod-1-30", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30"}))
	l.install(t, "istiod-1-31", "istiod", "1.31.0", mesh130(map[string]any{"revision": "1-31"}))
	for what, call := range map[string]func() error{
		"Install":      func() error { _, err := l.service.Install(t.Context(), l.plan("1-30")); return err },
		"RemoveFailed": func() error { _, err := l.service.RemoveFailed(t.Context(), l.plan("1-30")); return err },
	} {
		if err := call(); !refused(err, v1alpha1.ReasonRevisionConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d := l.deployment(t, "istiod-1-30")
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "operator"}}
	if err := l.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	before := d.DeepCopy()
	d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
	if err := l.Patch(t.Context(), d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	from := mesh.Revision{Name: "1-30"}
	if _, err := l.service.ScaleDown(t.Context(), from); !refused(err, v1alpha1.ReasonUserAction) {
		t.Errorf("ScaleDown of what an operator owns: %v", err)
	}
	if err := l.service.Uninstall(t.Context(), from.Name); !refused(err, v1alpha1.ReasonUserAction) {
		t.Errorf("Uninstall of what an operator owns: %v", err)
	}
}

// oldBase is a chart of the base in the style of Istio up to 1.23: CRDs in a folder that Helm neither owns nor upgrades.
func oldBase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: base\nversion: 1.22.8\nappVersion: 1.22.8\n",
		"values.yaml": "defaultRevision: default\n",
		"crds/crds.yaml": `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: virtualservices.networking.istio.io, labels: {chart: istio}}
spec:
  group: networking.istio.io
  names: {kind: VirtualService, listKind: VirtualServiceList, plural: virtualservices, singular: virtualservice}
  scope: Namespaced
  versions: [{name: v1alpha3, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`,
		"templates/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: istio-reader-service-account, namespace: {{ .Release.Namespace }}}\n",
		"templates/validator.yaml": `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: istiod-default-validator, labels: {istio.io/rev: {{ .Values.defaultRevision }}, istio: istiod}}
webhooks:
- name: validation.istio.io
  clientConfig: {service: {name: istiod, namespace: {{ .Release.Namespace }}, path: /validate}}
  rules: [{operations: [CREATE, UPDATE], apiGroups: [networking.istio.io], apiVersions: ["*"], resources: ["*"]}]
  {{- if not .Release.IsUpgrade }}
  failurePolicy: Ignore
  {{- end }}
  sideEffects: None
  admissionReviewVersions: [v1]
`,
	} {
		at := filepath.Join(dir, "base", name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheBaseOfAnOldChartIsTakenOverWithItsCRDs(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	old := release.Source{Repository: oldBase(t), Name: "base", Version: "1.22.8"}
	spec := release.Spec{Name: "istio-base", Namespace: istioSystem, Source: old}
	objects, err := l.helm.Render(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() == "CustomResourceDefinition" { // as "helm install" does: created, and never looked at again
			if err := l.Create(ctx, o, client.FieldOwner("helm")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.helm.Apply(ctx, spec); err != nil {
		t.Fatal(err)
	}
	l.install(t, "istiod-1-30", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30"}))
	if _, policy := l.validator(t); policy != admissionv1.Ignore {
		t.Fatalf("the validator of a mesh without a default revision is %s", policy)
	}
	if _, err := l.service.Install(ctx, l.plan("1-30")); err != nil {
		t.Fatal(err)
	}
	if service, policy := l.validator(t); policy != admissionv1.Ignore || service != "istiod" {
		t.Errorf("the upgrade of the base made the validator call %s with %s: nobody answers there", service, policy)
	}
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	if err := l.Get(ctx, client.ObjectKey{Name: "virtualservices.networking.istio.io"}, crd); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if len(versions) != 3 || crd.GetAnnotations()["meta.helm.sh/release-name"] != "istio-base" || crd.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
		t.Errorf("the CRD has %d versions, annotations %v", len(versions), crd.GetAnnotations())
	}
	for _, m := range crd.GetManagedFields() {
		if m.Manager == "meshlift" {
			t.Error("Meshlift owns fields of a CRD that Helm owns, and the next upgrade by Helm will conflict")
		}
	}
	r, err := l.helm.Release(ctx, istioSystem, "istio-base")
	if err != nil || r.ChartVersion != "1.31.0" || r.Status != "deployed" {
		t.Errorf("base is %+v, %v", r, err)
	}
	// What the user does next must go on to work.
	if err := l.helm.Apply(ctx, release.Spec{
		Name: "istio-base", Namespace: istioSystem, Force: true, KeepWebhooks: []string{"istiod-default-validator"},
		Source: release.Source{Repository: l.charts, Name: "base", Version: "1.31.0"},
	}); err != nil {
		t.Errorf("a later upgrade: %v", err)
	}
}
