package component

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
)

// cluster plays a member: its Helm has one release.
type cluster struct {
	mu      sync.Mutex
	down    error
	last    release.Release
	applied []release.Spec
	fail    error
	hold    chan struct{} // Apply waits for it
}

func (c *cluster) Releases(context.Context) ([]helm.Found, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.last
	return []helm.Found{{Last: r, Deployed: &r}}, nil
}

func (c *cluster) Objects(context.Context, string, string) ([]*unstructured.Unstructured, error) {
	return nil, nil
}

func (c *cluster) CRDs(context.Context, release.Source) ([]*unstructured.Unstructured, error) {
	return nil, nil
}

func (c *cluster) RollBack(context.Context, release.Spec) error { return nil }

func (c *cluster) Apply(_ context.Context, s release.Spec) error {
	if c.hold != nil {
		<-c.hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied = append(c.applied, s)
	if c.fail == nil {
		c.last.ChartVersion, c.last.Labels = s.Source.Version, s.Labels
	}
	return c.fail
}

func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.applied)
}

type members struct {
	all    map[string]*cluster
	client client.Client
}

func (m members) Client(name string) (client.Client, error) { return m.client, m.all[name].down }
func (m members) Config(name string) (*rest.Config, error) {
	return &rest.Config{Host: name}, m.all[name].down
}

// world is a hub with two members in which flagger is behind and was asked for.
func world(t *testing.T) (*Reconciler, map[string]*cluster) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, hub.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]*cluster{}
	objects := []client.Object{&v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.CatalogSpec{Components: []v1alpha1.Component{
		{Name: "flagger-operator", Title: "Flagger Operator", Version: "1.1.0", Helm: &v1alpha1.HelmComponent{Chart: "flagger", Repository: "https://x"}},
	}}}}
	for _, name := range []string{"east", "west"} {
		all[name] = &cluster{last: release.Release{Name: "canary", Namespace: "ops", Chart: "flagger", ChartVersion: "1.0.0", Status: "deployed", Values: map[string]any{"a": "b"}}}
		objects = append(objects, &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Generation: 1}, Spec: hub.MemberClusterSpec{Components: []hub.ComponentRequest{
			{Name: "flagger-operator", Version: "1.1.0", By: "ann", At: metav1.NewTime(time.Now().Truncate(time.Second))},
		}}})
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&hub.MemberCluster{}).Build()
	r := New(c, c, members{all, c}, nil)
	r.NewHelm = func(config *rest.Config) (Helm, error) { return all[config.Host], nil }
	return r, all
}

func (r *Reconciler) pass(t *testing.T, name string) hub.ComponentStatus {
	t.Helper()
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}); err != nil {
		t.Fatal(err)
	}
	m := &hub.MemberCluster{}
	if err := r.Client.Get(t.Context(), client.ObjectKey{Name: name}, m); err != nil {
		t.Fatal(err)
	}
	for _, row := range m.Status.Components {
		if row.Name == "flagger-operator" {
			return row
		}
	}
	t.Fatalf("no row in %+v", m.Status)
	return hub.ComponentStatus{}
}

// until makes passes until the row is in a phase; the members of the test have a second for it.
func (r *Reconciler) until(t *testing.T, name string, phase hub.ComponentPhase) hub.ComponentStatus {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		row := r.pass(t, name)
		if row.Phase == phase {
			return row
		}
		if time.Now().After(end) {
			t.Fatalf("it stays %+v", row)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAClusterThatTakesItsTimeHoldsNoOtherUpAndIsNotAskedTwice(t *testing.T) {
	r, all := world(t)
	all["east"].hold = make(chan struct{})
	for range 5 {
		if row := r.pass(t, "east"); row.Phase != hub.ComponentUpgrading {
			t.Fatalf("%+v", row)
		}
	}
	r.until(t, "west", hub.ComponentCurrent)
	if n := all["east"].count(); n != 0 {
		t.Fatalf("%d upgrades ended", n)
	}
	close(all["east"].hold)
	r.until(t, "east", hub.ComponentCurrent)
	if n := all["east"].count(); n != 1 {
		t.Errorf("%d upgrades, want 1", n)
	}
	if s := all["west"].applied[0]; s.Values["a"] != "b" || s.Source.Version != "1.1.0" || len(s.Labels) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnUpgradeThatCannotBeginIsTriedAgainAndThenFails(t *testing.T) {
	r, all := world(t)
	all["east"].fail = errors.New("load chart flagger 1.1.0 from https://x: 404 Not Found")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if row := r.pass(t, "east"); row.Phase == hub.ComponentUpgrading && strings.Contains(row.Message, "404") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the error is not told")
		}
	}
	r.Now = func() time.Time { return time.Now().Add(3 * time.Minute) }
	if row := r.until(t, "east", hub.ComponentFailed); !strings.Contains(row.Message, "404 Not Found; the old version is kept") || row.Running != "1.0.0" {
		t.Errorf("%+v", row)
	}
}

func TestAClusterThatDoesNotAnswerKeepsItsRowsAndClosesStepOne(t *testing.T) {
	r, all := world(t)
	r.until(t, "east", hub.ComponentCurrent)
	all["east"].down = errors.New(`cluster "east" does not answer`)
	r.Now = func() time.Time { return time.Now().Add(time.Minute) }
	row := r.pass(t, "east")
	if row.Phase != hub.ComponentUnknown || row.Running != "1.1.0" || !strings.Contains(row.Message, "does not answer") {
		t.Errorf("%+v", row)
	}
	m := &hub.MemberCluster{}
	if err := r.Client.Get(t.Context(), client.ObjectKey{Name: "east"}, m); err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Status.Conditions {
		if c.Type == hub.ConditionComponentsReady && c.Status == metav1.ConditionUnknown {
			return
		}
	}
	t.Errorf("conditions %+v", m.Status.Conditions)
}
