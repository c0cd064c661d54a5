package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/test/lab/labtest"
)

const (
	oldRev  = "1-30"
	newRev  = "1-31"
	upgrade = "1-30-to-1-31"
)

func only(revision string, n int) []string { return slices.Repeat([]string{revision}, n) }

// expect waits until the Deployment has exactly so many pods on the revision and none on another.
func (c *cluster) expect(t *testing.T, name string, revision string, n int) {
	t.Helper()
	labtest.Eventually(t, "pods of shop/"+name+" run on "+revision, func(context.Context) string {
		if got := c.revisions(t, "shop", name); !slices.Equal(got, only(revision, n)) {
			return fmt.Sprintf("they run on %v", got)
		}
		return ""
	})
}

// complete waits until no rollout is going on.
func (c *cluster) complete(t *testing.T) {
	t.Helper()
	labtest.Eventually(t, "every rollout is complete", func(ctx context.Context) string {
		list := &v1alpha1.DataPlaneRolloutList{}
		if err := c.Client.List(ctx, list); err != nil {
			return err.Error()
		}
		for _, r := range list.Items {
			if !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionComplete) {
				return r.Name + ": " + r.Status.Progress
			}
		}
		return ""
	})
}

// TestMoves walks one cluster through everything that happens to data planes short of the decommission, which it then
// refuses for every single user, and at last carries out. Most of it is done as people do it who have no binary at hand: by the
// command line in the agent's pod, with the rights of the agent.
func TestMoves(t *testing.T) {
	t.Parallel()
	c := withAgent(t, "moves", nil, "--workloads", "gateway")
	c.ambient(t)
	namespace(t, c.Lab, "shop", map[string]string{"istio.io/rev": oldRev})
	for _, name := range []string{"cart", "catalog", "payment"} {
		c.create(t, deployment("shop", name, 2))
	}
	for _, name := range []string{"cart", "catalog", "payment"} {
		c.expect(t, name, oldRev, 2)
	}
	t.Run("sidecars are configured, for all namespaces and for one", func(t *testing.T) { c.sidecarsAreConfigured(t) })
	c.inPod(t, "upgrade", "start", "--to", "1.31", "--yes")
	t.Run("sidecars are not configured in the middle of an upgrade", func(t *testing.T) { c.sidecarsAreFrozen(t) })

	t.Run("data planes do not move before the EnvoyFilters are acknowledged", func(t *testing.T) { c.envoyFilters(t) })
	c.reached(t, upgrade, v1alpha1.ConditionEnvoyFiltersHandled)

	t.Run("one Deployment moves, its neighbours stay even when their pods restart, and it moves back", func(t *testing.T) { c.oneMovesAlone(t) })
	t.Run("a move that fails stops, shows the events of its pods, and goes on when its owner repairs it", func(t *testing.T) { c.failsAndIsRepaired(t) })
	t.Run("a move that the rehearsal refuses touches nothing, and is retried", func(t *testing.T) { c.rehearsalRefuses(t) })
	t.Run("a gateway that replaces its pod first is surged and gets its strategy back", func(t *testing.T) { c.gatewaySurges(t) })
	t.Run("a Gateway of the Gateway API and a waypoint move by their label, and back", func(t *testing.T) { c.gatewayAPI(t) })
	t.Run("a handover that somebody destroys is repaired", func(t *testing.T) { c.handoverIsRepaired(t) })

	c.inPod(t, "rollout", "--no-prompt")
	c.reached(t, upgrade, v1alpha1.ConditionDataPlanesMoved)
	c.decommissionIsRefused(t)
	c.inPod(t, "decommission", "--soak", "1s", "--yes", "--wait")
	c.reached(t, upgrade, v1alpha1.ConditionReady)
	c.leftClean(t, newRev)
	c.inPod(t, "status")
	t.Run("a configuration of sidecars that is taken out leaves what was there before it", func(t *testing.T) { c.sidecarsComeBack(t) })
}

