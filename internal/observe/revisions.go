package observe

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	istiodName = "istiod"
	labelApp   = "app"

	annotationHelmRelease = "meta.helm.sh/release-name"
	labelManagedBy        = "app.kubernetes.io/managed-by"
	// labelOperatorManaged is set by istioctl install of every version and by nothing else that still exists
	// (operator/pkg/install/install.go of Istio). The label install.operator.istio.io/owning-resource says nothing: the
	// charts render it as well.
	labelOperatorManaged = "operator.istio.io/managed"
)

// controlPlane is an istiod Deployment with the revision that it runs.
type controlPlane struct {
	mesh.Revision
	templateLabels labels.Set
}

// controlPlanes returns the istiods of the Istio namespace, sorted by revision and Deployment, one for each revision.
func controlPlanes(in objects) []controlPlane {
	var out []controlPlane
	for n := range in.deployments {
		d := &in.deployments[n]
		if !isControlPlane(d, in.istioNamespace) {
			continue
		}
		out = append(out, controlPlane{Revision: revision(d), templateLabels: d.Spec.Template.Labels})
	}
	slices.SortFunc(out, func(a, b controlPlane) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Deployment, b.Deployment))
	})
	return slices.CompactFunc(out, func(a, b controlPlane) bool { return a.Name == b.Name })
}

// isControlPlane recognises istiod by its label, or by a revision label together with its image, for charts that rename it.
func isControlPlane(d *appsv1.Deployment, istioNamespace string) bool {
	if d.Namespace != istioNamespace {
		return false
	}
	return d.Labels[labelApp] == istiodName || d.Labels[mesh.LabelRev] != "" && pilotImage(&d.Spec.Template.Spec) != ""
}

// pilotImage is the image of istiod's container; "" when no container looks like it.
func pilotImage(spec *corev1.PodSpec) string {
	for n := range spec.Containers {
		if isPilot(&spec.Containers[n]) {
			return spec.Containers[n].Image
		}
	}
	return ""
}

func isPilot(c *corev1.Container) bool {
	_, repository, _ := splitImage(c.Image)
	return c.Name == "discovery" || repository == "pilot"
}

// splitImage cuts "docker.io/istio/pilot:1.30.0@sha256:…" into "docker.io/istio", "pilot" and "1.30.0".
func splitImage(image string) (hub, repository, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if slash := strings.LastIndexByte(image, '/'); slash >= 0 {
		hub, image = image[:slash], image[slash+1:]
	}
	repository, tag, _ = strings.Cut(image, ":")
	return hub, repository, tag
}

func revision(d *appsv1.Deployment) mesh.Revision {
	image := pilotImage(&d.Spec.Template.Spec)
	hub, _, tag := splitImage(image)
	r := mesh.Revision{
		Name:          cmp.Or(d.Spec.Template.Labels[mesh.LabelRev], d.Labels[mesh.LabelRev], mesh.DefaultRevision),
		Version:       mesh.VersionOfImage(image),
		Deployment:    d.Name,
		Hub:           hub,
		Tag:           tag,
		Release:       d.Annotations[annotationHelmRelease],
		Replicas:      replicas(d.Spec.Replicas),
		ReadyReplicas: d.Status.ReadyReplicas,
	}
	// istioctl renders the charts too, managed-by=Helm included, so its own mark decides first; Helm's annotation is
	// written by Helm itself.
	switch {
	case r.Release != "":
		r.InstalledBy = string(v1alpha1.InstalledByHelm)
	case d.Labels[labelOperatorManaged] != "":
		r.InstalledBy = string(v1alpha1.InstalledByIstioctl)
	case d.Labels[labelManagedBy] == "Helm":
		r.InstalledBy = string(v1alpha1.InstalledByHelm)
	default:
		r.InstalledBy = string(v1alpha1.InstalledByUnknown)
	}
	return r
}

// replicas resolves the default of the API.
func replicas(wanted *int32) int32 {
	if wanted == nil {
		return 1
	}
	return *wanted
}

// revisions completes the control planes with the tags that point to them.
func revisions(planes []controlPlane, configurations []mesh.Configuration) []mesh.Revision {
	var out []mesh.Revision
	for _, p := range planes {
		for _, c := range configurations {
			if c.Tag != "" && tagged(c) == p.Name {
				p.Tags = append(p.Tags, c.Tag)
			}
		}
		slices.Sort(p.Tags)
		p.Tags = slices.Compact(p.Tags)
		out = append(out, p.Revision)
	}
	return out
}

// tagged is the revision to which a tag's configuration points: that of its own entries, not of the twins of a handover.
func tagged(c mesh.Configuration) string {
	for _, w := range c.Webhooks {
		if !w.Handover {
			return w.Revision
		}
	}
	return c.Labels[mesh.LabelRev]
}

// resolver finds out which revision answers the call of a webhook.
type resolver struct {
	namespace string
	selectors map[string]labels.Set // of the Services in the Istio namespace
	planes    []controlPlane
}

func newResolver(in objects, planes []controlPlane) resolver {
	r := resolver{namespace: in.istioNamespace, selectors: map[string]labels.Set{}, planes: planes}
	for n := range in.services {
		if s := &in.services[n]; s.Namespace == in.istioNamespace {
			r.selectors[s.Name] = s.Spec.Selector
		}
	}
	return r
}

// exists tells whether the Service that the webhook calls is there; a webhook that calls a URL has none.
func (r resolver) exists(c admissionv1.WebhookClientConfig) bool {
	if c.Service == nil {
		return true
	}
	_, ok := r.selectors[c.Service.Name]
	return ok && c.Service.Namespace == r.namespace
}

// revision resolves in this order: an istiod outside the cluster by the label of the object, an istiod of another mesh as
// "namespace/revision", the Deployment that the Service selects, the revision that the Service selects, its name.
func (r resolver) revision(c admissionv1.WebhookClientConfig, object map[string]string) string {
	if c.Service == nil {
		return cmp.Or(object[mesh.LabelRev], mesh.DefaultRevision)
	}
	byName := mesh.DefaultRevision
	if rest, ok := strings.CutPrefix(c.Service.Name, istiodName+"-"); ok {
		byName = rest
	}
	if c.Service.Namespace != r.namespace {
		return c.Service.Namespace + "/" + byName
	}
	selector, ok := r.selectors[c.Service.Name]
	if !ok {
		return byName
	}
	var selected []string
	for _, p := range r.planes {
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(p.templateLabels) {
			selected = append(selected, p.Name)
		}
	}
	if len(selected) == 1 && !slices.Contains(selected, byName) {
		return selected[0]
	}
	if rev := selector[mesh.LabelRev]; rev != "" && !slices.Contains(selected, byName) {
		return rev
	}
	return byName
}

// configurations returns the injectors, sorted by name.
func configurations(list []admissionv1.MutatingWebhookConfiguration, r resolver) []mesh.Configuration {
	var out []mesh.Configuration
	for n := range list {
		c := &list[n]
		labelled := c.Labels[labelApp] == "sidecar-injector" && c.Labels[mesh.LabelRev] != ""
		var injectors []mesh.Injector
		for m := range c.Webhooks {
			if w := &c.Webhooks[m]; labelled || isInjector(w.Name) {
				injectors = append(injectors, injector(w, r.revision(w.ClientConfig, c.Labels)))
			}
		}
		if len(injectors) > 0 {
			out = append(out, mesh.Configuration{
				Name: c.Name, Labels: maps.Clone(c.Labels), Tag: c.Labels[mesh.LabelTag], Webhooks: injectors,
			})
		}
	}
	slices.SortFunc(out, func(a, b mesh.Configuration) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
