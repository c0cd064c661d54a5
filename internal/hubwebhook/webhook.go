// Package hubwebhook is the admission of the kinds of the hub: it refuses what package fleet does not let through, with the same
// sentence that conditions and the command line show. A refusal by a freeze can be overridden with a reason, for one edit, see
// glass.go.
package hubwebhook

import (
	"context"
	"fmt"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/sidecar"
)

// Options of the webhooks; all are required.
type Options struct {
	// Client reads the kinds of the hub, by a cache, and records overrides.
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.Clock
}

// Register serves the webhooks at the paths that controller-runtime makes of group, version and kind
// ("/validate-hub-meshlift-dev-v1alpha1-mesh").
func Register(mgr ctrl.Manager, o Options) error {
	g := &glass{Options: o}
	if err := register(mgr, &hub.MemberCluster{}, memberValidator{g}); err != nil {
		return err
	}
	if err := register(mgr, &hub.Mesh{}, meshValidator{g}); err != nil {
		return err
	}
	return register(mgr, &hub.MeshUpgrade{}, upgradeValidator{o})
}

func register[T runtime.Object](mgr ctrl.Manager, object T, v admission.Validator[T]) error {
	if err := ctrl.NewWebhookManagedBy(mgr, object).WithValidator(v).Complete(); err != nil {
		return fmt.Errorf("register webhook of %T: %w", object, err)
	}
	return nil
}

// Refusal is the error of an edit that is not let through; its text is the verdict's sentence.
type Refusal struct{ gate.Verdict }

func (r *Refusal) Error() string { return r.Message }

func refuse(v gate.Verdict) error {
	if v.Passed() {
		return nil
	}
	return &Refusal{v}
}

func unknown(what string, err error) error {
	return fmt.Errorf("refused, because %s cannot be read now (try again): %w", what, err)
}

// members of a mesh.
func members(ctx context.Context, r client.Reader, mesh string) ([]fleet.Member, error) {
	list := &hub.MemberClusterList{}
	if err := r.List(ctx, list); err != nil {
		return nil, unknown("the list of clusters", err)
	}
	var out []fleet.Member
	for n := range list.Items {
		if list.Items[n].Spec.Mesh == mesh {
			out = append(out, fleet.Registered(&list.Items[n]))
		}
	}
	return out, nil
}

// exists refuses a mesh that is not there.
func exists(ctx context.Context, r client.Reader, mesh string) error {
	err := r.Get(ctx, types.NamespacedName{Name: mesh}, &hub.Mesh{})
	switch {
	case apierrors.IsNotFound(err):
		return refuse(gate.Block(v1alpha1.ReasonUserAction, "there is no mesh %q: create it first", mesh))
	case err != nil:
		return unknown(fmt.Sprintf("mesh %q", mesh), err)
	}
	return nil
}

type memberValidator struct{ glass *glass }

// ValidateCreate refuses to add a cluster to a mesh with old istiods.
func (v memberValidator) ValidateCreate(ctx context.Context, mc *hub.MemberCluster) (admission.Warnings, error) {
	if mc.Spec.Mesh == "" {
		return nil, nil
	}
	if err := exists(ctx, v.glass.Client, mc.Spec.Mesh); err != nil {
		return nil, err
	}
	return v.frozen(ctx, fleet.AddCluster, mc, mc.Spec.Mesh, given(nil, mc))
}

// ValidateUpdate refuses to move a cluster out of a mesh or into one with old istiods.
func (v memberValidator) ValidateUpdate(ctx context.Context, before, after *hub.MemberCluster) (admission.Warnings, error) {
	if before.Spec.Mesh == after.Spec.Mesh || !after.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	reason := given(before, after)
	if before.Spec.Mesh != "" {
		if warnings, err := v.frozen(ctx, fleet.RemoveCluster, after, before.Spec.Mesh, reason); err != nil {
			return warnings, err
		}
	}
	if after.Spec.Mesh == "" {
		return nil, nil
	}
	if err := exists(ctx, v.glass.Client, after.Spec.Mesh); err != nil {
		return nil, err
	}
	return v.frozen(ctx, fleet.AddCluster, after, after.Spec.Mesh, reason)
}

