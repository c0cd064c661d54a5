package restart

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// helmRelease is on every object of a Helm release
// (https://helm.sh/docs/topics/advanced/#storage-backends and pkg/action/validate.go of Helm).
const helmRelease = "meta.helm.sh/release-name"

// pinned refuses a move that would change a pin which somebody applies from a manifest: the next apply would put the old
// one back, and each change of the template is a restart.
func (t templated) pinned(o client.Object, a rollout.Action) error {
	if a.Pin == "" || !a.Label {
		return nil
	}
	who, pin := t.kind.pinnedBy(o)
	if who == "" || pin == a.Pin {
		return nil
	}
	return &Refusal{v1alpha1.FailurePinned, fmt.Sprintf("the manifest of %s, applied by %s, names %s=%s in the pod template and would put it back: change it there to %s, or remove it, and then retry",
		a.Ref, who, mesh.LabelRev, pin, a.Pin)}
}

// pinnedBy returns who applies the pin of the pod template from a manifest, and the revision that this manifest names; ""
// for nobody. `kubectl apply` leaves its manifest in an annotation, server-side apply leaves the owners of each field
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management). What Helm has installed is written
// again only by the next `helm upgrade`, and does not count.
func (k kind) pinnedBy(o client.Object) (who, pin string) {
	var manifest map[string]any
	if json.Unmarshal([]byte(o.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), &manifest) == nil {
		if pin, _, _ := unstructured.NestedString(manifest, k.pinPath("")...); pin != "" {
			return "kubectl apply", pin
		}
	}
	if o.GetAnnotations()[helmRelease] != "" {
		return "", ""
	}
	for _, f := range o.GetManagedFields() {
		if f.Operation == metav1.ManagedFieldsOperationApply && f.Manager != v1alpha1.FieldManager && k.ownsPin(f.FieldsV1) {
			return fmt.Sprintf("%q", f.Manager), k.template(o).Labels[mesh.LabelRev]
		}
	}
	return "", ""
}

func (k kind) ownsPin(fields *metav1.FieldsV1) bool {
	var set map[string]any
	if fields == nil || json.Unmarshal(fields.GetRawBytes(), &set) != nil {
		return false
	}
	_, found, err := unstructured.NestedFieldNoCopy(set, k.pinPath("f:")...)
	return found && err == nil
}

// pinPath is where the pin is in an object; with the prefix "f:" where it is among managed fields.
func (k kind) pinPath(prefix string) []string {
	var out []string
	for _, name := range append(k.path[:len(k.path):len(k.path)], "metadata", "labels", mesh.LabelRev) {
		out = append(out, prefix+name)
	}
	return out
}
