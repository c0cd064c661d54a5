package member

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// coalesce is how long the events of one cluster are collected: a thousand are looked at a few times and not a thousand times.
const coalesce = 50 * time.Millisecond

// listeners are told the names of clusters in which something changed.
type listeners struct {
	mu   sync.Mutex
	next int
	all  map[int]func(cluster string)
}

func (l *listeners) add(f func(cluster string)) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[int]func(string){}
	}
	id := l.next
	l.next++
	l.all[id] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, id)
	}
}

func (l *listeners) poke(cluster string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.all {
		f(cluster)
	}
}

// Listen calls f with the name of a cluster when something changed there: the connection, or an object that [Links.Cached] shows. The
// function must return at once, and must not call remove.
func (l *Links) Listen(f func(cluster string)) (remove func()) { return l.listeners.add(f) }

// Changes is a source for controllers of the hub: requests says what to look at when something changed in a cluster. Events of
// one cluster that come close together are one.
func (l *Links) Changes(requests func(ctx context.Context, cluster string) []reconcile.Request) source.Source {
	return &changes{links: l, requests: requests, waiting: map[string]bool{}}
}

// Request is the request for the cluster itself, for controllers of MemberClusters.
func Request(_ context.Context, cluster string) []reconcile.Request {
	r := reconcile.Request{}
	r.Name = cluster
	return []reconcile.Request{r}
}

type changes struct {
	links    *Links
	requests func(ctx context.Context, cluster string) []reconcile.Request

	mu      sync.Mutex
	waiting map[string]bool
}

// Start implements source.Source.
func (c *changes) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	remove := c.links.Listen(func(cluster string) { c.poke(ctx, queue, cluster) })
	context.AfterFunc(ctx, remove)
	for _, cluster := range c.links.Names() {
		c.poke(ctx, queue, cluster)
	}
	return nil
}

func (c *changes) poke(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request], cluster string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[cluster] {
		return
	}
	c.waiting[cluster] = true
	time.AfterFunc(coalesce, func() {
		c.mu.Lock()
		delete(c.waiting, cluster)
		c.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		for _, r := range c.requests(ctx, cluster) {
			queue.Add(r)
		}
	})
}
