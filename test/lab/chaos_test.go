package lab

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 30, "how many whole upgrades TestTheAgentKilledAtAnyPointEndsWhereNoCrashWouldHave runs, one for each seed")
	chaosLabs  = flag.Int("chaos.labs", 2, "in how many labs at the same time")
	chaosFirst = flag.Int("chaos.first", 1, "the first seed")
)

const chaosWorkloads = 4

// chaos is a cluster that is upgraded again and again, one minor version for each seed, while the agent is killed.
type chaos struct {
	*cluster
	minor int // of the Istio that runs now
}

// TestTheAgentKilledAtAnyPointEndsWhereNoCrashWouldHave runs whole upgrades, from the installation of the new istiod to
// the removal of the old one. Each seed decides after how many changes in the cluster the agent is killed by SIGKILL, so
// that the kills fall between its writes. Every upgrade must end in the same state, with every workload restarted once,
// and no pod may come out without a sidecar at any moment.
//
// The versions after 1.31 are the charts and the binary of 1.31 under other numbers.
func TestTheAgentKilledAtAnyPointEndsWhereNoCrashWouldHave(t *testing.T) {
	t.Parallel()
	seeds := seedRange(*chaosFirst, *chaosSeeds)
	for n := range min(*chaosLabs, len(seeds)) {
		t.Run(fmt.Sprintf("lab %d", n+1), func(t *testing.T) {
			t.Parallel()
			var mine []int
			for m := n; m < len(seeds); m += *chaosLabs {
				mine = append(mine, seeds[m])
			}
			underFire(t, fmt.Sprintf("chaos-%d", n+1), mine)
		})
	}
}

func seedRange(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// underFire runs one upgrade after the other in one lab.
func underFire(t *testing.T, lab string, seeds []int) {
	c := &chaos{cluster: startChaos(t, lab, len(seeds)), minor: 30}
	stop := c.hammer(t)
	for _, seed := range seeds {
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			before := c.templates(t)
			kills := c.upgradeUnderFire(t, rand.New(rand.NewPCG(uint64(seed), 0))) // #nosec G404 G115 -- a schedule that can be repeated
			c.leftClean(t, fmt.Sprintf("1-%d", c.minor))
			c.endState(t, before)
			t.Logf("1.%d to 1.%d with %d kills", c.minor-1, c.minor, kills)
		})
		if !ok {
			t.Logf("reproduce with: go test ./test/lab -run TestTheAgentKilled -chaos.first %d -chaos.seeds 1", seed)
			break // the cluster is in a state that the next seed must not build on
		}
	}
	stop()
}

func startChaos(t *testing.T, lab string, upgrades int) *cluster {
	t.Helper()
	c := startLab(t, lab, upgrades, []string{"gateway"}, "--set", "replicas=1", "--set", "extraArgs={--leader-elect-lease-duration=2s}")
	c.create(t, catalogUpTo(30+upgrades))
	namespace(t, c.Lab, "shop", map[string]string{"istio.io/rev": oldRev})
	for n := range chaosWorkloads {
		c.create(t, deployment("shop", fmt.Sprintf("app-%d", n), int32(1+n%2)))
	}
	for n := range chaosWorkloads {
		available(t, c.Lab, "shop", fmt.Sprintf("app-%d", n))
	}
	return c
}

// startLab starts a lab that has so many Istio versions after 1.30, and installs the agent.
func startLab(t *testing.T, lab string, upgrades int, workloads []string, install ...string) *cluster {
	t.Helper()
	flags := []string{"--workloads", strings.Join(workloads, ",")}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for minor := 32; minor <= 30+upgrades; minor++ {
		flags = append(flags, "--istio", fmt.Sprintf("1.%d.0=%s", minor, filepath.Join(root, ".lab", "istio", "1.31.0")))
	}
	c := &cluster{up(t, lab, flags...)}
	c.ok(t, append([]string{"install"}, install...)...)
	return c
}

// templates counts the ReplicaSets, that is the pod templates, of every workload.
func (c *chaos) templates(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for n := range chaosWorkloads {
		name := fmt.Sprintf("app-%d", n)
		out[name] = c.replicaSets(t, "shop", name)
	}
	return out
}

