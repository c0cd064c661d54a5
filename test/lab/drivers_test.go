package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// subject is one kind of workload with one way of replacing its pods. There are two of it: one is moved, the other is its
// neighbour and stays.
type subject struct {
	name string
	// make returns the workload.
	make func(name string) client.Object
	// pods that it has when it is complete.
	pods int
	// evicted tells whether Meshlift replaces the pods itself, so that PodDisruptionBudgets hold.
	evicted bool
}

func (s subject) kind() string {
	return s.make("x").GetObjectKind().GroupVersionKind().Kind
}

func (s subject) target() string { return "shop/" + s.kind() + "/" + s.name }

func (s subject) neighbour() string { return s.name + "-stays" }

// subjects are all drivers of package restart, each in the variants that it treats differently.
func subjects() []subject {
	sets := func(change ...func(*appsv1.StatefulSet)) func(string) client.Object {
		return func(name string) client.Object {
			d := deployment("shop", name, 3)
			s := &appsv1.StatefulSet{
				TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: d.ObjectMeta,
				Spec: appsv1.StatefulSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template},
			}
			for _, f := range change {
				f(s)
			}
			return s
		}
	}
	daemons := func(strategy appsv1.DaemonSetUpdateStrategyType) func(string) client.Object {
		return func(name string) client.Object {
			d := deployment("shop", name, 1)
			return &appsv1.DaemonSet{
				TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"}, ObjectMeta: d.ObjectMeta,
				Spec: appsv1.DaemonSetSpec{Selector: d.Spec.Selector, Template: d.Spec.Template, UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: strategy}},
			}
		}
	}
	deployments := func(replicas int32, change ...func(*appsv1.Deployment)) func(string) client.Object {
		return func(name string) client.Object {
			d := deployment("shop", name, replicas, change...)
			d.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
			return d
		}
	}
	return []subject{
		{name: "deployment", make: deployments(3), pods: 3},
		{name: "recreated", make: deployments(2, func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType }), pods: 2},
		{name: "idle", make: deployments(0)},
		{name: "idle-paused", make: deployments(0, func(d *appsv1.Deployment) { d.Spec.Paused = true })},
		{name: "own-proxy", make: deployments(1, func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"sidecar.istio.io/proxyImage": "docker.io/istio/proxyv2:1.29.0"}
		}), pods: 1},
		{name: "native-sidecar", make: deployments(1, func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "true"}
		}), pods: 1},
		{name: "set", make: sets(), pods: 3},
		{name: "set-partition", make: sets(func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To[int32](2)}
		}), pods: 3},
		{name: "set-on-delete", make: sets(func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
		}), pods: 3, evicted: true},
		{name: "daemons", make: daemons(appsv1.RollingUpdateDaemonSetStrategyType), pods: simNodes},
		{name: "daemons-on-delete", make: daemons(appsv1.OnDeleteDaemonSetStrategyType), pods: simNodes, evicted: true},
		{name: "replicas", make: func(name string) client.Object {
			d := deployment("shop", name, 2)
			return &appsv1.ReplicaSet{
				TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: d.ObjectMeta,
				Spec: appsv1.ReplicaSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template},
			}
		}, pods: 2, evicted: true},
		{name: "nightly", make: func(name string) client.Object {
			d := deployment("shop", name, 1)
			d.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
			return &batchv1.CronJob{
				TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"}, ObjectMeta: d.ObjectMeta,
				Spec: batchv1.CronJobSpec{Schedule: "0 3 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: d.Spec.Template}}},
			}
		}},
	}
}

// simNodes is how many nodes the lab of the drivers has for DaemonSets.
const simNodes = 3

