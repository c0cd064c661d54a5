package observe

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"meshlift.dev/meshlift/internal/mesh"
)

// maxAge is how long a shared inventory is believed without an event: the version of the API server, and kinds that were
// installed later, raise none.
const maxAge = 10 * time.Second

// Shared gives all parts of one process the same inventory, and makes a new one only when the mesh has changed since.
// What it returns must not be changed. It is safe for concurrent use.
type Shared struct {
	*Observer
	// version counts the changes of the mesh; while it is not known, every inventory is new.
	version func() (changes uint64, known bool)
	clock   clock.PassiveClock

	mu   sync.Mutex
	last *mesh.Inventory
	at   uint64
	made time.Time
}

// NewShared returns a Shared that asks the observer. An inventory that it returns is at least as new as the last change
// that version has counted before the call.
func NewShared(o *Observer, version func() (changes uint64, known bool), c clock.PassiveClock) *Shared {
	return &Shared{Observer: o, version: version, clock: c}
}

// Inventory is [Observer.Inventory]. The parts that ask at the same time wait for one inventory and do not make each their own.
func (s *Shared) Inventory(ctx context.Context) (*mesh.Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, known := s.version()
	if known && s.last != nil && s.at == changes && s.clock.Since(s.made) < maxAge {
		return s.last, nil
	}
	inv, err := s.Observer.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	s.last, s.at, s.made = inv, changes, s.clock.Now()
	return inv, nil
}
