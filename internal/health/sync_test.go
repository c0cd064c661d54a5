package health

import (
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

var (
	ready = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	web   = Key{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "web"}, Attempt: 1}
)

func answer(after time.Duration, unknown string, proxies ...Proxy) Answer {
	a := Answer{At: ready.Add(after), Unknown: unknown}
	for _, p := range proxies {
		p.Namespace = "shop"
		a.Add(p)
	}
	return a
}

func TestAWorkloadPassesOnlyWhenEveryProxyIsInSync(t *testing.T) {
	good := []Proxy{{Pod: "a", Synced: true}, {Pod: "b", Synced: true}}
	settled := Subject{Key: web, Target: "1-31", Pods: []string{"a", "b"}, Settled: true, Started: ready.Add(-time.Minute)}
	moving := settled
	moving.Settled = false
	refused := moving
	refused.Refused = "Meshlift refused this pod"
	for name, c := range map[string]struct {
		subject Subject
		answer  Answer
		after   time.Duration
		state   State
		reason  string
		says    string
	}{
		"all in sync":                          {settled, answer(0, "", good...), time.Second, Pass, "", ""},
		"asked before its pods were ready":     {settled, answer(-time.Second, "", good...), time.Second, Wait, "", "2 of 2"},
		"not asked yet":                        {settled, Answer{}, time.Second, Wait, "", "is asked"},
		"one is missing":                       {settled, answer(0, "", good[0]), time.Second, Wait, "", "1 of 2 proxies in sync"},
		"one is missing at the deadline":       {settled, answer(time.Minute, "", good[0]), time.Minute, Fail, v1alpha1.FailureNotSynced, "b is not connected"},
		"asked for the last time before it":    {settled, answer(59*time.Second, "", good[0]), time.Minute, Wait, "", ""},
		"in sync after the deadline":           {settled, answer(2*time.Minute, "", good...), 2 * time.Minute, Pass, "", ""},
		"one has not acknowledged":             {settled, answer(time.Minute, "", good[0], Proxy{Pod: "b"}), time.Minute, Fail, v1alpha1.FailureNotSynced, "b is connected to istiod 1-31 and has not acknowledged"},
		"one rejects":                          {settled, answer(0, "", good[0], Proxy{Pod: "b", Rejected: "Listener: no such filter"}), 0, Fail, v1alpha1.FailureRejected, "b rejected what istiod 1-31 sent: Listener: no such filter"},
		"one rejects while others still move":  {moving, answer(0, "", Proxy{Pod: "b", Rejected: "x"}), 0, Fail, v1alpha1.FailureRejected, "rejected"},
		"one rejected and is connected anew":   {settled, answer(0, "", good[0], good[1], Proxy{Pod: "b", Rejected: "x"}), 0, Pass, "", ""},
		"still moving, never late here":        {moving, answer(time.Hour, "", good[0]), time.Hour, Wait, "", ""},
		"an istiod does not answer":            {settled, answer(time.Hour, "istiod x did not say", good[0]), time.Hour, Wait, "", "istiod x did not say"},
		"an istiod does not answer, all there": {settled, answer(0, "istiod x did not say", good...), time.Second, Pass, "", ""},
		"no pods":                              {Subject{Key: web, Settled: true}, Answer{}, 0, Pass, "", ""},
		"injection fails":                      {refused, Answer{}, 0, Fail, v1alpha1.FailureInjection, "Meshlift refused this pod"},
		"injection fails for a moment":         {refused, Answer{}, -30 * time.Second, Wait, "", ""},
	} {
		v := Sync(c.subject, c.answer, ready, ready.Add(c.after), time.Minute)
		if v.State != c.state || v.Reason != c.reason || !strings.Contains(v.Message, c.says) || v.Key != web {
			t.Errorf("%s: %+v", name, v)
		}
		if (v.State == Fail) != (len(v.Seen) > 0 && v.Reason != "") {
			t.Errorf("%s: evidence %v of %s", name, v.Seen, v.Reason)
		}
	}
}

func TestOnlyProxiesThatKeepAConnectionAreLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		workload mesh.Workload
		want     bool
	}{
		"sidecar":       {mesh.Workload{Ref: web.Ref}, true},
		"gateway":       {mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindGateway}}, true},
		"CronJob":       {mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindCronJob}}, false},
		"gRPC":          {mesh.Workload{TemplateAnnotations: map[string]string{mesh.AnnotationTemplates: "grpc-agent"}}, false},
		"gRPC and more": {mesh.Workload{TemplateAnnotations: map[string]string{mesh.AnnotationTemplates: "own, grpc-simple"}}, false},
		"left out":      {mesh.Workload{Annotations: map[string]string{v1alpha1.HealthAnnotation: "off"}}, false},
	} {
		if got := Applies(c.workload); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAQuotaIsNoFailureOfInjection(t *testing.T) {
	if InjectionFailure("pods \"x\" is forbidden: exceeded quota") != "" || InjectionFailure(`failed calling webhook "rev.namespace.sidecar-injector.istio.io"`) == "" {
		t.Error("the message is judged wrongly")
	}
}
