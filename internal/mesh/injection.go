package mesh

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels and annotations of Istio that decide about injection
// (https://istio.io/latest/docs/reference/config/labels/ and …/annotations/).
const (
	LabelRev             = "istio.io/rev"
	LabelTag             = "istio.io/tag"
	LabelInjection       = "istio-injection"
	LabelInject          = "sidecar.istio.io/inject"
	AnnotationStatus     = "sidecar.istio.io/status"
	AnnotationTemplates  = "inject.istio.io/templates"
	AnnotationProxyImage = "sidecar.istio.io/proxyImage"
	LabelGatewayName     = "gateway.networking.k8s.io/gateway-name"
	LabelGatewayManaged  = "gateway.istio.io/managed"
	DefaultRevision      = "default"
)

// Configuration is one MutatingWebhookConfiguration that injects: an injector of a revision or a tag.
type Configuration struct {
	Name string
	// Labels of the object; istio.io/rev and istio.io/tag say what it is.
	Labels map[string]string
	// Tag is the value of istio.io/tag; "" for a revision's own injector.
	Tag string
	// Webhooks in order.
	Webhooks []Injector
}

// Injector is one webhook of a [Configuration].
type Injector struct {
	// Name of the webhook, unique in its configuration.
	Name string
	// Revision whose istiod answers, from the Service that the webhook calls.
	Revision string
	// NamespaceSelector and ObjectSelector as in the object.
	NamespaceSelector, ObjectSelector *metav1.LabelSelector
	// Excluded is the value of meshlift.dev/revision that a handover takes away from it, by a match condition or by its
	// object selector; "" for none.
	Excluded string
	// Handover is true for a twin entry that a handover added.
	Handover bool
}

// never are the namespaces that the API server or Istio's webhook never injects.
var never = []string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}

// PodFacts is what admission sees of a pod.
type PodFacts struct {
	Namespace       string
	NamespaceLabels map[string]string
	Labels          map[string]string
	Annotations     map[string]string
	HostNetwork     bool
}

// InjectedBy returns the revisions that would inject such a pod if it were created now, sorted and without duplicates:
// none, one, or (what a handover must never allow) several.
//
// It evaluates the webhook configurations themselves and not a table of rules, so it is right for every Istio version,
// tag and default; https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
// describes the outcome for an unchanged installation.
func (i *Inventory) InjectedBy(p PodFacts) []string {
	if p.HostNetwork || slices.Contains(never, p.Namespace) || p.Annotations[LabelInject] == "false" || p.Labels[LabelInject] == "false" {
		return nil
	}
	namespace, pod := labelled{p.NamespaceLabels, p.Namespace}, labelled{labels: p.Labels}
	var out []string
	for n := range i.Configurations {
		for m := range i.Configurations[n].Webhooks {
			if w := &i.Configurations[n].Webhooks[m]; !slices.Contains(out, w.Revision) && w.matches(namespace, pod) {
				out = append(out, w.Revision)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *Injector) matches(namespace, pod labelled) bool {
	if w.Excluded != "" && pod.labels["meshlift.dev/revision"] == w.Excluded {
		return false
	}
	return selects(w.NamespaceSelector, namespace) && selects(w.ObjectSelector, pod)
}

// Validator is one ValidatingWebhookConfiguration of Istio.
type Validator struct {
	Name string
	// Revision whose istiod answers; "" when its Service does not exist.
	Revision string
	// Service that it calls.
	Service string
	// Default is true for istiod-default-validator, which checks configuration that names no revision.
	Default bool
	// Fail is true when a failed call refuses the request.
	Fail bool
}

// RevisionOf is the revision that injected a pod with these annotations: what injection wrote down, else istio.io/rev, which
// is all that a gateway rendered by istiod has; "" when nobody injected it. The pod's label istio.io/rev says what was
// asked for, not what happened.
func RevisionOf(annotations map[string]string) string {
	if text, ok := annotations[AnnotationStatus]; ok {
		var status struct {
			Revision string `json:"revision"`
		}
		if err := json.Unmarshal([]byte(text), &status); err == nil {
			return cmp.Or(status.Revision, annotations[LabelRev], DefaultRevision)
		}
	}
	return annotations[LabelRev]
}

// VersionOfImage returns the Istio version in an image reference: "docker.io/istio/pilot:1.30.0-distroless" is "1.30.0".
// It returns "" when the image has no tag that looks like a version.
func VersionOfImage(image string) string {
	image, _, _ = strings.Cut(image, "@")
	slash := strings.LastIndexByte(image, '/')
	colon := strings.LastIndexByte(image, ':')
	if colon <= slash {
		return ""
	}
	tag := image[colon+1:]
	if tag == "" || tag[0] < '0' || tag[0] > '9' || len(tag) > maxTag || strings.ContainsFunc(tag, outsideTag) {
		return ""
	}
	for _, variant := range []string{"-distroless", "-debug"} {
		tag = strings.TrimSuffix(tag, variant)
	}
	return tag
}

// maxTag and outsideTag are the form of an image tag (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
// The API server stores any text as an image, so what is no tag must not become a version that people are shown.
const maxTag = 128

func outsideTag(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._-", r)
}
