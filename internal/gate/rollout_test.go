package gate

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func aRollout(name string, edits ...func(*v1alpha1.DataPlaneRollout)) *v1alpha1.DataPlaneRollout {
	r := &v1alpha1.DataPlaneRollout{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.DataPlaneRolloutSpec{Upgrade: "a", Direction: v1alpha1.Forward},
	}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

func back(r *v1alpha1.DataPlaneRollout) { r.Spec.Direction = v1alpha1.Back }

func targets(t ...v1alpha1.RolloutTarget) func(*v1alpha1.DataPlaneRollout) {
	return func(r *v1alpha1.DataPlaneRollout) { r.Spec.Targets = t }
}

// ready is an upgrade whose first three steps are done.
func ready(edits ...func(*v1alpha1.ClusterUpgrade)) *v1alpha1.ClusterUpgrade {
	u := upgrade("a", isAccepted)
	for _, c := range []string{v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled} {
		with(condition(c, metav1.ConditionTrue, v1alpha1.ReasonDone, ""))(u)
	}
	for _, edit := range edits {
		edit(u)
	}
	return u
}

func unmet(n int, reason, message string) func(*v1alpha1.ClusterUpgrade) {
	return func(u *v1alpha1.ClusterUpgrade) {
		c := &u.Status.Conditions[n]
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, message
	}
}

func confirmed(u *v1alpha1.ClusterUpgrade) {
	u.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "ana"}
}

func TestARolloutStartsOnlyWhenItsUpgradeIsReadyForIt(t *testing.T) {
	other := func(complete metav1.ConditionStatus) []v1alpha1.DataPlaneRollout {
		o := aRollout("first")
		o.ResourceVersion = "1"
		o.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionComplete, complete, v1alpha1.ReasonInProgress, "")}
		return []v1alpha1.DataPlaneRollout{*o}
	}
	for name, c := range map[string]struct {
		in      RolloutInput
		outcome Outcome
		reason  string
		words   []string
	}{
		"everything is ready":             {in: RolloutInput{Rollout: aRollout("r"), Upgrade: ready()}},
		"no upgrade":                      {RolloutInput{Rollout: aRollout("r")}, Blocked, v1alpha1.ReasonWaiting, []string{`"a"`, "meshlift upgrade start"}},
		"the upgrade is finished":         {RolloutInput{Rollout: aRollout("r"), Upgrade: ready(isFinished)}, Blocked, v1alpha1.ReasonDone, []string{`"a"`}},
		"the upgrade was never accepted":  {RolloutInput{Rollout: aRollout("r"), Upgrade: upgrade("a")}, Waiting, v1alpha1.ReasonWaiting, []string{"not accepted", "meshlift status"}},
		"step 1 is not done":              {RolloutInput{Rollout: aRollout("r"), Upgrade: ready(unmet(1, v1alpha1.ReasonInProgress, "Flagger"))}, Waiting, v1alpha1.ReasonInProgress, []string{"step 1", "Flagger"}},
		"step 2 is not done":              {RolloutInput{Rollout: aRollout("r"), Upgrade: ready(unmet(2, v1alpha1.ReasonNotReady, "0 of 1 ready"))}, Waiting, v1alpha1.ReasonNotReady, []string{"step 2", "0 of 1 ready"}},
		"step 3 is not done":              {RolloutInput{Rollout: aRollout("r"), Upgrade: ready(unmet(3, v1alpha1.ReasonFilters, "2 filters"))}, Waiting, v1alpha1.ReasonFilters, []string{"step 3", "2 filters", "meshlift envoyfilters ack"}},
		"back does not need the steps":    {in: RolloutInput{Rollout: aRollout("r", back), Upgrade: ready(unmet(2, v1alpha1.ReasonNotReady, "broken"))}},
		"back after the decommission":     {RolloutInput{Rollout: aRollout("r", back), Upgrade: ready(confirmed)}, Blocked, v1alpha1.ReasonInProgress, []string{"ana"}},
		"forward after the decommission":  {in: RolloutInput{Rollout: aRollout("r"), Upgrade: ready(confirmed)}},
		"another rollout is not complete": {RolloutInput{Rollout: aRollout("r"), Upgrade: ready(), Others: other(metav1.ConditionFalse)}, Blocked, v1alpha1.ReasonInProgress, []string{`"first"`, "stop"}},
		"another rollout is complete":     {in: RolloutInput{Rollout: aRollout("r"), Upgrade: ready(), Others: other(metav1.ConditionTrue)}},
		"an unknown namespace":            {RolloutInput{Rollout: aRollout("r", targets(v1alpha1.RolloutTarget{Namespace: "shop"}, v1alpha1.RolloutTarget{Namespace: "shpo"})), Upgrade: ready()}, Blocked, v1alpha1.ReasonUserAction, []string{`"shpo"`}},
		"a kind that cannot be moved":     {RolloutInput{Rollout: aRollout("r", targets(v1alpha1.RolloutTarget{Namespace: "shop", Kind: "Job", Name: "x"})), Upgrade: ready()}, Blocked, v1alpha1.ReasonUserAction, []string{"Job", "shop/x", "StatefulSet"}},
		"a Deployment":                    {in: RolloutInput{Rollout: aRollout("r", targets(v1alpha1.RolloutTarget{Namespace: "shop", Kind: "Deployment", Name: "x"})), Upgrade: ready()}},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.HasNamespace = func(n string) bool { return n == "shop" }
			v := StartRollout(c.in)
			check(t, v, c.reason, c.words...)
			if c.outcome != "" && v.Outcome != c.outcome {
				t.Errorf("outcome %q, want %q", v.Outcome, c.outcome)
			}
		})
	}
}

