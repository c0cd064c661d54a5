// Package sidecars brings the configuration of sidecars, spec.sidecars of the ControlPlane, to every istiod of the cluster and to
// the namespaces with settings of their own. Pods get it when they are created next; nothing restarts.
package sidecars

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/internal/retry"
	"meshlift.dev/meshlift/internal/sidecar"
	"meshlift.dev/meshlift/internal/status"
)

// Observer reads the cluster.
type Observer interface {
	Inventory(ctx context.Context) (*mesh.Inventory, error)
}

// Releases reads and changes Helm releases; package helm implements it.
type Releases interface {
	Release(ctx context.Context, namespace, name string) (*release.Release, error)
	Amend(ctx context.Context, spec release.Spec) error
}

// Reconciler keeps istiods and policies as the configuration says.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server: policies are not cached.
	Live     client.Reader
	Observer Observer
	Releases Releases
}

// again is how long an obstacle is waited for, resync how long until somebody else's change of a release is found.
const (
	again  = 10 * time.Second
	resync = 5 * time.Minute
)

// verdict is what became of one pass.
type verdict struct {
	done            bool
	reason, message string
}

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	cp := &v1alpha1.ControlPlane{}
	if err := r.Client.Get(ctx, req.NamespacedName, cp); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if cp.Spec.Sidecars == nil && cp.Annotations[v1alpha1.SidecarRecordAnnotation] == "" && meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionSidecarsConfigured) == nil {
		return reconcile.Result{}, nil // nobody has ever asked
	}
	v, err := r.apply(ctx, cp)
	if err != nil {
		v = verdict{reason: v1alpha1.ReasonError, message: fmt.Sprintf("the configuration of sidecars cannot be applied now, it is tried again: %v", err)}
	}
	if reportErr := r.report(ctx, cp, v); reportErr != nil {
		return reconcile.Result{}, errors.Join(err, reportErr)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !v.done {
		return reconcile.Result{RequeueAfter: again}, nil
	}
	return reconcile.Result{RequeueAfter: resync}, nil
}

func (r *Reconciler) apply(ctx context.Context, cp *v1alpha1.ControlPlane) (verdict, error) {
	if err := sidecar.Validate(cp.Spec.Sidecars); err != nil {
		return verdict{reason: v1alpha1.ReasonUserAction, message: err.Error()}, nil
	}
	var upgrades v1alpha1.ClusterUpgradeList
	if err := r.Client.List(ctx, &upgrades); err != nil {
		return verdict{}, fmt.Errorf("read the upgrades: %w", err)
	}
	if v := gate.ApplySidecars(cp, upgrades.Items); !v.Passed() {
		return verdict{reason: v.Reason, message: v.Message}, nil
	}
	inv, err := r.Observer.Inventory(ctx)
	if err != nil {
		return verdict{}, fmt.Errorf("read the mesh: %w", err)
	}
	foreign, err := r.amend(ctx, cp, inv)
	if err != nil {
		return verdict{}, err
	}
	missing, err := r.policies(ctx, sidecar.Policies(cp.Spec.Sidecars))
	switch {
	case err != nil:
		return verdict{}, err
	case len(foreign) > 0:
		return verdict{reason: v1alpha1.ReasonUserAction, message: fmt.Sprintf(
			"the configuration of sidecars has not reached istiod %s, which Helm did not install: set it where that istiod is installed, or upgrade it with Meshlift first", strings.Join(foreign, ", "))}, nil
	case missing:
		return verdict{reason: v1alpha1.ReasonUserAction, message: "the settings of single namespaces need MutatingAdmissionPolicies, which this API server does not have: upgrade Kubernetes to 1.36, or take spec.sidecars.namespaces out"}, nil
	}
	return verdict{true, v1alpha1.ReasonDone, fmt.Sprintf("%d istiods and %d namespaces have the configuration; pods get it when they are created next", len(inv.Revisions), namespaces(cp.Spec.Sidecars))}, nil
}

func namespaces(c *v1alpha1.SidecarConfiguration) int {
	if c == nil {
		return 0
	}
	return len(c.Namespaces)
}

