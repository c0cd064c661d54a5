package dataplanerollout

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/restart"
	"meshlift.dev/meshlift/internal/rollout"
)

func action(name string) rollout.Action {
	return rollout.Action{
		Ref:    mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: name},
		Target: "1-31", Record: mesh.Move{To: "1-31", Rollout: "r", Attempt: 1},
	}
}

// inventory holds the workloads; those that were moved carry the record of it.
func inventory(moved bool, actions ...rollout.Action) *mesh.Inventory {
	inv := &mesh.Inventory{}
	for _, a := range actions {
		w := mesh.Workload{Ref: a.Ref}
		if moved {
			record := a.Record
			w.Move = &record
		}
		inv.Workloads = append(inv.Workloads, w)
	}
	return inv
}

// fly launches the actions and returns when all have got the answer.
func fly(f *flights, answer error, actions ...rollout.Action) {
	var wg sync.WaitGroup
	wg.Add(len(actions))
	f.launch(context.Background(), actions, func(context.Context, rollout.Action) error { return answer }, func(rollout.Action, error) { wg.Done() })
	wg.Wait()
}

func TestAMoveIsUnderWayUntilTheCachesShowIt(t *testing.T) {
	f, a := &flights{}, action("x")
	fly(f, nil, a)
	if s := f.stand(inventory(false, a), nil, time.Now()); len(s.underWay) != 1 {
		t.Errorf("not under way before it is seen: %+v", s)
	}
	if s := f.stand(inventory(true, a), nil, time.Now()); len(s.underWay) != 0 || len(f.all) != 0 {
		t.Errorf("under way although it is seen: %+v", s)
	}
}

func TestAMoveWhoseAnswerWasLostIsNoErrorOnceItIsSeen(t *testing.T) {
	f, a := &flights{}, action("x")
	fly(f, errors.New("connection reset"), a)
	if s := f.stand(inventory(false, a), nil, time.Now()); s.err == nil || len(s.underWay) != 1 {
		t.Errorf("not told, or tried again at once: %+v", s)
	}
	if s := f.stand(inventory(true, a), nil, time.Now()); s.err != nil || len(s.underWay) != 0 || len(f.all) != 0 {
		t.Errorf("an error remains: %+v", s)
	}
}

// A workload that a failed request left as it was must not look like one that somebody wrote again: that is moved by a claim.
func TestAMoveIsBegunWhenTheClusterHasIt(t *testing.T) {
	a := action("x")
	moving := []v1alpha1.WorkloadProgress{{WorkloadReference: rollout.Reference(a.Ref), Attempt: 1}}
	for _, c := range []struct {
		name   string
		answer error
		seen   bool
		before []v1alpha1.WorkloadProgress
		begun  int
	}{
		{"answered", nil, false, nil, 1},
		{"failed", errors.New("timeout"), false, nil, 0},
		{"failed, but it was done", errors.New("timeout"), true, nil, 1},
		{"a retry failed", errors.New("timeout"), false, moving, 1},
	} {
		f := &flights{}
		fly(f, c.answer, a)
		s := f.stand(inventory(c.seen, a), nil, time.Now())
		if got := s.written(moving, c.before); len(got) != c.begun {
			t.Errorf("%s: begun are %v, want %d", c.name, got, c.begun)
		}
	}
	f, answer := &flights{}, make(chan struct{})
	landed := make(chan struct{})
	f.launch(t.Context(), []rollout.Action{a}, func(context.Context, rollout.Action) error { <-answer; return nil }, func(rollout.Action, error) { close(landed) })
	if got := f.stand(inventory(false, a), nil, time.Now()).written(moving, nil); len(got) != 0 {
		t.Errorf("begun before it is answered: %v", got)
	}
	close(answer)
	<-landed
}

