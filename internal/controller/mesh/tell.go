package mesh

import (
	"context"
	"fmt"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
)

// SidecarsAnnotation on a ControlPlane marks that spec.sidecars there is the hub's.
const SidecarsAnnotation = "hub.meshlift.dev/sidecars"

// tell brings every cluster what it is told, all at the same time, and returns what went wrong.
func (r *Reconciler) tell(ctx context.Context, m *hub.Mesh, clusters []cluster, turn fleet.TurnDecision) []error {
	var wait sync.WaitGroup
	problems := make([]error, 2*len(clusters))
	all := members(clusters)
	for n, c := range clusters {
		if !c.registered.DeletionTimestamp.IsZero() {
			continue // it is taken leave of
		}
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			problems[2*n] = r.tellLink(ctx, c, &v1alpha1.HubLink{
				Mesh: m.Name, Cluster: c.Name, Components: fleet.Components(c.registered), Decommission: fleet.Answer(m.Name, c.Member, all, turn),
			})
			problems[2*n+1] = r.tellSidecars(ctx, c, m)
		})
	}
	wait.Wait()
	var out []error
	for _, p := range problems {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (r *Reconciler) tellLink(ctx context.Context, c cluster, link *v1alpha1.HubLink) error {
	if c.controlPlane == nil || apiequality.Semantic.DeepEqual(c.controlPlane.Spec.Hub, link) {
		return nil
	}
	if at, ok := r.told.Load(c.Name); ok && r.Clock.Now().Before(at.(instant).Add(soon)) && same(c.controlPlane.Spec.Hub, link) {
		return nil // only a sentence is another
	}
	to, err := r.Members.Client(c.Name)
	if err != nil {
		return err
	}
	version := ""
	if link.Decommission != nil && link.Decommission.Pass {
		version = c.controlPlane.ResourceVersion // as it was when everybody was looked at
	}
	value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(link)
	if err != nil {
		return fmt.Errorf("encode what cluster %q is told: %w", c.Name, err)
	}
	if err := apply(ctx, to, hub.FieldManager, version, nil, map[string]any{"hub": value}); err != nil {
		return fmt.Errorf("tell cluster %q what the hub says: %w", c.Name, err)
	}
	r.told.Store(c.Name, r.Clock.Now())
	return nil
}

// same tells whether two answers differ in their sentences only.
func same(a, b *v1alpha1.HubLink) bool {
	if a == nil || b == nil {
		return false
	}
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, l := range []*v1alpha1.HubLink{a, b} {
		if l.Components != nil {
			l.Components.Message = ""
		}
		if l.Decommission != nil {
			l.Decommission.Message = ""
		}
	}
	return apiequality.Semantic.DeepEqual(a, b)
}

// tellSidecars brings the configuration of sidecars. A member refuses it in the middle of an upgrade; then it is tried again.
func (r *Reconciler) tellSidecars(ctx context.Context, c cluster, m *hub.Mesh) error {
	if c.controlPlane == nil {
		return nil
	}
	ours := c.controlPlane.Annotations[SidecarsAnnotation] != ""
	glass := m.Annotations[hub.BreakGlassAnnotation]
	annotations, spec := map[string]any{}, map[string]any{}
	switch wanted := m.Spec.Sidecars; {
	case wanted == nil && !ours:
		return nil
	case wanted == nil:
		glass = ""
	case ours && apiequality.Semantic.DeepEqual(wanted, c.controlPlane.Spec.Sidecars) && glass == c.controlPlane.Annotations[v1alpha1.BreakGlassAnnotation]:
		return nil
	default:
		value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
		if err != nil {
			return fmt.Errorf("encode the configuration of sidecars: %w", err)
		}
		annotations[SidecarsAnnotation], spec["sidecars"] = m.Name, value
	}
	if glass != "" {
		annotations[v1alpha1.BreakGlassAnnotation] = glass
	}
	to, err := r.Members.Client(c.Name)
	if err != nil {
		return err
	}
	if err := apply(ctx, to, hub.SidecarFieldManager, "", annotations, spec); err != nil {
		return fmt.Errorf("configure the sidecars of cluster %q: %w", c.Name, err)
	}
	return nil
}

// apply writes the fields of one field manager; those that it had before and that are not given go away.
func apply(ctx context.Context, to client.Client, manager, resourceVersion string, annotations, spec map[string]any) error {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ControlPlane", "metadata": map[string]any{"name": v1alpha1.SingletonName},
	}}
	if len(spec) > 0 {
		u.Object["spec"] = spec
	}
	if len(annotations) > 0 {
		u.Object["metadata"].(map[string]any)["annotations"] = annotations
	}
	if resourceVersion != "" {
		u.SetResourceVersion(resourceVersion)
	}
	return to.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership)
}

// release takes what the hub said away from clusters that belong to no mesh any more; they are meshes of their own then. The
// configuration of sidecars stays.
func (r *Reconciler) release(ctx context.Context) (reconcile.Result, error) {
	clusters, err := r.gather(ctx, "", false)
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, c := range clusters {
		if c.controlPlane == nil || c.controlPlane.Spec.Hub == nil {
			continue
		}
		to, err := r.Members.Client(c.Name)
		if err != nil {
			continue // an event comes when it answers again
		}
		if err := apply(ctx, to, hub.FieldManager, "", nil, nil); err != nil {
			return reconcile.Result{}, fmt.Errorf("release cluster %q: %w", c.Name, err)
		}
	}
	return reconcile.Result{}, nil
}
