package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/lab/internal/container"
)

// Restart back-off: shorter than a real kubelet's, so that a lab shows crashes and recoveries
// without minutes of waiting.
const (
	firstBackOff   = 100 * time.Millisecond
	longestBackOff = 5 * time.Second
	backOffReset   = 10 * time.Second
	imageBackOff   = 10 * time.Second
)

// startFailure is the exit code of a container whose command could not be executed.
const startFailure = 128

type containerKind int

const (
	appContainer containerKind = iota
	initContainer
	sidecarContainer
)

// ctr is one container of a pod over all its restarts.
type ctr struct {
	p     *pod
	name  string
	kind  containerKind
	index int           // in its list of the pod's spec
	up    chan struct{} // closed when it has started for the first time
	upped sync.Once
	begun chan struct{} // closed when its first start has succeeded, with its postStart hook, or has failed
	begin func()        // closes begun
	quit  chan struct{} // closed when it must not run any more
	quits sync.Once

	// The following are guarded by the pod's mutex.
	state, last corev1.ContainerState
	id, image   string
	restarts    int32
	started     bool
	ready       bool
	process     *container.Process
	output      *logFile // of the latest run
	previous    *logFile // of the run before
}

func newContainer(p *pod, index int, init bool) *ctr {
	c := &ctr{p: p, index: index, up: make(chan struct{}), quit: make(chan struct{}), begun: make(chan struct{})}
	c.begin = sync.OnceFunc(func() { close(c.begun) })
	statuses := p.object.Status.ContainerStatuses
	spec := p.object.Spec.Containers
	reason := "ContainerCreating"
	if init {
		statuses, spec = p.object.Status.InitContainerStatuses, p.object.Spec.InitContainers
		c.kind = initContainer
		if policy := spec[index].RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			c.kind = sidecarContainer
		}
	}
	if len(p.object.Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	c.name = spec[index].Name
	c.state = waiting(reason, "")
	for _, s := range statuses { // of a run of the lab before this one
		if s.Name == c.name && s.ContainerID != "" {
			c.restarts = s.RestartCount + 1
		}
	}
	return c
}

// spec is the container's part of the newest pod object.
func (c *ctr) spec() *corev1.Container {
	object := c.p.latest()
	if c.kind == appContainer {
		return &object.Spec.Containers[c.index]
	}
	return &object.Spec.InitContainers[c.index]
}

// giveUp stops the container for good.
func (c *ctr) giveUp() { c.quits.Do(func() { close(c.quit) }) }

// keepRunning runs the container as often as its restart policy says, until work ends. It returns
// whether the container has ended with success.
func (c *ctr) keepRunning(ctx, work context.Context) bool {
	work, cancel := context.WithCancel(work)
	defer cancel()
	go func() {
		select {
		case <-c.quit:
			cancel()
		case <-work.Done():
		}
	}()
	backOff := firstBackOff
	for run := 0; ; run++ {
		if run > 0 {
			c.p.change(func() { c.restarts++ })
		}
		exit, ok := c.runOnce(ctx, work)
		c.begin()
		if !ok {
			return false
		}
		if work.Err() != nil || !c.restartable(exit.Code) {
			return exit.Code == 0
		}
		if c.ranFor() >= backOffReset {
			backOff = firstBackOff
		}
		c.p.change(func() {
			c.last = c.state
			c.state = waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting container %s", backOff, c.name))
		})
		c.p.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting container %s in pod %s", c.name, c.p.latest().Name)
		sleep(work, backOff)
		if work.Err() != nil {
			c.p.change(func() { c.state = c.last })
			return exit.Code == 0
		}
		backOff = min(2*backOff, longestBackOff)
	}
}

