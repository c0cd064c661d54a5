package member

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// link is the connection with one cluster.
type link struct {
	name    string
	options Options
	changed func()

	mu     sync.RWMutex
	target Target
	state  State
	wire   *wire
	client client.Client
	reader client.Reader
	unread string // why reader is nil

	setting sync.Mutex // guards what follows
	dropped bool
	cancel  context.CancelFunc
	done    chan struct{}
}

func (k *link) look() State {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s := k.state
	s.Synced = k.reader != nil
	return s
}

// set brings the link to a target; the present one changes nothing.
func (k *link) set(t Target) {
	k.setting.Lock()
	defer k.setting.Unlock()
	if k.dropped {
		return
	}
	if k.done != nil && bytes.Equal(t.Kubeconfig, k.target.Kubeconfig) && t.RequestsPerSecond == k.target.RequestsPerSecond && t.Problem == k.target.Problem {
		return
	}
	k.stop()
	k.target = t
	poke := make(chan struct{}, 1)
	if problem := k.connect(t, poke); problem != "" {
		k.note(answer{reason: hub.ReasonCredentials, message: problem})
		k.cancel, k.done = func() {}, make(chan struct{})
		close(k.done)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go k.run(ctx, k.done, poke)
}

// connect makes the transport and the client, and returns why it cannot. What was known stays until the first answer, unless the
// address is another one.
func (k *link) connect(t Target, poke chan<- struct{}) (problem string) {
	if t.Problem != "" {
		return t.Problem
	}
	config, err := Parse(t.Kubeconfig)
	if err != nil {
		return fmt.Sprintf("cluster %q: %v", k.name, err)
	}
	suspect := func() {
		select {
		case poke <- struct{}{}:
		default:
		}
	}
	w, err := newWire(config, max(1, t.RequestsPerSecond), k.options.RequestLimit, func() error { return k.look().problem(k.name) }, suspect)
	if err != nil {
		return fmt.Sprintf("cluster %q: %v", k.name, err)
	}
	c, err := newClient(w.shared, k.options.Scheme)
	if err != nil {
		return fmt.Sprintf("cluster %q cannot be reached with its kubeconfig: %v", k.name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Server != config.Host {
		k.state, k.reader, k.unread = State{Server: config.Host}, nil, ""
	}
	k.wire, k.client = w, c
	return ""
}

// drop ends the link for ever.
func (k *link) drop() {
	k.setting.Lock()
	defer k.setting.Unlock()
	k.dropped = true
	k.stop()
}

// stop ends the goroutines of the link and closes its connections.
func (k *link) stop() {
	if k.cancel != nil {
		k.cancel()
		<-k.done
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.wire != nil {
		k.wire.reset()
	}
}

// run probes until the context ends. While the cluster answers, a session watches it.
func (k *link) run(ctx context.Context, done chan<- struct{}, poke <-chan struct{}) {
	defer close(done)
	end := func() {}
	defer func() { end() }()
	watching := false
	for {
		a := k.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		k.note(a)
		if !a.ok {
			k.wire.reset() // whoever waits for an answer need not wait any longer
		}
		switch {
		case a.ok && !watching:
			end, watching = k.watch(ctx), true
		case !a.ok && watching:
			end()
			end, watching = func() {}, false
		}
		if !k.rest(ctx, a.ok, poke) {
			return
		}
	}
}

// ask probes once, and once more over new connections before it believes that nobody answers. The first probe is the shorter one: it
// finds connections that died without a word.
func (k *link) ask(ctx context.Context) answer {
	a := probe(ctx, k.wire, k.name, k.options.Limit*2/5)
	if a.ok || ctx.Err() != nil {
		return a
	}
	k.wire.reset()
	return probe(ctx, k.wire, k.name, k.options.Limit)
}

// rest waits for the next probe, which comes early when a request was not answered. It returns false when the context ends.
func (k *link) rest(ctx context.Context, connected bool, poke <-chan struct{}) bool {
	wait := k.options.Interval
	wait += time.Duration(rand.Int64N(int64(wait)/5+1)) - wait/10 // a hundred clusters are not asked in one moment
	timer := time.NewTimer(wait)
	defer timer.Stop()
	if !connected {
		poke = nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-poke:
	}
	// Requests that fail one after the other are one suspicion.
	early := time.NewTimer(min(wait, k.options.Interval/10))
	defer early.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-early.C:
		return true
	}
}

// note writes down what a probe found, and tells listeners what is new. While a cluster stays away, the first sentence stays too:
// errors of connections differ in the number of a port.
func (k *link) note(a answer) {
	k.mu.Lock()
	before := k.state
	s := &k.state
	s.Asked, s.Connected = true, a.ok
	switch {
	case a.ok:
		s.Reason, s.Message, s.LastContact = "", "", time.Now()
		if a.kubernetes != "" {
			s.Kubernetes = a.kubernetes
		}
	case before.Connected || before.Reason != a.reason || a.reason == hub.ReasonCredentials:
		s.Reason, s.Message = a.reason, a.message
	}
	was, is := before, *s
	was.LastContact, is.LastContact = time.Time{}, time.Time{}
	k.mu.Unlock()
	if was != is {
		k.changed()
	}
}
