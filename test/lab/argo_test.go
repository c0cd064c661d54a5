package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// argo are Rollouts of every kind that chooses its pods differently.
const argo = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: canary, namespace: argo}
spec:
  replicas: 3
  selector: {matchLabels: {app: canary}}
  template: {metadata: {labels: {app: canary}}, spec: {containers: [{name: app, image: "example.com/app:1"}]}}
  strategy: {canary: {steps: [{setWeight: 34}, {pause: {}}]}}
---
apiVersion: v1
kind: Service
metadata: {name: active, namespace: argo}
spec: {ports: [{port: 80}], selector: {app: blue-green}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: blue-green, namespace: argo}
spec:
  replicas: 2
  selector: {matchLabels: {app: blue-green}}
  template: {metadata: {labels: {app: blue-green}}, spec: {containers: [{name: app, image: "example.com/app:1"}]}}
  strategy: {blueGreen: {activeService: active, autoPromotionEnabled: false}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: source, namespace: argo}
spec:
  replicas: 0
  selector: {matchLabels: {app: by-reference}}
  template: {metadata: {labels: {app: by-reference}}, spec: {containers: [{name: app, image: "example.com/app:1"}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: by-reference, namespace: argo}
spec:
  replicas: 2
  selector: {matchLabels: {app: by-reference}}
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: source}
  strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}
`

// rollout is what Argo says about a Rollout.
func (c *cluster) argoRollout(ctx context.Context, name string) (phase, hash, step string, err error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"})
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: "argo", Name: name}, u); err != nil {
		return "", "", "", err
	}
	phase, _, _ = unstructured.NestedString(u.Object, "status", "phase")
	hash, _, _ = unstructured.NestedString(u.Object, "status", "currentPodHash")
	index, _, _ := unstructured.NestedInt64(u.Object, "status", "currentStepIndex")
	return phase, hash, fmt.Sprint(index), nil
}

func (c *cluster) argoMoves(t *testing.T) {
	pods := map[string]int{"canary": 3, "blue-green": 2, "by-reference": 2}
	namespace(t, c.Lab, "argo", map[string]string{"istio.io/rev": oldRev})
	c.Kubectl(t, strings.NewReader(argo), "apply", "-f", "-")
	before := map[string]string{}
	for name, n := range pods {
		c.allOn(t, "argo", name, oldRev, n)
		labtest.Eventually(t, "Rollout "+name+" is healthy", func(ctx context.Context) string {
			phase, hash, step, err := c.argoRollout(ctx, name)
			before[name] = hash + " at step " + step
			if err != nil || phase != "Healthy" {
				return fmt.Sprint(phase, err)
			}
			return ""
		})
	}
	for _, to := range []string{newRev, oldRev, newRev} {
		args := []string{"rollout", "argo", "--no-prompt"}
		if to == oldRev {
			args = append(args, "--back")
		}
		c.ok(t, args...)
		for name, n := range pods {
			c.allOn(t, "argo", name, to, n)
			labtest.Eventually(t, "Rollout "+name+" is as it was", func(ctx context.Context) string {
				phase, hash, step, err := c.argoRollout(ctx, name)
				if now := hash + " at step " + step; err != nil || phase != "Healthy" || now != before[name] {
					return fmt.Sprintf("it is %s, %s, was %s: %v", phase, now, before[name], err)
				}
				return ""
			})
		}
	}
	sets := &appsv1.ReplicaSetList{}
	if err := c.Client.List(t.Context(), sets, client.InNamespace("argo")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range sets.Items {
		names = append(names, sets.Items[n].Name)
	}
	if slices.Sort(names); len(names) != len(pods)+1 { // and the one of Deployment source
		t.Errorf("ReplicaSets %v: a move has made a new one", names)
	}
}

// claimKeepsBudget: the pods of a claimed workload are evicted, so its budget decides.
func (c *cluster) claimKeepsBudget(t *testing.T) {
	d := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "db"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}},
	}
	c.create(t, d)
	labtest.Eventually(t, "the budget is counted", func(ctx context.Context) string {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil || d.Status.ObservedGeneration == 0 || d.Status.CurrentHealthy < 2 {
			return fmt.Sprintf("%+v %v", d.Status, err)
		}
		return ""
	})
	pods := c.uids(t, "ops", "db")
	r := c.CLI(t, "rollout", "ops/Deployment/db", "--back", "--no-prompt", "--detach")
	if r.Code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	labtest.Eventually(t, "the eviction waits for its budget and says so", func(ctx context.Context) string {
		list := &v1alpha1.DataPlaneRolloutList{}
		if err := c.Client.List(ctx, list); err != nil {
			return err.Error()
		}
		for _, r := range list.Items {
			for _, m := range r.Status.Moving {
				if m.Name == "db" && strings.Contains(m.Message, "disruption budget db needs 2 healthy pods") {
					return ""
				}
			}
		}
		return "not yet"
	})
	if now := c.uids(t, "ops", "db"); len(now) != len(pods) {
		t.Errorf("%d pods, want %d", len(now), len(pods))
	}
	for uid := range c.uids(t, "ops", "db") {
		if !pods[uid] {
			t.Error("a pod was replaced although its budget allows none to go")
		}
	}
	if err := c.Client.Delete(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	c.allOn(t, "ops", "db", oldRev, 2)
	c.complete(t)
	c.ok(t, "rollout", "ops/Deployment/db", "--no-prompt")
	c.allOn(t, "ops", "db", newRev, 2)
}
