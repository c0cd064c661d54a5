package lab

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/test/lab/labtest"
)

const pacedRollout = `apiVersion: meshlift.dev/v1alpha1
kind: DataPlaneRollout
metadata: {name: paced}
spec:
  upgrade: 1-30-to-1-31
  parallelism: 0
  parallelismPerNamespace: 2
  maxPods: 4
  failurePolicy: MoveBack
  waves:
  - name: canary
    podSelector: {matchExpressions: [{key: app, operator: In, values: [cart, tight]}]}
    soak: 4s
`

// restNames are the Deployments of namespace shop that no wave of the paced rollout selects.
func restNames() []string { return []string{"catalog", "payment", "slow"} }

// TestPace takes one rollout through what a careful operator does: a freeze holds it and is lifted; a canary that is not
// ready in time is moved back by itself, gets more time, and is tried again, while Helm upgrades the agent from its packaged chart;
// the rest follows after the soak, within its budgets; and two workloads move back in a freeze.
func TestPace(t *testing.T) {
	t.Parallel()
	c := withAgent(t, "pace", nil)
	namespace(t, c.Lab, "shop", map[string]string{"istio.io/rev": oldRev})
	c.create(t, deployment("shop", "cart", 2))
	c.create(t, deployment("shop", "tight", 1, func(d *appsv1.Deployment) {
		d.Annotations = map[string]string{v1alpha1.TimeoutAnnotation: "2s"}
		d.Spec.Template.Annotations = map[string]string{"lab.meshlift.dev/ready-delay": "6s"}
	}))
	for _, name := range restNames() {
		c.create(t, deployment("shop", name, 2, func(d *appsv1.Deployment) {
			if name == "slow" {
				d.Spec.MinReadySeconds = 3
			}
		}))
	}
	c.ok(t, "upgrade", "start", "--to", "1.31", "--yes")
	c.reached(t, upgrade, v1alpha1.ConditionEnvoyFiltersHandled)
	c.eachOn(t, oldRev, append(restNames(), "cart")...)
	c.expect(t, "tight", oldRev, 1)
	c.exampleIsTaken(t)
	c.wrongPaceIsRefused(t)
	most := c.inMotion(t)

	t.Run("a freeze of the cluster holds it, and says so", c.freezeHolds)
	t.Run("a canary that fails is moved back by itself, and the rest waits", c.canaryFails)
	t.Run("tried again with more time, it moves, and the rest after the soak, although Helm upgrades the agent in between", func(t *testing.T) {
		c.Kubectl(t, nil, "-n", "shop", "annotate", "deployment", "tight", v1alpha1.TimeoutAnnotation+"-")
		c.ok(t, "rollout", "retry")
		upgraded := c.upgradeAgent(t)
		if r := c.paced(t); r.Status.CompletedAt != nil {
			t.Errorf("the rollout was over at %s, before the agent was upgraded", r.Status.CompletedAt)
		}
		upgraded()
		c.complete(t)
		for name, templates := range map[string]int{"cart": 2, "catalog": 2, "payment": 2, "slow": 2, "tight": 3} { // tight was tried twice
			if n := c.replicaSets(t, "shop", name); n != templates {
				t.Errorf("%s has had %d pod templates, want %d", name, n, templates)
			}
		}
		c.eachOn(t, newRev, append(restNames(), "cart")...)
		c.expect(t, "tight", newRev, 1)
		c.paceWasKept(t)
	})
	if workloads, pods := most(); workloads != 2 || pods > 4 {
		t.Errorf("%d workloads with %d pods were in motion at the same time, want 2 workloads, as the budget allows, and at most 4 pods", workloads, pods)
	}
	t.Run("several move back in a freeze, their neighbour stays", func(t *testing.T) {
		c.freeze(t, v1alpha1.Freeze{Name: "incident"})
		c.ok(t, "rollout", "--back", "shop/cart", "shop/payment", "--no-prompt")
		c.eachOn(t, oldRev, "cart", "payment")
		c.eachOn(t, newRev, "catalog")
	})
}

// eachOn waits until both pods of each Deployment of namespace shop run on the revision.
func (c *cluster) eachOn(t *testing.T, revision string, names ...string) {
	t.Helper()
	for _, name := range names {
		c.expect(t, name, revision, 2)
	}
}

func (c *cluster) freezeHolds(t *testing.T) {
	c.freeze(t, v1alpha1.Freeze{Name: "incident"})
	file := filepath.Join(t.TempDir(), "rollout.yaml")
	if err := os.WriteFile(file, []byte(pacedRollout), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := c.ok(t, "rollout", "-f", file, "--dry-run")
	for _, says := range []string{"Wave 1 canary", "then it soaks for 4s", `no move starts in the freeze "incident"`} {
		if !strings.Contains(plan, says) {
			t.Errorf("the plan does not say %q:\n%s", says, plan)
		}
	}
	c.ok(t, "rollout", "-f", file, "--no-prompt", "--detach")
	labtest.Eventually(t, "the rollout says that the freeze holds it", func(context.Context) string {
		r := c.paced(t)
		if s := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionComplete); s == nil || !strings.Contains(s.Message, `freeze "incident"`) {
			return r.Status.Progress
		}
		return ""
	})
	c.eachOn(t, oldRev, append(restNames(), "cart")...)
	c.freeze(t)
}