// TestEveryDriverKeepsTheContract moves one workload of every kind in every way that Meshlift knows, in one cluster, and
// holds each to the same promises.
func TestEveryDriverKeepsTheContract(t *testing.T) {
	t.Parallel()
	c := withAgent(t, "drivers", []string{"--set", "replicas=1", "--set", "extraArgs={--leader-elect-lease-duration=2s}"}, "--workloads", "grpc", "--nodes", fmt.Sprint(simNodes))
	namespace(t, c.Lab, "shop", map[string]string{"istio.io/rev": oldRev})
	all := subjects()
	for _, s := range all {
		c.create(t, s.make(s.name))
		c.create(t, s.make(s.neighbour()))
	}
	before := map[string]string{}
	for _, s := range all {
		c.on(t, s, s.name, oldRev)
		c.on(t, s, s.neighbour(), oldRev)
		before[s.name] = c.spec(t, s, s.name)
	}
	c.ok(t, "upgrade", "start", "--to", "1.31", "--yes", "--wait")
	c.reached(t, upgrade, v1alpha1.ConditionEnvoyFiltersHandled)

	t.Run("a refused rehearsal touches nothing", func(t *testing.T) { c.rehearsalsRefuse(t, all, before) })
	t.Run("each moves once, although the agent is killed, and its neighbour stays", func(t *testing.T) { c.driversMove(t, all) })
	t.Run("pods that restart by chance stay where their workload is", func(t *testing.T) { c.restartByChance(t, all) })
	t.Run("each moves back to what it was", func(t *testing.T) { c.driversMoveBack(t, all, before) })
	t.Run("evictions keep a PodDisruptionBudget, and say so", func(t *testing.T) { c.budgetsHold(t, all) })
	t.Run("what an owner holds back is not shipped", func(t *testing.T) { c.heldBack(t) })
	t.Run("a bare pod is evicted only when it is named", func(t *testing.T) { c.barePod(t) })
	t.Run("a Deployment that is scaled while it moves is moved whole", func(t *testing.T) { c.scaledWhileMoving(t) })
	t.Run("pods that nobody injected are left alone", func(t *testing.T) { c.leftAlone(t) })
	t.Run("gRPC clients and servers move under traffic", func(t *testing.T) { c.ok(t, "rollout", "grpc", "--no-prompt") })
	if n := c.Traffic(t); n.Failed != 0 || n.Calls == 0 {
		t.Errorf("%d of %d calls failed", n.Failed, n.Calls)
	}
}

// pods of a workload that are not ending, by UID, with the revision that injected each.
func (c *cluster) podsOf(ctx context.Context, name string) (map[string]string, error) {
	list := &corev1.PodList{}
	if err := c.Client.List(ctx, list, client.InNamespace("shop"), client.MatchingLabels{"app": name}); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for n := range list.Items {
		if p := &list.Items[n]; p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			out[string(p.UID)] = injectedBy(p)
		}
	}
	return out, nil
}

// on waits until a workload has all of its pods, and each was injected by the revision.
func (c *cluster) on(t *testing.T, s subject, name, revision string) {
	t.Helper()
	labtest.Eventually(t, "pods of "+name+" run on "+revision, func(ctx context.Context) string {
		pods, err := c.podsOf(ctx, name)
		if err != nil {
			return err.Error()
		}
		if got := slices.Collect(maps.Values(pods)); !slices.Equal(got, only(revision, s.pods)) {
			return fmt.Sprintf("they run on %v", got)
		}
		return ""
	})
}

// spec is what a workload's owner wrote, without what Meshlift keeps beside it.
func (c *cluster) spec(t *testing.T, s subject, name string) string {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(s.make(name).GetObjectKind().GroupVersionKind())
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, u); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(u.Object["spec"], "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func targets(all []subject) []string {
	var out []string
	for _, s := range all {
		out = append(out, s.target())
	}
	return out
}

func (c *cluster) rehearsalsRefuse(t *testing.T, all []subject, before map[string]string) {
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "full"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: *zero()}}}
	c.create(t, quota)
	labtest.Eventually(t, "the quota is enforced", func(ctx context.Context) string {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil || quota.Status.Hard == nil {
			return "no status"
		}
		return ""
	})
	r := c.CLI(t, append([]string{"rollout", "--no-prompt", "--failure-policy", "Continue"}, targets(all)...)...)
	if r.Code != 4 || strings.Count(r.Stdout, "exceeded quota") < len(all) {
		t.Errorf("a rollout against the quota: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, s := range all {
		if diff := cmp.Diff(before[s.name], c.spec(t, s, s.name)); diff != "" {
			t.Errorf("%s was touched:\n%s", s.name, diff)
		}
	}
	if err := c.Client.Delete(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	c.complete(t)
}

// births tells which pods every workload has from now on until the test ends, in the order in which they were seen.
func (c *cluster) births(t *testing.T) func(name string) []string {
	t.Helper()
	w, err := c.Client.Watch(t.Context(), &corev1.PodList{}, client.InNamespace("shop"))
	if err != nil {
		t.Fatal(err)
	}
	born := make(chan map[string][]string, 1)
	born <- map[string][]string{}
	go func() {
		seen := map[types.UID]bool{}
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && !seen[p.UID] {
				seen[p.UID] = true
				m := <-born
				app := p.Labels["app"]
				m[app] = append(m[app], fmt.Sprintf("%s injected by %s, created %s, seen %s, %s, labels %v", p.Name, injectedBy(p), p.CreationTimestamp.UTC().Format(time.TimeOnly), e.Type, p.Status.Phase, p.Labels))
				born <- m
			}
		}
	}()
	t.Cleanup(w.Stop)
	return func(name string) []string {
		m := <-born
		defer func() { born <- m }()
		return slices.Clone(m[name])
	}
}

