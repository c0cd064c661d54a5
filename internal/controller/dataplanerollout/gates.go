package dataplanerollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// Asker asks the istiods of a revision who is connected to them. What some of them said comes with the error of the others.
type Asker interface {
	Proxies(ctx context.Context, revision mesh.Revision) ([]health.Proxy, error)
}

// rest is how many times as long as an answer took nobody is asked again: a large mesh answers with megabytes.
const rest = 20

// gates are what is known of the health of the workloads of one rollout. All of it may be lost: those that had passed are then asked
// about once more, with a deadline that begins anew; those that were stopped are in the status.
type gates struct {
	mu sync.Mutex
	// settled is when all pods of an attempt were first seen ready; done are the verdicts that are final.
	settled map[health.Key]time.Time
	done    map[health.Key]health.Verdict
	answer  health.Answer
	asking  bool
	// next is when istiod may be asked again.
	next time.Time
}

// judge returns a verdict for every subject, and whether istiod has to be asked for one of them.
func (g *gates) judge(subjects []health.Subject, spec *v1alpha1.Health, now time.Time) (verdicts []health.Verdict, ask bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil {
		g.settled, g.done = map[health.Key]time.Time{}, map[health.Key]health.Verdict{}
	}
	for _, s := range subjects {
		v, known := g.done[s.Key]
		if !known {
			if _, seen := g.settled[s.Key]; s.Settled && !seen {
				g.settled[s.Key] = now
			} else if !s.Settled {
				delete(g.settled, s.Key)
			}
			v = health.Sync(s, g.answer, g.settled[s.Key], now, spec.Sync())
			if v.State == health.Wait {
				ask = ask || len(s.Pods) > 0
			} else {
				g.done[s.Key] = v
				delete(g.settled, s.Key)
			}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, ask && !g.asking && !now.Before(g.next)
}

// asked keeps an answer.
func (g *gates) asked(began time.Time, took time.Duration, proxies []health.Proxy, err error) {
	answer := health.Answer{At: began}
	for _, p := range proxies {
		answer.Add(p)
	}
	if err != nil {
		answer.Unknown = err.Error()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer, g.asking, g.next = answer, false, began.Add(max(health.Interval, rest*took))
}

func (g *gates) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asking = true
}

// examine gives the verdicts of the health gates to a decision, and asks istiod beside the passes when one needs it: while nothing
// moves, nobody is asked.
func (r *Reconciler) examine(ctx context.Context, name string, m *motion, in rollout.Input) []health.Verdict {
	subjects := rollout.Subjects(in)
	if len(subjects) == 0 || r.Asker == nil {
		return nil
	}
	verdicts, ask := m.gates.judge(subjects, in.Spec.Health, in.Now)
	if !ask {
		return verdicts
	}
	m.gates.begin()
	revision, _ := in.Inventory.Revision(in.To)
	ctx = r.lasting(ctx)
	go func() {
		began := r.Clock.Now()
		var proxies []health.Proxy
		err := guarded(ctx, func() (err error) {
			proxies, err = r.Asker.Proxies(ctx, revision)
			return err
		})
		m.gates.asked(began, r.Clock.Since(began), proxies, err)
		r.again(name)
	}()
	return verdicts
}

// guarded makes a panic an error: see [attempt].
func guarded(ctx context.Context, f func() error) (err error) {
	return attempt(ctx, rollout.Action{}, func(context.Context, rollout.Action) error {
		if err := f(); err != nil {
			return fmt.Errorf("ask about the health of workloads: %w", err)
		}
		return nil
	})
}
