package fleet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// anything draws a member that may hold any garbage.
func anything(t *rapid.T, name string) Member {
	m := Member{Name: name, Known: rapid.Float64().Draw(t, "known") < 0.9, Heard: rapid.Bool().Draw(t, "heard")}
	versions := rapid.SampledFrom([]string{"1.30.0", "1.30.0", "1.31.0", "1.31.2", "1.32.0", "", "latest", "1.", "99999999999999999999.1"})
	for n := range rapid.IntRange(0, 3).Draw(t, "revisions") {
		m.Revisions = append(m.Revisions, hub.RevisionSummary{
			RevisionRef: v1alpha1.RevisionRef{Revision: fmt.Sprintf("r%d", n), Version: versions.Draw(t, "version")},
			Sidecars:    rapid.Int32Range(-1, 2).Draw(t, "sidecars"), Gateways: rapid.Int32Range(0, 1).Draw(t, "gateways"),
		})
	}
	uid := rapid.SampledFrom([]types.UID{"", types.UID("uid-" + name), "else"})
	if rapid.Float64().Draw(t, "upgrade") < 0.8 {
		u := &hub.UpgradeSummary{
			Name: "up", UID: uid.Draw(t, "uid"), Version: versions.Draw(t, "target"), ScaledDown: rapid.Float64().Draw(t, "scaled") < 0.2,
			DecommissionRequested: rapid.Bool().Draw(t, "requested"),
		}
		if rapid.Float64().Draw(t, "from") < 0.9 {
			u.From = &v1alpha1.RevisionRef{Revision: "r0", Version: versions.Draw(t, "fromVersion")}
		}
		if rapid.Float64().Draw(t, "to") < 0.9 {
			u.To = &v1alpha1.RevisionRef{Revision: "r1", Version: versions.Draw(t, "toVersion")}
		}
		if rapid.Bool().Draw(t, "at") {
			u.DecommissionRequestedAt = &metav1.Time{Time: now.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "when")) * time.Hour)}
		}
		for kind, likely := range map[string]float64{
			v1alpha1.ConditionDataPlanesMoved: 0.8, v1alpha1.ConditionDecommissioned: 0.1, v1alpha1.ConditionReady: 0.05,
		} {
			if !rapid.Bool().Draw(t, "has"+kind) && kind != v1alpha1.ConditionDataPlanesMoved {
				continue
			}
			c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: rapid.SampledFrom([]string{"", v1alpha1.ReasonSoaking, v1alpha1.ReasonInUse, "x"}).Draw(t, "reason")}
			if rapid.Float64().Draw(t, kind) < likely {
				c.Status = metav1.ConditionTrue
			}
			u.Conditions = append(u.Conditions, c)
		}
		m.Upgrade = u
	}
	if rapid.Bool().Draw(t, "link") {
		m.Link = &v1alpha1.HubLink{}
		if rapid.Bool().Draw(t, "permission") {
			m.Link.Decommission = &v1alpha1.HubDecommission{UID: uid.Draw(t, "linkUID"), HubVerdict: v1alpha1.HubVerdict{Pass: rapid.Bool().Draw(t, "pass")}}
		}
	}
	return m
}

func anyMembers(t *rapid.T) []Member {
	var out []Member
	for n := range rapid.IntRange(0, 4).Draw(t, "clusters") {
		out = append(out, anything(t, fmt.Sprintf("c%d", n)))
	}
	return out
}

