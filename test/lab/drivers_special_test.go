package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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

func (c *cluster) budgetsHold(t *testing.T, all []subject) {
	all = slices.DeleteFunc(slices.Clone(all), func(s subject) bool { return !s.evicted })
	for _, s := range all {
		everyPod := intstr.FromString("100%")
		if s.kind() == "DaemonSet" { // a DaemonSet has no scale, so its budget must be a number
			everyPod = intstr.FromInt32(int32(s.pods))
		}
		c.create(t, &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keep-" + s.name},
			Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &everyPod, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": s.name}}},
		})
	}
	c.ok(t, append([]string{"rollout", "--no-prompt", "--detach"}, targets(all)...)...)
	labtest.Eventually(t, "every eviction waits for its budget and says so", func(ctx context.Context) string {
		list := &v1alpha1.DataPlaneRolloutList{}
		if err := c.Client.List(ctx, list); err != nil {
			return err.Error()
		}
		waiting := map[string]bool{}
		for _, r := range list.Items {
			for _, m := range r.Status.Moving {
				waiting[m.Name] = waiting[m.Name] || strings.Contains(m.Message, "keep-"+m.Name)
			}
		}
		for _, s := range all {
			if !waiting[s.name] {
				return fmt.Sprintf("%s does not: %v", s.name, waiting)
			}
		}
		return ""
	})
	for _, s := range all {
		pods, err := c.podsOf(t.Context(), s.name)
		if err != nil || !slices.Equal(slices.Collect(maps.Values(pods)), only(oldRev, s.pods)) {
			t.Errorf("%s was evicted against its budget: %v, %v", s.name, pods, err)
		}
		if err := c.Client.Delete(t.Context(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keep-" + s.name}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range all {
		c.on(t, s, s.name, newRev)
	}
	c.complete(t)
}

func (c *cluster) heldBack(t *testing.T) {
	// The owner of the neighbour changes something that OnDelete keeps from the pods.
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"})
	u.SetNamespace("shop")
	u.SetName("set-on-delete-stays")
	patch := `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":7}}}}`
	if err := c.Client.Patch(t.Context(), u, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the StatefulSet controller has seen the change", func(ctx context.Context) string {
		s := &appsv1.StatefulSet{}
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(u), s); err != nil || s.Status.ObservedGeneration < s.Generation || s.Status.UpdatedReplicas != 0 {
			return fmt.Sprintf("%+v, %v", s.Status, err)
		}
		return ""
	})
	r := c.CLI(t, "rollout", "shop/StatefulSet/set-on-delete-stays", "--no-prompt")
	if r.Code != 4 || !strings.Contains(r.Stdout, "would ship what its owner holds back") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	c.ok(t, "rollout", "skip", "shop/StatefulSet/set-on-delete-stays")
	c.complete(t)
	c.on(t, subject{pods: 3}, "set-on-delete-stays", oldRev)
}

func (c *cluster) barePod(t *testing.T) {
	template := deployment("shop", "bare", 1).Spec.Template
	c.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "bare", Labels: template.Labels}, Spec: template.Spec})
	c.on(t, subject{pods: 1}, "bare", oldRev)
	if out := c.ok(t, "rollout", "shop/deployment", "--no-prompt"); strings.Contains(out, "shop/Pod/bare evicted") {
		t.Errorf("%s", out)
	}
	c.on(t, subject{pods: 1}, "bare", oldRev)
	if out := c.ok(t, "rollout", "shop/Pod/bare", "--no-prompt"); !strings.Contains(out, "for good unless somebody creates it again") {
		t.Errorf("it was not said beforehand what happens:\n%s", out)
	}
	labtest.Eventually(t, "the pod is gone", func(ctx context.Context) string {
		if pods, err := c.podsOf(ctx, "bare"); err != nil || len(pods) > 0 {
			return fmt.Sprintf("%v, %v", pods, err)
		}
		return ""
	})
	c.complete(t)
}

func (c *cluster) scaledWhileMoving(t *testing.T) {
	name := "elastic"
	c.create(t, deployment("shop", name, 2, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"lab.meshlift.dev/ready-delay": "2s"}
	}))
	c.on(t, subject{pods: 2}, name, oldRev)
	c.ok(t, "rollout", "shop/Deployment/"+name, "--no-prompt", "--detach")
	c.change(t, name, func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](5) })
	c.on(t, subject{pods: 5}, name, newRev)
	c.complete(t)
	if n := c.replicaSets(t, "shop", name); n != 2 {
		t.Errorf("it has %d pod templates, want the one before and the one after its move", n)
	}
}

// leftAlone has pods that nobody injected: those of a namespace that was labelled after they came, and those that use the
// network of their node.
func (c *cluster) leftAlone(t *testing.T) {
	namespace(t, c.Lab, "quiet", nil)
	c.create(t, deployment("quiet", "plain", 1))
	available(t, c.Lab, "quiet", "plain")
	c.Kubectl(t, nil, "label", "namespace", "quiet", "istio.io/rev="+oldRev)
	c.create(t, deployment("quiet", "host", 1, func(d *appsv1.Deployment) { d.Spec.Template.Spec.HostNetwork = true }))
	available(t, c.Lab, "quiet", "host")
	c.ok(t, "rollout", "quiet", "--no-prompt")
	c.complete(t)
	for _, name := range []string{"plain", "host"} {
		if got := c.revisions(t, "quiet", name); !slices.Equal(got, only("", 1)) {
			t.Errorf("quiet/%s runs on %v", name, got)
		}
		if n := c.replicaSets(t, "quiet", name); n != 1 {
			t.Errorf("quiet/%s has %d pod templates: it was restarted", name, n)
		}
	}
	for _, d := range c.upgrade(t, upgrade).Status.Blockers {
		if strings.Contains(d.Name, "quiet/") {
			t.Errorf("%s blocks the upgrade", d.Name)
		}
	}
}