// ValidateDelete refuses to take a cluster out of a mesh with old istiods. The reason that overrides it is the annotation that the
// object has.
func (v memberValidator) ValidateDelete(ctx context.Context, mc *hub.MemberCluster) (admission.Warnings, error) {
	if mc.Spec.Mesh == "" || !mc.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return v.frozen(ctx, fleet.RemoveCluster, mc, mc.Spec.Mesh, given(nil, mc))
}

func (v memberValidator) frozen(ctx context.Context, a fleet.Action, mc *hub.MemberCluster, mesh, reason string) (admission.Warnings, error) {
	all, err := members(ctx, v.glass.Client, mesh)
	if err != nil {
		return nil, err
	}
	return v.glass.open(ctx, fleet.Frozen(a, mc.Name, mesh, fleet.OldIstiods(all)), mesh, mc, reason)
}

type meshValidator struct{ glass *glass }

// ValidateCreate refuses a configuration of sidecars that cannot be used.
func (meshValidator) ValidateCreate(_ context.Context, m *hub.Mesh) (admission.Warnings, error) {
	return nil, sidecar.Validate(m.Spec.Sidecars)
}

// ValidateUpdate refuses to change the configuration of sidecars while an old istiod exists.
func (v meshValidator) ValidateUpdate(ctx context.Context, before, after *hub.Mesh) (admission.Warnings, error) {
	if !after.DeletionTimestamp.IsZero() || apiequality.Semantic.DeepEqual(before.Spec.Sidecars, after.Spec.Sidecars) {
		return nil, nil
	}
	if err := sidecar.Validate(after.Spec.Sidecars); err != nil {
		return nil, err
	}
	all, err := members(ctx, v.glass.Client, after.Name)
	if err != nil {
		return nil, err
	}
	return v.glass.open(ctx, fleet.Frozen(fleet.ChangeSidecars, "", after.Name, fleet.OldIstiods(all)), after.Name, after, given(before, after))
}

// ValidateDelete refuses to delete a mesh that has clusters: nobody would answer them.
func (v meshValidator) ValidateDelete(ctx context.Context, m *hub.Mesh) (admission.Warnings, error) {
	all, err := members(ctx, v.glass.Client, m.Name)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return nil, refuse(gate.Block(v1alpha1.ReasonInUse, "mesh %q cannot be deleted while it has clusters (%s): remove them first with `meshlift cluster remove`", m.Name, gate.List(names)))
}

type upgradeValidator struct{ o Options }

// ValidateCreate refuses an upgrade that could not start.
func (v upgradeValidator) ValidateCreate(ctx context.Context, u *hub.MeshUpgrade) (admission.Warnings, error) {
	if err := exists(ctx, v.o.Client, u.Spec.Mesh); err != nil {
		return nil, err
	}
	all, err := members(ctx, v.o.Client, u.Spec.Mesh)
	if err != nil {
		return nil, err
	}
	others := &hub.MeshUpgradeList{}
	if err := v.o.Client.List(ctx, others); err != nil {
		return nil, unknown("the other upgrades", err)
	}
	if err := refuse(fleet.StartUpgrade(u, others.Items, all)); err != nil {
		return nil, err
	}
	return nil, rolloutIsRight(u)
}

// ValidateUpdate refuses waves that name clusters that are not there, and approvals of nothing.
func (v upgradeValidator) ValidateUpdate(ctx context.Context, before, after *hub.MeshUpgrade) (admission.Warnings, error) {
	if !after.DeletionTimestamp.IsZero() || apiequality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil, nil
	}
	if apiequality.Semantic.DeepEqual(before.Spec.Waves, after.Spec.Waves) && apiequality.Semantic.DeepEqual(before.Spec.Approvals, after.Spec.Approvals) {
		return nil, rolloutIsRight(after) // a cluster that left the mesh since is not in the way of a pause
	}
	all, err := members(ctx, v.o.Client, after.Spec.Mesh)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	if err := refuse(fleet.Check(after.Spec, names)); err != nil {
		return nil, err
	}
	return nil, rolloutIsRight(after)
}

// ValidateDelete passes: what was started in clusters is theirs.
func (upgradeValidator) ValidateDelete(context.Context, *hub.MeshUpgrade) (admission.Warnings, error) {
	return nil, nil
}

// rolloutIsRight refuses a pace that no cluster would take.
func rolloutIsRight(u *hub.MeshUpgrade) error {
	if u.Spec.Rollout == nil {
		return nil
	}
	return refuse(gate.Pace(&u.Spec.Rollout.Spec))
}
