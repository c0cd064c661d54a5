package rollout

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// wave is what one pass sees of a wave.
type wave struct {
	counts v1alpha1.RolloutCounts
	// open counts what has to move or moves, in each half.
	open [2]int
	// started is when the last of its recorded moves began; ours is the same of this rollout.
	started, ours time.Time
}

// closed is when the wave was complete according to the last status; zero when it was not.
func (d *decider) closed(n int) time.Time {
	name := d.order.name(n)
	for _, w := range d.Waves {
		if w.Name == name && w.CompletedAt != nil {
			return w.CompletedAt.Time
		}
	}
	return time.Time{}
}

// count adds one data plane to its wave; the verdict on it is what the counts have more than before. A pod that is replaced
// for another reason after the wave was complete does not open the wave again.
func (d *decider) count(p planned, w mesh.Workload, before v1alpha1.RolloutCounts) {
	v, after, closed := &d.waves[p.wave], d.out.Counts, d.closed(p.wave)
	v.counts.Total++
	v.counts.Done += after.Done - before.Done
	v.counts.Moving += after.Moving - before.Moving
	v.counts.Failed += after.Failed - before.Failed
	v.counts.Skipped += after.Skipped - before.Skipped
	v.counts.Pending += after.Pending - before.Pending
	restarted := after.Moving > before.Moving && !closed.IsZero() && (w.Move == nil || w.Move.Started.Before(closed))
	if after.Pending > before.Pending || after.Moving > before.Moving && !restarted {
		v.open[p.half]++
	}
	if w.Move == nil || invented(w.Move.Started, d.Now) {
		return
	}
	if w.Move.Started.After(v.started) {
		v.started = w.Move.Started
	}
	if w.Move.Rollout == d.Name && w.Move.Started.After(v.ours) {
		v.ours = w.Move.Started
	}
}

// place in the order at which moves start now.
type turn struct{ wave, half int }

// turn returns the place at which moves may start: the first half wave with something left to do. When the wave before it
// soaks, the sentence says until when.
func (d *decider) turn() (at turn, soaking string) {
	for n := range d.waves {
		v := &d.waves[n]
		for half, open := range v.open {
			if open > 0 {
				return turn{n, half}, ""
			}
		}
		completed := d.completed(n)
		if until := completed.Add(d.order.soak(n)); !completed.IsZero() && d.Now.Before(until) {
			d.wake(until)
			return turn{n, len(v.open)}, fmt.Sprintf("wave %q is complete and soaks: the next one starts %s", d.order.name(n), until.UTC().Format("Mon 2006-01-02 15:04:05 UTC"))
		}
	}
	return turn{len(d.waves), 0}, ""
}

// completed is when the wave was complete: as the status remembers, or now. Of a wave in which this rollout had nothing to
// move it is the last move that is recorded there; zero when there is none.
func (d *decider) completed(n int) time.Time {
	v := &d.waves[n]
	switch known := d.closed(n); {
	case v.open != [2]int{}:
		return time.Time{}
	case !known.IsZero() && !v.ours.After(known):
		return known
	case v.ours.IsZero():
		return v.started
	}
	return d.Now.UTC().Truncate(time.Second)
}

// reportWaves fills in the waves of the outcome.
func (d *decider) reportWaves() {
	if len(d.order.spec.Waves) == 0 {
		return
	}
	for n := range d.waves {
		s := v1alpha1.WaveStatus{Name: d.order.name(n), Counts: d.waves[n].counts}
		if c := d.completed(n); !c.IsZero() {
			t := metav1.NewTime(c)
			s.CompletedAt = &t
		}
		d.out.Waves = append(d.out.Waves, s)
	}
}
