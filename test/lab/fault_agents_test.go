package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"meshlift.dev/meshlift/internal/agent"
	"meshlift.dev/meshlift/test/lab/faultyapi"
	"meshlift.dev/meshlift/test/lab/schedule"
)

// asAgent in the environment makes the test binary an agent: the product's own code with a bad connection to the API
// server and a clock that can be set. It runs inside the lab and does as its standard input says.
const asAgent = "MESHLIFT_CHAOS_AGENT"

// agentLease is how long a dead leader is waited for.
const agentLease = 2 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		if err := runAgent(); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(asExporter) != "" {
		if err := export(); err != nil {
			fmt.Fprintln(os.Stderr, "exporter:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	ctrllog.SetLogger(logr.Discard())
	code := m.Run()
	if err := rightsAreNeeded(code == 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runAgent() error {
	fmt.Println("pid", os.Getpid())
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	bad, jumps := faultyapi.New(), &jumpingClock{}
	bad.Led = func() { fmt.Println("leads") }
	cfg.QPS, cfg.Burst = 200, 400
	cfg.Impersonate = rest.ImpersonationConfig{ // the rights of the agent, and no others
		UserName: "system:serviceaccount:cpaas-system:asm-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:cpaas-system", "system:authenticated"},
	}
	cfg.Wrap(bad.Wrap)
	go func() {
		_ = bad.Obey(os.Stdin, jumps.obey)
		os.Exit(2) // the test has gone
	}()
	return agent.Run(context.Background(), agent.Config{
		REST: cfg, Namespace: "cpaas-system", IstioNamespace: "istio-system", LeaderElect: true, LeaseDuration: agentLease,
		MetricsAddress: "0", HealthAddress: "0", InstallTimeout: 5 * time.Minute, Clock: jumps,
		Log: zap.New(zap.UseDevMode(true), zap.WriteTo(os.Stderr)),
	})
}

// jumpingClock is the real clock, so many nanoseconds ahead.
type jumpingClock struct {
	clock.RealClock

	ahead atomic.Int64
}

func (c *jumpingClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *jumpingClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *jumpingClock) obey(f schedule.Fault) {
	jump := time.Duration(f.N) * time.Minute
	if f.Kind == schedule.ClockBack {
		jump = -jump
	}
	c.ahead.Add(int64(jump))
	time.AfterFunc(f.For, func() { c.ahead.Add(-int64(jump)) })
}

// agents keeps two of them running, as a Deployment would.
type agents struct {
	lab  *cluster
	logs string

	mu     sync.Mutex
	live   []*liveAgent
	leader *liveAgent
	starts int
	wg     sync.WaitGroup
}

type liveAgent struct {
	pid      int
	commands io.WriteCloser
}

// startAgents runs n agents until the context ends.
func startAgents(ctx context.Context, t *testing.T, c *cluster, n int) *agents {
	t.Helper()
	a := &agents{lab: c, logs: filepath.Join(c.Root, ".lab", "run", c.Name)}
	for number := range n {
		a.wg.Go(func() {
			for ctx.Err() == nil {
				if err := a.run(ctx, number); err != nil && ctx.Err() == nil {
					t.Errorf("agent %d: %v", number, err)
					return
				}
			}
		})
	}
	return a
}

// run runs one agent until it ends.
func (a *agents) run(ctx context.Context, number int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(a.logs, fmt.Sprintf("agent-%d.log", number)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, filepath.Join(a.lab.Root, ".lab", "bin", "lab"), "exec", "--name", a.lab.Name, "--", self)
	cmd.Env, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), asAgent+"=1"), log, 5*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	commands, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &liveAgent{commands: commands}
	a.mu.Lock()
	a.starts++
	a.live = append(a.live, p)
	a.mu.Unlock()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		a.hear(p, lines.Text())
	}
	_ = cmd.Wait() // it was killed, or lost its lease and ended, as it should
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, live := range a.live {
		if live == p {
			a.live = append(a.live[:n:n], a.live[n+1:]...)
		}
	}
	if a.leader == p {
		a.leader = nil
	}
	return nil
}

func (a *agents) hear(p *liveAgent, line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if pid, ok := strings.CutPrefix(line, "pid "); ok {
		p.pid, _ = strconv.Atoi(pid)
	} else if line == "leads" {
		a.leader = p
	}
}

// inflict has every agent do it.
func (a *agents) inflict(f schedule.Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.live {
		_, _ = fmt.Fprintln(p.commands, f) // one that ends at this moment needs no fault
	}
}

// theLeader returns the agent that wrote the lease last, else any.
func (a *agents) theLeader() *liveAgent {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leader != nil || len(a.live) == 0 {
		return a.leader
	}
	return a.live[0]
}

// signal sends a signal to the leader, or to all.
func (a *agents) signal(all bool, s syscall.Signal) (sent []*liveAgent) {
	if !all {
		if p := a.theLeader(); p != nil && p.signal(s) {
			sent = append(sent, p)
		}
		return sent
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.live {
		if p.signal(s) {
			sent = append(sent, p)
		}
	}
	return sent
}

// signal reports whether the process was there and is still an agent.
func (p *liveAgent) signal(s syscall.Signal) bool {
	if p.pid == 0 {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	return err == nil && strings.Contains(string(b), asAgent+"=1") && syscall.Kill(p.pid, s) == nil
}
