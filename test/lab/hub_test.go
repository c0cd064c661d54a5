package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// hubbed is a hub that runs in its cluster, installed from its chart, with a mesh of two clusters with traffic.
type hubbed struct {
	*labtest.Lab
	members map[string]*labtest.Lab
}

// setupHub starts a lab with a hub, and a mesh "shop" of the clusters east and west.
func setupHub(t *testing.T, lab, workloads string) *hubbed {
	t.Helper()
	h := &hubbed{Lab: up(t, lab, "--clusters", "hub,east,west", "--workloads", workloads), members: map[string]*labtest.Lab{}}
	if err := h.chart(t, "0.1.0", nil); err != nil {
		t.Fatal(err)
	}
	h.ready(t, h.Lab, "meshlift-hub")
	h.command(t, 0, "mesh", "create", "shop")
	for n, name := range []string{"east", "west"} {
		l, err := h.Cluster(name)
		if err != nil {
			t.Fatal(err)
		}
		h.members[name] = l
		h.command(t, 0, "cluster", "add", name, "--kubeconfig", l.Kubeconfig, "--server", fmt.Sprintf("https://10.%d.0.1:6443", 129+n), "--mesh", "shop")
	}
	return h
}

// TestAMeshOfTwoClustersIsUpgradedFromItsHub walks a mesh from registration to decommission by the commands of the hub, and asks
// on the way for everything that must be refused.
func TestAMeshOfTwoClustersIsUpgradedFromItsHub(t *testing.T) {
	t.Parallel()
	h := setupHub(t, "hub", "grpc")
	catalog(t, h.Lab)
	t.Run("the configuration of sidecars reaches every cluster", h.sidecars)

	h.command(t, 0, "mesh", "upgrade", "shop", "--to", "1.31", "--wave", "first=east", "--wave", "rest=west", "--approve", "rest", "--rollout", "--yes")
	h.moved(t, "east")
	t.Run("while an old istiod exists everything else is frozen", h.frozen)
	t.Run("no cluster is decommissioned before all have moved", h.barrier)
	t.Run("the next wave waits for its approval, also without a hub", h.approval)
	h.moved(t, "west")
	t.Run("then they are decommissioned one after the other, and nothing is frozen any more", h.decommissioned)
	t.Run("no call was lost", func(t *testing.T) {
		if traffic := h.Traffic(t); traffic.Failed > 0 || traffic.Calls == 0 {
			t.Errorf("%d of %d calls failed", traffic.Failed, traffic.Calls)
		}
	})
}

// chart installs or upgrades the hub from its packaged chart, as `helm upgrade --install` does.
func (h *hubbed) chart(t *testing.T, version string, values map[string]any) error {
	t.Helper()
	ctx := t.Context()
	source, err := packaged(h.Root, t.TempDir(), "meshlift", version)
	if err != nil {
		return err
	}
	client, err := helm.New(helm.Options{REST: h.REST})
	if err != nil {
		return err
	}
	crds := exec.CommandContext(ctx, filepath.Join(h.Root, ".lab", "bin", "kube"), "kubectl", "--kubeconfig", h.Kubeconfig, "apply", "--server-side", "-f", filepath.Join(h.Root, "charts", "meshlift", "crds"))
	if out, err := crds.CombinedOutput(); err != nil {
		return fmt.Errorf("apply the CRDs: %w\n%s", err, out)
	}
	all := map[string]any{"image": map[string]any{"repository": labtest.AgentImage, "pullPolicy": "Never"}}
	for k, v := range values {
		all[k] = v
	}
	if err := h.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cpaas-system"}}); err != nil && !strings.Contains(err.Error(), "already exists") {
		return err
	}
	return client.Apply(ctx, release.Spec{
		Name: "meshlift", Namespace: "cpaas-system", Source: source, Values: all,
	})
}

func (h *hubbed) ready(t *testing.T, l *labtest.Lab, deployment string) {
	t.Helper()
	labtest.Eventually(t, deployment+" is ready", func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: "cpaas-system", Name: deployment}, d); err != nil {
			return err.Error()
		}
		if d.Status.ReadyReplicas < *d.Spec.Replicas {
			return fmt.Sprintf("%d of %d pods", d.Status.ReadyReplicas, *d.Spec.Replicas)
		}
		return ""
	})
}

