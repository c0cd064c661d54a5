package dataplanerollout

import (
	"testing"
	"time"

	"meshlift.dev/meshlift/internal/rollout"
)

func TestARolloutThatWaitsForATimeIsLookedAtAgainSoonEnoughForAClockThatIsSetBack(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		out  rollout.Outcome
		soon bool
		want time.Duration
	}{
		"it waits for nothing":         {rollout.Outcome{}, false, 0},
		"a window opens in a moment":   {rollout.Outcome{Again: now.Add(3 * time.Second)}, false, 3 * time.Second},
		"a window opens tomorrow":      {rollout.Outcome{Again: now.Add(24 * time.Hour)}, false, longest},
		"what it waits for is over":    {rollout.Outcome{Again: now.Add(-time.Minute)}, false, time.Second},
		"something is under way":       {rollout.Outcome{}, true, tellInterval},
		"an action was just begun":     {rollout.Outcome{Actions: []rollout.Action{{}}}, false, tellInterval},
		"under way, and a window soon": {rollout.Outcome{Again: now.Add(time.Hour)}, true, tellInterval},
	} {
		if got := again(now, c.out, c.soon); got != c.want {
			t.Errorf("%s: again after %s, want %s", name, got, c.want)
		}
	}
}