func (c *ctr) restartable(code int) bool {
	policy := c.p.latest().Spec.RestartPolicy
	switch {
	case c.kind == sidecarContainer:
		return true
	case c.kind == initContainer:
		return code != 0 && policy != corev1.RestartPolicyNever
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

func (c *ctr) ranFor() time.Duration {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if t := c.state.Terminated; t != nil {
		return t.FinishedAt.Sub(t.StartedAt.Time)
	}
	return 0
}

// runOnce starts the container and waits for its end. It returns false if the container was
// stopped before it could be started.
func (c *ctr) runOnce(ctx, work context.Context) (container.Exit, bool) {
	image, ok := c.pull(work)
	if !ok {
		return container.Exit{}, false
	}
	plan, ok := c.plan(work, image)
	if !ok {
		return container.Exit{}, false
	}
	if image.IsSimulated(plan.spec.Args) || image.IsSimulated(c.spec().Args) {
		now := time.Now()
		c.setRunning(fmt.Sprintf("process://simulated-%s-%s", c.p.latest().UID, c.name), now, nil, nil)
		c.setUp(true)
		exit := container.Exit{Finished: now}
		c.setTerminated(exit, plan)
		return exit, true
	}
	process, err := c.start(plan)
	if err != nil {
		return c.failedToStart(err), true
	}
	if c.attend(ctx, work, process); ctx.Err() != nil {
		process.Kill()
	}
	<-process.Done()
	plan.output.close()
	c.setTerminated(process.Exit(), plan)
	return process.Exit(), true
}

// attend looks after the running container until it has ended.
func (c *ctr) attend(ctx, work context.Context, process *container.Process) {
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	var probes sync.WaitGroup
	defer probes.Wait()
	defer cancel()
	unhealthy := make(chan failure, 1)
	probes.Go(func() { c.supervise(life, process, unhealthy) })
	select {
	case <-process.Done():
	case <-ctx.Done():
	case <-work.Done():
		c.halt(ctx, process, c.p.grace.over, "Stopping container "+c.name)
	case f := <-unhealthy:
		own := newGrace()
		own.limit(f.grace)
		defer own.release()
		stopped := context.AfterFunc(work, func() { // the pod may end meanwhile, with less patience
			<-c.p.grace.over
			own.limit(0)
		})
		defer stopped()
		c.halt(ctx, process, own.over, fmt.Sprintf("Container %s %s", c.name, f.message))
	}
}

// halt stops a container: preStop hook, SIGTERM, and SIGKILL when over is closed.
func (c *ctr) halt(ctx context.Context, process *container.Process, over <-chan struct{}, message string) {
	c.p.event(corev1.EventTypeNormal, "Killing", "%s", message)
	if l := c.spec().Lifecycle; l != nil && l.PreStop != nil {
		hook, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-over:
			case <-process.Done():
			case <-hook.Done():
			}
			cancel()
		}()
		if err := c.runHook(hook, process, l.PreStop); err != nil && hook.Err() == nil {
			c.p.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
		}
		cancel()
	}
	process.Terminate()
	select {
	case <-over: // used up by the hook
		select {
		case <-process.Done():
		case <-time.After(minimumGrace):
		case <-ctx.Done():
		}
	default:
		select {
		case <-process.Done():
		case <-over:
		case <-ctx.Done():
		}
	}
	process.Kill()
	<-process.Done()
}

// start executes the container's command.
func (c *ctr) start(plan *plan) (*container.Process, error) {
	out, outWriter, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("output pipe: %w", err)
	}
	defer outWriter.Close()
	errs, errWriter, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("output pipe: %w", err)
	}
	defer errWriter.Close()
	plan.output.follow(out, errs)
	process, err := container.Start(c.p.k.Executable, plan.spec, c.p.netns, outWriter, errWriter)
	if err != nil {
		return nil, err
	}
	c.setRunning(fmt.Sprintf("process://%d", process.PID), process.Started, process, plan)
	c.p.event(corev1.EventTypeNormal, "Started", "Container started: %s", c.name)
	return process, nil
}

func (c *ctr) failedToStart(err error) container.Exit {
	reason := "RunContainerError"
	var start *container.StartError
	if errors.As(err, &start) {
		reason = "StartError"
	}
	c.p.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
	now := metav1.Now()
	c.p.change(func() {
		c.ready, c.started, c.process = false, false, nil
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: startFailure, Reason: reason, Message: err.Error(), StartedAt: now, FinishedAt: now, ContainerID: c.id,
		}}
	})
	return container.Exit{Code: startFailure, Finished: now.Time}
}
