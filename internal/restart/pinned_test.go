package restart

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/internal/mesh"
)

func TestWhoAppliesAPinFromAManifestIsKnown(t *testing.T) {
	const (
		pin      = `{"f:spec":{"f:template":{"f:metadata":{"f:labels":{"f:istio.io/rev":{}}}}}}`
		another  = `{"f:spec":{"f:template":{"f:metadata":{"f:labels":{"f:app":{}}}}}}`
		manifest = `{"spec":{"template":{"metadata":{"labels":{"istio.io/rev":"1-29"}}}}}`
	)
	entry := func(manager string, op metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: op, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	for name, c := range map[string]struct {
		annotations map[string]string
		fields      []metav1.ManagedFieldsEntry
		who, pin    string
	}{
		"nobody": {},
		"kubectl apply, by what its manifest says and not by what is there": {
			annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": manifest}, who: "kubectl apply", pin: "1-29",
		},
		"a manifest without the pin":       {annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{}}`}},
		"a manifest that cannot be read":   {annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{`}},
		"server-side apply":                {fields: []metav1.ManagedFieldsEntry{entry("argocd", metav1.ManagedFieldsOperationApply, pin)}, who: `"argocd"`, pin: "1-30"},
		"server-side apply of other parts": {fields: []metav1.ManagedFieldsEntry{entry("argocd", metav1.ManagedFieldsOperationApply, another)}},
		"fields that cannot be read":       {fields: []metav1.ManagedFieldsEntry{entry("argocd", metav1.ManagedFieldsOperationApply, `{`), {Operation: metav1.ManagedFieldsOperationApply}}},
		"an edit by hand":                  {fields: []metav1.ManagedFieldsEntry{entry("kubectl-edit", metav1.ManagedFieldsOperationUpdate, pin)}},
		"Meshlift itself":                  {fields: []metav1.ManagedFieldsEntry{entry("meshlift", metav1.ManagedFieldsOperationApply, pin)}},
		"a Helm release": {
			annotations: map[string]string{"meta.helm.sh/release-name": "gateway"},
			fields:      []metav1.ManagedFieldsEntry{entry("helm", metav1.ManagedFieldsOperationApply, pin)},
		},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Annotations: c.annotations, ManagedFields: c.fields}}
		d.Spec.Template.Labels = map[string]string{mesh.LabelRev: "1-30"}
		k, _ := kindOf(mesh.KindDeployment)
		if who, pin := k.pinnedBy(d); who != c.who || pin != c.pin {
			t.Errorf("%s: got %q, %q, want %q, %q", name, who, pin, c.who, c.pin)
		}
	}
}
