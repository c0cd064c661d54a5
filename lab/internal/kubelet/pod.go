package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/lab/internal/podnet"
)

// defaultGrace is the termination grace period of pods that don't say.
const defaultGrace = 30 * time.Second

// pod is the worker of one pod: a goroutine that takes it from its creation to its deletion.
type pod struct {
	k           *kubelet
	log         *slog.Logger
	dir, logDir string
	containers  []*ctr // init containers first, in order
	grace       *grace
	stop        chan struct{} // closed when the pod is to end
	stopOnce    sync.Once
	dirty       chan struct{} // the status has changed
	refresh     chan struct{} // volumes may have changed
	reporting   sync.Mutex

	net     *podnet.Pod // nil with hostNetwork
	netns   *os.File
	objects *objectSet
	volumes map[string]*volume

	mu       sync.Mutex
	object   *corev1.Pod // as the API server has it, as far as known
	gone     bool        // the API server has it no more
	ip       netip.Addr
	started  time.Time
	sandbox  bool // network and volumes are there
	initDone bool
	ended    bool // every container has ended for good
	failure  *podFailure
}

// podFailure is why a pod fails as a whole.
type podFailure struct{ reason, message string }

func (k *kubelet) newPod(object *corev1.Pod) *pod {
	p := &pod{
		k:       k,
		log:     k.Log.With("pod", object.Namespace+"/"+object.Name),
		dir:     filepath.Join(k.StateDir, "pods", string(object.UID)),
		logDir:  filepath.Join(k.LogDir, fmt.Sprintf("%s_%s_%s", object.Namespace, object.Name, object.UID)),
		grace:   newGrace(),
		stop:    make(chan struct{}),
		dirty:   make(chan struct{}, 1),
		refresh: make(chan struct{}, 1),
		object:  object,
		started: time.Now(),
	}
	if object.Status.StartTime != nil {
		p.started = object.Status.StartTime.Time
	}
	for i := range object.Spec.InitContainers {
		p.containers = append(p.containers, newContainer(p, i, true))
	}
	for i := range object.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, i, false))
	}
	return p
}

// latest is the pod's newest known object; it must not be changed.
func (p *pod) latest() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.object
}

// update takes a new version of the pod from the API server.
func (p *pod) update(object *corev1.Pod) {
	p.adopt(object)
	wake(p.refresh)
	wake(p.dirty) // readiness gates are conditions of others
	if object.DeletionTimestamp != nil {
		p.end(object.DeletionGracePeriodSeconds)
	}
}

// adopt remembers the newer of two versions of the pod.
func (p *pod) adopt(object *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version(object) >= version(p.object) {
		p.object = object
	}
}

// removed handles a pod that was removed from the API server by force.
func (p *pod) removed(object *corev1.Pod) {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.end(object.DeletionGracePeriodSeconds)
}

// end makes the pod stop within its grace period, or within less if that is asked for later.
func (p *pod) end(seconds *int64) {
	if seconds == nil {
		seconds = p.latest().Spec.TerminationGracePeriodSeconds
	}
	d := defaultGrace
	if seconds != nil {
		d = time.Duration(*seconds) * time.Second
	}
	p.grace.limit(d)
	p.stopOnce.Do(func() { close(p.stop) })
}

// change changes the pod's state and has the status reported.
func (p *pod) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	wake(p.dirty)
}

// run is the life of the pod. When ctx ends, it kills the pod's processes and returns.
func (p *pod) run(ctx context.Context) {
	var reporter sync.WaitGroup
	reportCtx, stopReports := context.WithCancel(ctx)
	reporter.Go(func() { p.reportChanges(reportCtx) })
	wake(p.dirty)

	work, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.stop:
			cancel()
		case <-work.Done():
		}
	}()
	if p.setUp(work) {
		var refresher sync.WaitGroup
		volumeCtx, stopRefresher := context.WithCancel(ctx)
		refresher.Go(func() { p.refreshVolumes(volumeCtx) })
		p.runContainers(ctx, work)
		stopRefresher()
		refresher.Wait()
	}
	p.tearDown()
	p.change(func() { p.ended, p.sandbox = true, false })
	stopReports()
	reporter.Wait()
	p.report(ctx)
	select {
	case <-ctx.Done():
		return
	case <-p.stop: // a pod that has ended by itself stays until it is deleted
	}
	p.report(ctx)
	p.k.deletePod(ctx, p.latest())
	p.removeFiles()
}

