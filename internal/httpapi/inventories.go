package httpapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"meshlift.dev/meshlift/internal/mesh"
)

const (
	// fresh is how long a reading is used for further requests: those of one page, and of people who look at the same page.
	fresh = 2 * time.Second
	// idle is after which time a reading is forgotten, so that only clusters that somebody looks at take memory.
	idle = 30 * time.Second
)

// inventories reads clusters when somebody asks, and keeps what it read for a moment.
type inventories struct {
	read  func(ctx context.Context, cluster string) (*mesh.Inventory, error)
	clock clock.PassiveClock
	group singleflight.Group
	mu    sync.Mutex
	all   map[string]reading
}

type reading struct {
	at        time.Time
	inventory *mesh.Inventory
}

func newInventories(read func(context.Context, string) (*mesh.Inventory, error), now clock.PassiveClock) *inventories {
	return &inventories{read: read, clock: now, all: map[string]reading{}}
}

func (i *inventories) get(ctx context.Context, cluster string) (*mesh.Inventory, error) {
	i.mu.Lock()
	known, ok := i.all[cluster]
	i.mu.Unlock()
	if ok && i.clock.Since(known.at) < fresh {
		return known.inventory, nil
	}
	v, err, _ := i.group.Do(cluster, func() (any, error) {
		// Somebody else may wait for it too, so that it does not end with the first request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		at := i.clock.Now()
		inv, err := i.read(ctx, cluster)
		if err != nil {
			return nil, fmt.Errorf("read the mesh of cluster %q: %w", cluster, err)
		}
		i.keep(cluster, reading{at, inv})
		return inv, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*mesh.Inventory), nil
}

func (i *inventories) keep(cluster string, r reading) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, other := range i.all {
		if i.clock.Since(other.at) > idle {
			delete(i.all, name)
		}
	}
	i.all[cluster] = r
}

// forget makes the next request read again, because something was changed.
func (i *inventories) forget(cluster string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.all, cluster)
}
