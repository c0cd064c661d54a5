package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/login"
	"meshlift.dev/meshlift/internal/mesh"
)

// world is an API over fake clients, whose callers are who they say.
type world struct {
	*Server
	hub, member client.Client
	inventory   *mesh.Inventory
	denied      map[string]bool // "user verb resource"
	offline     error
}

func (w *world) Client(string) (client.Client, error) { return w.member, w.offline }
func (w *world) Cached(string) (client.Reader, error) { return w.member, nil }
func (w *world) Authenticate(r *http.Request) (login.User, error) {
	name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if name == "" {
		return login.User{}, fmt.Errorf("%w: who are you", login.ErrUnauthenticated)
	}
	return login.User{Name: name}, nil
}

func (w *world) Begin(context.Context, http.ResponseWriter, string) (login.User, error) {
	return login.User{}, login.ErrUnauthenticated
}
func (w *world) End(http.ResponseWriter) {}
func (w *world) OIDC() bool              { return false }
func (w *world) Redirect(http.ResponseWriter, string) (string, error) {
	return "", errors.New("none")
}

func (w *world) Callback(http.ResponseWriter, *http.Request, string, string) (string, login.User, error) {
	return "", login.User{}, login.ErrUnauthenticated
}

func (w *world) May(_ context.Context, u login.User, what login.Attributes) (bool, error) {
	return !w.denied[u.Name+" "+what.String()], nil
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, hub.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// newWorld has the mesh prod with the cluster east, and the objects in the hub or in the cluster, by their kind.
func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{denied: map[string]bool{}, inventory: &mesh.Inventory{}}
	there := []client.Object{
		&hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}},
		&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: hub.MemberClusterSpec{Mesh: "prod"}},
	}
	var here []client.Object
	for _, o := range objects {
		switch o.(type) {
		case *v1alpha1.ClusterUpgrade, *v1alpha1.DataPlaneRollout:
			here = append(here, o)
		default:
			there = append(there, o)
		}
	}
	w.hub = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(there...).Build()
	w.member = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(here...).Build()
	w.Server = New(Options{
		Client: w.hub, Members: w, Login: w, Access: w, Clock: clock.RealClock{}, Log: logr.Discard(), Version: "v1",
		Inventory: func(context.Context, string) (*mesh.Inventory, error) { return w.inventory, nil },
		Away:      func(err error) bool { return errors.Is(err, w.offline) },
	})
	return w
}

// do sends a request as ann, and decodes the answer.
func (w *world) do(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, Base+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ann")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	if into != nil {
		if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer.Body)
		}
	}
	return answer.Code
}

func upgrade(conditions ...metav1.Condition) *v1alpha1.ClusterUpgrade {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31"}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"}}
	u.Status.From, u.Status.To = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	u.Status.Conditions = append([]metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}}, conditions...)
	return u
}

