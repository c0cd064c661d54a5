package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// configure patches spec.sidecars; "null" takes it out.
func (c *cluster) configure(ctx context.Context, sidecars string) error {
	cp := &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}}
	return c.Client.Patch(ctx, cp, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"sidecars":`+sidecars+`}}`)))
}

// configured waits until the present configuration of sidecars has reached every istiod.
func (c *cluster) configured(t *testing.T) {
	t.Helper()
	labtest.Eventually(t, "the sidecars are configured", func(ctx context.Context) string {
		cp := &v1alpha1.ControlPlane{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil {
			return err.Error()
		}
		s := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionSidecarsConfigured)
		if s == nil || s.ObservedGeneration != cp.Generation {
			return "not looked at yet"
		}
		if s.Status != metav1.ConditionTrue {
			return s.Message
		}
		return ""
	})
}

// sidecarOf returns the proxy that a pod would get now.
func (c *cluster) sidecarOf(ctx context.Context, namespace string) (level, cpu string, err error) {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe", Labels: map[string]string{"app": "probe"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	if err := c.Client.Create(ctx, p, client.DryRunAll); err != nil {
		return "", "", err
	}
	for _, container := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if container.Name != "istio-proxy" {
			continue
		}
		for _, a := range container.Args {
			if l, ok := strings.CutPrefix(a, "--proxyLogLevel="); ok {
				level = l
			}
		}
		return level, container.Resources.Requests.Cpu().String(), nil
	}
	return "", "", fmt.Errorf("a pod in %s gets no sidecar", namespace)
}

func (c *cluster) sidecarIs(t *testing.T, namespace, level, cpu string) {
	t.Helper()
	labtest.Eventually(t, "new pods in "+namespace+" get the sidecar that is configured", func(ctx context.Context) string {
		l, q, err := c.sidecarOf(ctx, namespace)
		if err != nil {
			return err.Error()
		}
		if l != level || q != cpu {
			return fmt.Sprintf("log level %s and %s CPU, want %s and %s", l, q, level, cpu)
		}
		return ""
	})
}

// sidecarsAreConfigured sets the configuration, for all namespaces and for one.
func (c *cluster) sidecarsAreConfigured(t *testing.T) {
	namespace(t, c.Lab, "quiet", map[string]string{"istio.io/rev": oldRev})
	c.sidecarIs(t, "quiet", "warning", "100m") // the defaults of the chart
	if err := c.configure(t.Context(), `{"logLevel":"info","resources":{"requests":{"cpu":"33m"}},
		"namespaces":[{"namespace":"quiet","logLevel":"error","concurrency":1}]}`); err != nil {
		t.Fatal(err)
	}
	c.configured(t)
	c.sidecarIs(t, "shop", "info", "33m")
	c.sidecarIs(t, "quiet", "error", "33m")
}

// sidecarsAreFrozen: an old istiod exists.
func (c *cluster) sidecarsAreFrozen(t *testing.T) {
	err := c.configure(t.Context(), `{"logLevel":"trace"}`)
	if err == nil || !strings.Contains(err.Error(), "cannot change while ClusterUpgrade \""+upgrade+"\" is not finished") {
		t.Errorf("the configuration of sidecars changed in the middle of an upgrade: %v", err)
	}
}

// sidecarsComeBack takes the configuration out after the upgrade: the new istiod has what the old one had at first.
func (c *cluster) sidecarsComeBack(t *testing.T) {
	c.sidecarIs(t, "shop", "info", "33m")
	c.sidecarIs(t, "quiet", "error", "33m")
	if err := c.configure(t.Context(), "null"); err != nil {
		t.Fatal(err)
	}
	c.configured(t)
	c.sidecarIs(t, "shop", "warning", "100m")
	c.sidecarIs(t, "quiet", "warning", "100m")
}
