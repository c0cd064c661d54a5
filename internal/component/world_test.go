package component

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/release"
)

// world is a cluster with releases of Helm, a hub that may lose its memory or stop within any action, and people who ask.
type world struct {
	history  map[string][]release.Release // by release
	healthy  map[string]bool              // by chart version
	rows     []hub.ComponentStatus
	requests []hub.ComponentRequest
	now      time.Time
}

func (w *world) found() []Helm {
	var out []Helm
	for _, revisions := range w.history {
		h := Helm{Last: revisions[len(revisions)-1]}
		for _, want := range []string{"superseded", "deployed"} {
			for n := range revisions {
				if revisions[n].Status == want {
					h.Deployed = &revisions[n]
				}
			}
		}
		if h.Last.Status == "deployed" {
			h.Health = &Health{Ready: w.healthy[h.Last.ChartVersion], Message: "Deployment x has 0 of 1 replicas ready"}
		}
		out = append(out, h)
	}
	return out
}

// Points in an action at which it may end.
const (
	whole = iota
	notBegun
	pending
	refused
)

func (w *world) act(t *rapid.T, a Action, end int) {
	name := a.Release.Name
	asked := false
	for _, r := range w.requests {
		asked = asked || r.Name == a.Component
	}
	if !asked {
		t.Fatalf("%+v, and nobody asked", a)
	}
	if end == notBegun {
		return
	}
	revisions := w.history[name]
	last := &revisions[len(revisions)-1]
	if strings.HasPrefix(last.Status, "pending") {
		last.Status, last.Description = "failed", release.TakenOver+" pending"
	}
	good := 0
	for n := range revisions {
		if revisions[n].Status == "deployed" || revisions[n].Status == "superseded" && revisions[good].Status != "deployed" {
			good = n
		}
	}
	next := release.Release{Name: name, Namespace: "ops", Chart: name, Revision: len(revisions) + 1, Updated: w.now}
	switch a.Kind {
	case Upgrade:
		for _, r := range revisions {
			if r.Status == "deployed" && !Older(r.ChartVersion, a.Release.Source.Version) {
				t.Fatalf("from %s to %s is not upwards", r.ChartVersion, a.Release.Source.Version)
			}
		}
		next.ChartVersion, next.Labels = a.Release.Source.Version, maps.Clone(a.Release.Labels)
	case RollBack:
		for n := range revisions { // the newest of another version that was once deployed
			if (revisions[n].Status == "deployed" || revisions[n].Status == "superseded") && revisions[n].ChartVersion != last.ChartVersion {
				good = n
			}
		}
		next.ChartVersion, next.Labels, next.Description = revisions[good].ChartVersion, revisions[good].Labels, "Rollback to 1"
	}
	switch end {
	case pending:
		next.Status = map[Kind]string{Upgrade: "pending-upgrade", RollBack: "pending-rollback"}[a.Kind]
	case refused:
		next.Status, next.Description = "failed", map[Kind]string{Upgrade: "Upgrade failed: a hook failed", RollBack: "Rollback failed: x"}[a.Kind]
	default:
		for n := range revisions {
			if revisions[n].Status == "deployed" {
				revisions[n].Status = "superseded"
			}
		}
		next.Status = "deployed"
	}
	w.history[name] = append(revisions, next)
}

func (w *world) pass(t *rapid.T, end func() int) Plan {
	w.now = w.now.Add(20 * time.Second)
	p := Decide(Input{Catalog: components(), Requests: w.requests, Before: w.rows, Now: w.now, Helm: w.found()})
	w.rows = p.Components
	for _, r := range p.Components {
		if r.Phase == hub.ComponentFailed && !strings.Contains(r.Message, ": ") {
			t.Fatalf("a failure without a reason: %+v", r)
		}
		if strings.ContainsAny(r.Message, "\n\r") {
			t.Fatalf("no sentence: %q", r.Message)
		}
	}
	for _, a := range p.Actions {
		w.act(t, a, end())
	}
	return p
}

func TestRequestsAreCarriedOutOrFailAndKeepTheOldVersionWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{history: map[string][]release.Release{}, healthy: map[string]bool{}, now: now}
		started := map[string]string{}
		for _, name := range []string{"flagger", "dashboards"} {
			v := rapid.SampledFrom([]string{"0.8.0", "0.9.0", "1.0.0", "1.1.0", "3.0.0"}).Draw(t, name)
			started[name] = v
			w.history[name] = []release.Release{{Name: name, Namespace: "ops", Chart: name, ChartVersion: v, Status: "deployed", Revision: 1, Updated: now}}
			w.healthy[v] = true
		}
		good := rapid.Bool().Draw(t, "the new versions become ready")
		w.healthy["1.1.0"], w.healthy["0.9.0"] = w.healthy["1.1.0"] || good, w.healthy["0.9.0"] || good
		for _, r := range []hub.ComponentRequest{request("flagger-operator", "1.1.0", at(time.Second)), request("dashboards", "2.0.0", at(time.Second))} {
			if rapid.Bool().Draw(t, "ask for "+r.Name) {
				w.requests = append(w.requests, r)
			}
		}
		for range rapid.IntRange(0, 6).Draw(t, "rough passes") {
			w.pass(t, func() int { return rapid.SampledFrom([]int{whole, notBegun, pending, refused}).Draw(t, "end") })
			if rapid.Bool().Draw(t, "the status was not written") {
				w.rows = nil
			}
		}
		settled := false
		for n := 0; n < 60 && !settled; n++ {
			settled = !w.pass(t, func() int { return whole }).Busy
		}
		if !settled {
			t.Fatalf("it never ends: %+v", w.rows)
		}
		for name, chart := range map[string]string{"flagger-operator": "flagger", "dashboards": "dashboards"} {
			w.settled(t, name, chart, started[chart])
		}
	})
}

// settled checks the end of one component.
func (w *world) settled(t *rapid.T, name, chart, start string) {
	revisions := w.history[chart]
	last := revisions[len(revisions)-1]
	var row hub.ComponentStatus
	for _, r := range w.rows {
		if r.Name == name {
			row = r
		}
	}
	asked := false
	for _, r := range w.requests {
		asked = asked || r.Name == name
	}
	state := fmt.Sprintf("%s: %+v, %+v", name, row, last)
	switch {
	case last.Status != "deployed":
		t.Fatalf("left half-way: %s", state)
	case !asked && len(revisions) != 1:
		t.Fatalf("it was touched, and nobody asked: %s", state)
	case row.Phase == hub.ComponentFailed && last.ChartVersion != start:
		t.Fatalf("it failed and did not keep %s: %s", start, state)
	case row.Phase == hub.ComponentCurrent && asked && !w.healthy[last.ChartVersion]:
		t.Fatalf("it is not ready: %s", state)
	case asked && row.Phase != hub.ComponentCurrent && row.Phase != hub.ComponentFailed:
		t.Fatalf("the request is not answered: %s", state)
	}
	if !asked || row.Phase != hub.ComponentFailed {
		return
	}
	// What caused it is mended; asked again, it goes through.
	w.healthy["1.1.0"], w.healthy["0.9.0"] = true, true
	for n := range w.requests {
		if w.requests[n].Name == name {
			w.requests[n].At.Time = w.now
		}
	}
	for range 10 {
		w.pass(t, func() int { return whole })
	}
	for _, r := range w.rows {
		if r.Name == name && r.Phase != hub.ComponentCurrent {
			t.Fatalf("the retry did not go through: %+v", r)
		}
	}
}