// setUp makes the pod's network and volumes; it returns false if the pod was stopped before that.
func (p *pod) setUp(ctx context.Context) bool {
	object := p.latest()
	p.objects = p.k.objects.use(referencedObjects(object), func() { wake(p.refresh) })
	for {
		err := p.addNetwork(object)
		if err == nil {
			break
		}
		p.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "%v", err)
		if sleep(ctx, time.Second); ctx.Err() != nil {
			return false
		}
	}
	p.change(func() { p.sandbox = true })
	p.objects.wait(ctx)
	for {
		err := p.mountVolumes(ctx)
		if err == nil {
			return ctx.Err() == nil
		}
		if ctx.Err() != nil {
			return false
		}
		p.event(corev1.EventTypeWarning, "FailedMount", "%v", err)
		select {
		case <-ctx.Done():
			return false
		case <-p.refresh:
		case <-time.After(time.Second):
		}
	}
}

func (p *pod) addNetwork(object *corev1.Pod) error {
	ip, err := p.k.Network.Gateway(), error(nil)
	if object.Spec.HostNetwork {
		p.netns, err = os.Open("/proc/self/ns/net")
	} else if p.net, err = p.k.Network.AddPod(); err == nil {
		p.netns, ip = p.net.Namespace(), p.net.IP
	}
	if err != nil {
		return fmt.Errorf("pod network: %w", err)
	}
	p.change(func() { p.ip = ip })
	return nil
}

// runContainers runs the init containers in order, with the sidecars among them, then the others,
// and returns when all have ended for good. The end of work stops the pod gracefully, that of ctx
// at once.
func (p *pod) runContainers(ctx, work context.Context) {
	var sidecars []func()
	defer func() {
		p.grace.limit(p.gracePeriod())
		for i := len(sidecars) - 1; i >= 0; i-- {
			sidecars[i]()
		}
	}()
	var apps sync.WaitGroup
	for _, c := range p.containers {
		switch c.kind {
		case sidecarContainer:
			sidecars = append(sidecars, p.runSidecar(ctx, work, c))
		case initContainer:
			if !c.keepRunning(ctx, work) && work.Err() == nil {
				p.change(func() { p.failure = &podFailure{} })
				return
			}
		}
		if work.Err() != nil {
			return
		}
	}
	p.change(func() { p.initDone = true })
	p.limitRunTime(work)
	for _, c := range p.containers {
		if c.kind == appContainer {
			apps.Go(func() { c.keepRunning(ctx, work) })
			select { // one after the other, each after its predecessor's postStart hook: injected proxies rely on it
			case <-c.begun:
			case <-work.Done():
			}
		}
	}
	apps.Wait()
}

// runSidecar starts a sidecar and returns, once it has started, the function that stops it.
func (p *pod) runSidecar(ctx, work context.Context, c *ctr) (stop func()) {
	life, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.keepRunning(ctx, life)
	}()
	select {
	case <-c.up:
	case <-work.Done():
	}
	return func() {
		cancel()
		<-ended
	}
}

// limitRunTime stops a pod that exceeds its activeDeadlineSeconds.
func (p *pod) limitRunTime(work context.Context) {
	seconds := p.latest().Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return
	}
	timer := time.AfterFunc(time.Until(p.started.Add(time.Duration(*seconds)*time.Second)), func() {
		p.change(func() {
			p.failure = &podFailure{reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline"}
		})
		p.grace.limit(p.gracePeriod())
		for _, c := range p.containers {
			c.giveUp()
		}
	})
	context.AfterFunc(work, func() { timer.Stop() })
}

func (p *pod) gracePeriod() time.Duration {
	if s := p.latest().Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultGrace
}

func (p *pod) tearDown() {
	if p.objects != nil {
		p.objects.close()
	}
	var err error
	switch {
	case p.net != nil:
		err = p.net.Close()
	case p.netns != nil:
		err = p.netns.Close()
	}
	if err != nil {
		p.log.Warn("cannot remove the pod's network", "error", err)
	}
}

func (p *pod) removeFiles() {
	for _, dir := range []string{p.dir, p.logDir} {
		if err := os.RemoveAll(dir); err != nil {
			p.log.Warn("cannot remove the pod's files", "error", err)
		}
	}
}

func (p *pod) event(kind, reason, format string, args ...any) {
	p.k.recorder.Eventf(p.latest(), kind, reason, format, args...)
}

// version orders the versions of an object that one API server has handed out.
func version(object metav1.Object) uint64 {
	v, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// wake sends to a channel of capacity one unless a signal is waiting there already.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
