package dataplanerollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/restart"
	"meshlift.dev/meshlift/internal/rollout"
)

const (
	// writers is how many workloads are changed at the same time; more would only queue in the API server, and a pause
	// could not hold them back.
	writers = 16
	// patience is how long the caches are waited for to show a move that was answered. After that somebody must have written
	// the workload again, and only caches that are further behind have it mistaken.
	patience = 15 * time.Second
	// firstRetry and lastRetry are how long a failed request waits for its next try; it doubles with each.
	firstRetry, lastRetry = 250 * time.Millisecond, 30 * time.Second
	// evictAgain is when a refused eviction is asked for again; nothing tells when a PodDisruptionBudget allows it.
	evictAgain = 2 * time.Second
)

// panics is 0 unless Meshlift has a mistake; those of reconciliations are in controller_runtime_reconcile_panics_total.
var panics = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "meshlift_move_panics_total", Help: "Moves of workloads that ended in a panic of the agent, which went on.",
})

func init() { metrics.Registry.MustRegister(panics) }

// flight is one action on its way: from the decision until the caches show it. Nothing of it must survive a crash: what was
// written is in the cluster, and what was not is decided again.
type flight struct {
	action rollout.Action
	// landed is when the last request was answered; zero before.
	landed time.Time
	// refused is the answer of the API server to a move that cannot be made as things are.
	refused *v1alpha1.WorkloadFailure
	// blocked says why a pod may not be evicted yet; it is asked for again after a while.
	blocked string
	// err is tried again after a while; tries counts.
	err   error
	tries int
}

// flights of one rollout, by workload.
type flights struct {
	mu  sync.Mutex
	all map[mesh.Ref]*flight
}

// standing is what a decision must know of the flights.
type standing struct {
	// underWay are actions that the caches do not show yet.
	underWay []rollout.Action
	// unwritten are moves under way of which nobody knows whether the cluster has them: not answered yet, or with an error.
	unwritten map[v1alpha1.WorkloadReference]bool
	// refused moves that the status does not hold yet.
	refused []v1alpha1.WorkloadFailure
	// waiting says what the next eviction of a workload waits for.
	waiting map[mesh.Ref]string
	// err is everything that is tried again.
	err error
}

// stand sorts out the flights by what is known now, and forgets those that are over.
func (f *flights) stand(inv *mesh.Inventory, known []v1alpha1.WorkloadFailure, now time.Time) standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := standing{waiting: map[mesh.Ref]string{}, unwritten: map[v1alpha1.WorkloadReference]bool{}}
	for ref, x := range f.all {
		if x.moves() && (x.landed.IsZero() || x.err != nil) && !rollout.Seen(inv, x.action) {
			s.unwritten[rollout.Reference(ref)] = true
		}
		switch {
		case x.landed.IsZero():
			s.underWay = append(s.underWay, x.action)
			if x.blocked != "" {
				s.waiting[ref] = x.blocked
			}
		case x.refused != nil && recorded(known, *x.refused), rollout.Seen(inv, x.action): // the latter although its answer may be lost
			delete(f.all, ref)
		case x.refused != nil:
			s.refused = append(s.refused, *x.refused)
		case x.blocked != "":
			s.waiting[ref] = x.blocked
			if now.Sub(x.landed) < evictAgain {
				s.underWay = append(s.underWay, x.action)
			}
		case x.err != nil:
			s.err = errors.Join(s.err, x.err)
			if now.Sub(x.landed) < backoff(x.tries) {
				s.underWay = append(s.underWay, x.action)
			}
		case now.Sub(x.landed) > patience:
			delete(f.all, ref)
		default:
			s.underWay = append(s.underWay, x.action)
		}
	}
	return s
}

// moves tells whether the action is what a workload is moved with.
func (x *flight) moves() bool { return len(x.action.Evict) == 0 && !x.action.Restore }

// written leaves out the moves that may not be in the cluster, unless they had been begun before. Who took one of those for
// begun would take a workload that a failed request left as it was for one that somebody wrote again.
func (s standing) written(moving, begun []v1alpha1.WorkloadProgress) []v1alpha1.WorkloadProgress {
	return slices.DeleteFunc(slices.Clone(moving), func(p v1alpha1.WorkloadProgress) bool {
		same := func(b v1alpha1.WorkloadProgress) bool { return b.WorkloadReference == p.WorkloadReference }
		return s.unwritten[p.WorkloadReference] && !slices.ContainsFunc(begun, same)
	})
}

// settle forgets failed requests and evictions that the decision does not try again.
func (f *flights) settle(decided []rollout.Action, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ref, x := range f.all {
		over := x.err != nil && now.Sub(x.landed) >= backoff(x.tries) || x.blocked != "" && now.Sub(x.landed) >= evictAgain
		if over && !slices.ContainsFunc(decided, func(a rollout.Action) bool { return a.Ref == ref }) {
			delete(f.all, ref)
		}
	}
}

func recorded(known []v1alpha1.WorkloadFailure, f v1alpha1.WorkloadFailure) bool {
	for n := range known {
		if known[n].WorkloadReference == f.WorkloadReference && known[n].Attempt >= f.Attempt {
			return true
		}
	}
	return false
}

// backoff is how long the next try waits.
func backoff(tries int) time.Duration {
	return min(lastRetry, firstRetry<<min(tries, 10))
}

// launch starts the actions, as many as there are writers; the others are decided again when one has landed. do is called
// on its own goroutine, landed after it.
func (f *flights) launch(ctx context.Context, actions []rollout.Action, do func(context.Context, rollout.Action) error, landed func(rollout.Action, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[mesh.Ref]*flight{}
	}
	flying := 0
	for _, x := range f.all {
		if x.landed.IsZero() {
			flying++
		}
	}
	for _, a := range actions {
		before := f.all[a.Ref]
		switch {
		case flying >= writers:
			return
		case before != nil && before.landed.IsZero():
			continue // one action at a time for each workload
		}
		x := &flight{action: a}
		if before != nil {
			x.blocked = before.blocked // what is asked for again waits for the same until it is answered
		}
		if before != nil && before.err != nil {
			x.tries = before.tries + 1
		}
		f.all[a.Ref] = x
		flying++
		go func() {
			err := attempt(ctx, a, do)
			f.land(x, err)
			landed(a, err)
		}()
	}
}

// attempt makes a panic an error of this one workload: a goroutine of its own is outside the recovery of controller-runtime,
// and the agent would end, again and again, for something that somebody wrote into one object. It is seen like a panic of a
// reconciliation: logged with its stack, counted, and told in the status.
func attempt(ctx context.Context, a rollout.Action, do func(context.Context, rollout.Action) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			panics.Inc()
			for _, handle := range utilruntime.PanicHandlers {
				handle(ctx, p)
			}
			err = fmt.Errorf("%s is not moved because of a mistake in Meshlift, report it with the log of the agent: panic: %v", a.Ref, p)
		}
	}()
	return do(ctx, a)
}

func (f *flights) land(x *flight, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.landed, x.blocked = time.Now(), ""
	var (
		refusal *restart.Refusal
		blocked *restart.Blocked
	)
	switch {
	case errors.As(err, &blocked):
		x.blocked = blocked.Message
	case errors.As(err, &refusal):
		x.refused = &v1alpha1.WorkloadFailure{
			WorkloadReference: rollout.Reference(x.action.Ref), Attempt: max(1, x.action.Record.Attempt), Reason: refusal.Reason, Message: refusal.Message,
		}
	case client.IgnoreNotFound(err) != nil: // a workload deleted meanwhile needs no move
		x.err = err
	}
}
