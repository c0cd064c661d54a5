package httpapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

const (
	// kept is how many events a browser that was away for a moment can catch up with.
	kept = 1024
	// heartbeat tells browsers and proxies that the stream lives.
	heartbeat = 15 * time.Second
	// coalesce makes one event of many changes of one thing.
	coalesce = 100 * time.Millisecond
)

// Change says that something is different now, and that what was read of it is old.
type Change struct {
	Kind string `json:"kind" enum:"Mesh,Cluster,MeshUpgrade" doc:"Cluster: the cluster itself, or an upgrade or rollout in it."`
	Name string `json:"name"`
	Mesh string `json:"mesh,omitempty"`
}

// cluster that it is about; "" for none.
func (c Change) cluster() string {
	if c.Kind == "Cluster" {
		return c.Name
	}
	return ""
}

// Resync says that events were missed: everything that was read may be old.
type Resync struct {
	Reason string `json:"reason"`
}

// Alive is sent from time to time.
type Alive struct {
	At time.Time `json:"at"`
}

type event struct {
	id     int
	change Change
}

// feed hands changes to all streams, and keeps the last ones.
type feed struct {
	mu      sync.Mutex
	last    int
	events  []event
	pending map[Change]bool
	woken   chan struct{} // closed when there is something new
}

func newFeed() *feed {
	// Numbers begin anywhere, so that a browser that comes from another replica is noticed. JavaScript can hold them.
	return &feed{last: 1<<40 + int(rand.Int64N(1<<50)), pending: map[Change]bool{}, woken: make(chan struct{})}
}

// publish sends a change to all streams a moment later, once for many.
func (f *feed) publish(c Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending[c] {
		return
	}
	f.pending[c] = true
	time.AfterFunc(coalesce, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.pending, c)
		f.last++
		f.events = append(f.events, event{f.last, c})
		if len(f.events) > kept {
			f.events = append([]event(nil), f.events[len(f.events)-kept:]...)
		}
		close(f.woken)
		f.woken = make(chan struct{})
	})
}

// since returns what came after the event with the number, and a channel that is closed when there is more; missed is true when
// that event is not known here.
func (f *feed) since(id int) (events []event, last int, missed bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.last - len(f.events)
	if id < first || id > f.last {
		return nil, f.last, true, f.woken
	}
	return append(events, f.events[id-first:]...), f.last, false, f.woken
}

// Changed tells the API that an object of the hub came, changed or went.
func (s *Server) Changed(obj runtime.Object) {
	switch o := obj.(type) {
	case *hub.Mesh:
		s.feed.publish(Change{Kind: "Mesh", Name: o.Name, Mesh: o.Name})
	case *hub.MemberCluster:
		s.feed.publish(Change{Kind: "Cluster", Name: o.Name, Mesh: o.Spec.Mesh})
	case *hub.MeshUpgrade:
		s.feed.publish(Change{Kind: "MeshUpgrade", Name: o.Name, Mesh: o.Spec.Mesh})
	}
}

// MemberChanged tells the API that something changed in a cluster of the mesh.
func (s *Server) MemberChanged(cluster, mesh string) {
	s.inventories.forget(cluster)
	s.feed.publish(Change{Kind: "Cluster", Name: cluster, Mesh: mesh})
}

// readAgain tells the pages that a cluster was read again, and is different.
func (s *Server) readAgain(cluster string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	m := &hub.MemberCluster{}
	if s.options.Client.Get(ctx, client.ObjectKey{Name: cluster}, m) == nil {
		s.feed.publish(Change{Kind: "Cluster", Name: cluster, Mesh: m.Spec.Mesh})
	}
}

// Handler tells the API about the objects of an informer of the hub.
func (s *Server) Handler() cache.ResourceEventHandler {
	tell := func(obj any) {
		if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = t.Obj
		}
		if o, ok := obj.(runtime.Object); ok {
			s.Changed(o)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, now any) { tell(now) }, DeleteFunc: tell}
}

// changes is the stream of changes.
func changes(s *Server) {
	n := need{scope: anybody}
	sse.Register(s.api, huma.Operation{
		OperationID: "watchChanges", Method: http.MethodGet, Path: Base + "/changes", Summary: "What changes, as server-sent events; resumes after Last-Event-ID",
		Middlewares: huma.Middlewares{s.admit(n)}, Security: []map[string][]string{{"token": {}}, {"session": {}}}, Tags: []string{"changes"},
	}, map[string]any{"change": Change{}, "resync": Resync{}, "alive": Alive{}}, func(ctx context.Context, in *struct {
		Last int `header:"Last-Event-ID" doc:"The last event that was received."`
	}, send sse.Sender,
	) {
		s.stream(ctx, in.Last, send)
	})
}

// stream sends until the caller goes away or the session ends.
func (s *Server) stream(ctx context.Context, last int, send sse.Sender) {
	q := of(ctx)
	if !q.user.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.user.Until)
		defer cancel()
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		events, newest, missed, more := s.feed.since(last)
		if missed {
			why := "events were missed"
			if last == 0 {
				why = "the stream begins"
			}
			if send(sse.Message{ID: newest, Data: Resync{why}, Retry: 1000}) != nil {
				return
			}
			last = newest
			continue
		}
		for _, e := range events {
			ok, err := s.mayOf(ctx, "get", "", e.change.Mesh, e.change.cluster())
			if err == nil && ok && send(sse.Message{ID: e.id, Data: e.change}) != nil {
				return
			}
			last = e.id
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		case at := <-beat.C:
			if send(sse.Message{Data: Alive{at.UTC()}}) != nil {
				return
			}
		}
	}
}
