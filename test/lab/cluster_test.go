package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// cluster is a lab with the agent in it.
type cluster struct{ *labtest.Lab }

// withAgent starts a lab, installs the agent as a user would, and gives it the lab's catalog.
func withAgent(t *testing.T, name string, install []string, flags ...string) *cluster {
	t.Helper()
	c := &cluster{up(t, name, flags...)}
	c.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(c.Root, ".lab", "istio", "gateway-api"))
	c.ok(t, append([]string{"install"}, install...)...)
	c.catalog(t, filepath.Join(c.Root, "examples", "lab-catalog.yaml"))
	return c
}

// catalog applies a Catalog object once the agent's admission answers.
func (c *cluster) catalog(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := &v1alpha1.Catalog{}
	if err := yaml.UnmarshalStrict(b, o); err != nil {
		t.Fatal(err)
	}
	c.create(t, o)
}

// create creates an object; it tries again while the agent's webhook does not answer.
func (c *cluster) create(t *testing.T, o client.Object) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("create %T %s", o, o.GetName()), func(ctx context.Context) string {
		if err := c.Client.Create(ctx, o); err != nil && !strings.Contains(err.Error(), "already exists") {
			return err.Error()
		}
		return ""
	})
}

// ok runs meshlift and fails the test unless it ends with exit code 0.
func (c *cluster) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := c.CLI(t, args...)
	if r.Code != 0 {
		t.Fatalf("meshlift %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// inPod runs meshlift in the agent's pod, with the rights of the agent, and fails the test unless it ends with exit code 0.
func (c *cluster) inPod(t *testing.T, args ...string) string {
	t.Helper()
	return c.Kubectl(t, nil, append([]string{"exec", "-n", ours, "deploy/asm-controller", "--", "/app/asm-controller"}, args...)...)
}

// deployment is a simulated workload with one container.
func deployment(namespace, name string, replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas), Selector: &metav1.LabelSelector{MatchLabels: labels}, RevisionHistoryLimit: ptr.To[int32](100),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
			},
		},
	}
	for _, f := range change {
		f(d)
	}
	return d
}

func (c *cluster) upgrade(t *testing.T, name string) *v1alpha1.ClusterUpgrade {
	t.Helper()
	u := &v1alpha1.ClusterUpgrade{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Name: name}, u); err != nil {
		t.Fatal(err)
	}
	return u
}

// reached waits until a condition of an upgrade is True.
func (c *cluster) reached(t *testing.T, name, condition string) {
	t.Helper()
	labtest.Eventually(t, "ClusterUpgrade "+name+" reaches "+condition, func(ctx context.Context) string {
		u := &v1alpha1.ClusterUpgrade{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, u); err != nil {
			return err.Error()
		}
		if meta.IsStatusConditionTrue(u.Status.Conditions, condition) {
			return ""
		}
		r := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionReady)
		if r == nil {
			return "no status yet"
		}
		return u.Status.Step + ": " + r.Message
	})
}

// revisions returns the revision of every pod of a Deployment that is not terminating; the Deployment must be complete.
func (c *cluster) revisions(t *testing.T, namespace, name string) []string {
	t.Helper()
	available(t, c.Lab, namespace, name)
	pods := &corev1.PodList{}
	if err := c.Client.List(t.Context(), pods, client.InNamespace(namespace), client.MatchingLabels{"app": name}); err != nil {
		t.Fatal(err)
	}
	var out []string
	for n := range pods.Items {
		if p := &pods.Items[n]; p.DeletionTimestamp == nil {
			out = append(out, injectedBy(p))
		}
	}
	return out
}

func injectedBy(p *corev1.Pod) string {
	text := p.Annotations[mesh.AnnotationStatus]
	_, rest, _ := strings.Cut(text, `"revision":"`)
	revision, _, _ := strings.Cut(rest, `"`)
	return revision
}

// restart deletes the pods of a Deployment, as a node failure would, and waits until as many new ones are ready.
func (c *cluster) restart(t *testing.T, namespace, name string) {
	t.Helper()
	old, mine := &corev1.PodList{}, []client.ListOption{client.InNamespace(namespace), client.MatchingLabels{"app": name}}
	if err := c.Client.List(t.Context(), old, mine...); err != nil {
		t.Fatal(err)
	}
	for n := range old.Items {
		if err := c.Client.Delete(t.Context(), &old.Items[n], client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
	labtest.Eventually(t, "new pods of "+namespace+"/"+name+" are ready", func(ctx context.Context) string {
		now := &corev1.PodList{}
		if err := c.Client.List(ctx, now, mine...); err != nil {
			return err.Error()
		}
		ready := 0
		for n := range now.Items {
			for _, cond := range now.Items[n].Status.Conditions {
				if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
					ready++
				}
			}
			for m := range old.Items {
				if now.Items[n].UID == old.Items[m].UID {
					return "an old pod is still there"
				}
			}
		}
		if ready < len(old.Items) {
			return fmt.Sprintf("%d of %d ready", ready, len(old.Items))
		}
		return ""
	})
}

// replicaSets counts the ReplicaSets of a Deployment: one for every pod template that it has had.
func (c *cluster) replicaSets(t *testing.T, namespace, name string) int {
	t.Helper()
	list := &appsv1.ReplicaSetList{}
	if err := c.Client.List(t.Context(), list, client.InNamespace(namespace), client.MatchingLabels{"app": name}); err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}
