package helm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
)

// These tests need an API server on which they may do what they like, and the charts of Istio: a lab, see
// internal/controlplane/lab_test.go.
const (
	envCharts = "MESHLIFT_LAB_CHARTS"
	envChild  = "MESHLIFT_HELM_CHILD"
	namespace = "helm-test"
)

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		c, _, err := connect()
		if err == nil {
			err = c.Apply(context.Background(), istiod(os.Getenv(envChild)))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func connect() (*helm.Client, client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, nil, err
	}
	h, err := helm.New(helm.Options{REST: config})
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(config, client.Options{})
	return h, c, err
}

// istiod is a release whose values differ by the argument.
func istiod(level string) release.Spec {
	return release.Spec{
		Name: "istiod-crash", Namespace: namespace, Labels: map[string]string{"meshlift.dev/upgrade": "crash"},
		Source: release.Source{Repository: os.Getenv(envCharts), Name: "istiod", Version: "1.31.0"},
		Values: map[string]any{
			"revision": "crash", "global": map[string]any{"hub": "docker.io/istio", "tag": "1.31.0", "istioNamespace": namespace},
			"autoscaleMin": 2, "nodeSelector": map[string]any{"no": "node"}, "env": map[string]any{"LEVEL": level},
		},
	}
}

// objects lists what a release of istiod consists of.
func objects(t *testing.T, c client.Client) []string {
	t.Helper()
	var out []string
	for _, kind := range []schema.GroupVersionKind{
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "ServiceAccount"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"},
	} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind + "List"})
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			if strings.Contains(o.Name, "-crash") && o.DeletionTimestamp == nil {
				out = append(out, kind.Kind+" "+o.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestAProcessThatIsKilledAtAnyPointIsFollowedByOneThatFinishes(t *testing.T) {
	if os.Getenv(envCharts) == "" {
		t.Skipf("needs a lab: set KUBECONFIG and %s", envCharts)
	}
	h, c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if err := h.Uninstall(ctx, namespace, "istiod-crash"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if out, err := child(t, "one").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(began)
	want := objects(t, c)
	if len(want) < 12 {
		t.Fatalf("a release consists of %q only", want)
	}
	seen := map[string]int{}
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 7))
		if seed%2 == 0 { // the odd ones begin on top of a release
			if err := h.Uninstall(ctx, namespace, "istiod-crash"); err != nil {
				t.Fatal(err)
			}
			if left := objects(t, c); len(left) > 0 {
				t.Fatalf("seed %d: left after uninstalling: %q", seed, left)
			}
		}
		for attempt := range 2 {
			kill(t, child(t, fmt.Sprintf("seed-%d-%d", seed, attempt)), time.Duration(random.Int64N(int64(whole))))
			if r, err := h.Release(ctx, namespace, "istiod-crash"); err == nil {
				seen[r.Status]++
			} else {
				seen["none"]++
			}
		}
		level := fmt.Sprintf("seed-%d", seed)
		if err := h.Apply(ctx, istiod(level)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		r, err := h.Release(ctx, namespace, "istiod-crash")
		if err != nil || r.Status != "deployed" || r.Values["env"].(map[string]any)["LEVEL"] != level || r.Labels["meshlift.dev/upgrade"] != "crash" {
			t.Fatalf("seed %d: release is %+v, %v", seed, r, err)
		}
		if diff := cmp.Diff(want, objects(t, c)); diff != "" {
			t.Fatalf("seed %d: objects:\n%s", seed, diff)
		}
		if err := h.Apply(ctx, istiod(level)); err != nil {
			t.Fatal(err)
		}
		if again, err := h.Release(ctx, namespace, "istiod-crash"); err != nil || again.Revision != r.Revision {
			t.Fatalf("seed %d: applied again it wrote revision %d after %d, %v", seed, again.Revision, r.Revision, err)
		}
	}
	t.Logf("a whole run takes %s; status after the kills: %v", whole, seen)
	if err := h.Uninstall(ctx, namespace, "istiod-crash"); err != nil {
		t.Fatal(err)
	}
	if seen["pending-install"]+seen["pending-upgrade"] == 0 {
		t.Error("no kill hit a release half-way: the test proves nothing")
	}
}

func child(t *testing.T, level string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), envChild+"="+level)
	return cmd
}

// kill runs a process and kills it with SIGKILL after a while, if it is still there.
func kill(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(after):
		_ = cmd.Process.Kill()
		<-done
	}
}
