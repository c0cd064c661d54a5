package httpapi

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"meshlift.dev/meshlift/internal/mesh"
)

// slow is a cluster that takes a while to read, and whose version tells how often it was read.
type slow struct {
	*inventories
	takes time.Duration
	reads int
	told  int
	fails error
}

func newSlow(takes time.Duration) *slow {
	s := &slow{takes: takes}
	s.inventories = newInventories(func(context.Context, string) (*mesh.Inventory, error) {
		s.reads++
		inv := &mesh.Inventory{KubernetesVersion: strconv.Itoa(s.reads)}
		time.Sleep(s.takes)
		return inv, s.fails
	}, clock.RealClock{}, func(string) { s.told++ })
	return s
}

func (s *slow) ask(t *testing.T, f func(context.Context, string) (*mesh.Inventory, error), want string, within time.Duration) {
	t.Helper()
	began := time.Now()
	inv, err := f(t.Context(), "east")
	if err != nil || inv.KubernetesVersion != want || time.Since(began) > within {
		t.Errorf("%v after %s, %v; want reading %s within %s", inv, time.Since(began), err, want, within)
	}
}

func (s *slow) shown(ctx context.Context, cluster string) (*mesh.Inventory, error) {
	r, err := s.soon(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return r.inventory, nil
}

func TestAListDoesNotWaitForALargeClusterTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow(5 * time.Second)
		s.ask(t, s.shown, "1", 5*time.Second)
		time.Sleep(14 * time.Second)
		s.ask(t, s.shown, "1", 0) // it took five seconds, so it holds for fifteen
		time.Sleep(2 * time.Second)
		s.ask(t, s.shown, "1", 0) // nobody waits for the next one
		if s.told != 0 {
			t.Error("pages were told before there was anything new")
		}
		time.Sleep(6 * time.Second)
		if s.told != 1 || s.reads != 2 {
			t.Errorf("pages were told %d times after %d readings", s.told, s.reads)
		}
		s.ask(t, s.shown, "2", 0)
	})
}

func TestASmallClusterIsAlwaysShownAsItIsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow(100 * time.Millisecond)
		s.ask(t, s.shown, "1", time.Second)
		time.Sleep(3 * time.Second)
		s.ask(t, s.shown, "2", time.Second)
		s.forget("east")
		s.ask(t, s.shown, "3", time.Second)
		if s.told != 0 {
			t.Errorf("pages were told %d times what they have seen", s.told)
		}
	})
}

func TestADecisionWaitsForWhatIsTrueNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow(5 * time.Second)
		s.ask(t, s.get, "1", 5*time.Second)
		go func() { _, _ = s.get(t.Context(), "east") }() // still holds
		s.forget("east")
		s.ask(t, s.get, "2", 5*time.Second)

		s.forget("east")
		go func() { _, _ = s.get(t.Context(), "east") }()
		time.Sleep(time.Second)
		s.forget("east") // while it is read
		s.ask(t, s.get, "4", 5*time.Second)
		s.ask(t, s.get, "4", 0)
	})
}

func TestAClusterThatCannotBeReadIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow(time.Millisecond)
		s.fails = errors.New("no route")
		if _, err := s.soon(t.Context(), "east"); err == nil || !errors.Is(err, s.fails) {
			t.Errorf("%v", err)
		}
		s.fails = nil
		s.ask(t, s.shown, "2", time.Second)
		time.Sleep(2 * idle)
		s.ask(t, s.shown, "3", time.Second) // too old to be shown
		synctest.Wait()
	})
}
