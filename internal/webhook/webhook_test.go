package webhook

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/mesh"
)

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var errDown = errors.New("the API server is down")

// options has one revision 1-30 on Kubernetes 1.35, and the objects.
func options(t testing.TB, objects ...client.Object) Options {
	t.Helper()
	inventory := &mesh.Inventory{
		IstioNamespace: "istio-system", KubernetesVersion: "v1.35.1",
		Revisions: []mesh.Revision{{Name: "1-30", Version: "1.30.0"}},
	}
	return Options{
		Reader:    fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build(),
		Inventory: func(context.Context) (*mesh.Inventory, error) { return inventory, nil },
		Catalog:   func(context.Context) (catalog.Catalog, error) { return catalog.Default(), nil },
	}
}

// broken is a reader that fails.
func broken(t *testing.T) client.Reader {
	t.Helper()
	return interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).Build(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errDown
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return errDown },
	})
}

func named[T client.Object](o T, name string) T {
	o.SetName(name)
	return o
}

func running(name string) *v1alpha1.ClusterUpgrade {
	u := named(&v1alpha1.ClusterUpgrade{Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"}}, name)
	u.Status.To = &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	return u
}

// expect compares the error with words that it must hold; none means that there is no error.
func expect(t *testing.T, err error, words ...string) {
	t.Helper()
	if (err == nil) != (len(words) == 0) {
		t.Fatalf("error %v, want one with %q", err, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the refusal does not say %q: %v", w, err)
		}
	}
}

func TestAnUpgradeIsCreatedOnlyWhenItCouldStart(t *testing.T) {
	ctx := context.Background()
	create := func(o Options, u *v1alpha1.ClusterUpgrade) error {
		_, err := upgradeValidator{o}.ValidateCreate(ctx, u)
		return err
	}
	fresh := func(version string) *v1alpha1.ClusterUpgrade {
		return named(&v1alpha1.ClusterUpgrade{Spec: v1alpha1.ClusterUpgradeSpec{Version: version}}, "new")
	}
	expect(t, create(options(t), fresh("1.31")))
	expect(t, create(options(t), fresh("1.99")), "1.99")
	expect(t, create(options(t, running("old")), fresh("1.31")), `"old"`)

	unread := options(t)
	unread.Inventory = func(context.Context) (*mesh.Inventory, error) { return nil, errDown }
	expect(t, create(unread, fresh("1.31")), "the Istio of the cluster", errDown.Error())
	unread = options(t)
	unread.Catalog = func(context.Context) (catalog.Catalog, error) { return catalog.Catalog{}, errDown }
	expect(t, create(unread, fresh("1.31")), "the catalog", errDown.Error())
	unread = options(t)
	unread.Reader = broken(t)
	expect(t, create(unread, fresh("1.31")), "the other upgrades", errDown.Error())
}

func TestAnUpgradeThatIsBeingDeletedCanLoseItsFinalizers(t *testing.T) {
	bad := running("a")
	bad.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "lua"}}
	_, err := upgradeValidator{options(t)}.ValidateUpdate(context.Background(), running("a"), bad)
	expect(t, err, "shop/lua", "hash")
	now := metav1.Now()
	bad.DeletionTimestamp = &now
	_, err = upgradeValidator{options(t)}.ValidateUpdate(context.Background(), running("a"), bad)
	expect(t, err)
}

func TestAnAcknowledgementThatDoesNotCountIsAWarning(t *testing.T) {
	u := running("a")
	u.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "lua", Hash: "old", By: "ana"}}
	u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{{Namespace: "shop", Name: "lua", Hash: "new"}}
	warnings, err := upgradeValidator{options(t)}.ValidateUpdate(context.Background(), running("a"), u)
	expect(t, err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "shop/lua") {
		t.Errorf("warnings %q, want one about shop/lua", warnings)
	}
}

func TestAnUpgradeThatCannotBeJudgedIsNotDeleted(t *testing.T) {
	o := options(t)
	o.Inventory = func(context.Context) (*mesh.Inventory, error) { return nil, errDown }
	_, err := upgradeValidator{o}.ValidateDelete(context.Background(), running("a"))
	expect(t, err, errDown.Error())
	_, err = upgradeValidator{o}.ValidateDelete(context.Background(), named(&v1alpha1.ClusterUpgrade{}, "never-accepted"))
	expect(t, err)
}

func TestARolloutIsCreatedOnlyWhenItCouldStart(t *testing.T) {
	ready := running("up")
	for _, c := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled} {
		ready.Status.Conditions = append(ready.Status.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	}
	create := func(o Options, targets ...v1alpha1.RolloutTarget) error {
		_, err := rolloutValidator{o}.ValidateCreate(context.Background(), named(&v1alpha1.DataPlaneRollout{
			Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "up", Direction: v1alpha1.Forward, Targets: targets},
		}, "r"))
		return err
	}
	shop := v1alpha1.RolloutTarget{Namespace: "shop"}
	namespace := named(&corev1.Namespace{}, "shop")
	expect(t, create(options(t, ready, namespace), shop, shop))
	expect(t, create(options(t, ready), shop), `"shop"`)
	expect(t, create(options(t)), `"up"`)
	expect(t, create(options(t, running("up"))), "not accepted")
	expect(t, create(options(t, ready, named(&v1alpha1.DataPlaneRollout{}, "other"))), `"other"`)
	unread := options(t)
	unread.Reader = broken(t)
	expect(t, create(unread), errDown.Error())
}

func TestACatalogIsRefusedWhenTheCatalogInEffectWouldBeBroken(t *testing.T) {
	catalogOf := func(p ...v1alpha1.Path) *v1alpha1.Catalog {
		return named(&v1alpha1.Catalog{Spec: v1alpha1.CatalogSpec{Paths: p}}, v1alpha1.SingletonName)
	}
	validate := func(c *v1alpha1.Catalog) error {
		_, err := catalogValidator{}.ValidateUpdate(context.Background(), nil, c)
		return err
	}
	expect(t, validate(catalogOf()))
	expect(t, validate(catalogOf(v1alpha1.Path{From: "1.31", To: "1.30"})), "1.31 to 1.30")
	expect(t, validate(catalogOf(v1alpha1.Path{From: "1.31", To: "1.99"})), "1.99")
}

func TestTheIstioNamespaceIsNotChangedDuringAnUpgrade(t *testing.T) {
	in := func(ns string) *v1alpha1.ControlPlane {
		return named(&v1alpha1.ControlPlane{Spec: v1alpha1.ControlPlaneSpec{IstioNamespace: ns}}, v1alpha1.SingletonName)
	}
	update := func(o Options, from, to string) error {
		_, err := controlPlaneValidator{o}.ValidateUpdate(context.Background(), in(from), in(to))
		return err
	}
	expect(t, update(options(t, running("a")), "x", "x"))
	expect(t, update(options(t), "x", "y"))
	expect(t, update(options(t, running("a")), "x", "y"), `"a"`)
	unread := options(t)
	unread.Reader = broken(t)
	expect(t, update(unread, "x", "y"), errDown.Error())
}
