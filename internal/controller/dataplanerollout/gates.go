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

// Meter asks a Prometheus about workloads; who has no answer of its own gets one that says why.
type Meter interface {
	Measure(ctx context.Context, m *v1alpha1.Metrics, questions []health.Question) map[health.Key]health.Sample
}

// measureInterval is how long the Prometheus of a rollout is left alone at least: proxies are scraped every 15 seconds or so.
const measureInterval = 5 * time.Second

// gates are what is known of the health of the workloads of one rollout. All of it may be lost: those that had passed are then asked
// about once more, with a deadline that begins anew; those that were stopped are in the status.
type gates struct {
	mu sync.Mutex
	// settled is when all pods of an attempt were first seen ready; inSync those that have passed the gate Sync; done are the verdicts
	// that are final.
	settled map[health.Key]time.Time
	inSync  map[health.Key]bool
	done    map[health.Key]health.Verdict
	answer  health.Answer
	samples map[health.Key]health.Sample
	istiod  inquiry
	meter   inquiry
}

// inquiry keeps questions to one who answers apart.
type inquiry struct {
	busy bool
	// next is when it may be asked again.
	next time.Time
}

func (q *inquiry) may(now time.Time) bool { return !q.busy && !now.Before(q.next) }

func (q *inquiry) answered(began time.Time, took, interval time.Duration) {
	q.busy, q.next = false, began.Add(max(interval, rest*took))
}

// judge returns a verdict for every subject, whether istiod has to be asked for one of them, and what Prometheus has to be asked.
func (g *gates) judge(subjects []health.Subject, spec *v1alpha1.Health, now time.Time) (verdicts []health.Verdict, ask bool, measure []health.Question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil {
		g.settled, g.inSync, g.done = map[health.Key]time.Time{}, map[health.Key]bool{}, map[health.Key]health.Verdict{}
	}
	for _, s := range subjects {
		v, known := g.done[s.Key]
		if !known {
			v = g.look(s, spec, now)
			switch {
			case v.State != health.Wait:
				g.done[s.Key] = v
				delete(g.settled, s.Key)
				delete(g.inSync, s.Key)
				delete(g.samples, s.Key)
			case v.Gate == health.GateMetrics && s.Settled:
				measure = append(measure, health.Question{Key: s.Key, Gateway: s.Gateway, Pods: s.Pods, Started: s.Started})
			default:
				ask = ask || len(s.Pods) > 0 && v.Gate != health.GateMetrics
			}
		}
		verdicts = append(verdicts, v)
	}
	if !g.meter.may(now) {
		measure = nil
	}
	return verdicts, ask && g.istiod.may(now), measure
}

// look goes through the gates one after the other.
func (g *gates) look(s health.Subject, spec *v1alpha1.Health, now time.Time) health.Verdict {
	if _, seen := g.settled[s.Key]; s.Settled && !seen {
		g.settled[s.Key] = now
	} else if !s.Settled {
		delete(g.settled, s.Key)
		delete(g.inSync, s.Key)
	}
	if spec.Sync() > 0 && !g.inSync[s.Key] {
		v := health.Sync(s, g.answer, g.settled[s.Key], now, spec.Sync())
		if v.State != health.Pass || spec.Metrics == nil {
			return v
		}
		g.inSync[s.Key] = true
	}
	return health.Metrics(s, g.samples[s.Key], g.settled[s.Key], now, spec.Metrics)
}

// asked keeps an answer of istiod.
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
	g.answer = answer
	g.istiod.answered(began, took, health.Interval)
}

// measured keeps answers of Prometheus.
func (g *gates) measured(began time.Time, took time.Duration, samples map[health.Key]health.Sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.samples = samples
	g.meter.answered(began, took, measureInterval)
}

func (g *gates) begin(q *inquiry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.busy = true
}

// examine gives the verdicts of the health gates to a decision, and asks istiod and Prometheus beside the passes when one needs it:
// while nothing moves, nobody is asked.
func (r *Reconciler) examine(ctx context.Context, name string, m *motion, in rollout.Input) []health.Verdict {
	subjects := rollout.Subjects(in)
	if len(subjects) == 0 || r.Asker == nil {
		return nil
	}
	verdicts, ask, measure := m.gates.judge(subjects, in.Spec.Health, in.Now)
	ctx = r.lasting(ctx)
	if ask {
		m.gates.begin(&m.gates.istiod)
		revision, _ := in.Inventory.Revision(in.To)
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
	}
	if len(measure) > 0 {
		m.gates.begin(&m.gates.meter)
		spec := in.Spec.Health.Metrics.DeepCopy()
		go func() {
			began := r.Clock.Now()
			samples := r.measure(ctx, spec, measure)
			m.gates.measured(began, r.Clock.Since(began), samples)
			r.again(name)
		}()
	}
	return verdicts
}

// measure asks Prometheus; a panic becomes the answer that nobody knows.
func (r *Reconciler) measure(ctx context.Context, spec *v1alpha1.Metrics, questions []health.Question) (samples map[health.Key]health.Sample) {
	err := guarded(ctx, func() error {
		samples = r.Meter.Measure(ctx, spec, questions)
		return nil
	})
	if err != nil {
		samples = map[health.Key]health.Sample{}
		for _, q := range questions {
			samples[q.Key] = health.Sample{At: r.Clock.Now(), Unknown: err.Error()}
		}
	}
	return samples
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
