package restart

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// rehearsalAge is how long a rehearsal before its turn is good for. One that is part of the move may be as old when the API
// server is busy.
const rehearsalAge = 10 * time.Second

// rehearsals before the turn of their moves: those that are going on, and those that ended well. They may be lost at any moment.
type rehearsals struct {
	mu  sync.Mutex
	all map[mesh.Ref]*rehearsal
}

// rehearsal is what is known of the object that was rehearsed. A move that starts from it names the version, so the API
// server refuses it when anybody has written the object since.
type rehearsal struct {
	of   rollout.Action
	made time.Time
	// over is closed when it has ended; what follows counts from then on, and only when it ended well.
	over    chan struct{}
	good    bool
	uid     types.UID
	version string
}

// Ahead rehearses a move whose turn comes soon. When the move comes within seconds and nothing of the workload has changed,
// it is one request. A refusal is forgotten: the move meets it in its turn.
func (m *Mover) Ahead(ctx context.Context, a rollout.Action) error {
	d, ok, err := m.oneWrite(a)
	if err != nil || !ok {
		return err
	}
	r := &rehearsal{of: a, made: time.Now(), over: make(chan struct{})}
	defer close(r.over)
	m.ahead.keep(r)
	o, err := d.Read(ctx, a.Ref)
	if err != nil {
		return err
	}
	if err := m.refused(ctx, d, o, a); err != nil {
		return err
	}
	r.good, r.uid, r.version = true, o.GetUID(), o.GetResourceVersion()
	return nil
}

// oneWrite returns the driver of a move that is one change of a pod template and depends on nothing else in the object.
func (m *Mover) oneWrite(a rollout.Action) (templated, bool, error) {
	if a.Method != rollout.ByTemplate || a.Surge || a.Lower || a.Restore || len(a.Evict) > 0 {
		return templated{}, false, nil
	}
	d, err := m.driver(a)
	t, ok := d.(templated)
	return t, ok, err
}

// fromRehearsal makes the move from its rehearsal; done is false when there is none that is good, and nothing was touched.
func (m *Mover) fromRehearsal(ctx context.Context, a rollout.Action) (done bool, err error) {
	t, ok, err := m.oneWrite(a)
	if err != nil || !ok {
		return false, err
	}
	r := m.ahead.take(a)
	if r == nil {
		return false, nil
	}
	select {
	case <-r.over:
	case <-ctx.Done():
		return false, nil // the move finds out
	}
	if !r.good || time.Since(r.made) > rehearsalAge {
		return false, nil
	}
	patch := templatePatch(t.kind, a)
	patch.SetUID(r.uid)
	patch.SetResourceVersion(r.version)
	err = t.apply(ctx, a, patch)
	return !apierrors.IsConflict(err), err // somebody has written the object since, or it is another one
}

func (r *rehearsals) keep(x *rehearsal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[mesh.Ref]*rehearsal{}
	}
	for ref, old := range r.all {
		if x.made.Sub(old.made) > rehearsalAge {
			delete(r.all, ref)
		}
	}
	r.all[x.of.Ref] = x
}

// take returns the rehearsal of the move, once; nil when there is none.
func (r *rehearsals) take(a rollout.Action) *rehearsal {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.all[a.Ref]
	delete(r.all, a.Ref)
	if x == nil || x.of.Method != a.Method || x.of.Target != a.Target || x.of.Label != a.Label || x.of.Pin != a.Pin {
		return nil
	}
	return x
}
