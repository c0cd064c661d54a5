package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// played is a real hub, as a process that can be killed, with the real API servers of two members whose agents the test plays.
type played struct {
	*labtest.Lab
	t       *testing.T
	members map[string]*labtest.Lab
	hub     *exec.Cmd
	log     *os.File
}

func setupPlayed(t *testing.T) *played {
	t.Helper()
	p := &played{Lab: up(t, "hubmesh", "--clusters", "hub,east,west", "--install", "", "--workloads", ""), t: t, members: map[string]*labtest.Lab{}}
	var err error
	if p.log, err = os.Create(filepath.Join(t.TempDir(), "hub.log")); err != nil {
		t.Fatal(err)
	}
	p.Kubectl(t, nil, "apply", "-f", filepath.Join(p.Root, "charts", "meshlift", "crds"))
	p.Kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=5m")
	namespace(t, p.Lab, "cpaas-system", nil)
	p.create(p.Lab, &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}})
	for _, name := range []string{"east", "west"} {
		m, err := p.Cluster(name)
		if err != nil {
			t.Fatal(err)
		}
		p.members[name] = m
		m.Kubectl(t, nil, "apply", "-f", filepath.Join(p.Root, "charts", "meshlift-agent", "crds"))
		m.Kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=5m")
		namespace(t, m, "cpaas-system", nil)
		p.create(m, &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}})
		p.create(m, agentThatDoesNothing())
		available(t, m, "cpaas-system", "asm-controller")
		p.observe(name)
		p.create(p.Lab, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: name}, Data: map[string][]byte{"kubeconfig": p.kubeconfig(name)}})
		p.create(p.Lab, &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{KubeconfigSecret: name, Mesh: "prod"}})
	}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if text, err := os.ReadFile(p.log.Name()); err == nil && t.Failed() {
			t.Logf("the end of the log of the hub:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return p
}

func agentThatDoesNothing() *appsv1.Deployment {
	one, labels := int32(1), map[string]string{"app": "asm-controller"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "asm-controller"}}
	d.Spec.Replicas, d.Spec.Selector = &one, &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "agent", Image: "simulated"}}
	return d
}

