package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/version"
)

// DefaultWave is the name of the one wave of an upgrade that names none.
const DefaultWave = "all"

// WavesInput is what the progress of an upgrade of a mesh depends on.
type WavesInput struct {
	Spec hub.MeshUpgradeSpec
	// Before is the progress that was written last: what an unknown cluster had reached.
	Before []hub.ClusterProgress
	// Name of the MeshUpgrade, and of the ClusterUpgrades that it makes.
	Name string
	// Clusters of the mesh, by name. Rollouts are the DataPlaneRollouts of the tracked upgrades.
	Clusters map[string]Observation
	Now      time.Time
}

// Observation is what an upgrade of a mesh sees of one cluster.
type Observation struct {
	Member
	// Tracked is the ClusterUpgrade that brings the cluster to the version; nil when there is none.
	Tracked *hub.UpgradeSummary
	// RolloutProblem is why the rollout of the data planes stands still; "" when it does not.
	RolloutProblem string
}

// WavesDecision says which clusters start now, and what to tell.
type WavesDecision struct {
	// Start lists the clusters whose ClusterUpgrade is to be made now.
	Start []string
	// Clusters of the upgrade, in their order.
	Clusters []hub.ClusterProgress
	// Wave that is under way.
	Wave string
	// Moved and Gone count clusters whose data planes have moved and whose old istiod is gone.
	Moved, Gone int32
	// Reason and Message say what the upgrade waits for.
	Reason, Message string
	// Again is how long to wait before looking again without any event; 0 for not at all.
	Again time.Duration
}

// WavesOf are the waves of an upgrade: those of its spec, else one of all clusters of the mesh by name.
func WavesOf(spec hub.MeshUpgradeSpec, clusters []string) []hub.ClusterWave {
	if len(spec.Waves) > 0 {
		return spec.Waves
	}
	all := slices.Sorted(slices.Values(clusters))
	if len(all) == 0 {
		return nil
	}
	one := int32(1)
	return []hub.ClusterWave{{Name: DefaultWave, Clusters: all, Parallelism: &one}}
}

// stand is where one cluster of an upgrade stands.
type stand struct {
	progress              hub.ClusterProgress
	known, started, moved bool
	gone                  bool
	pending               bool
	obstacle              string
}

// Waves decides.
func Waves(in WavesInput) WavesDecision {
	var d WavesDecision
	names := make([]string, 0, len(in.Clusters))
	for name := range in.Clusters {
		names = append(names, name)
	}
	open, seen := true, map[string]bool{}
	for _, w := range WavesOf(in.Spec, names) {
		var stands []stand
		for _, name := range w.Clusters {
			if seen[name] {
				continue // a cluster is in one wave, the first that names it
			}
			seen[name] = true
			stands = append(stands, look(in, w.Name, name))
		}
		if open && len(stands) > 0 {
			open = d.wave(in, w, stands)
		}
		for _, s := range stands {
			d.Clusters = append(d.Clusters, s.progress)
			if s.moved {
				d.Moved++
			}
			if s.gone {
				d.Gone++
			}
		}
	}
	d.tell(in)
	return d
}

// wave decides about the first wave that is not complete, and tells whether the next one may be looked at.
func (d *WavesDecision) wave(in WavesInput, w hub.ClusterWave, stands []stand) (complete bool) {
	d.Wave = w.Name
	started, moving, failed := 0, 0, []string(nil)
	done := true
	var last time.Time
	for _, s := range stands {
		done = done && s.moved
		if s.started {
			started++
		}
		if s.started && !s.moved {
			moving++
		}
		if s.progress.Failed {
			failed = append(failed, s.progress.Name)
		}
		if s.progress.MovedAt != nil && s.progress.MovedAt.After(last) {
			last = s.progress.MovedAt.Time
		}
	}
	switch {
	case done:
		return d.soak(in, w, last)
	case len(failed) > 0:
		d.because(v1alpha1.ReasonFailed, "wave %s stands still, because cluster %s failed: repair it there, the wave goes on by itself", w.Name, gate.List(failed))
	case in.Spec.Paused:
		d.because(v1alpha1.ReasonPaused, "the upgrade is paused in wave %s: resume it with `meshlift mesh resume %s`", w.Name, in.Name)
	case started == 0 && w.Approval && !approved(in.Spec, w.Name):
		d.because(hub.ReasonApproval, "wave %s waits for an approval: give it with `meshlift mesh approve %s --wave %s`", w.Name, in.Name, w.Name)
	default:
		d.start(w, stands, moving)
	}
	return false
}

