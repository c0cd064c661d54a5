package kubelet

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/lab/internal/container"
)

// Kinds of probes, as events call them.
const (
	startup   = "Startup"
	readiness = "Readiness"
	liveness  = "Liveness"
)

// firstLook is how soon a startup or readiness probe that has not succeeded yet is tried again.
// Such tries between the periods don't count as failures. A real kubelet has none of them: here
// nobody should wait 15 seconds because a proxy was not ready at the first try.
const firstLook = 50 * time.Millisecond

// failure is why a running container must be restarted, and how long it may take to end.
type failure struct {
	message string
	grace   time.Duration
}

// supervise runs the container's postStart hook and its probes until ctx or the process ends. What
// requires a restart goes to unhealthy.
func (c *ctr) supervise(ctx context.Context, process *container.Process, unhealthy chan<- failure) {
	spec := c.spec()
	fail := func(probe *corev1.Probe, format string, args ...any) {
		f := failure{message: fmt.Sprintf(format, args...), grace: c.p.gracePeriod()}
		if probe != nil && probe.TerminationGracePeriodSeconds != nil {
			f.grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
		}
		select {
		case unhealthy <- f:
		default:
		}
	}
	if spec.Lifecycle != nil && spec.Lifecycle.PostStart != nil {
		err := c.runHook(ctx, process, spec.Lifecycle.PostStart)
		c.begin()
		if err != nil {
			if ctx.Err() == nil {
				c.p.event(corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: %v", err)
				fail(nil, "failed its postStart hook")
			}
			return
		}
	}
	c.begin()
	if spec.StartupProbe != nil && !c.awaitStartup(ctx, process, spec.StartupProbe) {
		if ctx.Err() == nil {
			fail(spec.StartupProbe, "failed startup probe, will be restarted")
		}
		return
	}
	c.setUp(spec.ReadinessProbe == nil)
	var probes sync.WaitGroup
	if spec.ReadinessProbe != nil {
		probes.Go(func() {
			c.repeat(ctx, process, spec.ReadinessProbe, readiness, func(healthy bool) bool {
				c.setReady(healthy)
				return true
			})
		})
	}
	if spec.LivenessProbe != nil {
		probes.Go(func() {
			c.repeat(ctx, process, spec.LivenessProbe, liveness, func(healthy bool) bool {
				if !healthy {
					fail(spec.LivenessProbe, "failed liveness probe, will be restarted")
				}
				return healthy
			})
		})
	}
	probes.Wait()
}

// awaitStartup returns whether the startup probe has succeeded.
func (c *ctr) awaitStartup(ctx context.Context, process *container.Process, probe *corev1.Probe) bool {
	started := false
	c.repeat(ctx, process, probe, startup, func(healthy bool) bool {
		started = healthy
		return false
	})
	return started
}

// repeat runs a probe periodically. Whenever as many probes in a row as the thresholds say agree,
// it reports the result; it ends when report returns false, or with ctx or the process.
func (c *ctr) repeat(ctx context.Context, process *container.Process, probe *corev1.Probe, kind string, report func(healthy bool) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-process.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	sleep(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second)
	period := time.NewTicker(max(time.Duration(probe.PeriodSeconds)*time.Second, time.Second))
	defer period.Stop()
	var streak thresholds
	succeeded := kind == liveness
	for ctx.Err() == nil {
		err := c.runProbe(ctx, process, probe)
		if ctx.Err() != nil {
			return
		}
		succeeded = succeeded || err == nil
		if err != nil {
			c.p.event(corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %v", kind, err)
		}
		if streak.add(err == nil, probe) && !report(err == nil) {
			return
		}
		c.pause(ctx, process, probe, period.C, !succeeded)
	}
}

// pause waits for the next period. If eager it looks meanwhile whether the probe succeeds, and then
// returns at once.
func (c *ctr) pause(ctx context.Context, process *container.Process, probe *corev1.Probe, period <-chan time.Time, eager bool) {
	for delay := firstLook; eager; delay = min(2*delay, time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-period:
			return
		case <-time.After(delay):
		}
		if c.runProbe(ctx, process, probe) == nil {
			return
		}
	}
	select {
	case <-ctx.Done():
	case <-period:
	}
}

// thresholds counts equal results in a row.
type thresholds struct {
	healthy bool
	count   int32
}

// add counts a result and returns whether its threshold is reached.
func (t *thresholds) add(healthy bool, probe *corev1.Probe) bool {
	if t.healthy != healthy {
		t.healthy, t.count = healthy, 0
	}
	t.count++
	if healthy {
		return t.count >= max(probe.SuccessThreshold, 1)
	}
	return t.count >= max(probe.FailureThreshold, 1)
}
