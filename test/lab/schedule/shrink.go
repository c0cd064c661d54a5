package schedule

import "slices"

// Shrink returns the smallest schedule that it finds to fail still, by delta debugging: it leaves out ever smaller parts
// of the faults as long as what remains fails (A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing
// Input", 2002). fails runs a schedule; it is called tries times at most.
func Shrink(s Schedule, tries int, fails func(Schedule) bool) Schedule {
	for parts := 2; len(s.Faults) > 0 && parts <= 2*len(s.Faults); {
		smaller, found := s, false
		for _, candidate := range without(s, min(parts, len(s.Faults))) {
			if tries--; tries < 0 {
				return s
			}
			if fails(candidate) {
				smaller, found = candidate, true
				break
			}
		}
		switch {
		case found:
			s, parts = smaller, max(2, parts-1)
		case parts >= len(s.Faults):
			return s
		default:
			parts *= 2
		}
	}
	return s
}

// without returns the schedules that lack one of so many parts each.
func without(s Schedule, parts int) []Schedule {
	out := make([]Schedule, 0, parts)
	for n := range parts {
		from, to := n*len(s.Faults)/parts, (n+1)*len(s.Faults)/parts
		out = append(out, Schedule{Cycle: s.Cycle, Faults: slices.Concat(s.Faults[:from], s.Faults[to:])})
	}
	return out
}
