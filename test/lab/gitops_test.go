package lab

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// writer writes the same objects again and again, as GitOps and operators do.
type writer struct {
	rounds atomic.Int64
	failed atomic.Pointer[error]
}

// gitopsInterval and operatorInterval are how long writers wait: one comes by, the other watches and answers at once.
const (
	gitopsInterval   = 500 * time.Millisecond
	operatorInterval = 20 * time.Millisecond
)

// every runs write again and again until the test ends.
func every(t *testing.T, interval time.Duration, write func(context.Context) error) *writer {
	w := &writer{}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := write(ctx); err != nil && ctx.Err() == nil {
				w.failed.Store(&err)
			}
			w.rounds.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(interval):
			}
		}
	}()
	return w
}

// again waits until the writer has written everything so many times more.
func (w *writer) again(t *testing.T, rounds int64) {
	t.Helper()
	before := w.rounds.Load()
	labtest.Eventually(t, "the writer goes on", func(context.Context) string {
		if now := w.rounds.Load(); now < before+rounds {
			return fmt.Sprintf("%d rounds since", now-before)
		}
		return ""
	})
	if err := w.failed.Load(); err != nil {
		t.Fatalf("the writer: %v", *err)
	}
}

// manifest is what `kubectl apply` reads.
type manifest struct{ text atomic.Pointer[string] }

func manifestOf(t *testing.T, objects ...client.Object) *manifest {
	t.Helper()
	m := &manifest{}
	m.set(t, objects...)
	return m
}

func (m *manifest) set(t *testing.T, objects ...client.Object) {
	t.Helper()
	text := ""
	for _, o := range objects {
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text += "---\n" + string(b)
	}
	m.text.Store(&text)
}

// apply returns a function that applies the manifest with kubectl.
func (c *cluster) apply(m *manifest, flags ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		args := append([]string{"kubectl", "--kubeconfig", c.Kubeconfig, "apply", "-f", "-"}, flags...)
		cmd := exec.CommandContext(ctx, filepath.Join(c.Root, ".lab", "bin", "kube"), args...)
		cmd.Stdin = strings.NewReader(*m.text.Load())
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("kubectl apply: %w: %s", err, out.String())
		}
		return nil
	}
}

// operator puts the Deployment's template back by an update whenever it differs; a thorough one takes foreign annotations away too.
func (c *cluster) operator(wanted *appsv1.Deployment, thorough bool) func(context.Context) error {
	return func(ctx context.Context) error {
		d := &appsv1.Deployment{}
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(wanted), d); err != nil {
			return err
		}
		_, moved := d.Annotations[v1alpha1.MoveAnnotation]
		if maps.Equal(d.Spec.Template.Labels, wanted.Spec.Template.Labels) && (!thorough || !moved) {
			return nil
		}
		d.Spec.Template.Labels = maps.Clone(wanted.Spec.Template.Labels)
		if thorough {
			delete(d.Annotations, v1alpha1.MoveAnnotation)
		}
		return client.IgnoreNotFound(ignoreConflict(c.Client.Update(ctx, d, client.FieldOwner("operator"))))
	}
}

func ignoreConflict(err error) error {
	if err != nil && strings.Contains(err.Error(), "the object has been modified") {
		return nil
	}
	return err
}

// typed gives a Deployment the kind that manifests need.
func typed(d *appsv1.Deployment) *appsv1.Deployment {
	d.APIVersion, d.Kind = "apps/v1", "Deployment"
	return d
}

func statefulSet(namespace, name string, replicas int32) *appsv1.StatefulSet {
	d := deployment(namespace, name, replicas)
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: d.ObjectMeta,
		Spec:       appsv1.StatefulSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template, ServiceName: name},
	}
}