func TestAFailedRequestIsForgottenWhenNobodyWantsItAnyMore(t *testing.T) {
	f, a, b := &flights{}, action("x"), action("y")
	fly(f, errors.New("connection reset"), a, b)
	f.settle(nil, time.Now())
	if len(f.all) != 2 {
		t.Fatal("forgotten before its time: a retry would come too soon")
	}
	later := time.Now().Add(time.Hour)
	if s := f.stand(inventory(false, a, b), nil, later); len(s.underWay) != 0 {
		t.Errorf("it is never tried again: %+v", s)
	}
	f.settle([]rollout.Action{b}, later)
	if f.all[a.Ref] != nil || f.all[b.Ref] == nil {
		t.Errorf("forgotten or kept wrongly: %v", f.all)
	}
	fly(f, errors.New("connection reset"), b)
	if f.all[b.Ref].tries != 1 {
		t.Errorf("%d tries counted before the second", f.all[b.Ref].tries)
	}
}

func TestARefusalIsKeptUntilTheStatusHoldsIt(t *testing.T) {
	f, a := &flights{}, action("x")
	fly(f, &restart.Refusal{Reason: v1alpha1.FailureRehearsal, Message: "no"}, a)
	s := f.stand(inventory(false, a), nil, time.Now())
	if len(s.refused) != 1 || s.err != nil {
		t.Fatalf("not told: %+v", s)
	}
	if s = f.stand(inventory(false, a), s.refused, time.Now()); len(s.refused) != 0 || len(f.all) != 0 {
		t.Errorf("told twice: %+v", s)
	}
}

func TestNoMoreWritesThanWriters(t *testing.T) {
	f, block := &flights{}, make(chan struct{})
	var all []rollout.Action
	for n := range 3 * writers {
		all = append(all, action(string(rune('a'+n))))
	}
	var started sync.WaitGroup
	started.Add(writers)
	for range 2 {
		f.launch(t.Context(), all, func(context.Context, rollout.Action) error { started.Done(); <-block; return nil }, func(rollout.Action, error) {})
	}
	started.Wait()
	close(block)
	if len(f.all) != writers {
		t.Errorf("%d writes at once", len(f.all))
	}
}

func TestAnEvictionThatIsBlockedIsToldAndAskedForAgainLater(t *testing.T) {
	f, a := &flights{}, rollout.Action{Ref: mesh.Ref{Kind: mesh.KindStatefulSet, Namespace: "a", Name: "x"}, Evict: []rollout.Eviction{{Pod: "x-0", UID: "1"}}}
	inv := &mesh.Inventory{Workloads: []mesh.Workload{{Ref: a.Ref, Pods: []mesh.Pod{{Name: "x-0", UID: "1"}}}}}
	fly(f, &restart.Blocked{Message: "the budget"}, a)
	if s := f.stand(inv, nil, time.Now()); s.waiting[a.Ref] != "the budget" || len(s.underWay) != 1 || s.err != nil {
		t.Errorf("not told, or asked for at once: %+v", s)
	}
	if s := f.stand(inv, nil, time.Now().Add(evictAgain)); s.waiting[a.Ref] != "the budget" || len(s.underWay) != 0 {
		t.Errorf("never asked for again: %+v", s)
	}
	inv.Workloads[0].Pods[0].UID = "2"
	if s := f.stand(inv, nil, time.Now()); len(s.waiting) != 0 || len(f.all) != 0 {
		t.Errorf("it waits although the pod is gone: %+v", s)
	}
}

func TestAPanicOfOneMoveIsAnErrorOfThatWorkloadAndTheAgentGoesOn(t *testing.T) {
	var seen []any
	defer func(before []func(context.Context, any)) { utilruntime.PanicHandlers = before }(utilruntime.PanicHandlers)
	utilruntime.PanicHandlers = []func(context.Context, any){func(_ context.Context, p any) { seen = append(seen, p) }}
	counted := testutil.ToFloat64(panics)

	f, a, done := &flights{}, action("x"), make(chan struct{})
	f.launch(t.Context(), []rollout.Action{a}, func(context.Context, rollout.Action) error { panic("a mistake") }, func(rollout.Action, error) { close(done) })
	<-done
	s := f.stand(inventory(false, a), nil, time.Now())
	if s.err == nil || !strings.Contains(s.err.Error(), "a/Deployment/x") || !strings.Contains(s.err.Error(), "a mistake") || len(s.underWay) != 1 {
		t.Errorf("not told, or tried again at once: %+v", s)
	}
	if len(seen) != 1 || testutil.ToFloat64(panics) != counted+1 {
		t.Errorf("logged %v, counted %v after %v", seen, testutil.ToFloat64(panics), counted)
	}
}