// amend changes the values of the releases, and names the istiods that have none.
func (r *Reconciler) amend(ctx context.Context, cp *v1alpha1.ControlPlane, inv *mesh.Inventory) (foreign []string, err error) {
	found := map[string]*release.Release{}
	var releases []sidecar.Release
	for _, rev := range inv.Revisions {
		if rev.Release == "" {
			foreign = append(foreign, rev.Name)
			continue
		}
		rel, err := r.Releases.Release(ctx, inv.IstioNamespace, rev.Release)
		if errors.Is(err, release.ErrNotFound) {
			foreign = append(foreign, rev.Name)
			continue
		}
		if err != nil {
			return nil, err
		}
		found[rel.Name] = rel
		releases = append(releases, sidecar.Release{Name: rel.Name, Values: rel.Values})
	}
	if cp.Spec.Sidecars == nil || len(sidecar.Annotations(cp.Spec.Sidecars.SidecarSettings)) == 0 {
		foreign = nil // there is nothing that they would need
	}
	record, err := sidecar.ReadRecord(cp.Annotations[v1alpha1.SidecarRecordAnnotation])
	if err != nil {
		return nil, err
	}
	plan, err := sidecar.Decide(cp.Spec.Sidecars, record, releases)
	if err != nil {
		return nil, err
	}
	// What is taken back stays in the record until it has been put back.
	if err := r.remember(ctx, cp, union(record, plan.Record)); err != nil {
		return nil, err
	}
	for _, change := range plan.Changes {
		rel := found[change.Name]
		if err := r.Releases.Amend(ctx, release.Spec{Name: rel.Name, Namespace: rel.Namespace, Values: change.Values, Labels: rel.Labels}); err != nil {
			return nil, fmt.Errorf("change Helm release %q: %w", rel.Name, err)
		}
	}
	return foreign, r.remember(ctx, cp, plan.Record)
}

func union(a, b sidecar.Record) sidecar.Record {
	out := sidecar.Record{}
	for _, record := range []sidecar.Record{b, a} { // what was recorded first was there before
		for name, paths := range record {
			if out[name] == nil {
				out[name] = map[string]sidecar.Before{}
			}
			maps.Copy(out[name], paths)
		}
	}
	return out
}

// remember writes the record when it differs.
func (r *Reconciler) remember(ctx context.Context, cp *v1alpha1.ControlPlane, record sidecar.Record) error {
	text := record.String()
	if text == cp.Annotations[v1alpha1.SidecarRecordAnnotation] {
		return nil
	}
	before := cp.DeepCopy()
	if text == "" {
		delete(cp.Annotations, v1alpha1.SidecarRecordAnnotation)
	} else {
		if cp.Annotations == nil {
			cp.Annotations = map[string]string{}
		}
		cp.Annotations[v1alpha1.SidecarRecordAnnotation] = text
	}
	if err := r.Client.Patch(ctx, cp, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write the record of sidecar values: %w", err)
	}
	return nil
}

// policies applies what is wanted and deletes what is not wanted any more; missing tells that the API server does not have the kinds
// and something is wanted.
func (r *Reconciler) policies(ctx context.Context, wanted []*unstructured.Unstructured) (missing bool, err error) {
	keep := map[string][]string{}
	for _, p := range wanted {
		keep[p.GetKind()] = append(keep[p.GetKind()], p.GetName())
	}
	for _, kind := range []string{sidecar.BindingKind, sidecar.PolicyKind} { // a binding without its policy does nothing, and says so
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.FromAPIVersionAndKind(sidecar.APIVersion, kind+"List"))
		err := r.Live.List(ctx, list, client.MatchingLabels{sidecar.PolicyLabel: "true"})
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return len(wanted) > 0, nil
		}
		if err != nil {
			return false, fmt.Errorf("list objects of kind %s: %w", kind, err)
		}
		for n := range list.Items {
			if slices.Contains(keep[kind], list.Items[n].GetName()) {
				continue
			}
			if err := client.IgnoreNotFound(r.Client.Delete(ctx, &list.Items[n])); err != nil {
				return false, fmt.Errorf("delete %s %q: %w", kind, list.Items[n].GetName(), err)
			}
		}
	}
	for _, p := range wanted {
		if err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(p.DeepCopy()), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
			return false, fmt.Errorf("apply %s %q: %w", p.GetKind(), p.GetName(), err)
		}
	}
	return false, nil
}

// report writes the condition.
func (r *Reconciler) report(ctx context.Context, cp *v1alpha1.ControlPlane, v verdict) error {
	before := cp.DeepCopy()
	status.Set(&cp.Status.Conditions, cp.Generation, v1alpha1.ConditionSidecarsConfigured, v.done, v.reason, v.message)
	if apiequality.Semantic.DeepEqual(before.Status, cp.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, cp, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write the status of the ControlPlane: %w", err)
	}
	return nil
}

// Requests is the one object, for events of upgrades and istiods.
func Requests(context.Context, client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1alpha1.SingletonName}}}
}

// SetupWithManager registers the controller; cluster adds events of the mesh, which bring new istiods.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, cluster func(ctrl.Manager, *builder.Builder) *builder.Builder) error {
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.ControlPlane{}).Named("sidecars").WithOptions(retry.Options(1))
	return cluster(mgr, b).Complete(r)
}