// pinnedGateway is a gateway as the gateway chart renders it, in a namespace that says nothing about injection.
func pinnedGateway(namespace, name, revision string) *appsv1.Deployment {
	return typed(deployment(namespace, name, 2, func(d *appsv1.Deployment) {
		d.Spec.Template.Labels = map[string]string{"app": name, "istio": "ingressgateway", "sidecar.istio.io/inject": "true", "istio.io/rev": revision}
		d.Spec.Template.Annotations = map[string]string{"inject.istio.io/templates": "gateway"}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "istio-proxy", Image: "auto"}}
	}))
}

// allOn waits until all pods of the app are on the revision and none is of another.
func (c *cluster) allOn(t *testing.T, namespace, app, revision string, n int) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("the pods of %s/%s run on %s", namespace, app, revision), func(ctx context.Context) string {
		pods := &corev1.PodList{}
		if err := c.Client.List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
			return err.Error()
		}
		on := map[string]int{}
		for i := range pods.Items {
			if p := &pods.Items[i]; p.DeletionTimestamp == nil {
				on[injectedBy(p)]++
			}
		}
		if on[revision] != n || len(on) != 1 {
			return fmt.Sprint(on)
		}
		return ""
	})
}

// uids are those of the pods of an app that are not terminating.
func (c *cluster) uids(t *testing.T, namespace, app string) map[types.UID]bool {
	t.Helper()
	pods := &corev1.PodList{}
	if err := c.Client.List(t.Context(), pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
		t.Fatal(err)
	}
	out := map[types.UID]bool{}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			out[pods.Items[i].UID] = true
		}
	}
	return out
}

// TestMovesHoldAgainstWritersWhoComeBack moves workloads that somebody else writes again all the time.
func TestMovesHoldAgainstWritersWhoComeBack(t *testing.T) {
	t.Parallel()
	c := withAgent(t, "gitops", nil, "--workloads", "gateway,rollouts")
	namespace(t, c.Lab, "shop", map[string]string{"istio.io/rev": oldRev})
	namespace(t, c.Lab, "ops", map[string]string{"istio.io/rev": oldRev})
	namespace(t, c.Lab, "edge", nil)
	client3 := every(t, gitopsInterval, c.apply(manifestOf(t, typed(deployment("shop", "csa", 2)), statefulSet("shop", "csa-set", 2))))
	server := every(t, gitopsInterval, c.apply(manifestOf(t, typed(deployment("shop", "ssa", 2)), statefulSet("shop", "ssa-set", 2)), "--server-side", "--force-conflicts", "--field-manager=gitops"))
	apps := []string{"csa", "csa-set", "ssa", "ssa-set"}
	for _, name := range apps {
		c.allOn(t, "shop", name, oldRev, 2)
	}
	c.ok(t, "upgrade", "start", "--to", "1.31", "--yes")
	c.reached(t, upgrade, v1alpha1.ConditionEnvoyFiltersHandled)

	t.Run("what is applied again and again moves once, and back", func(t *testing.T) {
		for _, to := range []string{newRev, oldRev} {
			args := []string{"rollout", "shop", "--no-prompt"}
			if to == oldRev {
				args = append(args, "--back")
			}
			c.ok(t, args...)
			pods := map[string]map[types.UID]bool{}
			for _, name := range apps {
				c.allOn(t, "shop", name, to, 2)
				pods[name] = c.uids(t, "shop", name)
			}
			client3.again(t, 4)
			server.again(t, 4)
			for _, name := range apps {
				if now := c.uids(t, "shop", name); !maps.Equal(now, pods[name]) {
					t.Errorf("%s on %s: its pods were replaced once more", name, to)
				}
			}
			for _, name := range []string{"csa", "ssa"} {
				if n := c.replicaSets(t, "shop", name); n != 2 {
					t.Errorf("%s has had %d pod templates, want 2", name, n)
				}
			}
		}
	})
	t.Run("a gateway whose manifest names its revision is moved by its manifest", func(t *testing.T) { c.manifestPins(t) })
	t.Run("a gateway that Helm has installed moves although the chart names its revision", func(t *testing.T) {
		c.ok(t, "rollout", "istio-ingress", "--no-prompt")
		c.allOn(t, "istio-ingress", "istio-ingressgateway", newRev, 1)
	})
	for name, thorough := range map[string]bool{"db": false, "db-thorough": true} {
		t.Run("an operator that reverts the move is not fought: its pods get their revision at admission: "+name, func(t *testing.T) { c.operatorReverts(t, name, thorough) })
	}
	t.Run("a PodDisruptionBudget holds a claimed workload", func(t *testing.T) { c.claimKeepsBudget(t) })
	t.Run("Rollouts of Argo move without their canary steps, and back", func(t *testing.T) { c.argoMoves(t) })

	c.ok(t, "rollout", "--no-prompt")
	c.reached(t, upgrade, v1alpha1.ConditionDataPlanesMoved)
	c.ok(t, "decommission", "--soak", "1s", "--yes", "--wait")
	c.leftClean(t, newRev)
	for _, app := range []string{"db", "db-thorough"} {
		c.allOn(t, "ops", app, newRev, 2)
	}
}

