package observe

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/internal/mesh"
)

func envoyFilters(list []unstructured.Unstructured) []mesh.EnvoyFilter {
	var out []mesh.EnvoyFilter
	for n := range list {
		f := &list[n]
		text := canonical(f.Object["spec"])
		out = append(out, mesh.EnvoyFilter{
			Namespace: f.GetNamespace(), Name: f.GetName(), Hash: hashOf(text), Owner: filterOwner(f), Spec: string(text),
		})
	}
	slices.SortFunc(out, func(a, b mesh.EnvoyFilter) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// canonical is the value as JSON with sorted keys. The values come from decoded JSON, so they can be encoded again.
func canonical(spec any) []byte {
	text, err := json.Marshal(spec)
	if err != nil {
		text = []byte(err.Error())
	}
	return text
}

// hashOf is the first 16 hexadecimal digits of the SHA-256.
func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// filterOwner finds out whom to ask about an EnvoyFilter: a person first, then the tool that manages it, then whoever
// wrote the spec last.
func filterOwner(f *unstructured.Unstructured) string {
	labels, annotations := f.GetLabels(), f.GetAnnotations()
	if creator := cmp.Or(annotations["cpaas.io/creator"], labels["cpaas.io/creator"], annotations["creator"], labels["creator"], annotations["owner"], labels["owner"]); creator != "" {
		return creator
	}
	if release := annotations[annotationHelmRelease]; release != "" {
		return "Helm release " + cmp.Or(annotations["meta.helm.sh/release-namespace"], f.GetNamespace()) + "/" + release
	}
	if manager := cmp.Or(labels[labelManagedBy], annotations[labelManagedBy], ownerOf(f), specWriter(f.GetManagedFields())); manager != "" {
		return manager
	}
	if annotations["kubectl.kubernetes.io/last-applied-configuration"] != "" {
		return "kubectl apply"
	}
	return ""
}

// specWriter is the field manager that owns part of the spec; the last one to write wins.
func specWriter(fields []metav1.ManagedFieldsEntry) string {
	var last metav1.ManagedFieldsEntry
	for _, e := range fields {
		if !ownsSpec(e) || last.Manager != "" && !last.Time.Before(e.Time) {
			continue
		}
		last = e
	}
	return last.Manager
}

func ownsSpec(e metav1.ManagedFieldsEntry) bool {
	if e.FieldsV1 == nil || e.Subresource != "" {
		return false
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &top); err != nil {
		return false
	}
	_, ok := top["f:spec"]
	return ok
}
