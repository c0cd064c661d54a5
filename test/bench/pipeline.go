package main

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// course is what was seen of one workload while it was restarted.
type course struct {
	name string
	// patched is when its pod template changed, ready when its last new pod was ready, done when its controller had
	// nothing left to replace.
	patched, ready, done time.Time
}

func (c course) complete() bool { return !c.patched.IsZero() && !c.ready.IsZero() && !c.done.IsZero() }

// ideal is how long the workloads would take if each took as long as it did and a new one began at the very moment when
// another one was done, so many at the same time, in the order in which they began.
func ideal(courses []course, parallelism int) time.Duration {
	ordered := slices.SortedFunc(slices.Values(courses), func(a, b course) int { return a.patched.Compare(b.patched) })
	slots := &durations{}
	var end time.Duration
	for _, c := range ordered {
		var begin time.Duration
		if slots.Len() >= parallelism {
			begin = heap.Pop(slots).(time.Duration)
		}
		over := begin + c.done.Sub(c.patched)
		heap.Push(slots, over)
		end = max(end, over)
	}
	return end
}

// turnovers are the times between the moment when a workload has made room and the moment when the next one used it. With
// so many at the same time, the one that is patched as number n+parallelism uses the room that was made as number n.
func turnovers(courses []course, parallelism int, room func(course) time.Time) []time.Duration {
	var freed, used []time.Time
	for _, c := range courses {
		freed, used = append(freed, room(c)), append(used, c.patched)
	}
	slices.SortFunc(freed, time.Time.Compare)
	slices.SortFunc(used, time.Time.Compare)
	var out []time.Duration
	for n := parallelism; n < len(used); n++ {
		out = append(out, max(0, used[n].Sub(freed[n-parallelism])))
	}
	return out
}

// quantile of the values, by the nearest rank; zero for no values.
func quantile[T cmp.Ordered](values []T, q float64) T {
	var none T
	if len(values) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// durations is a heap.
type durations []time.Duration

func (d durations) Len() int           { return len(d) }
func (d durations) Less(i, j int) bool { return d[i] < d[j] }
func (d durations) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *durations) Push(x any)        { *d = append(*d, x.(time.Duration)) }

// Pop implements heap.Interface.
func (d *durations) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
