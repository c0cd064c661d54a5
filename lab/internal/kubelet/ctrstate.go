package kubelet

import (
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/lab/internal/container"
)

// longestMessage is how much of a termination message is reported.
const longestMessage = 4096

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func (c *ctr) setWaiting(reason, message string) {
	c.p.change(func() { c.state = waiting(reason, message) })
}

func (c *ctr) setRunning(id string, started time.Time, process *container.Process, plan *plan) {
	c.p.change(func() {
		c.id, c.process = id, process
		c.started, c.ready = false, false
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}}
		if plan != nil {
			c.previous.discard()
			c.output, c.previous = plan.output, c.output
		}
	})
}

// setUp says that the container has started, and whether it is ready.
func (c *ctr) setUp(ready bool) {
	c.p.change(func() { c.started, c.ready = true, ready })
	c.upped.Do(func() { close(c.up) })
}

func (c *ctr) setReady(ready bool) {
	c.p.mu.Lock()
	same := c.ready == ready
	c.p.mu.Unlock()
	if !same {
		c.p.change(func() { c.ready = ready })
	}
}

func (c *ctr) setTerminated(exit container.Exit, plan *plan) {
	message := c.terminationMessage(exit, plan)
	c.p.change(func() {
		t := &corev1.ContainerStateTerminated{
			ExitCode: int32(exit.Code), Signal: int32(exit.Signal), Reason: "Completed", Message: message,
			FinishedAt: metav1.NewTime(exit.Finished), ContainerID: c.id,
		}
		if exit.Code != 0 {
			t.Reason = "Error"
		}
		if r := c.state.Running; r != nil {
			t.StartedAt = r.StartedAt
		}
		c.state = corev1.ContainerState{Terminated: t}
		c.process, c.started = nil, false
		c.ready = c.kind == initContainer && exit.Code == 0
	})
}

// terminationMessage is what the container wrote to its termination log, or the end of its output
// if it asks for that.
func (c *ctr) terminationMessage(exit container.Exit, plan *plan) string {
	text, err := os.ReadFile(plan.messageFile)
	if err == nil && len(text) == 0 && exit.Code != 0 && c.spec().TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
		text = plan.output.tail(longestMessage / 2)
	}
	if len(text) > longestMessage {
		text = text[len(text)-longestMessage:]
	}
	return string(text)
}

// status is the container's status; the pod's mutex is held.
func (c *ctr) status(spec *corev1.Container) corev1.ContainerStatus {
	started := c.started
	image := spec.Image
	return corev1.ContainerStatus{
		Name: c.name, State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(), Ready: c.ready,
		RestartCount: c.restarts, Image: image, ImageID: c.image, ContainerID: c.id, Started: &started,
	}
}