func TestOfSeveralRolloutsExactlyOneGoesOn(t *testing.T) {
	at := func(name string, age time.Duration, started bool) v1alpha1.DataPlaneRollout {
		r := aRollout(name)
		r.ResourceVersion = "1"
		r.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age))
		if started {
			r.Status.StartedAt = &r.CreationTimestamp
		}
		return *r
	}
	for name, all := range map[string][]v1alpha1.DataPlaneRollout{
		"the oldest":             {at("a", 0, false), at("b", time.Hour, false)},
		"the one that started":   {at("a", 0, true), at("b", time.Hour, false)},
		"one of the same second": {at("a", 0, false), at("b", 0, false), at("c", 0, false)},
	} {
		t.Run(name, func(t *testing.T) {
			passed := 0
			for n := range all {
				if noOtherRollout(RolloutInput{Rollout: &all[n], Others: all}).Passed() {
					passed++
				}
			}
			if passed != 1 {
				t.Errorf("%d go on, want 1", passed)
			}
		})
	}
}

func TestTheIstioNamespaceStaysDuringAnUpgrade(t *testing.T) {
	running, done := *upgrade("a", stored(0)), *upgrade("b", stored(0), isFinished)
	check(t, MoveIstioNamespace("x", "x", []v1alpha1.ClusterUpgrade{running}), "")
	check(t, MoveIstioNamespace("x", "y", []v1alpha1.ClusterUpgrade{done}), "")
	check(t, MoveIstioNamespace("x", "y", []v1alpha1.ClusterUpgrade{done, running}), v1alpha1.ReasonAnotherUpgrade, `"x"`, `"y"`, `"a"`)
}

func TestAnAcknowledgementNamesWhatWasCheckedAndByWhom(t *testing.T) {
	ack := func(hash, by string) v1alpha1.EnvoyFilterAcknowledgement {
		return v1alpha1.EnvoyFilterAcknowledgement{Namespace: "shop", Name: "lua", Hash: hash, By: by}
	}
	acks := func(a ...v1alpha1.EnvoyFilterAcknowledgement) []v1alpha1.EnvoyFilterAcknowledgement { return a }
	check(t, Acknowledgements(nil, acks(ack("0123", "ana"))), "")
	check(t, Acknowledgements(nil, acks(ack("", "ana"))), v1alpha1.ReasonUserAction, "shop/lua", "hash")
	check(t, Acknowledgements(nil, acks(ack("0123", ""))), v1alpha1.ReasonUserAction, "shop/lua", "who")
	check(t, Acknowledgements(acks(ack("", "ana")), acks(ack("", "ana"))), "")
}

func TestAnAcknowledgementOfAnOldSpecIsCalledStale(t *testing.T) {
	u := upgrade("a", func(u *v1alpha1.ClusterUpgrade) {
		u.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{
			{Namespace: "shop", Name: "lua", Hash: "old"}, {Namespace: "shop", Name: "good", Hash: "same"}, {Namespace: "shop", Name: "gone", Hash: "x"},
		}
		u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{{Namespace: "shop", Name: "lua", Hash: "new"}, {Namespace: "shop", Name: "good", Hash: "same"}}
	})
	got := Stale(u)
	if len(got) != 1 || got[0] != "the acknowledgement of EnvoyFilter shop/lua does not count: its spec has hash new now, not old" {
		t.Errorf("Stale = %q", got)
	}
}