// soak tells whether the time after a complete wave is over. The last wave of an upgrade soaks for nobody.
func (d *WavesDecision) soak(in WavesInput, w hub.ClusterWave, last time.Time) bool {
	if w.Soak == nil {
		return true
	}
	left := last.Add(w.Soak.Duration).Sub(in.Now)
	if left <= 0 {
		return true
	}
	d.Again = left
	d.because(v1alpha1.ReasonSoaking, "wave %s is complete and watched until %s before the next one starts", w.Name, last.Add(w.Soak.Duration).UTC().Format(time.RFC3339))
	return false
}

func (d *WavesDecision) start(w hub.ClusterWave, stands []stand, moving int) {
	limit := 1
	if w.Parallelism != nil {
		limit = int(*w.Parallelism)
	}
	var waits, obstacles []string
	held := false // by a cluster that comes first and will be known in a moment
	for n := range stands {
		s := &stands[n]
		switch {
		case s.started || s.moved:
			if !s.moved {
				waits = append(waits, s.progress.Name+" ("+s.progress.Step+")")
			}
		case s.obstacle != "":
			obstacles = append(obstacles, s.obstacle)
			held = held || s.pending
		case limit <= 0 || moving < limit && !held:
			moving++
			d.Start = append(d.Start, s.progress.Name)
			waits = append(waits, s.progress.Name+" (starts)")
		default:
			s.progress.Message = fmt.Sprintf("waits for its turn in wave %s", w.Name)
		}
	}
	if len(waits) == 0 && len(obstacles) > 0 {
		d.because(hub.ReasonNotConnected, "wave %s stands still: %s", w.Name, enumerate(obstacles))
		return
	}
	d.because(v1alpha1.ReasonInProgress, "wave %s is under way: %s", w.Name, enumerate(append(waits, obstacles...)))
}

func (d *WavesDecision) because(reason, format string, args ...any) {
	d.Reason, d.Message = reason, fmt.Sprintf(format, args...)
}

// tell fills in what is said when every wave is complete.
func (d *WavesDecision) tell(in WavesInput) {
	total := int32(len(d.Clusters)) // #nosec G115 -- an upgrade has at most 50000 clusters
	switch {
	case total == 0:
		d.because(v1alpha1.ReasonUserAction, "mesh %s has no clusters: register one with `meshlift cluster add`", in.Spec.Mesh)
	case d.Moved < total:
	case d.Gone == total:
		d.Wave = ""
		d.because(v1alpha1.ReasonDone, "%s moved to Istio %s, and no old istiod is left", have(int(total)), in.Spec.Version)
	case in.Spec.Decommission != nil:
		d.because(v1alpha1.ReasonInProgress, "the old istiods are decommissioned one cluster after the other, %d of %d are done", d.Gone, total)
	default:
		d.because(v1alpha1.ReasonUserAction, "%s moved; remove the old istiods with `meshlift mesh decommission %s`", have(int(total)), in.Name)
	}
}

func have(n int) string {
	if n == 1 {
		return "1 cluster has"
	}
	return gate.Count(n, "cluster") + " have"
}

func approved(spec hub.MeshUpgradeSpec, wave string) bool {
	return slices.ContainsFunc(spec.Approvals, func(a hub.Approval) bool { return a.Wave == wave })
}

