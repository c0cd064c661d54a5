package rollout

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Forecast says how long a rollout will take, by how long the pods of each data plane took to become ready when they came last.
//
// It is about pods and the pace of the rollout. What nobody can know beforehand is not in it: images that have to be pulled, full nodes,
// disruption budgets, the time that old pods take to end, gates that watch, closed windows, people who decide.
type Forecast struct {
	// Half of the tried runs ended within P50, 95 of 100 within P95.
	P50, P95 time.Duration
	// Spans are the data planes in the order in which their moves start, in a run that takes P50.
	Spans []Span
	// Guessed counts those of which no pod tells how long it took: they are taken to be as fast as the others.
	Guessed int32
}

// API is the forecast as the status of a rollout keeps it; nil for none.
func (f *Forecast) API() *v1alpha1.RolloutForecast {
	if f == nil {
		return nil
	}
	return &v1alpha1.RolloutForecast{P50: metav1.Duration{Duration: f.P50}, P95: metav1.Duration{Duration: f.P95}, Guessed: f.Guessed}
}

// Span is when a move starts and ends, counted from the start of the rollout.
type Span struct {
	Ref        mesh.Ref
	Start, End time.Duration
}

const (
	// slowestStart is the longest start of a pod that is believed: the default progress deadline
	// (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds). A pod that became ready later than
	// that after its creation was ready before, too.
	slowestStart = 10 * time.Minute
	// So many runs are tried, fewer when that would take seconds: effort counts pods and candidates that were looked at.
	runsAtMost, effort = 200, 20_000_000
)

// Foresee tries out how the rest of a rollout may go. It returns nil when nothing has to move, or no pod tells how long it took. The
// same input has the same answer.
func Foresee(spec *v1alpha1.DataPlaneRolloutSpec, inv *mesh.Inventory, from, to string) *Forecast {
	o, err := newOrder(spec, inv)
	if err != nil {
		return nil
	}
	f := &foresight{order: o}
	for _, p := range o.arrange(Plan(inv, from, to, spec.Direction)) {
		w, ok := inv.Workload(p.Ref)
		if ok && (p.State == Pending || p.State == Moving || p.OnRequest && named(spec.Targets, p.Ref)) {
			f.add(p, w)
		}
	}
	if len(f.known) == 0 {
		return nil
	}
	f.limits = LimitsOf(spec, f.pods)
	runs := []trial{}
	for seed := uint64(0); seed < runsAtMost && f.spent < effort; seed++ {
		runs = append(runs, trial{seed, f.try(seed, nil)})
	}
	slices.SortStableFunc(runs, func(a, b trial) int { return cmp.Compare(a.took, b.took) })
	half := runs[(len(runs)-1)/2]
	out := &Forecast{P50: half.took, P95: runs[(len(runs)*95-1)/100].took, Guessed: f.guessed}
	f.try(half.seed, &out.Spans)
	return out
}

// trial is one way in which a rollout may go.
type trial struct {
	seed uint64
	took time.Duration
}

// foresight is a rollout with everything that a run depends on.
type foresight struct {
	order  *order
	limits Limits
	moves  []foreseen
	pods   int32
	// known are all measured starts.
	known   []time.Duration
	guessed int32
	// spent counts what was looked at, in pods and candidates.
	spent int
}

type foreseen struct {
	planned
	workload mesh.Workload
	// starts are how long its pods took to become ready.
	starts []time.Duration
	// together is how many pods are replaced at the same time.
	together int
}

func (f *foresight) add(p planned, w mesh.Workload) {
	m := foreseen{planned: p, workload: w, together: together(w)}
	for _, pod := range w.Pods {
		if pod.Ready && pod.ReadyAfter >= 0 && pod.ReadyAfter <= slowestStart {
			m.starts = append(m.starts, pod.ReadyAfter)
		}
	}
	if len(m.starts) == 0 && w.Desired > 0 {
		f.guessed++
	}
	f.known = append(f.known, m.starts...)
	f.moves = append(f.moves, m)
	f.pods = sum(f.pods, w.Desired)
}

// together is how many pods of a workload are replaced at the same time.
func together(w mesh.Workload) int {
	switch s := w.Strategy; {
	case MethodOf(w).evicts():
		return 1
	case s.Type == "Recreate":
		return int(max(1, w.Desired))
	case w.Kind == mesh.KindStatefulSet:
		return int(max(1, s.MaxUnavailable))
	default:
		return int(max(1, s.MaxSurge+s.MaxUnavailable))
	}
}

// try plays one run and returns how long it takes. The moves are noted in spans unless that is nil.
func (f *foresight) try(seed uint64, spans *[]Span) time.Duration {
	draws := draws(seed)
	now := time.Duration(0)
	for first := 0; first < len(f.moves); {
		last := first
		for last < len(f.moves) && f.moves[last].wave == f.moves[first].wave && f.moves[last].half == f.moves[first].half {
			last++
		}
		now = f.group(f.moves[first:last], now, &draws, spans)
		if wave := f.moves[first].wave; last < len(f.moves) && f.moves[last].wave > wave {
			now += f.order.soak(wave)
		}
		first = last
	}
	return now
}

// group plays moves that do not wait for each other, as the limits let them, and returns when the last one ends.
func (f *foresight) group(moves []foreseen, now time.Duration, draws *draws, spans *[]Span) time.Duration {
	var flying landings
	var motion motion
	last := now
	for pending := slices.Clone(moves); len(pending) > 0; {
		wait := pending[:0]
		for n, m := range pending {
			f.spent++
			room := f.limits.admit(motion, m.workload)
			if room == full {
				wait = append(wait, pending[n:]...)
				break
			}
			if room == later {
				wait = append(wait, m)
				continue
			}
			motion.add(m.workload)
			end := now + f.takes(m, draws)
			last = max(last, end)
			heap.Push(&flying, landing{end, m.workload})
			if spans != nil {
				*spans = append(*spans, Span{m.Ref, now, end})
			}
		}
		if pending = wait; len(pending) > 0 {
			next := heap.Pop(&flying).(landing)
			now = next.at
			motion.remove(next.workload)
		}
	}
	return last
}

// landing is the end of a move.
type landing struct {
	at       time.Duration
	workload mesh.Workload
}

// landings are a heap: the first one is the next.
type landings []landing

func (l landings) Len() int           { return len(l) }
func (l landings) Less(a, b int) bool { return l[a].at < l[b].at }
func (l landings) Swap(a, b int)      { l[a], l[b] = l[b], l[a] }
func (l *landings) Push(x any)        { *l = append(*l, x.(landing)) }

func (l *landings) Pop() any {
	last := len(*l) - 1
	x := (*l)[last]
	*l = (*l)[:last]
	return x
}

// takes draws how long one move takes: each pod as long as one of its workload took, the next one in the place of the first that is ready.
func (f *foresight) takes(m foreseen, draws *draws) time.Duration {
	starts := m.starts
	if len(starts) == 0 {
		starts = f.known
	}
	places := make([]time.Duration, min(m.together, int(m.workload.Desired)))
	for range m.workload.Desired {
		f.spent += len(places)
		n := 0
		for k := range places {
			if places[k] < places[n] {
				n = k
			}
		}
		places[n] += starts[draws.below(len(starts))]
	}
	if len(places) == 0 {
		return 0
	}
	return slices.Max(places)
}

// draws are the numbers of one run, by SplitMix64 (https://prng.di.unimi.it/splitmix64.c): the same seed has the same ones, and packages
// that decide know no other chance.
type draws uint64

// below returns the next number from 0 to n-1.
func (d *draws) below(n int) int {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n)) // #nosec G115 -- below n
}