// done are the conditions of the first steps.
func done(steps int) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range []string{v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled, v1alpha1.ConditionDataPlanesMoved}[:steps] {
		out = append(out, metav1.Condition{Type: c, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	}
	return out
}

func TestADecommissionWhileSomethingUsesTheOldIstiodIsRefusedWithItsVerdict(t *testing.T) {
	u := upgrade(done(4)...)
	u.Status.Blockers = []v1alpha1.Blocker{{Source: v1alpha1.BlockerPod, Category: v1alpha1.CategorySidecar, Kind: "Deployment", Namespace: "shop", Name: "cart", Message: "Deployment shop/cart has 1 pod on revision 1-30: move it"}}
	w := newWorld(t, u)
	var p Problem
	if code := w.do(t, "POST", "/clusters/east/upgrade/decommission", `{}`, &p); code != http.StatusConflict || p.Verdict == nil || p.Verdict.Reason != v1alpha1.ReasonInUse || !strings.Contains(p.Detail, "Deployment shop/cart has 1 pod") {
		t.Fatalf("%d %+v %+v", code, p, p.Verdict)
	}
	u.Status.Blockers = nil
	w = newWorld(t, u)
	var v ClusterUpgrade
	if code := w.do(t, "POST", "/clusters/east/upgrade/decommission", `{"soak":"1m"}`, &v); code != http.StatusOK || v.Decommission == nil || v.Decommission.By != "ann" || v.Decommission.Soak != "1m0s" {
		t.Errorf("%d %+v", code, v)
	}
	if code := w.do(t, "POST", "/clusters/east/upgrade/decommission", `{"soak":"soon"}`, &p); code != http.StatusBadRequest {
		t.Errorf("%d %+v", code, p)
	}
}

func TestItIsTooEarlyBeforeTheStepsAreDone(t *testing.T) {
	w := newWorld(t, upgrade(done(2)...))
	var p Problem
	if code := w.do(t, "POST", "/clusters/east/upgrade/decommission", `{}`, &p); code != http.StatusConflict || !strings.Contains(p.Detail, "step 3 (EnvoyFilters) is not done") {
		t.Errorf("%d %+v", code, p)
	}
}

func TestDataPlanesAreListedWithWhatCanBeDoneAboutThem(t *testing.T) {
	u := upgrade(done(3)...)
	failed := v1alpha1.WorkloadReference{Kind: "Deployment", Namespace: "shop", Name: "b"}
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r1"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: u.Name}}
	r.Status.Failures = []v1alpha1.WorkloadFailure{{WorkloadReference: failed, Attempt: 1, Reason: "NotReadyInTime", Message: "not ready in time", Events: []v1alpha1.PodEvent{{Pod: "b-1", Reason: "BackOff"}}}}
	w := newWorld(t, u, r)
	w.inventory = &mesh.Inventory{
		Revisions:      []mesh.Revision{{Name: "1-30", Version: "1.30.0"}, {Name: "1-31", Version: "1.31.0"}},
		Configurations: []mesh.Configuration{injector("1-30"), injector("1-31")},
		Namespaces:     map[string]mesh.Namespace{"shop": {Labels: map[string]string{mesh.LabelRev: "1-30"}}},
		Workloads:      []mesh.Workload{sidecar("a", "1-31"), sidecar("b", "1-30"), sidecar("c", "1-30")},
	}
	var page Page[DataPlane]
	if code := w.do(t, "GET", "/clusters/east/dataplanes?limit=2", "", &page); code != http.StatusOK || page.Total != 3 || len(page.Items) != 2 || page.Continue == "" {
		t.Fatalf("%d %+v", code, page)
	}
	a, b := page.Items[0], page.Items[1]
	if a.State != "Moved" || a.Upgradeable || a.Version != "1.31.0" {
		t.Errorf("%+v", a)
	}
	if b.State != "Failed" || b.Failure == nil || !b.Failure.Waiting || b.Failure.Rollout != "r1" || b.Failure.Events[0].Pod != "b-1" || b.Upgradeable {
		t.Errorf("%+v", b)
	}
	next := Page[DataPlane]{}
	if w.do(t, "GET", "/clusters/east/dataplanes?limit=2&continue="+page.Continue, "", &next); len(next.Items) != 1 || !next.Items[0].Upgradeable || next.Continue != "" {
		t.Errorf("%+v", next)
	}
	for query, want := range map[string]string{
		"": "a b c", "search=DEPLOY+c": "c", "state=Moved": "a", "role=Gateway": "", "namespace=other": "",
		"sort=state&order=descending": "c a b", "sort=version": "b c a", "order=descending": "c b a",
	} {
		page = Page[DataPlane]{}
		w.do(t, "GET", "/clusters/east/dataplanes?"+query, "", &page)
		names := []string{}
		for _, d := range page.Items {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	var p Problem
	for _, query := range []string{"sort=colour", "limit=0", "limit=5000", "continue=!", "serch=x"} {
		if code := w.do(t, "GET", "/clusters/east/dataplanes?"+query, "", &p); code < 400 || code >= 500 {
			t.Errorf("%s: %d", query, code)
		}
	}
	var all Page[Namespace]
	if w.do(t, "GET", "/clusters/east/namespaces", "", &all); len(all.Items) != 1 || all.Items[0] != (Namespace{Name: "shop", Sidecars: 3, Moved: 1, Failed: 1, Open: 1}) {
		t.Errorf("%+v", all)
	}
}

// injector is the webhook configuration of a revision: it injects by the label of the namespace, or of the pod.
func injector(revision string) mesh.Configuration {
	has := func(key string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{key: revision}}
	}
	none := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.RevisionLabel, Operator: metav1.LabelSelectorOpDoesNotExist}}}
	namespace, pod := has(mesh.LabelRev), has(v1alpha1.RevisionLabel)
	return mesh.Configuration{Name: "istio-sidecar-injector-" + revision, Webhooks: []mesh.Injector{
		{Name: "namespace", Revision: revision, NamespaceSelector: &namespace, ObjectSelector: &none}, {Name: "moved", Revision: revision, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &pod, Handover: true},
	}}
}

// sidecar is a Deployment whose pod has the revision; the rest of it moves by its label.
func sidecar(name, revision string) mesh.Workload {
	w := mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: name}, Role: mesh.Sidecar, Desired: 1,
		Progress: mesh.Progress{Replicas: 1, Updated: 1, Ready: 1, Available: 1}, Pods: []mesh.Pod{{Name: name + "-0", Revision: revision, Ready: true}},
	}
	if revision != "1-30" { // else it follows its namespace
		w.TemplateLabels = map[string]string{v1alpha1.RevisionLabel: revision}
		w.Move = &mesh.Move{To: revision, From: "1-30", Attempt: 1, Rollout: "r0"}
	}
	return w
}

