package faultyapi

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"meshlift.dev/meshlift/test/lab/schedule"
)

// Obey reads faults, one per line as [schedule.Fault] writes them, and inflicts them until the input ends. What it does
// not know goes to other.
func (t *Transport) Obey(commands io.Reader, other func(schedule.Fault)) error {
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		s, err := schedule.Parse("forward: " + lines.Text())
		if err != nil {
			return fmt.Errorf("command of the test: %w", err)
		}
		for _, f := range s.Faults {
			if !t.Inflict(f) {
				other(f)
			}
		}
	}
	return lines.Err()
}

// Inflict does one fault; false when it is none of the API.
func (t *Transport) Inflict(f schedule.Fault) bool {
	switch f.Kind {
	case schedule.Conflict:
		t.Conflict(f.N)
	case schedule.Throttle:
		t.Throttle(f.N)
	case schedule.Error:
		t.Error(f.N)
	case schedule.Timeout:
		t.Timeout(f.N)
	case schedule.Lost:
		t.Lose(f.N)
	case schedule.CutWatches:
		t.CutWatches()
	case schedule.ExpireWatches:
		t.ExpireWatches()
	case schedule.Stale:
		t.Stale(max(f.For, time.Millisecond))
	case schedule.Partition:
		t.Partition(max(f.For, time.Millisecond))
	default:
		return false
	}
	return true
}