// upgradeUnderFire makes one whole upgrade and returns how often the agent was killed.
func (c *chaos) upgradeUnderFire(t *testing.T, random *rand.Rand) int {
	t.Helper()
	name := fmt.Sprintf("to-1-%d", c.minor+1)
	ctx, stop := context.WithCancel(t.Context())
	var kills atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() { c.killer(ctx, random, &kills) })
	defer func() { stop(); wg.Wait() }()

	c.create(t, &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterUpgradeSpec{Version: fmt.Sprintf("1.%d", c.minor+1)}})
	c.reached(t, name, v1alpha1.ConditionEnvoyFiltersHandled)
	c.create(t, &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: name, Parallelism: new(int32(2))}})
	labtest.Eventually(t, "the rollout completes", func(ctx context.Context) string {
		r := &v1alpha1.DataPlaneRollout{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, r); err != nil {
			return err.Error()
		}
		if meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionComplete) && r.Status.Counts.Failed == 0 {
			return ""
		}
		return fmt.Sprintf("%s %v", r.Status.Progress, r.Status.Failures)
	})
	c.reached(t, name, v1alpha1.ConditionDataPlanesMoved)
	labtest.Eventually(t, "request the decommission", func(ctx context.Context) string {
		u := c.upgrade(t, name)
		u.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "chaos", At: metav1.Now(), Soak: metav1.Duration{Duration: time.Millisecond}}
		if err := c.Client.Update(ctx, u); err != nil {
			return err.Error()
		}
		return ""
	})
	c.reached(t, name, v1alpha1.ConditionReady)
	c.minor++
	return int(kills.Load())
}

// killer watches what the agent writes and kills its process after a random number of changes, three times at most: then
// the upgrade may end.
func (c *chaos) killer(ctx context.Context, random *rand.Rand, kills *atomic.Int64) {
	changes := make(chan struct{}, 1024)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, list := range []client.ObjectList{
		&v1alpha1.ClusterUpgradeList{}, &v1alpha1.DataPlaneRolloutList{}, &admissionv1.MutatingWebhookConfigurationList{}, &admissionv1.ValidatingWebhookConfigurationList{},
		&corev1.NamespaceList{}, &appsv1.DeploymentList{}, &corev1.SecretList{}, &admissionv1.ValidatingAdmissionPolicyBindingList{},
	} {
		wg.Go(func() { c.feed(ctx, list, changes) })
	}
	for range 3 {
		for range 1 + random.IntN(40) {
			select {
			case <-ctx.Done():
				return
			case <-changes:
			}
		}
		if c.kill(ctx) {
			kills.Add(1)
		}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-changes:
		}
	}
}

func (c *chaos) feed(ctx context.Context, list client.ObjectList, changes chan<- struct{}) {
	w, err := c.Client.Watch(ctx, list)
	if err != nil {
		return
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return
		}
		select {
		case <-ctx.Done():
			return
		case changes <- struct{}{}:
		}
	}
}

// kill sends SIGKILL to every process of the agent. In the lab a container's ID is its process.
func (c *chaos) kill(ctx context.Context) bool {
	pods := &corev1.PodList{}
	if err := c.Client.List(ctx, pods, client.InNamespace("cpaas-system")); err != nil {
		return false
	}
	killed := false
	for n := range pods.Items {
		for _, s := range pods.Items[n].Status.ContainerStatuses {
			pid, err := strconv.Atoi(strings.TrimPrefix(s.ContainerID, "process://"))
			if err == nil && s.State.Running != nil && agentProcess(pid) {
				killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
			}
		}
	}
	return killed
}

// agentProcess tells whether the process is still the agent: its number may have been given to another since.
func agentProcess(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), "asm-controller")
}

// hammer creates pods as dry runs, without end: whatever happens, none may come out bare.
func (c *chaos) hammer(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var seen, bare atomic.Int64
	wg.Go(func() {
		for ctx.Err() == nil {
			if got, err := probe(ctx, c.Client, "shop", nil); err == nil {
				seen.Add(1)
				if got == "" {
					bare.Add(1)
				}
			} else if strings.Contains(err.Error(), "proxies") || strings.Contains(err.Error(), "talks to") {
				bare.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(150 * time.Millisecond): // a rate, not a wait for anything
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if bare.Load() > 0 || seen.Load() == 0 {
			t.Errorf("%d of %d pods came out bare or injected twice", bare.Load(), seen.Load())
		}
	}
}

// endState checks that every workload runs on the new revision and was restarted exactly once.
func (c *chaos) endState(t *testing.T, before map[string]int) {
	t.Helper()
	revision := fmt.Sprintf("1-%d", c.minor)
	for n := range chaosWorkloads {
		name := fmt.Sprintf("app-%d", n)
		c.expect(t, name, revision, 1+n%2)
		if now := c.replicaSets(t, "shop", name); now != before[name]+1 {
			t.Errorf("%s had %d pod templates before the upgrade and has %d: want one more", name, before[name], now)
		}
	}
}