func TestARolloutIsForWhatWasNamedOrForAllAndNeverByAccident(t *testing.T) {
	w := newWorld(t, upgrade(done(3)...))
	var p Problem
	for _, body := range []string{`{}`, `{"targets":[]}`, `{"all":true,"targets":[{"namespace":"shop"}]}`} {
		if code := w.do(t, "POST", "/clusters/east/rollouts", body, &p); code != http.StatusBadRequest {
			t.Errorf("%s: %d %+v", body, code, p)
		}
	}
	var r Rollout
	if code := w.do(t, "POST", "/clusters/east/rollouts", `{"targets":[{"namespace":"shop"}],"parallelism":3}`, &r); code != http.StatusOK || r.Name != "1-30-to-1-31-r1" || len(r.Targets) != 1 {
		t.Errorf("%d %+v", code, r)
	}
	if code := w.do(t, "POST", "/clusters/east/rollouts", `{"all":true,"direction":"Back"}`, &r); code != http.StatusOK || r.Name != "1-30-to-1-31-r2" || r.Direction != "Back" {
		t.Errorf("%d %+v", code, r)
	}
}

func TestAClusterThatDoesNotAnswerIsSaidSo(t *testing.T) {
	w := newWorld(t)
	w.offline = errors.New(`cluster "east" does not answer`)
	var p Problem
	if code := w.do(t, "GET", "/clusters/east/proposal", "", &p); code != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "does not answer") {
		t.Errorf("%d %+v", code, p)
	}
}

func TestWhatSomebodyMayNotDoTellsWhy(t *testing.T) {
	w := newWorld(t)
	w.denied["ann create meshes/upgrades prod"] = true
	var p Problem
	if code := w.do(t, "POST", "/meshes/prod/upgrades", `{"version":"1.31"}`, &p); code != http.StatusForbidden || !strings.Contains(p.Detail, "ann may not create meshes/upgrades prod") {
		t.Errorf("%d %+v", code, p)
	}
	var m MeshDetail
	if w.do(t, "GET", "/meshes/prod", "", &m); m.Actions.Upgrade.Allowed || m.Actions.Upgrade.Reason != "you may not create meshes/upgrades in mesh prod" || !m.Actions.AddCluster.Allowed {
		t.Errorf("%+v", m.Actions)
	}
}

func TestNobodyKeepsOthersFromBeingServed(t *testing.T) {
	w := newWorld(t)
	w.Server = New(Options{Client: w.hub, Members: w, Login: w, Access: w, Clock: clock.RealClock{}, Log: logr.Discard(), RequestsPerSecond: 1e-6})
	last := 0
	for range 3 {
		last = w.do(t, "GET", "/session", "", nil)
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("%d", last)
	}
	w = newWorld(t)
	if code := w.do(t, "POST", "/meshes", `{"name":"`+strings.Repeat("x", maxBody)+`"}`, nil); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", code)
	}
}

// stream reads events until it has as many as are wanted.
func stream(t *testing.T, url, last string, want int) (ids, texts []string) {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", url+Base+"/changes", nil)
	r.Header.Set("Authorization", "Bearer ann")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); len(texts) < want && lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ids = append(ids, id)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			texts = append(texts, data)
		}
	}
	return ids, texts
}

func TestAStreamGoesOnAfterALostConnectionAndSaysWhenItCannot(t *testing.T) {
	w := newWorld(t)
	w.denied["ann get meshes secret"] = true
	server := httptest.NewServer(w)
	defer server.Close()
	ids, texts := stream(t, server.URL, "", 1)
	if !strings.Contains(texts[0], "the stream begins") {
		t.Fatal(texts)
	}
	// While nobody listens, three things change; one of them is none of ann's business.
	for _, name := range []string{"prod", "secret", "test"} {
		w.Changed(&hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: name}})
		wait(t, w, name)
	}
	ids, texts = stream(t, server.URL, ids[0], 2)
	if !strings.Contains(texts[0], `"prod"`) || !strings.Contains(texts[1], `"test"`) {
		t.Errorf("%v", texts)
	}
	if _, texts = stream(t, server.URL, "12345", 1); !strings.Contains(texts[0], "missed") {
		t.Errorf("an event of another replica: %v", texts)
	}
	if _, texts = stream(t, server.URL, ids[0], 1); !strings.Contains(texts[0], `"test"`) {
		t.Errorf("%v", texts)
	}
}

// wait until the change of the mesh is published.
func wait(t *testing.T, w *world, name string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		w.feed.mu.Lock()
		n, more := len(w.feed.events), w.feed.woken
		there := n > 0 && w.feed.events[n-1].change.Name == name
		w.feed.mu.Unlock()
		if there {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatal("the change is not published")
		}
	}
}