func (c *cluster) canaryFails(t *testing.T) {
	labtest.Eventually(t, "tight was moved back and waits for a decision", func(context.Context) string {
		r := c.paced(t)
		if len(r.Status.Failures) != 1 || r.Status.Failures[0].Name != "tight" || r.Status.Failures[0].Reason != v1alpha1.FailureMovedBack || r.Status.Counts.Done == 0 {
			return r.Status.Progress
		}
		return ""
	})
	c.expect(t, "tight", oldRev, 1)
	c.eachOn(t, newRev, "cart")
	c.eachOn(t, oldRev, restNames()...)
}

// inMotion watches the Deployments of namespace shop, and counts how many of them were at the same time between the change
// of their template and the end of their update, and how many pods those have. Moves back of what failed count too.
func (c *cluster) inMotion(t *testing.T) (most func() (workloads, pods int)) {
	t.Helper()
	w, err := c.Client.Watch(t.Context(), &appsv1.DeploymentList{}, client.InNamespace("shop"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	type count struct{ workloads, pods int }
	peak := make(chan count, 1)
	peak <- count{}
	go func() {
		moving := map[string]int{}
		for e := range w.ResultChan() {
			d, ok := e.Object.(*appsv1.Deployment)
			if !ok {
				continue
			}
			delete(moving, d.Name)
			want, s := *d.Spec.Replicas, d.Status
			if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > s.UpdatedReplicas {
				moving[d.Name] = int(want)
			}
			p := <-peak
			pods := 0
			for _, n := range moving {
				pods += n
			}
			peak <- count{max(p.workloads, len(moving)), max(p.pods, pods)}
		}
	}()
	return func() (int, int) {
		p := <-peak
		peak <- p
		return p.workloads, p.pods
	}
}

func (c *cluster) paced(t *testing.T) *v1alpha1.DataPlaneRollout {
	t.Helper()
	r := &v1alpha1.DataPlaneRollout{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Name: "paced"}, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// freeze sets the freezes of the cluster.
func (c *cluster) freeze(t *testing.T, freezes ...v1alpha1.Freeze) {
	t.Helper()
	labtest.Eventually(t, "set the freezes of the cluster", func(ctx context.Context) string {
		cp := &v1alpha1.ControlPlane{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil {
			return err.Error()
		}
		cp.Spec.Freezes = freezes
		if err := c.Client.Update(ctx, cp); err != nil {
			return err.Error()
		}
		return ""
	})
}

// exampleIsTaken has the schema and admission look at the example of docs/rollout.md; nothing is stored.
func (c *cluster) exampleIsTaken(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Root, "examples", "rollout.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r := &v1alpha1.DataPlaneRollout{}
	if err := yaml.UnmarshalStrict(b, r); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Create(t.Context(), r, client.DryRunAll); err != nil {
		t.Errorf("the example is refused: %v", err)
	}
}

// wrongPaceIsRefused: by the schema or by admission, whichever sees it first.
func (c *cluster) wrongPaceIsRefused(t *testing.T) {
	t.Helper()
	for says, spec := range map[string]v1alpha1.DataPlaneRolloutSpec{
		`is not a schedule`:               {Windows: []v1alpha1.Window{{Schedule: "0 25 * * SAT", Duration: metav1.Duration{Duration: time.Hour}}}},
		`there is no time zone "Nowhere"`: {Windows: []v1alpha1.Window{{Schedule: "0 2 * * *", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "Nowhere"}}},
		`a wave must select something`:    {Waves: []v1alpha1.Wave{{Name: "empty"}}},
	} {
		spec.Upgrade = upgrade
		r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "wrong"}, Spec: spec}
		if err := c.Client.Create(t.Context(), r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// paceWasKept reads from the records of the moves that the waves were in order and soaked, and that "moved" waited for
// minReadySeconds.
func (c *cluster) paceWasKept(t *testing.T) {
	t.Helper()
	r := c.paced(t)
	if len(r.Status.Waves) != 2 || r.Status.Waves[0].CompletedAt == nil || r.Status.CompletedAt == nil {
		t.Fatalf("status %+v", r.Status)
	}
	soaked := r.Status.Waves[0].CompletedAt.Add(4 * time.Second)
	for _, name := range restNames() {
		d := &appsv1.Deployment{}
		if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, d); err != nil {
			t.Fatal(err)
		}
		var m mesh.Move
		if err := json.Unmarshal([]byte(d.Annotations[v1alpha1.MoveAnnotation]), &m); err != nil {
			t.Fatal(err)
		}
		if m.Started.Before(soaked) {
			t.Errorf("%s started at %s, before the soak of the canary ended at %s", name, m.Started, soaked)
		}
	}
	pods := &corev1.PodList{}
	if err := c.Client.List(t.Context(), pods, client.InNamespace("shop"), client.MatchingLabels{"app": "slow"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		for _, cond := range p.Status.Conditions {
			if earliest := cond.LastTransitionTime.Add(3 * time.Second); cond.Type == corev1.PodReady && r.Status.CompletedAt.Time.Before(earliest) {
				t.Errorf("complete at %s, but %s was available only at %s", r.Status.CompletedAt, p.Name, earliest)
			}
		}
	}
}