func TestNobodyGetsATurnWhileAnyClusterIsUnknownOrHasNotMoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := anyMembers(t)
		in := TurnInput{Mesh: "prod", Members: members, Now: now}
		if rapid.Bool().Draw(t, "present") {
			in.Present = &hub.Turn{Cluster: fmt.Sprintf("c%d", rapid.IntRange(0, 4).Draw(t, "holder")), UID: rapid.SampledFrom([]types.UID{"uid-c0", "uid-c1", "", "else"}).Draw(t, "turn")}
		}
		d := Turns(in)
		passes := 0
		for _, m := range members {
			a := Answer("prod", m, members, d)
			if a == nil || !a.Pass {
				continue
			}
			passes++
			if d.Turn == nil || d.Turn.Cluster != m.Name || d.Turn.UID != m.Upgrade.UID || a.UID != m.Upgrade.UID {
				t.Fatalf("cluster %s is permitted without its turn: %+v", m.Name, d)
			}
			if !m.Upgrade.DecommissionRequested {
				t.Fatalf("cluster %s is permitted and nobody asked", m.Name)
			}
		}
		if passes > 1 {
			t.Fatalf("%d clusters are permitted", passes)
		}
		if d.Permit && d.Turn == nil {
			t.Fatal("a permission without a turn")
		}
		if d.Permit {
			for _, m := range members {
				if !m.Known || m.Unfinished() && !m.Moved() && m.Upgrade.From.Version == "1.30.0" && m.Upgrade.Version == "1.31" {
					t.Fatalf("cluster %s is permitted while %s is unknown or has not moved", d.Turn.Cluster, m.Name)
				}
			}
			if v := Barrier("prod", d.Turn.Cluster, members); !v.Passed() {
				t.Fatalf("permitted against the barrier: %s", v.Message)
			}
		}
	})
}

// TestATurnIsNeverGivenToTwo plays hubs and clusters against each other: clusters ask, move, come back, fall silent and hear late
// what they are told. At no time do two clusters believe that they may decommission.
func TestATurnIsNeverGivenToTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := []Member{upgrading("c0", 0, asked(0)), upgrading("c1", 0, asked(time.Minute)), upgrading("c2", 0, asked(time.Hour))}
		silent := map[string]bool{}
		var turn *hub.Turn
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := rapid.IntRange(0, 2).Draw(t, "cluster")
			m := &truth[n]
			switch rapid.SampledFrom([]string{"hub", "hub", "hub", "agent", "agent", "silent", "user", "pod"}).Draw(t, "event") {
			case "hub":
				turn = hubPass(t, truth, silent, turn)
			case "agent":
				agentPass(m)
			case "silent":
				silent[m.Name] = !silent[m.Name]
			case "user":
				m.Upgrade.DecommissionRequested = !m.Upgrade.DecommissionRequested
			case "pod":
				set(m, v1alpha1.ConditionDataPlanesMoved, !m.Moved(), v1alpha1.ReasonDataPlanesRemain)
			}
			var believe []string
			for _, m := range truth {
				if m.Unfinished() && (m.allowed() || m.Upgrade.ScaledDown) {
					believe = append(believe, m.Name)
				}
			}
			if len(believe) > 1 {
				t.Fatalf("%v are decommissioned at the same time", believe)
			}
		}
	})
}

func hubPass(t *rapid.T, truth []Member, silent map[string]bool, turn *hub.Turn) *hub.Turn {
	seen := slices.Clone(truth)
	for n := range seen {
		if silent[seen[n].Name] {
			seen[n] = lost(seen[n])
		}
	}
	d := Turns(TurnInput{Mesh: "prod", Present: turn, Members: seen, Now: now})
	if rapid.Bool().Draw(t, "crash after the turn is written") {
		return d.Turn
	}
	for n, m := range seen {
		if !m.Known {
			continue
		}
		a := Answer("prod", m, seen, d)
		truth[n].Link, truth[n].Heard = &v1alpha1.HubLink{Decommission: a}, false
	}
	return d.Turn
}

// agentPass is what the agent of a member does with what it is told.
func agentPass(m *Member) {
	m.Heard = true
	switch {
	case !m.Unfinished():
	case m.Moved() && m.Upgrade.DecommissionRequested && m.allowed() && m.Upgrade.ScaledDown:
		set(m, v1alpha1.ConditionDecommissioned, true, v1alpha1.ReasonDone)
	case m.Moved() && m.Upgrade.DecommissionRequested && m.allowed():
		soaking(m)
	default:
		m.Upgrade.ScaledDown = false
		set(m, v1alpha1.ConditionDecommissioned, false, hub.ReasonBarrier)
	}
}