func (c *cluster) driversMove(t *testing.T, all []subject) {
	pods := c.births(t)
	c.ok(t, append([]string{"rollout", "--no-prompt", "--detach", "--parallelism", "4"}, targets(all)...)...)
	labtest.Eventually(t, "the first pods have moved", func(ctx context.Context) string {
		list := &corev1.PodList{}
		if err := c.Client.List(ctx, list, client.InNamespace("shop"), client.MatchingLabels{v1alpha1.RevisionLabel: newRev}); err != nil || len(list.Items) == 0 {
			return fmt.Sprintf("none, %v", err)
		}
		return ""
	})
	(&chaos{cluster: c}).kill(t.Context())
	for _, s := range all {
		c.on(t, s, s.name, newRev)
	}
	c.complete(t)
	for _, s := range all {
		c.on(t, s, s.neighbour(), oldRev)
		// The watch began with the pods that were there: each of them, and one for each.
		if all := pods(s.name); len(all) != 2*s.pods {
			t.Errorf("%s had %d pods from before its move until after it, want %d, because each is replaced once:\n%s", s.name, len(all), 2*s.pods, strings.Join(all, "\n"))
		}
		if all := pods(s.neighbour()); len(all) != s.pods {
			t.Errorf("%s had %d pods, want %d, because it must not be touched:\n%s", s.neighbour(), len(all), s.pods, strings.Join(all, "\n"))
		}
	}
	if s := all[slices.IndexFunc(all, func(s subject) bool { return s.name == "set-partition" })]; !strings.Contains(c.spec(t, s, s.name), `"partition": 2`) {
		t.Errorf("the partition was not given back:\n%s", c.spec(t, s, s.name))
	}
	c.nextRun(t, "nightly", newRev)
	c.nextRun(t, "nightly-stays", oldRev)
}

// nextRun starts a CronJob by hand, as "kubectl create job --from" does, and looks at the pod of the run.
func (c *cluster) nextRun(t *testing.T, name, revision string) {
	t.Helper()
	job := name + "-by-hand"
	c.Kubectl(t, nil, "-n", "shop", "create", "job", job, "--from=cronjob/"+name)
	labtest.Eventually(t, "the run of "+name+" is injected by "+revision, func(ctx context.Context) string {
		list := &corev1.PodList{}
		if err := c.Client.List(ctx, list, client.InNamespace("shop"), client.MatchingLabels{"batch.kubernetes.io/job-name": job}); err != nil || len(list.Items) == 0 {
			return fmt.Sprintf("no pod, %v", err)
		}
		if got := injectedBy(&list.Items[0]); got != revision {
			return "injected by " + got
		}
		return ""
	})
}

func (c *cluster) restartByChance(t *testing.T, all []subject) {
	for _, s := range all {
		for _, name := range []string{s.name, s.neighbour()} {
			list := &corev1.PodList{}
			if err := c.Client.List(t.Context(), list, client.InNamespace("shop"), client.MatchingLabels{"app": name}); err != nil {
				t.Fatal(err)
			}
			for n := range list.Items {
				if list.Items[n].Status.Phase == corev1.PodRunning {
					if err := c.Client.Delete(t.Context(), &list.Items[n], client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
						t.Fatal(err)
					}
					break
				}
			}
		}
	}
	for _, s := range all {
		c.on(t, s, s.name, newRev)
		c.on(t, s, s.neighbour(), oldRev)
	}
}

func (c *cluster) driversMoveBack(t *testing.T, all []subject, before map[string]string) {
	c.ok(t, append([]string{"rollout", "--back", "--no-prompt"}, targets(all)...)...)
	for _, s := range all {
		c.on(t, s, s.name, oldRev)
		if diff := cmp.Diff(before[s.name], c.spec(t, s, s.name)); diff != "" {
			t.Errorf("%s is not as it was:\n%s", s.name, diff)
		}
	}
}
