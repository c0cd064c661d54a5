package httpapi

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"meshlift.dev/meshlift/internal/mesh"
)

const (
	// fresh is how long a reading is used for further requests, at least: those of one page, and of people who look at the same page.
	// One that took longer is used for three times as long as it took, so that a large cluster is not read all the time that somebody looks.
	fresh = 2 * time.Second
	rest  = 3
	// patience is how long a list waits for a new reading before it shows the last one.
	patience = 300 * time.Millisecond
	// idle is after which time a reading is forgotten, so that only clusters that somebody looks at take memory.
	idle = 2 * time.Minute
	// longest is what a reading may take.
	longest = 30 * time.Second
)

// inventories reads clusters when somebody asks, and keeps what it read for a moment.
type inventories struct {
	read func(ctx context.Context, cluster string) (*mesh.Inventory, error)
	// changed is told when somebody was shown a reading and there is another one now.
	changed func(cluster string)
	clock   clock.PassiveClock
	group   singleflight.Group
	mu      sync.Mutex
	all     map[string]*reading
	// edits counts what is known to have changed in each cluster.
	edits map[string]int
}

type reading struct {
	inventory *mesh.Inventory
	at        time.Time
	took      time.Duration
	// edits that were known when it began.
	edits int
	// shown is true when somebody was shown it although it was old.
	shown bool

	mu     sync.Mutex
	by     string
	planes []DataPlane
}

// judged returns what judge makes of the reading. It is asked once for all who look at the same reading and judge it by the same: a
// page that filters, sorts or turns a list of 10,000 data planes asks for each key that is typed. Nobody changes the answer.
func (r *reading) judged(by string, judge func(*mesh.Inventory) []DataPlane) []DataPlane {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.planes == nil || r.by != by {
		r.by, r.planes = by, judge(r.inventory)
	}
	return r.planes
}

func newInventories(read func(context.Context, string) (*mesh.Inventory, error), now clock.PassiveClock, changed func(string)) *inventories {
	return &inventories{read: read, changed: changed, clock: now, all: map[string]*reading{}, edits: map[string]int{}}
}

// get returns the mesh of a cluster as it is now, or was a moment ago when nothing is known to have changed since.
func (i *inventories) get(ctx context.Context, cluster string) (*mesh.Inventory, error) {
	known, current := i.known(cluster)
	if current {
		return known.inventory, nil
	}
	select {
	case r := <-i.begin(ctx, cluster):
		if r.err != nil {
			return nil, r.err
		}
		return r.inventory, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// soon is for lists that are shown: it does not wait long for a cluster that takes long to read, but returns what was read last. Pages
// are told when there is something newer.
func (i *inventories) soon(ctx context.Context, cluster string) (*reading, error) {
	known, current := i.known(cluster)
	if current {
		return known, nil
	}
	next := i.begin(ctx, cluster)
	var enough <-chan time.Time
	if known != nil {
		wait := patience
		if known.took > patience {
			wait = 0 // the next reading will not be quicker
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case r := <-next:
		return r.reading, r.err
	case <-enough:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if newest := i.all[cluster]; newest != nil {
		known = newest // it came in this moment
	}
	known.shown = true
	return known, nil
}

// known is the last reading, and whether it still holds.
func (i *inventories) known(cluster string) (r *reading, current bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r = i.all[cluster]; r == nil || i.clock.Since(r.at) > idle {
		return nil, false
	}
	return r, r.edits == i.edits[cluster] && i.clock.Since(r.at) < max(fresh, rest*r.took)
}

type read struct {
	*reading
	err error
}

// begin reads the cluster, once for all who ask meanwhile; after a change it begins anew.
func (i *inventories) begin(ctx context.Context, cluster string) <-chan read {
	i.mu.Lock()
	edits := i.edits[cluster]
	i.mu.Unlock()
	out := make(chan read, 1)
	go func() {
		v, err, _ := i.group.Do(cluster+"/"+strconv.Itoa(edits), func() (any, error) {
			// Somebody else may wait for it too, so that it does not end with the first request.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
			defer cancel()
			at := i.clock.Now()
			inv, err := i.read(ctx, cluster)
			if err != nil {
				return (*reading)(nil), fmt.Errorf("read the mesh of cluster %q: %w", cluster, err)
			}
			now := i.clock.Now()
			r := &reading{inventory: inv, at: now, took: now.Sub(at), edits: edits}
			if i.keep(cluster, r) {
				i.changed(cluster)
			}
			return r, nil
		})
		out <- read{v.(*reading), err}
	}()
	return out
}

// keep tells whether somebody was shown something else.
func (i *inventories) keep(cluster string, r *reading) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, other := range i.all {
		if i.clock.Since(other.at) > idle {
			delete(i.all, name)
		}
	}
	before := i.all[cluster]
	if before != nil && before.edits > r.edits {
		return false // this one began earlier
	}
	i.all[cluster] = r
	return before != nil && before.shown && !reflect.DeepEqual(before.inventory, r.inventory)
}

// forget makes the next request read again, because something was changed.
func (i *inventories) forget(cluster string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.edits[cluster]++
}