func (c *cluster) envoyFilters(t *testing.T) {
	filter := `{"apiVersion":"networking.istio.io/v1alpha3","kind":"EnvoyFilter","metadata":{"name":"lua","namespace":"shop"},
		"spec":{"configPatches":[{"applyTo":"HTTP_FILTER","match":{"context":"SIDECAR_INBOUND"},"patch":{"operation":"INSERT_FIRST","value":{"name":"x"}}}]}}`
	c.Kubectl(t, strings.NewReader(filter), "apply", "-f", "-")
	c.reached(t, upgrade, v1alpha1.ConditionControlPlaneReady)
	labtest.Eventually(t, "the EnvoyFilter is listed", func(context.Context) string {
		if u := c.upgrade(t, upgrade); len(u.Status.EnvoyFilters) != 1 {
			return "not yet"
		}
		return ""
	})
	r := c.CLI(t, "rollout", "--no-prompt")
	if r.Code != 3 || !strings.Contains(r.Stdout+r.Stderr, "shop/lua") || !strings.Contains(r.Stdout+r.Stderr, "meshlift envoyfilters ack") {
		t.Errorf("a rollout before the acknowledgement: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	c.inPod(t, "envoyfilters", "ack", "shop/lua", "--note", "checked by test")
}

func (c *cluster) oneMovesAlone(t *testing.T) {
	c.inPod(t, "rollout", "shop/Deployment/cart", "--no-prompt")
	c.expect(t, "cart", newRev, 2)
	c.expect(t, "catalog", oldRev, 2)
	for _, name := range []string{"cart", "catalog"} {
		c.restart(t, "shop", name)
	}
	c.expect(t, "cart", newRev, 2)
	c.expect(t, "catalog", oldRev, 2)
	c.inPod(t, "rollout", "shop/Deployment/cart", "--back", "--no-prompt")
	c.expect(t, "cart", oldRev, 2)
	if n := c.replicaSets(t, "shop", "cart"); n != 2 {
		t.Errorf("cart has %d ReplicaSets after a move and a move back, want the first one again", n)
	}
}

// change edits a Deployment with retries against other writers.
func (c *cluster) change(t *testing.T, name string, f func(*appsv1.Deployment)) {
	t.Helper()
	labtest.Eventually(t, "change "+name, func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, d); err != nil {
			return err.Error()
		}
		f(d)
		if err := c.Client.Update(ctx, d); err != nil {
			return err.Error()
		}
		return ""
	})
}

