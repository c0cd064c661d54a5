package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/observe"
	"meshlift.dev/meshlift/internal/routing"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// The rows and columns of the injection decision table: labels of the namespace and of the pod.
var (
	namespaceLabels = map[string]map[string]string{
		"none":           {},
		"enabled":        {"istio-injection": "enabled"},
		"disabled":       {"istio-injection": "disabled"},
		"rev-a":          {"istio.io/rev": "1-30"},
		"rev-b":          {"istio.io/rev": "1-31"},
		"rev-prod":       {"istio.io/rev": "prod"},
		"rev-next":       {"istio.io/rev": "next"},
		"rev-default":    {"istio.io/rev": "default"},
		"rev-nosuch":     {"istio.io/rev": "nosuch"},
		"enabled-rev-b":  {"istio-injection": "enabled", "istio.io/rev": "1-31"},
		"enabled-rev-a":  {"istio-injection": "enabled", "istio.io/rev": "1-30"},
		"disabled-rev-a": {"istio-injection": "disabled", "istio.io/rev": "1-30"},
	}
	podLabels = map[string]map[string]string{
		"-":                  {},
		"inject=true":        {"sidecar.istio.io/inject": "true"},
		"inject=false":       {"sidecar.istio.io/inject": "false"},
		"rev=a":              {"istio.io/rev": "1-30"},
		"rev=b":              {"istio.io/rev": "1-31"},
		"rev=prod":           {"istio.io/rev": "prod"},
		"rev=next":           {"istio.io/rev": "next"},
		"inject=true,rev=b":  {"sidecar.istio.io/inject": "true", "istio.io/rev": "1-31"},
		"inject=false,rev=a": {"sidecar.istio.io/inject": "false", "istio.io/rev": "1-30"},
	}
)

const refused = "refused"

// probe creates a pod as a dry run and returns the revision that injected it, "" for none, "refused" when a guard of
// Meshlift refused it. A pod that two revisions injected fails the test.
func probe(ctx context.Context, c client.Client, namespace string, labels map[string]string) (string, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-", Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	if err := c.Create(ctx, pod, client.DryRunAll); err != nil {
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "Meshlift refused this pod") {
			return refused, nil
		}
		return "", err
	}
	text := pod.Annotations[mesh.AnnotationStatus]
	var status struct {
		Revision string `json:"revision"`
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			return "", fmt.Errorf("annotation %s: %w", mesh.AnnotationStatus, err)
		}
	}
	return status.Revision, both(pod, status.Revision)
}

// both finds traces of a second injection: another proxy container, or one that talks to another istiod.
func both(pod *corev1.Pod, revision string) error {
	proxies := 0
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name != "istio-proxy" {
			continue
		}
		proxies++
		for _, e := range c.Env {
			if e.Name == "CA_ADDR" && !strings.HasPrefix(e.Value, "istiod-"+revision+".") {
				return fmt.Errorf("injected by %s, but its proxy talks to %s", revision, e.Value)
			}
		}
	}
	if want := min(1, len(revision)); proxies != want {
		return fmt.Errorf("injected by %q and has %d proxies", revision, proxies)
	}
	return nil
}

type table map[string]string // "namespace / pod" to revision

func (tt *twoRevisions) table(t *testing.T, extra map[string]string) table {
	t.Helper()
	out := table{}
	for ns := range namespaceLabels {
		for pod, labels := range podLabels {
			all := maps.Clone(labels)
			maps.Copy(all, extra)
			got, err := probe(t.Context(), tt.Client, "inj-"+ns, all)
			if err != nil {
				t.Errorf("namespace %s, pod %s: %v", ns, pod, err)
			}
			out[ns+" / "+pod] = got
		}
	}
	return out
}

// twoRevisions is a lab with both revisions installed, tag default and prod on the old one, next on the new one.
type twoRevisions struct {
	*labtest.Lab
	router   *routing.Router
	observer *observe.Observer
}

