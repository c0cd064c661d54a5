package dataplanerollout

import (
	"errors"
	"testing"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
)

func gateSubject(name string, settled bool) health.Subject {
	return health.Subject{Key: health.Key{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: name}, Attempt: 1}, Target: "1-31", Pods: []string{name + "-1"}, Settled: settled}
}

func TestIstiodIsAskedOnlyWhileAWorkloadWaitsAndNotTooOften(t *testing.T) {
	g, spec := &gates{}, &v1alpha1.Health{}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	states := func(after time.Duration, subjects ...health.Subject) (out []health.State, ask bool) {
		verdicts, ask, _ := g.judge(subjects, spec, now.Add(after))
		for _, v := range verdicts {
			out = append(out, v.State)
		}
		return out, ask
	}
	if got, ask := states(0, gateSubject("a", true), gateSubject("b", true)); !ask || got[0] != health.Wait {
		t.Fatalf("at first: %v, ask %v", got, ask)
	}
	g.begin(&g.istiod)
	if _, ask := states(0, gateSubject("a", true)); ask {
		t.Error("istiod is asked twice at once")
	}
	a := health.Proxy{Namespace: "shop", Pod: "a-1", Synced: true}
	g.asked(now.Add(time.Second), time.Second, []health.Proxy{a}, nil)
	got, ask := states(2*time.Second, gateSubject("a", true), gateSubject("b", true))
	if got[0] != health.Pass || got[1] != health.Wait || ask {
		t.Errorf("after an answer that took a second: %v, ask %v", got, ask)
	}
	if _, ask := states(20*time.Second, gateSubject("a", true), gateSubject("b", true)); ask {
		t.Error("an istiod that needed a second is asked again within 20 seconds")
	}
	if _, ask := states(21*time.Second, gateSubject("b", true)); !ask {
		t.Error("istiod is not asked again although a workload waits")
	}
	g.asked(now.Add(time.Hour), 0, nil, nil)
	got, ask = states(2*time.Hour, gateSubject("a", true), gateSubject("b", true))
	if got[0] != health.Pass || got[1] != health.Fail || ask {
		t.Errorf("what has passed has passed, and what was late has failed: %v, ask %v", got, ask)
	}
}

func TestAnIstiodThatDoesNotAnswerFailsNobody(t *testing.T) {
	g, spec := &gates{}, &v1alpha1.Health{}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	g.judge([]health.Subject{gateSubject("a", true)}, spec, now)
	g.asked(now.Add(time.Hour), 0, nil, errors.New("istiod x did not say who is connected to it"))
	v, ask, _ := g.judge([]health.Subject{gateSubject("a", true)}, spec, now.Add(2*time.Hour))
	if v[0].State != health.Wait || !ask || v[0].Message == "" {
		t.Errorf("%+v, ask %v", v[0], ask)
	}
}

func TestTheDeadlineBeginsWhenThePodsAreReady(t *testing.T) {
	g, spec := &gates{}, &v1alpha1.Health{}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for after, settled := range []bool{true, false, true} {
		g.judge([]health.Subject{gateSubject("a", settled)}, spec, now.Add(time.Duration(after)*time.Minute))
	}
	g.asked(now.Add(3*time.Minute), 0, nil, nil)
	if v, _, _ := g.judge([]health.Subject{gateSubject("a", true)}, spec, now.Add(3*time.Minute)); v[0].State != health.Wait {
		t.Errorf("a minute after its pods were ready again: %+v", v[0])
	}
}

func TestPrometheusIsAskedWhenTheProxiesAreInSyncAndUntilItsTimeIsOver(t *testing.T) {
	g, spec := &gates{}, &v1alpha1.Health{Metrics: &v1alpha1.Metrics{}}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	a := gateSubject("a", true)
	good := map[health.Key]health.Sample{a.Key: {At: now.Add(2 * time.Second), New: health.Counts{Requests: 9000}, Old: health.Counts{Requests: 9000}}}
	judge := func(after time.Duration, s health.Subject) (health.Verdict, []health.Question) {
		v, _, measure := g.judge([]health.Subject{s}, spec, now.Add(after))
		return v[0], measure
	}
	if v, measure := judge(0, a); len(measure) > 0 || v.Gate != health.GateSync {
		t.Errorf("before the proxies are in sync: %+v, %v", v, measure)
	}
	g.asked(now.Add(time.Second), 0, []health.Proxy{{Namespace: "shop", Pod: "a-1", Synced: true}}, nil)
	if v, measure := judge(time.Second, a); len(measure) != 1 || measure[0].Pods[0] != "a-1" || v.State != health.Wait {
		t.Errorf("in sync: %+v, %v", v, measure)
	}
	g.begin(&g.meter)
	if _, measure := judge(time.Second, a); len(measure) > 0 {
		t.Error("Prometheus is asked twice at once")
	}
	g.measured(now.Add(2*time.Second), time.Second, good)
	if v, measure := judge(3*time.Second, a); len(measure) > 0 || v.State != health.Wait {
		t.Errorf("after an answer that took a second: %+v, %v", v, measure)
	}
	if _, measure := judge(22*time.Second, a); len(measure) != 1 {
		t.Error("Prometheus is not asked again although the workload is watched")
	}
	moving := a
	moving.Settled = false
	judge(time.Minute, moving)
	if v, _ := judge(2*time.Minute, a); v.Gate != health.GateSync {
		t.Errorf("when a pod was not ready in between, everything begins anew: %+v", v)
	}
	g.asked(now.Add(2*time.Minute), 0, []health.Proxy{{Namespace: "shop", Pod: "a-1", Synced: true}}, nil)
	late := good[a.Key]
	late.At = now.Add(8 * time.Minute)
	g.measured(late.At, 0, map[health.Key]health.Sample{a.Key: late})
	if v, measure := judge(8*time.Minute, a); v.State != health.Pass || len(measure) > 0 {
		t.Errorf("when its time is over: %+v, %v", v, measure)
	}
	if v, measure := judge(time.Hour, a); v.State != health.Pass || len(measure) > 0 {
		t.Errorf("what has passed has passed: %+v, %v", v, measure)
	}
}
