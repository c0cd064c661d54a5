package intent

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestNamesOfRolloutsCountUp(t *testing.T) {
	r := func(names ...string) (out []v1alpha1.DataPlaneRollout) {
		for _, n := range names {
			x := v1alpha1.DataPlaneRollout{}
			x.Name = n
			out = append(out, x)
		}
		return out
	}
	for want, have := range map[string][]v1alpha1.DataPlaneRollout{
		"u-r1":  nil,
		"u-r3":  r("u-r1", "u-r2", "by-hand"),
		"u-r11": r("u-r10", "u-r9"),
		"u-r2":  r("other-r7", "u-r1"),
	} {
		if got := NextRollout("u", have); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestARetryAsksForTheAttemptAfterTheOneThatFailedAndOnlyOnce(t *testing.T) {
	r := &v1alpha1.DataPlaneRollout{}
	f := v1alpha1.WorkloadFailure{WorkloadReference: v1alpha1.WorkloadReference{Kind: "Deployment", Namespace: "shop", Name: "cart"}, Attempt: 2}
	for n, want := range []bool{true, false} {
		if got := Decide(r, f, v1alpha1.Retry); got != want || len(r.Spec.Decisions) != 1 || r.Spec.Decisions[0].Attempt != 3 {
			t.Errorf("time %d: %v %+v", n, got, r.Spec.Decisions)
		}
	}
	if !Decide(r, f, v1alpha1.MoveBack) || len(r.Spec.Decisions) != 1 || r.Spec.Decisions[0].Action != v1alpha1.MoveBack {
		t.Errorf("%+v", r.Spec.Decisions)
	}
}

func TestAnAcknowledgementIsForTheContentThatWasSeen(t *testing.T) {
	u := &v1alpha1.ClusterUpgrade{}
	f := v1alpha1.EnvoyFilterStatus{Namespace: "shop", Name: "filter", Hash: "a"}
	at := metav1.NewTime(time.Unix(1, 0))
	if !Acknowledge(u, f, "ann", at, "") || Acknowledge(u, f, "bob", at, "") {
		t.Error("it is recorded once")
	}
	f.Hash = "b"
	if !Acknowledge(u, f, "bob", at, "") || len(u.Spec.EnvoyFilters) != 1 || u.Spec.EnvoyFilters[0].By != "bob" {
		t.Errorf("%+v", u.Spec.EnvoyFilters)
	}
}

func TestARetryOfAComponentIsLaterThanTheRequestBefore(t *testing.T) {
	m := &hub.MemberCluster{}
	rows := []hub.ComponentStatus{{Name: "flagger", Offered: "1.1", Phase: hub.ComponentFailed}}
	at := metav1.NewTime(time.Unix(100, 0))
	Request(m, rows, "ann", at)
	if asked := Request(m, rows, "ann", at); len(m.Spec.Components) != 1 || asked["flagger"].Unix() != 101 {
		t.Errorf("%v %+v", asked, m.Spec.Components)
	}
	rows[0].Phase = hub.ComponentUpgrading
	if asked := Request(m, rows, "bob", metav1.NewTime(time.Unix(200, 0))); asked["flagger"].Unix() != 101 || m.Spec.Components[0].By != "ann" {
		t.Error("what is under way is asked for again")
	}
}