func TestTheFreezeIsMonotoneInOldIstiods(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := anyMembers(t)
		less := OldIstiods(members)
		more := OldIstiods(append(members, anything(t, "one-more")))
		for _, o := range less {
			if !slices.Contains(more, o) {
				t.Fatalf("%+v is old no more because a cluster came", o)
			}
		}
		for _, a := range []Action{AddCluster, RemoveCluster, ChangeSidecars, DeleteMesh} {
			if !Frozen(a, "c", "m", less).Passed() && Frozen(a, "c", "m", more).Passed() {
				t.Fatal("the freeze melts with more old istiods")
			}
		}
	})
}

func TestAClusterIsNeverStartedBeforeItsWave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clusters := map[string]Observation{}
		spec := hub.MeshUpgradeSpec{Mesh: "prod", Version: rapid.SampledFrom([]string{"1.31", "1.31", "x", ""}).Draw(t, "version"), Paused: rapid.Float64().Draw(t, "paused") < 0.1}
		for n := range rapid.IntRange(0, 3).Draw(t, "waves") {
			w := hub.ClusterWave{Name: fmt.Sprintf("w%d", n), Approval: rapid.Bool().Draw(t, "approval")}
			if rapid.Bool().Draw(t, "limited") {
				p := rapid.Int32Range(-1, 3).Draw(t, "parallelism")
				w.Parallelism = &p
			}
			for range rapid.IntRange(0, 3).Draw(t, "clusters") {
				w.Clusters = append(w.Clusters, fmt.Sprintf("c%d", rapid.IntRange(0, 6).Draw(t, "which")))
			}
			if rapid.Bool().Draw(t, "approved") {
				spec.Approvals = append(spec.Approvals, hub.Approval{Wave: w.Name})
			}
			spec.Waves = append(spec.Waves, w)
		}
		for n := range 7 {
			name := fmt.Sprintf("c%d", n)
			m := anything(t, name)
			if rapid.Bool().Draw(t, "garbage") {
				m = rapid.SampledFrom([]Member{cluster(name, "1.30*"), upgrading(name, 0), upgrading(name, 2), gone(name)}).Draw(t, "state")
			}
			o := Observation{Member: m}
			if rapid.Float64().Draw(t, "tracked") < 0.9 {
				o.Tracked = m.Upgrade
			}
			if rapid.Float64().Draw(t, "in the mesh") < 0.9 {
				clusters[name] = o
			}
		}
		d := Waves(WavesInput{Spec: spec, Name: "up", Clusters: clusters, Now: now})
		progress := map[string]hub.ClusterProgress{}
		for _, p := range d.Clusters {
			if _, twice := progress[p.Name]; twice {
				t.Fatalf("cluster %s is there twice", p.Name)
			}
			progress[p.Name] = p
		}
		if len(d.Start) > 0 && spec.Paused {
			t.Fatal("a paused upgrade starts something")
		}
		for _, name := range d.Start {
			o, in := clusters[name]
			if !in || !o.Known || o.Tracked != nil {
				t.Fatalf("%s is started although it is unknown, of no mesh, or started", name)
			}
			for _, p := range d.Clusters {
				if p.Wave == progress[name].Wave {
					break
				}
				before := clusters[p.Name]
				if !before.Known || before.Tracked != nil && !before.Moved() && !ended(before.Tracked.Conditions) {
					t.Fatalf("%s of wave %s starts although %s of wave %s has not moved", name, progress[name].Wave, p.Name, p.Wave)
				}
			}
			for _, w := range spec.Waves {
				if w.Name == progress[name].Wave && w.Approval && !approved(spec, w.Name) && !slices.ContainsFunc(w.Clusters, func(c string) bool { return clusters[c].Tracked != nil }) {
					t.Fatalf("%s starts without an approval", name)
				}
			}
		}
	})
}