func (p *played) create(l *labtest.Lab, o client.Object) {
	p.t.Helper()
	if err := l.Client.Create(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
}

func (p *played) kubeconfig(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(p.members[name].Kubeconfig)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *played) start() {
	p.t.Helper()
	p.hub = hubProcess(p.t, p.Lab, p.log, "--api-bind-address=0")
}

func (p *played) kill() {
	_ = p.hub.Process.Signal(syscall.SIGKILL)
	_ = p.hub.Wait()
}

// observe plays the agent: the ControlPlane was seen, with these istiods; "1.30" or "1.30*" when data planes run on it.
func (p *played) observe(name string, istiods ...string) {
	p.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cp := &v1alpha1.ControlPlane{}
		if err := p.members[name].Client.Get(p.t.Context(), client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil {
			return err
		}
		if len(istiods) == 0 && cp.Status.Revisions == nil {
			istiods = []string{"1.30*"}
		}
		if cp.Status.ObservedGeneration == cp.Generation && len(istiods) == 0 {
			return nil
		}
		cp.Status.ObservedGeneration = cp.Generation
		if len(istiods) > 0 {
			cp.Status.Revisions = nil
		}
		for _, v := range istiods {
			r := v1alpha1.RevisionStatus{Version: strings.TrimSuffix(v, "*") + ".0", Name: strings.ReplaceAll(strings.TrimSuffix(v, "*"), ".", "-"), UpgradeTo: []string{"1.31"}}
			if strings.HasSuffix(v, "*") {
				r.Sidecars = 3
			}
			cp.Status.Revisions = append(cp.Status.Revisions, r)
		}
		return p.members[name].Client.Status().Update(p.t.Context(), cp)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// upgrade plays the agent: it writes the status of the upgrade.
func (p *played) upgrade(name string, change func(*v1alpha1.ClusterUpgrade)) {
	p.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cu := &v1alpha1.ClusterUpgrade{}
		if err := p.members[name].Client.Get(p.t.Context(), client.ObjectKey{Name: "up"}, cu); err != nil {
			return err
		}
		cu.Status.From, cu.Status.To = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
		change(cu)
		return p.members[name].Client.Status().Update(p.t.Context(), cu)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func met(kind string) func(*v1alpha1.ClusterUpgrade) {
	return func(cu *v1alpha1.ClusterUpgrade) {
		meta.SetStatusCondition(&cu.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	}
}

// told waits until the cluster is told something about its decommission that the function takes, and sees that never both are permitted.
func (p *played) told(name, what string, takes func(d *v1alpha1.HubDecommission) bool) {
	p.t.Helper()
	labtest.Eventually(p.t, "cluster "+name+" is told "+what, func(ctx context.Context) string {
		permitted, said := 0, "nothing"
		done := false
		for cluster, m := range p.members {
			p.observe(cluster)
			cp := &v1alpha1.ControlPlane{}
			if err := m.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); err != nil {
				return err.Error()
			}
			if cp.Spec.Hub == nil || cp.Spec.Hub.Decommission == nil {
				continue
			}
			d := cp.Spec.Hub.Decommission
			cu := &v1alpha1.ClusterUpgrade{}
			if err := m.Client.Get(ctx, client.ObjectKey{Name: "up"}, cu); err != nil {
				return err.Error()
			}
			if d.Pass && d.UID == cu.UID && !meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionDecommissioned) {
				permitted++
			}
			if cluster == name {
				said, done = fmt.Sprintf("%+v", *d), takes(d)
			}
		}
		if permitted > 1 {
			p.t.Fatal("two clusters may decommission at the same time")
		}
		if !done {
			return said
		}
		return ""
	})
}

func passes(d *v1alpha1.HubDecommission) bool { return d.Pass }

func waitsFor(words ...string) func(*v1alpha1.HubDecommission) bool {
	return func(d *v1alpha1.HubDecommission) bool {
		for _, w := range words {
			if d.Pass || !strings.Contains(d.Message, w) {
				return false
			}
		}
		return true
	}
}

func (p *played) started(name string) {
	p.t.Helper()
	labtest.Eventually(p.t, "the upgrade of cluster "+name+" is started", func(ctx context.Context) string {
		if err := p.members[name].Client.Get(ctx, client.ObjectKey{Name: "up"}, &v1alpha1.ClusterUpgrade{}); err != nil {
			u := &hub.MeshUpgrade{}
			_ = p.Client.Get(ctx, client.ObjectKey{Name: "up"}, u)
			return fmt.Sprintf("%v; the hub says %+v", err, u.Status)
		}
		return ""
	})
}

// TestTheHubUpgradesInWavesAndPermitsOneClusterAtATime is the hub itself on real API servers, with what no fake has: server-side apply,
// optimistic locks, watches that break. The hub is killed in between, and a cluster is cut off.
func TestTheHubUpgradesInWavesAndPermitsOneClusterAtATime(t *testing.T) {
	t.Parallel()
	p := setupPlayed(t)
	p.create(p.Lab, &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up"}, Spec: hub.MeshUpgradeSpec{
		Mesh: "prod", Version: "1.31", Decommission: &v1alpha1.DecommissionRequest{By: "ann", At: metav1.Now(), Soak: metav1.Duration{Duration: time.Minute}},
	}})
	p.started("east")
	if err := p.members["west"].Client.Get(t.Context(), client.ObjectKey{Name: "up"}, &v1alpha1.ClusterUpgrade{}); err == nil {
		t.Error("west is started before east has moved")
	}
	p.kill() // the member goes on, and the hub catches up
	p.observe("east", "1.30", "1.31*")
	p.upgrade("east", met(v1alpha1.ConditionDataPlanesMoved))
	p.start()
	p.started("west")
	p.upgrade("west", func(cu *v1alpha1.ClusterUpgrade) {
		cu.Status.Step, cu.Status.DataPlanes = "4/5 data planes", v1alpha1.DataPlaneCounts{Total: 5, Moved: 1, Sidecars: 3, Gateways: 1}
	})
	p.told("east", "what is in the way", waitsFor("west is at step 4/5 data planes", "1 gateway and 3 sidecars remain"))

	p.observe("west", "1.30", "1.31*")
	p.upgrade("west", met(v1alpha1.ConditionDataPlanesMoved))
	p.told("east", "that it may", passes)
	p.told("west", "to wait", waitsFor("cluster east is under way"))
	p.kill()
	p.start()
	p.told("east", "that it may, after the hub was killed", passes)

	p.secret("west", bytes.ReplaceAll(p.kubeconfig("west"), []byte("https://127.0.0.1:"), []byte("https://127.0.0.2:")))
	p.told("east", "that it may not any more", waitsFor("west is not known to have moved"))
	p.secret("west", p.kubeconfig("west"))
	p.told("east", "that it may again", passes)

	p.observe("east", "1.31*")
	p.upgrade("east", met(v1alpha1.ConditionDecommissioned))
	p.told("west", "that it may", passes)
	p.observe("west", "1.31*")
	p.upgrade("west", met(v1alpha1.ConditionDecommissioned))
	labtest.Eventually(t, "the mesh is upgraded", func(ctx context.Context) string {
		u, m := &hub.MeshUpgrade{}, &hub.Mesh{}
		if err := p.Client.Get(ctx, client.ObjectKey{Name: "up"}, u); err != nil {
			return err.Error()
		}
		if err := p.Client.Get(ctx, client.ObjectKey{Name: "prod"}, m); err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionReady) || m.Status.Turn != nil || meta.IsStatusConditionTrue(m.Status.Conditions, hub.ConditionFrozen) {
			return fmt.Sprintf("%+v, turn %+v", u.Status.Conditions, m.Status.Turn)
		}
		return ""
	})
	if r := p.CLI(t, "mesh", "status", "prod"); r.Code != 0 || !strings.Contains(r.Stdout, "no old istiod is left") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := p.CLI(t, "platform", "check", "--offered", "99.0.0"); r.Code != 0 {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

func (p *played) secret(name string, kubeconfig []byte) {
	p.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: name}, Data: map[string][]byte{"kubeconfig": kubeconfig}}
	if err := p.Client.Update(p.t.Context(), s); err != nil {
		p.t.Fatal(err)
	}
}