func (c *cluster) failsAndIsRepaired(t *testing.T) {
	d := deployment("shop", "stuck", 1, func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = new(int32) })
	*d.Spec.ProgressDeadlineSeconds = 2
	c.create(t, d)
	c.expect(t, "stuck", oldRev, 1)
	// From now on new pods never become ready; the pause keeps the change itself from restarting anything.
	mode := func(v string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"lab.meshlift.dev/mode": v}
			if v == "" {
				d.Spec.Template.Annotations = nil
			}
		}
	}
	c.change(t, "stuck", mode("never-ready"))
	r := c.CLI(t, "rollout", "shop/Deployment/stuck", "--no-prompt")
	if r.Code != 4 || !strings.Contains(r.Stdout+r.Stderr, "Readiness probe failed") {
		t.Errorf("a failing move: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	c.change(t, "stuck", mode(""))
	// Repaired by its owner, it becomes ready, and the rollout goes on without a retry.
	c.expect(t, "stuck", newRev, 1)
	c.complete(t)
}

func (c *cluster) rehearsalRefuses(t *testing.T) {
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: *zero()}},
	}
	c.create(t, quota)
	labtest.Eventually(t, "the quota is enforced", func(ctx context.Context) string {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil || quota.Status.Hard == nil {
			return "no status"
		}
		return ""
	})
	before := c.replicaSets(t, "shop", "payment")
	r := c.CLI(t, "rollout", "shop/Deployment/payment", "--no-prompt")
	if r.Code != 4 || !strings.Contains(r.Stdout+r.Stderr, "exceeded quota") {
		t.Errorf("a move against the quota: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if n := c.replicaSets(t, "shop", "payment"); n != before {
		t.Errorf("the pod template was changed although the rehearsal was refused")
	}
	c.expect(t, "payment", oldRev, 2)
	if err := c.Client.Delete(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	c.inPod(t, "rollout", "retry", "shop/Deployment/payment")
	c.expect(t, "payment", newRev, 2)
	c.complete(t)
}

func (c *cluster) gatewaySurges(t *testing.T) {
	zero, one := intstr.FromInt32(0), intstr.FromInt32(1)
	key := client.ObjectKey{Namespace: "istio-ingress", Name: "istio-ingressgateway"}
	d := &appsv1.Deployment{}
	if err := c.Client.Get(t.Context(), key, d); err != nil {
		t.Fatal(err)
	}
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &zero, MaxUnavailable: &one}
	if err := c.Client.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	available(t, c.Lab, key.Namespace, key.Name)
	least := make(chan int32, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { least <- c.leastAvailable(ctx, key) }()
	c.ok(t, "rollout", "istio-ingress", "--no-prompt")
	available(t, c.Lab, key.Namespace, key.Name)
	stop()
	if n := <-least; n < 1 {
		t.Errorf("the gateway had %d available pods at some moment", n)
	}
	labtest.Eventually(t, "the strategy is restored", func(ctx context.Context) string {
		if err := c.Client.Get(ctx, key, d); err != nil {
			return err.Error()
		}
		if r := d.Spec.Strategy.RollingUpdate; r.MaxSurge.IntValue() != 0 || r.MaxUnavailable.IntValue() != 1 {
			return r.String()
		}
		return ""
	})
}

// gatewayAPI moves what istiod itself renders: an ingress gateway and a waypoint.
func (c *cluster) gatewayAPI(t *testing.T) {
	for name, spec := range map[string]string{
		"web":      `{"gatewayClassName":"istio","listeners":[{"name":"http","port":80,"protocol":"HTTP"}]}`,
		"waypoint": `{"gatewayClassName":"istio-waypoint","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE"}]}`,
	} {
		c.Kubectl(t, strings.NewReader(`{"apiVersion":"gateway.networking.k8s.io/v1","kind":"Gateway","metadata":{"name":"`+name+`","namespace":"shop"},"spec":`+spec+`}`), "apply", "-f", "-")
		c.renderedBy(t, name, oldRev)
		c.ok(t, "rollout", "shop/Gateway/"+name, "--no-prompt")
		c.renderedBy(t, name, newRev)
		c.ok(t, "rollout", "shop/Gateway/"+name, "--back", "--no-prompt")
		c.renderedBy(t, name, oldRev)
	}
}

// renderedBy waits until a Gateway has one pod, and it is that of the revision.
func (c *cluster) renderedBy(t *testing.T, name, revision string) {
	t.Helper()
	labtest.Eventually(t, "Gateway "+name+" runs on "+revision, func(ctx context.Context) string {
		pods := &corev1.PodList{}
		if err := c.Client.List(ctx, pods, client.InNamespace("shop"), client.MatchingLabels{"gateway.networking.k8s.io/gateway-name": name}); err != nil {
			return err.Error()
		}
		if len(pods.Items) != 1 {
			return fmt.Sprintf("%d pods", len(pods.Items))
		}
		if got := pods.Items[0].Annotations["istio.io/rev"]; got != revision {
			return "it runs on " + got
		}
		return ""
	})
}

// ambient has istiod serve waypoints, by values that the next istiod gets too.
func (c *cluster) ambient(t *testing.T) {
	t.Helper()
	h, err := helm.New(helm.Options{REST: c.REST})
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Release(t.Context(), "istio-system", "istiod-"+oldRev)
	if err != nil {
		t.Fatal(err)
	}
	r.Values["pilot"] = map[string]any{"env": map[string]any{"PILOT_ENABLE_AMBIENT": "true"}}
	if err := h.Amend(t.Context(), release.Spec{Name: r.Name, Namespace: r.Namespace, Values: r.Values, Labels: r.Labels}); err != nil {
		t.Fatal(err)
	}
	available(t, c.Lab, r.Namespace, r.Name)
}

// leastAvailable watches a Deployment and returns the least number of available pods that it had.
func (c *cluster) leastAvailable(ctx context.Context, key client.ObjectKey) int32 {
	least := int32(1 << 20)
	w, err := c.Client.Watch(ctx, &appsv1.DeploymentList{}, client.InNamespace(key.Namespace))
	if err != nil {
		return -1
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if d, ok := e.Object.(*appsv1.Deployment); ok && d.Name == key.Name {
			least = min(least, d.Status.AvailableReplicas)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return least
}

func (c *cluster) handoverIsRepaired(t *testing.T) {
	c.ok(t, "rollout", "shop/Deployment/cart", "--no-prompt")
	// A re-install by another tool: the configuration is written without our entries.
	c.Kubectl(t, nil, "patch", "mutatingwebhookconfiguration", "istio-sidecar-injector-1-30", "--type=json",
		`-p=[{"op":"remove","path":"/webhooks/3"},{"op":"remove","path":"/webhooks/2"},{"op":"remove","path":"/webhooks/0/matchConditions"},{"op":"remove","path":"/webhooks/1/matchConditions"}]`)
	labtest.Eventually(t, "the handover is back", func(ctx context.Context) string {
		got, err := probe(ctx, c.Client, "shop", map[string]string{v1alpha1.RevisionLabel: newRev})
		if err != nil || got != newRev {
			return got
		}
		return ""
	})
	c.restart(t, "shop", "cart")
	c.expect(t, "cart", newRev, 2)
	c.restart(t, "shop", "catalog")
	c.expect(t, "catalog", oldRev, 2)
	c.guardsAreRepaired(t)
}

// leftClean checks that what remains is plain Istio of one revision.
func (c *cluster) leftClean(t *testing.T, revision string) {
	t.Helper()
	all := c.Kubectl(t, nil, "get", "mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings,admissionclaims", "-o", "yaml")
	for _, trace := range []string{"handover.meshlift.dev", "not-moved.meshlift.dev", "meshlift-moved-pods", "meshlift-bare-pods", "meshlift-claims", "kind: AdmissionClaims"} {
		if strings.Contains(all, trace) {
			t.Errorf("%s is left in the cluster", trace)
		}
	}
	istiods := &appsv1.DeploymentList{}
	if err := c.Client.List(t.Context(), istiods, client.InNamespace("istio-system"), client.MatchingLabels{"app": "istiod"}); err != nil {
		t.Fatal(err)
	}
	if len(istiods.Items) != 1 || istiods.Items[0].Name != "istiod-"+revision {
		t.Errorf("%d istiods are left, the first is %s", len(istiods.Items), istiods.Items[0].Name)
	}
	u := c.Kubectl(t, nil, "get", "namespaces", "-o", "jsonpath={.items[*].metadata.labels.istio\\.io/rev}")
	for _, v := range strings.Fields(u) {
		if v != revision {
			t.Errorf("a namespace names revision %s", v)
		}
	}
}

// blockedBy waits until the decommission is refused because of the source, and nothing was scaled down.
func (c *cluster) blockedBy(t *testing.T, source v1alpha1.BlockerSource, name string) {
	t.Helper()
	labtest.Eventually(t, string(source)+" "+name+" blocks the decommission", func(context.Context) string {
		u := c.upgrade(t, upgrade)
		cond := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionDecommissioned)
		if cond == nil || u.Status.ObservedGeneration != u.Generation || cond.Reason == v1alpha1.ReasonInProgress {
			return "not looked at yet"
		}
		sources := map[v1alpha1.BlockerSource]bool{}
		for _, b := range u.Status.Blockers {
			sources[b.Source] = true
			if b.Source == source && strings.Contains(b.Name, name) && len(u.Status.Blockers) == 1 {
				return ""
			}
		}
		return cond.Message
	})
	d := &appsv1.Deployment{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "istio-system", Name: "istiod-" + oldRev}, d); err != nil || *d.Spec.Replicas != 1 {
		t.Errorf("the old istiod was touched: %v, %d replicas", err, *d.Spec.Replicas)
	}
}
