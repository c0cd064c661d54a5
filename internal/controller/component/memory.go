package component

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/event"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/component"
)

// What is kept here may be lost at any time: it saves work, and nothing depends on it.

// helms keeps one Helm for each cluster, because it remembers what it has read.
type helms struct {
	mu  sync.Mutex
	all map[string]kept
}

type kept struct {
	identity string
	helm     Helm
}

func (h *helms) of(cluster string, config *rest.Config, connect func(*rest.Config) (Helm, error)) (Helm, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	identity := fmt.Sprintf("%s %p %s", config.Host, config.Transport, config.BearerToken) // another one after a rotation
	if k, ok := h.all[cluster]; ok && k.identity == identity {
		return k.helm, nil
	}
	made, err := connect(config)
	if err != nil {
		return nil, err
	}
	if h.all == nil {
		h.all = map[string]kept{}
	}
	h.all[cluster] = kept{identity, made}
	return made, nil
}

func (h *helms) drop(cluster string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, cluster)
}

// jobs are the actions that are being done.
type jobs struct {
	mu      sync.Mutex
	running map[string]bool
	count   map[string]int
	events  chan event.GenericEvent
}

// ended counts the jobs of a cluster that have ended.
func (j *jobs) ended(cluster string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count[cluster]
}

// begin is false while a job runs, or when one has ended since seen was counted.
func (j *jobs) begin(cluster string, seen int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running[cluster] || j.count[cluster] != seen {
		return false
	}
	if j.running == nil {
		j.running, j.count = map[string]bool{}, map[string]int{}
	}
	j.running[cluster] = true
	return true
}

func (j *jobs) end(cluster string) {
	j.mu.Lock()
	delete(j.running, cluster)
	j.count[cluster]++
	j.mu.Unlock()
	j.wake(cluster)
}

// troubles are the errors of the last actions, by cluster and component.
type troubles struct {
	mu  sync.Mutex
	all map[string]map[string]trouble
}

type trouble struct{ stamp, text string }

// set remembers what became of an action for the present request.
func (t *troubles) set(mc *hub.MemberCluster, name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.all[mc.Name], name)
		return
	}
	if t.all == nil {
		t.all = map[string]map[string]trouble{}
	}
	if t.all[mc.Name] == nil {
		t.all[mc.Name] = map[string]trouble{}
	}
	t.all[mc.Name][name] = trouble{stamp(mc, name), err.Error()}
}

// of returns what belongs to the present requests.
func (t *troubles) of(mc *hub.MemberCluster) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]string{}
	for name, is := range t.all[mc.Name] {
		if is.stamp == stamp(mc, name) {
			out[name] = is.text
		}
	}
	return out
}

func (t *troubles) drop(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, cluster)
}

func stamp(mc *hub.MemberCluster, name string) string {
	for _, q := range mc.Spec.Components {
		if q.Name == name {
			return component.Stamp(q.At)
		}
	}
	return ""
}

// passes keeps looks apart: a member in the middle of a rollout tells of a change several times a second.
type passes struct {
	mu   sync.Mutex
	last map[string]pass
}

type pass struct {
	at         time.Time
	generation int64
	busy       bool
}

// early is how long to wait for the next look.
func (p *passes) early(mc *hub.MemberCluster, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last[mc.Name]
	if !ok || last.busy || last.generation != mc.Generation {
		return 0
	}
	return last.at.Add(pause).Sub(now)
}

func (p *passes) made(mc *hub.MemberCluster, now time.Time, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]pass{}
	}
	p.last[mc.Name] = pass{now, mc.Generation, busy}
}

func (p *passes) drop(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, cluster)
}
