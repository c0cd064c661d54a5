package survey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/preflight"
)

// kinds of configuration that are read in any case.
func kinds() []schema.GroupKind {
	var out []schema.GroupKind
	for group, list := range map[string]string{
		"networking.istio.io":       "EnvoyFilter VirtualService DestinationRule Gateway ServiceEntry Sidecar WorkloadEntry WorkloadGroup ProxyConfig",
		"security.istio.io":         "AuthorizationPolicy PeerAuthentication RequestAuthentication",
		"telemetry.istio.io":        "Telemetry",
		"extensions.istio.io":       "WasmPlugin",
		"gateway.networking.k8s.io": "GatewayClass Gateway HTTPRoute GRPCRoute TLSRoute TCPRoute UDPRoute ReferenceGrant",
	} {
		for _, kind := range strings.Fields(list) {
			out = append(out, schema.GroupKind{Group: group, Kind: kind})
		}
	}
	return out
}

// config reads the configuration of the mesh, and the kinds that a change of behaviour touches.
func (l *look) config(ctx context.Context) error {
	wanted := map[schema.GroupKind]bool{}
	for _, k := range kinds() {
		wanted[k] = true
	}
	for _, c := range l.facts.Changes {
		for _, s := range c.Touches {
			wanted[schema.GroupKind{Group: s.Group, Kind: s.Kind}] = true
		}
	}
	var err error
	l.facts.Config, err = l.resources(ctx, slices.Collect(maps.Keys(wanted)))
	return err
}

// resources lists the kinds, in the order of their names. Kinds that the cluster does not have are none.
func (s *Surveyor) resources(ctx context.Context, wanted []schema.GroupKind) ([]preflight.Resource, error) {
	var out []preflight.Resource
	slices.SortFunc(wanted, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	for _, kind := range wanted {
		mapping, err := s.client.RESTMapper().RESTMapping(kind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return out, err
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(mapping.GroupVersionKind.GroupVersion().WithKind(kind.Kind + "List"))
		err = s.pages(ctx, list, func() {
			for n := range list.Items {
				out = append(out, resourceOf(kind.Group, &list.Items[n]))
			}
		})
		if apierrors.IsNotFound(err) {
			continue // the CRD went away meanwhile
		}
		if err != nil {
			return out, fmt.Errorf("list %s: %w", kind, err)
		}
	}
	return out, nil
}

func resourceOf(group string, u *unstructured.Unstructured) preflight.Resource {
	u.SetManagedFields(nil)
	return preflight.Resource{Object: preflight.Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, Group: group, Content: u.Object}
}

// maxAsked is how many objects the new istiod is asked about; EnvoyFilters come first. asking is how many at once.
const (
	maxAsked = 2000
	asking   = 8
)

// admission asks the new istiod about every object of Istio: by the dry run of a copy with another name and the label of its revision,
// which the API server sends to its validating webhook. Nothing is stored.
func (l *look) admission(ctx context.Context) error {
	if !l.facts.Installed {
		return nil
	}
	l.mu.Lock()
	why, unknown := l.facts.Unknown[preflight.Config]
	l.mu.Unlock()
	if unknown {
		return fmt.Errorf("the configuration is not known: %s", why)
	}
	if !slices.ContainsFunc(l.facts.Inventory.Validators, func(v mesh.Validator) bool { return v.Revision == l.facts.To.Revision && !v.Default }) {
		return fmt.Errorf("revision %s has no validating webhook (global.configValidation)", l.facts.To.Revision)
	}
	var objects []preflight.Resource
	for _, r := range l.facts.Config {
		if strings.HasSuffix(r.Group, ".istio.io") {
			objects = append(objects, r)
		}
	}
	slices.SortStableFunc(objects, func(a, b preflight.Resource) int { return rank(a) - rank(b) })
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(asking)
	for n, r := range objects {
		if n == maxAsked {
			l.facts.Admission = append(l.facts.Admission, preflight.Answer{Object: r.Object, Failed: fmt.Sprintf("only the first %d objects are asked about", maxAsked)})
			break
		}
		group.Go(func() error {
			a := l.ask(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			l.facts.Admission = append(l.facts.Admission, a)
			return nil
		})
	}
	return group.Wait()
}

func rank(r preflight.Resource) int {
	if r.Kind == "EnvoyFilter" {
		return 0
	}
	return 1
}

func (l *look) ask(ctx context.Context, r preflight.Resource) preflight.Answer {
	u := (&unstructured.Unstructured{Object: r.Content}).DeepCopy()
	labels := u.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[mesh.LabelRev] = l.facts.To.Revision
	u.Object["metadata"] = map[string]any{}
	u.SetNamespace(r.Namespace)
	u.SetGenerateName("meshlift-check-")
	u.SetLabels(labels)
	delete(u.Object, "status")
	h := &heard{}
	err := l.client.Create(context.WithValue(ctx, hearingKey{}, h), u, client.DryRunAll)
	a := preflight.Answer{Object: r.Object, Warnings: h.warnings}
	if err == nil {
		return a
	}
	if _, refusal, ok := strings.Cut(err.Error(), " denied the request: "); ok {
		a.Denied = refusal
	} else if apierrors.IsInvalid(err) {
		a.Denied = err.Error()
	} else {
		a.Failed = reason(err)
	}
	return a
}

// rehearse asks admission about a pod like those of the old istiod, by a dry run: quotas, Pod Security, policies of others.
func (l *look) rehearse(ctx context.Context) error {
	if l.facts.Installed || l.facts.From.Deployment == "" {
		return nil
	}
	d := &appsv1.Deployment{}
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: l.istio, Name: l.facts.From.Deployment}, d); err != nil {
		return err
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.istio, GenerateName: "meshlift-check-", Labels: d.Spec.Template.Labels, Annotations: d.Spec.Template.Annotations},
		Spec:       d.Spec.Template.Spec,
	}
	err := l.client.Create(ctx, pod, client.DryRunAll)
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), `cannot create resource "pods"`), apierrors.IsInvalid(err), strings.Contains(err.Error(), " denied the request"):
		l.facts.Rehearsal = err.Error()
		return nil
	}
	return err
}