// command runs meshlift for the cluster of the hub.
func (h *hubbed) command(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), h.Meshlift(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.Kubeconfig)
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // the exit code tells
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("meshlift %s: exit code %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, out.String(), h.said(t))
	}
	return out.String()
}

// said is the end of what the hub has logged.
func (h *hubbed) said(t *testing.T) string {
	text := h.Kubectl(t, nil, "get", "meshes,memberclusters,meshupgrades", "-o", "wide")
	return text + h.Kubectl(t, nil, "logs", "-n", "cpaas-system", "deploy/meshlift-hub", "--tail=15")
}

func catalog(t *testing.T, l *labtest.Lab) {
	t.Helper()
	l.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(l.Root, "examples", "lab-catalog.yaml"))
}

func (h *hubbed) controlPlane(ctx context.Context, name string) (*v1alpha1.ControlPlane, error) {
	cp := &v1alpha1.ControlPlane{}
	return cp, h.members[name].Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp)
}

func (h *hubbed) patch(ctx context.Context, o client.Object, patch string) error {
	return h.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)))
}

func shopMesh() *hub.Mesh { return &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "shop"}} }

func (h *hubbed) sidecars(t *testing.T) {
	if err := h.patch(t.Context(), shopMesh(), `{"spec":{"sidecars":{"logLevel":"info"}}}`); err != nil {
		t.Fatal(err)
	}
	for name := range h.members {
		labtest.Eventually(t, "the sidecars of "+name+" are configured", func(ctx context.Context) string {
			cp, err := h.controlPlane(ctx, name)
			if err != nil || cp.Spec.Sidecars == nil || cp.Spec.Sidecars.LogLevel != "info" {
				return fmt.Sprintf("%+v, %v", cp.Spec, err)
			}
			if c := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionSidecarsConfigured); c == nil || c.Status != metav1.ConditionTrue {
				return fmt.Sprintf("%+v", c)
			}
			return ""
		})
	}
}

// moved waits until a cluster has moved its data planes.
func (h *hubbed) moved(t *testing.T, name string) {
	t.Helper()
	labtest.Eventually(t, "the data planes of "+name+" have moved", func(ctx context.Context) string {
		list := &v1alpha1.ClusterUpgradeList{}
		if err := h.members[name].Client.List(ctx, list); err != nil {
			return err.Error()
		}
		for _, u := range list.Items {
			if meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionDataPlanesMoved) {
				return ""
			}
			if c := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionReady); c != nil {
				return u.Status.Step + ": " + c.Message
			}
		}
		mesh := &hub.MeshUpgradeList{}
		if err := h.Client.List(ctx, mesh); err != nil || len(mesh.Items) == 0 {
			return fmt.Sprintf("no upgrade: %v", err)
		}
		return fmt.Sprintf("%+v", mesh.Items[0].Status.Conditions)
	})
}

func (h *hubbed) frozen(t *testing.T) {
	refused := func(what, text string) {
		t.Helper()
		if !strings.Contains(text, "east") {
			t.Errorf("%s: the refusal does not name the cluster that is in the way:\n%s", what, text)
		}
	}
	refused("cluster add", h.command(t, 3, "cluster", "add", "third", "--kubeconfig", h.members["east"].Kubeconfig, "--server", "https://10.129.0.1:6443", "--mesh", "shop", "--install-agent=false"))
	err := h.Client.Create(t.Context(), &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "third"}, Spec: hub.MemberClusterSpec{Mesh: "shop", KubeconfigSecret: "x"}})
	refused("a MemberCluster by kubectl", fmt.Sprint(err))
	refused("the removal of a cluster", fmt.Sprint(h.Client.Delete(t.Context(), &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}})))
	refused("the configuration of sidecars", fmt.Sprint(h.patch(t.Context(), shopMesh(), `{"spec":{"sidecars":{"logLevel":"debug"}}}`)))
	refused("platform check", h.command(t, 1, "platform", "check", "--offered", "9.9.9"))
	if err := h.chart(t, nextVersion, nil); err == nil {
		t.Error("helm upgraded the hub although old istiods exist")
	}
	if err := h.chart(t, "0.1.0", map[string]any{"priorityClassName": ""}); err != nil {
		t.Errorf("helm does not change values of the version that runs: %v", err)
	}
	h.ready(t, h.Lab, "meshlift-hub")
}

