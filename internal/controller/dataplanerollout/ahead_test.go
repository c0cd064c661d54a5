package dataplanerollout

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"meshlift.dev/meshlift/internal/rollout"
)

func TestAMoveIsRehearsedAheadOnceInAWhileAndFewAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var next []rollout.Action
		for n := range 2 * rehearsers {
			next = append(next, action(string(rune('a'+n))))
		}
		r, rehearsed, answer := &rehearsing{}, make(chan rollout.Action, 100), make(chan struct{})
		do := func(_ context.Context, a rollout.Action) error { rehearsed <- a; <-answer; return nil }
		for range 3 {
			r.rehearse(t.Context(), next, do)
		}
		synctest.Wait()
		if len(rehearsed) != rehearsers {
			t.Fatalf("%d at the same time", len(rehearsed))
		}
		close(answer)
		synctest.Wait()
		r.rehearse(t.Context(), next, do)
		synctest.Wait()
		r.rehearse(t.Context(), next, do)
		synctest.Wait()
		if len(rehearsed) != 2*rehearsers {
			t.Fatalf("%d rehearsals of %d moves", len(rehearsed), len(next))
		}
		time.Sleep(rehearseAgain)
		r.rehearse(t.Context(), next[:1], do)
		synctest.Wait()
		if len(rehearsed) != 2*rehearsers+1 || len(r.begun) != 1 {
			t.Errorf("%d rehearsals, %d remembered", len(rehearsed), len(r.begun))
		}
	})
}

func TestHowFarARolloutIsIsToldOnceInAnIntervalAndOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, answer := 0, make(chan struct{})
		x := &teller{}
		tell := func() { x.tell(func() error { told++; <-answer; return nil }) }
		tell()
		time.Sleep(2 * tellInterval)
		tell()
		synctest.Wait()
		if told != 1 {
			t.Fatalf("told %d times although the first has not ended", told)
		}
		close(answer)
		synctest.Wait()
		tell()
		tell()
		synctest.Wait()
		if told != 2 {
			t.Errorf("told %d times", told)
		}
	})
}
