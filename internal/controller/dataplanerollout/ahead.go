package dataplanerollout

import (
	"context"
	"sync"
	"time"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

const (
	// rehearsers is how many moves are rehearsed before their turn at the same time; those that are being made go first.
	rehearsers = 8
	// rehearseAgain is when a move that still waits is rehearsed once more. Its turn may come later than was thought, and then
	// the move rehearses itself.
	rehearseAgain = 30 * time.Second
)

// rehearsing are the moves of one rollout that are rehearsed before their turn.
type rehearsing struct {
	mu      sync.Mutex
	begun   map[mesh.Ref]time.Time
	running int
}

// rehearse starts to rehearse the moves and does not wait. What it finds out is for [Mover] to know.
func (r *rehearsing) rehearse(ctx context.Context, next []rollout.Action, do func(context.Context, rollout.Action) error) {
	for _, a := range next {
		if !r.begin(a.Ref, time.Now()) {
			continue
		}
		go func() {
			_ = attempt(ctx, a, do) // the move meets the same in its turn
			r.mu.Lock()
			defer r.mu.Unlock()
			r.running--
		}()
	}
}

func (r *rehearsing) begin(ref mesh.Ref, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running >= rehearsers || now.Sub(r.begun[ref]) < rehearseAgain {
		return false
	}
	if r.begun == nil {
		r.begun = map[mesh.Ref]time.Time{}
	}
	for other, at := range r.begun {
		if now.Sub(at) >= rehearseAgain {
			delete(r.begun, other)
		}
	}
	r.begun[ref] = now
	r.running++
	return true
}
