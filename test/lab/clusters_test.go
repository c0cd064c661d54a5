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
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// fleet is a lab with a hub that runs as a process of the host, and two clusters without Istio.
type fleet struct {
	*labtest.Lab // the cluster of the hub
	east, west   *labtest.Lab
	log          string
}

func setupFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{Lab: up(t, "clusters", "--clusters", "hub,east,west", "--install", "", "--workloads", ""), log: filepath.Join(t.TempDir(), "hub.log")}
	var err error
	for name, to := range map[string]**labtest.Lab{"east": &f.east, "west": &f.west} {
		if *to, err = f.Cluster(name); err != nil {
			t.Fatal(err)
		}
		namespace(t, *to, "istio-system", nil)
	}
	f.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(f.Root, "charts", "meshlift", "crds"))
	f.Kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=5m")
	namespace(t, f.Lab, "cpaas-system", nil)
	hubUntilTheEnd(t, f.Lab, f.log, "--api-bind-address=0")
	return f
}

// cli runs a command that must end with the code.
func (f *fleet) cli(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), f.Meshlift(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+f.Kubeconfig)
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // the exit code tells
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("meshlift %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

// connection waits until the hub says that of a cluster, and returns how long that took.
func (f *fleet) connection(t *testing.T, name string, want metav1.ConditionStatus) time.Duration {
	t.Helper()
	begin := time.Now()
	labtest.Eventually(t, fmt.Sprintf("cluster %s: Connected=%s", name, want), func(ctx context.Context) string {
		m := &hub.MemberCluster{}
		if err := f.Client.Get(ctx, client.ObjectKey{Name: name}, m); err != nil {
			return err.Error()
		}
		if c := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionConnected); c == nil || c.Status != want {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	return time.Since(begin)
}

func (f *fleet) heard(t *testing.T, cluster, reason string) {
	t.Helper()
	labtest.Eventually(t, "the event "+reason+" of "+cluster, func(ctx context.Context) string {
		var all corev1.EventList
		if err := f.Client.List(ctx, &all); err != nil {
			return err.Error()
		}
		for _, e := range all.Items {
			if e.InvolvedObject.Name == cluster && e.Reason == reason {
				return ""
			}
		}
		return "not there"
	})
}

// TestClustersComeAndGo registers two clusters, loses one, rotates credentials, and removes both.
func TestClustersComeAndGo(t *testing.T) {
	t.Parallel()
	f := setupFleet(t)
	for name, l := range map[string]*labtest.Lab{"east": f.east, "west": f.west} {
		f.cli(t, 0, "cluster", "add", name, "--kubeconfig", l.Kubeconfig, "--mesh", "shop")
	}
	t.Run("again is the same", func(t *testing.T) {
		f.cli(t, 0, "cluster", "add", "east", "--kubeconfig", f.east.Kubeconfig)
		m := &hub.MemberCluster{}
		if err := f.Client.Get(t.Context(), client.ObjectKey{Name: "east"}, m); err != nil || m.Spec.Mesh != "shop" {
			t.Errorf("%v, %+v", err, m.Spec)
		}
	})
	t.Run("one cluster has one name", func(t *testing.T) {
		if out := f.cli(t, 3, "cluster", "add", "other", "--kubeconfig", f.east.Kubeconfig); !strings.Contains(out, `registered already, as "east"`) {
			t.Error(out)
		}
	})
	t.Run("the hub keeps no credentials of an administrator", f.tokensOnly)
	t.Run("the list says what runs", func(t *testing.T) {
		if out := f.cli(t, 0, "cluster", "list"); !strings.Contains(out, "v1.37") || strings.Count(out, "yes") != 2 {
			t.Error(out)
		}
	})
	t.Run("the catalog is handed on", f.catalogArrives)
	t.Run("a frozen cluster is noticed, and the other one does not feel it", f.freezes)
	t.Run("credentials rotate", f.rotates)
	t.Run("a cluster that does not answer is removed by force only", f.removesByForce)
	t.Run("removal leaves nothing of the hub", f.removes)
}

func (f *fleet) tokensOnly(t *testing.T) {
	s := &corev1.Secret{}
	if err := f.Client.Get(t.Context(), client.ObjectKey{Namespace: "cpaas-system", Name: "cluster-east"}, s); err != nil {
		t.Fatal(err)
	}
	text := string(s.Data["kubeconfig"])
	if !strings.Contains(text, "token: ") || strings.Contains(text, "client-key-data") {
		t.Error("the Secret holds something else than a token")
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Name != "east" {
		t.Errorf("%+v", s.OwnerReferences)
	}
}

func (f *fleet) catalogArrives(t *testing.T) {
	c := &v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}, Spec: v1alpha1.CatalogSpec{ChartRepository: "https://charts.example.com"}}
	if err := f.Client.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*labtest.Lab{f.east, f.west} {
		labtest.Eventually(t, "the Catalog is in the cluster", func(ctx context.Context) string {
			got := &v1alpha1.Catalog{}
			if err := l.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, got); err != nil {
				return err.Error()
			}
			if got.Spec.ChartRepository != c.Spec.ChartRepository {
				return got.Spec.ChartRepository
			}
			return ""
		})
	}
}

// freeze stops the API server of east until the returned function is called.
func (f *fleet) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	cmd := exec.Command(filepath.Join(f.Root, ".lab", "bin", "lab"), "fault", "freeze", "kube-apiserver", "--name", f.Name, "--cluster", "east", "--for", "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := false
	thaw = func() {
		if !over {
			over = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait() // an interrupt is how it ends
		}
	}
	t.Cleanup(thaw)
	return thaw
}

func (f *fleet) freezes(t *testing.T) {
	thaw := f.freeze(t)
	t.Logf("noticed after %s", f.connection(t, "east", metav1.ConditionFalse).Round(time.Second))
	f.heard(t, "east", "Disconnected")
	if out := f.cli(t, 0, "cluster", "list"); !strings.Contains(out, "does not answer within") {
		t.Error(out)
	}
	f.cli(t, 0, "cluster", "add", "west", "--kubeconfig", f.west.Kubeconfig, "--install-agent=false")
	f.connection(t, "west", metav1.ConditionTrue)
	thaw()
	t.Logf("back after %s", f.connection(t, "east", metav1.ConditionTrue).Round(time.Second))
	f.heard(t, "east", "Reconnected")
}

func (f *fleet) rotates(t *testing.T) {
	before := f.tokens(t, f.west)
	f.cli(t, 0, "cluster", "rotate", "west", "--kubeconfig", f.west.Kubeconfig)
	after := f.tokens(t, f.west)
	if len(before) != 1 || len(after) != 1 || before[0] == after[0] {
		t.Errorf("tokens %q, then %q", before, after)
	}
	f.connection(t, "west", metav1.ConditionTrue)
	// A token that somebody takes away is told, and mended by the next rotation.
	for _, name := range after {
		if err := f.west.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	f.connection(t, "west", metav1.ConditionFalse)
	if out := f.cli(t, 0, "cluster", "list"); !strings.Contains(out, "refuses the credentials of the hub") {
		t.Error(out)
	}
	f.cli(t, 0, "cluster", "rotate", "west", "--kubeconfig", f.west.Kubeconfig)
}

func (f *fleet) tokens(t *testing.T, l *labtest.Lab) []string {
	t.Helper()
	var all corev1.SecretList
	if err := l.Client.List(t.Context(), &all, client.InNamespace("cpaas-system"), client.HasLabels{"hub.meshlift.dev/token"}); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range all.Items {
		out = append(out, s.Name)
	}
	return out
}

func (f *fleet) removesByForce(t *testing.T) {
	thaw := f.freeze(t)
	t.Logf("noticed after %s", f.connection(t, "east", metav1.ConditionFalse).Round(time.Second))
	if out := f.cli(t, 5, "cluster", "remove", "east", "--yes"); !strings.Contains(out, "cluster remove east --force") {
		t.Error(out)
	}
	f.cli(t, 0, "cluster", "remove", "east", "--yes", "--force")
	thaw()
}

func (f *fleet) removes(t *testing.T) {
	labtest.Eventually(t, "the hub has told west of its mesh", func(ctx context.Context) string {
		cp := &v1alpha1.ControlPlane{}
		if err := f.west.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil {
			return err.Error()
		}
		if cp.Spec.Hub == nil || cp.Spec.Hub.Cluster != "west" || cp.Spec.Hub.Mesh != "shop" {
			return fmt.Sprintf("%+v", cp.Spec.Hub)
		}
		return ""
	})
	f.cli(t, 0, "cluster", "remove", "west", "--yes")
	cp := &v1alpha1.ControlPlane{}
	if err := f.west.Client.Get(t.Context(), client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil || cp.Spec.Hub != nil {
		t.Errorf("%v, spec.hub %+v", err, cp.Spec.Hub)
	}
	gone := func(l *labtest.Lab, o client.Object) {
		labtest.Eventually(t, fmt.Sprintf("%T %s is gone", o, o.GetName()), func(ctx context.Context) string {
			if err := l.Client.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Sprintf("it is there (%v)", err)
			}
			return ""
		})
	}
	gone(f.west, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: hub.MemberAccount}})
	gone(f.west, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: hub.MemberAccount + "-components"}})
	gone(f.west, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: hub.MemberAccount}})
	gone(f.Lab, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "cluster-west"}})
}