// look finds out where one cluster stands.
func look(in WavesInput, wave, name string) stand {
	before := hub.ClusterProgress{}
	if n := slices.IndexFunc(in.Before, func(p hub.ClusterProgress) bool { return p.Name == name }); n >= 0 {
		before = in.Before[n]
	}
	s := stand{progress: hub.ClusterProgress{Name: name, Wave: wave, Step: "waits", StartedAt: before.StartedAt}}
	o, member := in.Clusters[name]
	switch {
	case !member:
		s.obstacle = fmt.Sprintf("cluster %s is not in mesh %s", name, in.Spec.Mesh)
		s.progress.Message = s.obstacle + ": add it, or take it out of the wave"
		return s
	case !o.Known:
		// What it had reached is shown and not believed: it may have changed since.
		s.progress = before
		s.progress.Name, s.progress.Wave, s.progress.Step = name, wave, cmp.Or(before.Step, "waits")
		s.started, s.pending = before.StartedAt != nil, o.Pending
		s.obstacle = fmt.Sprintf("cluster %s does not answer (%s)", name, short(o.Problem))
		s.progress.Message = s.obstacle + ": make it answer"
		return s
	}
	s.known = true
	if u := o.Tracked; u != nil {
		return s.tracked(u, o)
	}
	return s.untracked(in, o)
}

// tracked is a cluster whose upgrade exists.
func (s stand) tracked(u *hub.UpgradeSummary, o Observation) stand {
	p := &s.progress
	s.started = true
	p.Step, p.Moved, p.Total = cmp.Or(u.Step, "starting"), u.DataPlanes.Moved, u.DataPlanes.Total
	moved := meta.FindStatusCondition(u.Conditions, v1alpha1.ConditionDataPlanesMoved)
	if ended(u.Conditions) {
		s.moved, s.gone, p.Step = true, true, "done"
	} else if moved != nil && moved.Status == metav1.ConditionTrue && u.From != nil {
		s.moved = true
	}
	if s.moved && moved != nil {
		p.MovedAt = &moved.LastTransitionTime
	}
	if c := open(u.Conditions); c != nil && !s.gone {
		p.Message = c.Message
		p.Failed = !s.moved && slices.Contains(failures(), c.Reason)
	}
	if !s.moved && o.RolloutProblem != "" {
		p.Failed, p.Message = true, o.RolloutProblem
	}
	return s
}

// failures are reasons of steps that only a person can repair.
func failures() []string {
	return []string{
		v1alpha1.ReasonInstallFailed, v1alpha1.ReasonFailed, v1alpha1.ReasonRevisionConflict, v1alpha1.ReasonUnknownRevision, v1alpha1.ReasonUnknownVersion,
		v1alpha1.ReasonUnsupportedKubernetes, v1alpha1.ReasonUnsupportedPath, v1alpha1.ReasonAnotherUpgrade, v1alpha1.ReasonAmbiguousRevision,
	}
}

// open is the first condition of an upgrade that is not met.
func open(conditions []metav1.Condition) *metav1.Condition {
	for _, t := range []string{
		v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady,
		v1alpha1.ConditionEnvoyFiltersHandled, v1alpha1.ConditionDataPlanesMoved, v1alpha1.ConditionDecommissioned,
	} {
		if c := meta.FindStatusCondition(conditions, t); c != nil && c.Status != metav1.ConditionTrue {
			return c
		}
	}
	return nil
}

// untracked is a cluster that has no upgrade to the version: one that runs it already, one that is busy with another, or one that
// is to start.
func (s stand) untracked(in WavesInput, o Observation) stand {
	target, err := version.ParseMinor(in.Spec.Version)
	switch {
	case err != nil:
		s.obstacle = fmt.Sprintf("the version %q cannot be read", in.Spec.Version)
	case o.Upgrade != nil && !ended(o.Upgrade.Conditions):
		s.obstacle = fmt.Sprintf("cluster %s is busy with ClusterUpgrade %q to Istio %s: finish it first", s.progress.Name, o.Upgrade.Name, o.Upgrade.Version)
	case arrived(o.Revisions, target):
		s.moved, s.gone, s.progress.Step = true, true, "done"
		s.progress.Message = "it runs Istio " + Versions([]Member{o.Member}) + " already"
		return s
	}
	s.progress.Message = s.obstacle
	return s
}

// arrived tells whether the cluster has istiods, and none that is older than the version.
func arrived(revisions []hub.RevisionSummary, target version.Minor) bool {
	return len(revisions) > 0 && !slices.ContainsFunc(revisions, func(r hub.RevisionSummary) bool { return behind(r.Version, target) })
}
