package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options of [Links].
type Options struct {
	// Scheme knows the kinds that clients use.
	Scheme *runtime.Scheme
	// Interval between two probes; default 5 s.
	Interval time.Duration
	// Limit of a probe; default 5 s.
	Limit time.Duration
	// RequestLimit ends every request but watches; default 10 s.
	RequestLimit time.Duration
}

// Target is how a cluster is to be reached.
type Target struct {
	// Kubeconfig with credentials, see [Parse].
	Kubeconfig []byte
	// RequestsPerSecond of all clients of the cluster together.
	RequestsPerSecond int32
	// Problem is why there is no kubeconfig, in one sentence.
	Problem string
}

// State is what is known about the connection with one cluster.
type State struct {
	// Asked is false until the first answer, or failure.
	Asked bool
	// Connected is true while the API server answers.
	Connected bool
	// Reason and Message say why it is not connected: one of the reasons of api/hub/v1alpha1, and a sentence.
	Reason, Message string
	// Server is the address of the API server.
	Server string
	// Kubernetes is its version, for example "v1.37.2".
	Kubernetes string
	// LastContact is when it answered last.
	LastContact time.Time
	// Synced is true when [Links.Cached] has read everything once.
	Synced bool
}

// Links connects with clusters. It is safe for concurrent use.
type Links struct {
	options   Options
	listeners listeners

	mu     sync.RWMutex
	links  map[string]*link
	closed bool
}

// NewLinks returns Links without any link: see [Keeper].
func NewLinks(o Options) *Links {
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.Limit == 0 {
		o.Limit = 5 * time.Second
	}
	if o.RequestLimit == 0 {
		o.RequestLimit = 10 * time.Second
	}
	return &Links{options: o, links: map[string]*link{}}
}

// ErrNotConnected is what errors of clusters that do not answer wrap.
var ErrNotConnected = errors.New("not connected")

// notConnected is one sentence that wraps [ErrNotConnected].
type notConnected string

func (e notConnected) Error() string        { return string(e) }
func (e notConnected) Is(target error) bool { return target == ErrNotConnected }

// Set makes the link of a cluster, or brings it to a new target at once. The same target again changes nothing.
func (l *Links) Set(cluster string, t Target) {
	l.mu.Lock()
	k := l.links[cluster]
	if k == nil && !l.closed {
		k = &link{name: cluster, options: l.options, changed: func() { l.listeners.poke(cluster) }}
		l.links[cluster] = k
	}
	l.mu.Unlock()
	if k != nil {
		k.set(t)
	}
}

// Drop ends the link of a cluster.
func (l *Links) Drop(cluster string) {
	l.mu.Lock()
	k := l.links[cluster]
	delete(l.links, cluster)
	l.mu.Unlock()
	if k != nil {
		k.drop()
		l.listeners.poke(cluster)
	}
}

// Start implements manager.Runnable: it ends all links when the context ends.
func (l *Links) Start(ctx context.Context) error {
	<-ctx.Done()
	l.Close()
	return nil
}

// NeedLeaderElection is false: every replica serves lists of members.
func (l *Links) NeedLeaderElection() bool { return false }

// Close ends all links, and returns when their goroutines have ended.
func (l *Links) Close() {
	l.mu.Lock()
	all := l.links
	l.links, l.closed = map[string]*link{}, true
	l.mu.Unlock()
	for _, k := range all {
		k.drop()
	}
}

// Names lists the clusters that have a link, sorted.
func (l *Links) Names() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []string
	for name := range l.links {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (l *Links) link(cluster string) (*link, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if k := l.links[cluster]; k != nil {
		return k, nil
	}
	return nil, notConnected(fmt.Sprintf("cluster %q is not registered, or the hub has not looked at it yet", cluster))
}

// State returns what is known about the connection; the zero State for a cluster without a link.
func (l *Links) State(cluster string) State {
	k, err := l.link(cluster)
	if err != nil {
		return State{}
	}
	return k.look()
}

// Client returns a live client: it reads from the API server, within the limit of requests of the cluster, and each request ends
// after 10 seconds at most. It fails at once, with the sentence of the probe, while the cluster does not answer, and so does
// every later request of the client. The error wraps [ErrNotConnected].
func (l *Links) Client(cluster string) (client.Client, error) {
	k, err := l.link(cluster)
	if err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if err := k.state.problem(cluster); err != nil {
		return nil, err
	}
	return k.client, nil
}

// Config returns the configuration for clients of other libraries. It holds no credentials: they are in its transport, with the
// same limits as those of [Links.Client].
func (l *Links) Config(cluster string) (*rest.Config, error) {
	k, err := l.link(cluster)
	if err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if err := k.state.problem(cluster); err != nil {
		return nil, err
	}
	return rest.CopyConfig(k.wire.shared), nil
}

// Cached returns the ControlPlanes, ClusterUpgrades, DataPlaneRollouts and Catalogs of the cluster as watches brought them. What it
// returns is old while the cluster is not connected. It fails while they have never been read, or the kinds are not installed.
func (l *Links) Cached(cluster string) (client.Reader, error) {
	k, err := l.link(cluster)
	if err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.reader != nil {
		return k.reader, nil
	}
	if err := k.state.problem(cluster); err != nil {
		return nil, err
	}
	if k.unread != "" {
		return nil, errors.New(k.unread)
	}
	return nil, fmt.Errorf("the objects of Meshlift in cluster %q have not been read yet", cluster)
}

// problem is why requests fail; nil when the cluster is connected.
func (s State) problem(cluster string) error {
	switch {
	case s.Connected:
		return nil
	case s.Message != "":
		return notConnected(s.Message)
	}
	return notConnected(fmt.Sprintf("the hub has not heard of cluster %q yet", cluster))
}