func (c *cluster) manifestPins(t *testing.T) {
	for name, flags := range map[string][]string{"csa": nil, "ssa": {"--server-side", "--force-conflicts", "--field-manager=gitops"}} {
		m := manifestOf(t, pinnedGateway("edge", name, oldRev))
		w := every(t, gitopsInterval, c.apply(m, flags...))
		c.allOn(t, "edge", name, oldRev, 2)
		r := c.CLI(t, "rollout", "edge/Deployment/"+name, "--no-prompt")
		if said := r.Stdout + r.Stderr; r.Code != 4 || !strings.Contains(said, "names istio.io/rev=1-30") || !strings.Contains(said, "change it there to 1-31") {
			t.Fatalf("exit code %d\n%s", r.Code, said)
		}
		w.again(t, 4)
		if n := c.replicaSets(t, "edge", name); n != 1 {
			t.Errorf("%s: the pod template was touched", name)
		}
		m.set(t, pinnedGateway("edge", name, newRev))
		c.allOn(t, "edge", name, newRev, 2)
		c.complete(t)
		w.again(t, 4)
		if n := c.replicaSets(t, "edge", name); n != 2 {
			t.Errorf("%s has had %d pod templates, want 2", name, n)
		}
	}
}

// operatorReverts moves a Deployment whose owner puts its pod template back at once: after one try by the template, by a claim.
func (c *cluster) operatorReverts(t *testing.T, name string, thorough bool) {
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: name}}
	c.create(t, owner)
	d := deployment("ops", name, 2, func(d *appsv1.Deployment) {
		// Longer than an operator takes to answer on a busy machine: simulated pods are ready at once, and a move that is over before
		// anybody reverts it is another story.
		d.Spec.MinReadySeconds = 2
		d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: owner.UID, Controller: ptr.To(true)}}
	})
	c.create(t, d)
	c.allOn(t, "ops", name, oldRev, 2)
	w := every(t, operatorInterval, c.operator(deployment("ops", name, 2), thorough))
	for _, to := range []string{newRev, oldRev, newRev} {
		args := []string{"rollout", "ops/Deployment/" + name, "--no-prompt"}
		if to == oldRev {
			args = append(args, "--back")
		}
		c.ok(t, args...)
		c.allOn(t, "ops", name, to, 2)
		pods := c.uids(t, "ops", name)
		w.again(t, 100)
		if now := c.uids(t, "ops", name); !maps.Equal(now, pods) {
			t.Errorf("%s on %s: its pods were replaced once more", name, to)
		}
	}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
		t.Fatal(err)
	}
	// One for its creation, one for the move, one for the revert; fewer when the Deployment controller did not see the move.
	if got, err := strconv.Atoi(d.Annotations["deployment.kubernetes.io/revision"]); err != nil || got > 3 {
		t.Errorf("%s has had %d pod templates one after the other, want at most 3", name, got)
	}
}