func (tt *twoRevisions) inventory(t *testing.T) *mesh.Inventory {
	t.Helper()
	inv, err := tt.observer.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (tt *twoRevisions) guards(t *testing.T) {
	t.Helper()
	err := tt.router.Guard(t.Context(), handover.Guards("1-31", []string{"1-30", "1-31", "prod", "next", "default"}, true, nil))
	if err != nil {
		t.Fatal(err)
	}
}

func (tt *twoRevisions) establish(t *testing.T) {
	t.Helper()
	inv := tt.inventory(t)
	from, _ := inv.Revision("1-30")
	to, _ := inv.Revision("1-31")
	if _, err := tt.router.Establish(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
}

// propagated waits until admission answers as it should for one pod of which the answer changes.
func (tt *twoRevisions) propagated(t *testing.T, labels map[string]string, want string) {
	t.Helper()
	labtest.Eventually(t, "admission follows the webhook configurations", func(ctx context.Context) string {
		got, err := probe(ctx, tt.Client, "inj-rev-a", labels)
		if err != nil || got != want {
			return fmt.Sprintf("want %q, got %q, %v", want, got, err)
		}
		return ""
	})
}

func TestInjectionDecisionTableBeforeDuringAndAfterAHandover(t *testing.T) {
	t.Parallel()
	tt := setupTwoRevisions(t)
	for _, mode := range []handover.Mode{handover.MatchConditions, handover.ObjectSelectors} {
		t.Run(string(mode), func(t *testing.T) {
			tt.router.Mode = mode
			tt.decisionTable(t)
		})
	}
	t.Run("no pod is injected by none or by both while the handover is switched on and off", func(t *testing.T) {
		for _, mode := range []handover.Mode{handover.MatchConditions, handover.ObjectSelectors} {
			t.Run(string(mode), func(t *testing.T) {
				tt.router.Mode = mode
				tt.onAndOff(t)
			})
		}
	})
}

// decisionTable compares every cell before, during and after a handover.
func (tt *twoRevisions) decisionTable(t *testing.T) {
	t.Helper()
	moved := map[string]string{v1alpha1.RevisionLabel: "1-31"}

	before := tt.table(t, nil)
	if got := before["rev-a / rev=b"]; got != "1-30" {
		t.Fatalf("the namespace label must beat the pod label in plain Istio, got %q", got)
	}
	t.Run("the inventory predicts every cell", func(t *testing.T) { tt.compare(t, before, nil) })

	tt.guards(t)
	tt.establish(t)
	tt.propagated(t, moved, "1-31")
	t.Run("pods that were not moved keep their revision", func(t *testing.T) {
		if diff := cmp.Diff(before, tt.table(t, nil)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("moved pods of the old revision are injected by the new one, and by nobody else", func(t *testing.T) {
		want := table{}
		for cell, was := range before {
			switch {
			case was != "":
				want[cell] = "1-31"
			case strings.Contains(cell, "inject=false"):
				want[cell] = "" // opted out: the guards leave it alone
			default:
				want[cell] = refused // labelled for a revision that does not serve it: loud, not silent
			}
		}
		if diff := cmp.Diff(want, tt.table(t, moved)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the inventory predicts every cell of the handover", func(t *testing.T) { tt.compare(t, tt.table(t, nil), nil) })

	if err := tt.router.Unguard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tt.router.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	tt.propagated(t, moved, "1-30")
	t.Run("after the handover everything is as before and the label is inert", func(t *testing.T) {
		if diff := cmp.Diff(before, tt.table(t, nil)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, tt.table(t, moved)); diff != "" {
			t.Error(diff)
		}
		if present, err := tt.router.Present(t.Context(), true); present || err != nil {
			t.Errorf("a part of the handover is left: %v, %v", present, err)
		}
	})
}

// compare checks that the pure prediction of package mesh agrees with what the API server did.
func (tt *twoRevisions) compare(t *testing.T, real table, extra map[string]string) {
	t.Helper()
	inv := tt.inventory(t)
	for ns, nsl := range namespaceLabels {
		for pod, labels := range podLabels {
			all := maps.Clone(labels)
			maps.Copy(all, extra)
			predicted := strings.Join(inv.InjectedBy(mesh.PodFacts{Namespace: "inj-" + ns, NamespaceLabels: nsl, Labels: all}), "+")
			if got := real[ns+" / "+pod]; got != predicted {
				t.Errorf("namespace %s, pod %s: predicted %q, the API server says %q", ns, pod, predicted, got)
			}
		}
	}
}

// onAndOff switches the handover on and off under load.
func (tt *twoRevisions) onAndOff(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var (
		wg   sync.WaitGroup
		lock sync.Mutex
		bad  []string
		seen = map[string]int{}
	)
	for _, labels := range []map[string]string{{}, {v1alpha1.RevisionLabel: "1-31"}} {
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					got, err := probe(ctx, tt.Client, "inj-rev-a", labels)
					if ctx.Err() != nil {
						return
					}
					lock.Lock()
					seen[got]++
					switch {
					case err != nil:
						bad = append(bad, err.Error())
					case got == "" || got == refused || len(labels) == 0 && got != "1-30":
						bad = append(bad, fmt.Sprintf("labels %v: injected by %q", labels, got))
					}
					lock.Unlock()
				}
			})
		}
	}
	moved := map[string]string{v1alpha1.RevisionLabel: "1-31"}
	for range 12 {
		tt.establish(t)
		tt.propagated(t, moved, "1-31")
		if err := tt.router.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		tt.propagated(t, moved, "1-30")
	}
	stop()
	wg.Wait()
	if len(bad) > 0 {
		t.Errorf("%d pods came out wrong, for example %s", len(bad), bad[0])
	}
	if seen["1-30"] == 0 || seen["1-31"] == 0 {
		t.Errorf("the test saw only %v", seen)
	}
	t.Logf("pods by revision: %v", seen)
}
