package retry

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAnObjectThatFailedOftenWaitsForSecondsNotMinutes(t *testing.T) {
	l, req := Options(1).RateLimiter, reconcile.Request{NamespacedName: types.NamespacedName{Name: "default"}}
	if first := l.When(req); first > Longest/100 {
		t.Errorf("the first retry waits %s", first)
	}
	for range 50 {
		if after := l.When(req); after > Longest {
			t.Fatalf("after %d errors it waits %s", l.NumRequeues(req), after)
		}
	}
	l.Forget(req)
	if again := l.When(req); again > Longest/100 {
		t.Errorf("the first retry after a success waits %s", again)
	}
}
