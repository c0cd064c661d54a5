// Package schedule makes random schedules of faults from seeds, writes and reads them as text, and shrinks one that fails
// to the smallest that still does. It is pure: what a fault does is up to the test that inflicts it.
package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cycle is what is done to the cluster while the faults fall.
type Cycle string

// Cycles. Each begins and ends with one istiod and no trace of Meshlift's work.
const (
	// Forward is a whole upgrade, from the installation of the new istiod to the removal of the old one.
	Forward Cycle = "forward"
	// Return installs the new istiod, moves everything, moves it back, and deletes the upgrade.
	Return Cycle = "return"
)

// Fault is one fault at one moment.
type Fault struct {
	// After how many changes in the cluster, counted from the begin of the cycle. Changes and not seconds, so that a
	// schedule means the same on a slow machine.
	After int
	Kind  Kind
	// N is how many requests are concerned, or which object; 0 for kinds that have neither.
	N int
	// For is how long it lasts; 0 for what happens at once.
	For time.Duration
}

// Schedule is a cycle with its faults, in order of After.
type Schedule struct {
	Cycle  Cycle
	Faults []Fault
}

// changes is about how many a cycle without faults has: installed after 25, moved after 90.
func (c Cycle) changes() int {
	if c == Forward {
		return 114
	}
	return 160
}

// maxFaults is how many faults a random schedule has at most.
const maxFaults = 6

// Random returns the schedule of a seed. The same seed gives the same schedule as long as the table of kinds is the same.
func Random(seed uint64) Schedule {
	r := rand.New(rand.NewPCG(seed, 0x6d657368)) // #nosec G404 -- a schedule that can be repeated
	s := Schedule{Cycle: Return}
	if r.IntN(2) == 0 {
		s.Cycle = Forward
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for range 1 + r.IntN(maxFaults) {
		s.Faults = append(s.Faults, random(r, total, s.Cycle.changes()))
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return a.After - b.After })
	return s
}

func random(r *rand.Rand, total, changes int) Fault {
	at := r.IntN(total)
	for kind, k := range inOrder() {
		if at -= k.weight; at >= 0 {
			continue
		}
		f := Fault{After: 1 + k.earliest + r.IntN(changes-k.earliest), Kind: kind}
		if k.maxN > 0 {
			f.N = 1 + r.IntN(k.maxN)
		}
		if k.longest > 0 {
			span := int((k.longest - k.shortest) / step)
			f.For = k.shortest + step*time.Duration(r.IntN(span+1))
		}
		return f
	}
	panic("the weights do not add up")
}

// step is the unit of durations.
const step = 100 * time.Millisecond

// Has tells whether a fault of the kind is in the schedule.
func (s Schedule) Has(k Kind) bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Kind == k })
}

// String is what [Parse] reads: "forward: 12 kill; 30 conflict 5; 44 partition 3s".
func (s Schedule) String() string {
	faults := make([]string, 0, len(s.Faults))
	for _, f := range s.Faults {
		faults = append(faults, f.String())
	}
	return strings.TrimSpace(string(s.Cycle) + ": " + strings.Join(faults, "; "))
}

func (f Fault) String() string {
	text := fmt.Sprintf("%d %s", f.After, f.Kind)
	if f.N != 0 {
		text += " " + strconv.Itoa(f.N)
	}
	if f.For != 0 {
		text += " " + f.For.String()
	}
	return text
}

// Parse reads a schedule. The error says which fault cannot be read and why.
func Parse(text string) (Schedule, error) {
	cycle, rest, ok := strings.Cut(text, ":")
	s := Schedule{Cycle: Cycle(strings.TrimSpace(cycle))}
	if !ok || s.Cycle != Forward && s.Cycle != Return {
		return s, fmt.Errorf("schedule %q: want %q or %q and a colon first", text, Forward, Return)
	}
	for item := range strings.SplitSeq(rest, ";") {
		words := strings.Fields(item)
		if len(words) == 0 {
			continue
		}
		f, err := parseFault(words)
		if err != nil {
			return s, fmt.Errorf("schedule %q: fault %q: %w", text, strings.TrimSpace(item), err)
		}
		s.Faults = append(s.Faults, f)
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return a.After - b.After })
	return s, nil
}

func parseFault(words []string) (Fault, error) {
	var f Fault
	var err error
	if len(words) < 2 {
		return f, fmt.Errorf("want the number of changes and a kind")
	}
	if f.After, err = strconv.Atoi(words[0]); err != nil || f.After < 0 {
		return f, fmt.Errorf("want the number of changes first, got %q", words[0])
	}
	f.Kind = Kind(words[1])
	if _, ok := kinds[f.Kind]; !ok {
		return f, fmt.Errorf("there is no kind %q", f.Kind)
	}
	for _, w := range words[2:] {
		if n, err := strconv.Atoi(w); err == nil {
			f.N = n
		} else if f.For, err = time.ParseDuration(w); err != nil {
			return f, fmt.Errorf("%q is neither a number nor a duration", w)
		}
	}
	return f, nil
}
