package box

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/podnet"
)

// Kinds of faults of a lab.
const (
	FaultRestart = "restart" // a component of the control plane is killed and started again
	FaultFreeze  = "freeze"  // a component or a pod is stopped by SIGSTOP, then goes on
	FaultSlow    = "slow"    // a component or a pod is stopped four fifths of the time
	FaultCut     = "cut"     // a pod is taken off the network, then put back
	FaultKill    = "kill"    // a pod's processes are killed by SIGKILL
)

// Fault is one fault of a lab.
type Fault struct {
	Kind string `json:"kind"`
	// Cluster, "" for the first one.
	Cluster string `json:"cluster,omitempty"`
	// Target is a component of the control plane, or NAMESPACE/POD.
	Target string `json:"target"`
	// For is how long it lasts; 0 for as long as somebody waits for its end.
	For time.Duration `json:"for,omitempty"`
}

// A slow process runs for slowRun, then stands for slowStop.
const (
	slowRun  = 25 * time.Millisecond
	slowStop = 100 * time.Millisecond
)

// victim is a cluster to which faults can be done.
type victim struct {
	plane   *controlplane.Cluster
	network *podnet.Network
}

// do inflicts a fault and returns when it is over: after its time, or when ctx ends. It leaves nothing behind.
func (v *victim) do(ctx context.Context, f Fault) error {
	lasting := ctx
	if f.For > 0 {
		var cancel context.CancelFunc
		lasting, cancel = context.WithTimeout(ctx, f.For)
		defer cancel()
	}
	switch f.Kind {
	case FaultRestart:
		return v.plane.Restart(ctx, f.Target)
	case FaultCut:
		pod, err := v.pod(ctx, f.Target)
		if err != nil {
			return err
		}
		ip, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil {
			return fmt.Errorf("pod %s has no address yet", f.Target)
		}
		mend, err := v.network.Cut(ip)
		if err != nil {
			return err
		}
		<-lasting.Done()
		return mend()
	}
	processes, done, err := v.processes(ctx, f.Target)
	if err != nil {
		return err
	}
	defer done()
	switch f.Kind {
	case FaultKill:
		return signalAll(processes, unix.SIGKILL)
	case FaultFreeze:
		defer func() { _ = signalAll(processes, unix.SIGCONT) }()
		if err := signalAll(processes, unix.SIGSTOP); err != nil {
			return err
		}
		<-lasting.Done()
		return nil
	case FaultSlow:
		return slow(lasting, processes)
	}
	return fmt.Errorf("there is no fault %q", f.Kind)
}

func slow(ctx context.Context, processes []int) error {
	defer func() { _ = signalAll(processes, unix.SIGCONT) }()
	for {
		for _, phase := range []struct {
			signal unix.Signal
			length time.Duration
		}{{unix.SIGSTOP, slowStop}, {unix.SIGCONT, slowRun}} {
			if err := signalAll(processes, phase.signal); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(phase.length):
			}
		}
	}
}

// signalAll sends a signal to processes, given as pidfds. One that has ended needs none.
func signalAll(processes []int, s unix.Signal) error {
	for _, fd := range processes {
		if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send %s: %w", unix.SignalName(s), err)
		}
	}
	return nil
}

// processes returns pidfds of a component's process, or of a pod's containers; done closes them.
func (v *victim) processes(ctx context.Context, target string) (fds []int, done func(), err error) {
	var pids []int
	if slices.Contains(controlplane.Components(), target) {
		pid, err := v.plane.Process(target)
		if err != nil {
			return nil, nil, err
		}
		pids = append(pids, pid)
	} else {
		pod, err := v.pod(ctx, target)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range pod.Status.ContainerStatuses {
			if pid, err := strconv.Atoi(strings.TrimPrefix(s.ContainerID, "process://")); err == nil && s.State.Running != nil {
				pids = append(pids, pid)
			}
		}
		if len(pids) == 0 {
			return nil, nil, fmt.Errorf("no container of pod %s runs as a process", target)
		}
	}
	done = func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("process %d: %w", pid, err)
		}
		fds = append(fds, fd)
		if !ours(pid) { // its number was given to another since the API server was told
			done()
			return nil, nil, fmt.Errorf("process %d of %s has just ended: try again", pid, target)
		}
	}
	return fds, done, nil
}

// ours tells whether a process is a child of this one, as all that run in pods and in the control plane are.
func ours(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
}

func (v *victim) pod(ctx context.Context, target string) (*corev1.Pod, error) {
	namespace, name, ok := strings.Cut(target, "/")
	if !ok {
		return nil, fmt.Errorf("%q is no target: want NAMESPACE/POD or one of %s", target, strings.Join(controlplane.Components(), ", "))
	}
	kube, err := kubernetes.NewForConfig(v.plane.REST())
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	pod, err := kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", target, err)
	}
	return pod, nil
}