func (h *hubbed) barrier(t *testing.T) {
	labtest.Eventually(t, "the decommission of east is asked for when its old pods have ended", func(context.Context) string {
		if r := h.members["east"].CLI(t, "decommission", "--soak", "1s", "--yes"); r.Code != 0 {
			return r.Stdout + r.Stderr
		}
		return ""
	})
	labtest.Eventually(t, "the decommission of east waits for west", func(ctx context.Context) string {
		list := &v1alpha1.ClusterUpgradeList{}
		if err := h.members["east"].Client.List(ctx, list); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(list.Items[0].Status.Conditions, v1alpha1.ConditionDecommissioned)
		if c == nil || c.Status == metav1.ConditionTrue || !strings.Contains(c.Message, "west") {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	h.istiods(t, "east", 2)
}

// istiods counts those that are wanted.
func (h *hubbed) istiods(t *testing.T, name string, want int) {
	t.Helper()
	list := &appsv1.DeploymentList{}
	if err := h.members[name].Client.List(t.Context(), list, client.InNamespace("istio-system"), client.MatchingLabels{"app": "istiod"}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range list.Items {
		if *d.Spec.Replicas > 0 {
			n++
		}
	}
	if n != want {
		t.Errorf("%s has %d istiods, want %d", name, n, want)
	}
}

// approval kills the hub and lets the wave start when it is back.
func (h *hubbed) approval(t *testing.T) {
	u := &hub.MeshUpgradeList{}
	if err := h.Client.List(t.Context(), u); err != nil || len(u.Items) != 1 {
		t.Fatalf("%d upgrades of the mesh, %v", len(u.Items), err)
	}
	if err := h.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace("cpaas-system"), client.MatchingLabels{"app.kubernetes.io/component": "hub"}, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	h.istiods(t, "west", 1)
	labtest.Eventually(t, "the wave is approved", func(ctx context.Context) string {
		cmd := exec.CommandContext(ctx, h.Meshlift(), "mesh", "approve", u.Items[0].Name, "--wave", "rest")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+h.Kubeconfig)
		if out, err := cmd.CombinedOutput(); err != nil {
			return string(out)
		}
		return ""
	})
}

func (h *hubbed) decommissioned(t *testing.T) {
	u := &hub.MeshUpgradeList{}
	if err := h.Client.List(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	h.command(t, 0, "mesh", "decommission", u.Items[0].Name, "--soak", "1s", "--yes")
	labtest.Eventually(t, "the mesh upgrade is done", func(ctx context.Context) string {
		now := &hub.MeshUpgrade{}
		if err := h.Client.Get(ctx, client.ObjectKey{Name: u.Items[0].Name}, now); err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(now.Status.Conditions, hub.ConditionDecommissioned) {
			return fmt.Sprintf("%+v", now.Status.Clusters)
		}
		return ""
	})
	for name := range h.members {
		h.istiods(t, name, 1)
	}
	labtest.Eventually(t, "the mesh is not frozen", func(ctx context.Context) string {
		m := shopMesh()
		if err := h.Client.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil || meta.IsStatusConditionTrue(m.Status.Conditions, hub.ConditionFrozen) {
			return fmt.Sprintf("%+v, %v", m.Status.Conditions, err)
		}
		return ""
	})
	h.command(t, 0, "platform", "check", "--offered", "9.9.9")
	if err := h.chart(t, nextVersion, nil); err != nil {
		t.Errorf("helm does not upgrade the hub when the old istiods are gone: %v", err)
	}
	h.ready(t, h.Lab, "meshlift-hub")
	if err := h.patch(t.Context(), shopMesh(), `{"spec":{"sidecars":{"logLevel":"debug"}}}`); err != nil {
		t.Error(err)
	}
}
