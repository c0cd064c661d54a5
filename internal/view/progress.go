package view

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/window"
)

// Progress is one rollout while it runs.
type Progress struct {
	Rollout *v1alpha1.DataPlaneRollout
	// Groups of the cluster as last seen, of which only the targets of the rollout are shown; nil when they could not be read.
	Groups []Group
	// Now is the time that ages are counted to.
	Now time.Time
	// Lost says that the cluster does not answer at the moment; "" when it does.
	Lost string
	// Selected is the index of the failure that the user looks at; -1 for none.
	Selected int
	// Height limits the number of lines; 0 for no limit.
	Height int
}

// Undecided returns the failures that wait for a person.
func Undecided(r *v1alpha1.DataPlaneRollout) []v1alpha1.WorkloadFailure {
	var out []v1alpha1.WorkloadFailure
	for _, f := range r.Status.Failures {
		if !decided(r, f) {
			out = append(out, f)
		}
	}
	return out
}

// decided tells whether the spec holds an answer that the status does not show yet.
func decided(r *v1alpha1.DataPlaneRollout, f v1alpha1.WorkloadFailure) bool {
	for _, d := range r.Spec.Decisions {
		if d.WorkloadReference == f.WorkloadReference {
			return d.Action != v1alpha1.Retry || d.Attempt > f.Attempt
		}
	}
	return false
}

// Waits tells whether the rollout does nothing more until a person decides: something failed, nothing moves, and no
// answer is on its way. The second result is false while the status does not belong to the present spec.
func Waits(r *v1alpha1.DataPlaneRollout) bool {
	return r.Status.ObservedGeneration >= r.Generation && meta.IsStatusConditionFalse(r.Status.Conditions, v1alpha1.ConditionHealthy) &&
		!Complete(r) && r.Status.Counts.Moving == 0 && len(Undecided(r)) > 0 && !goesOn(r)
}

// goesOn tells whether the failure policy lets further moves start in spite of the failures.
func goesOn(r *v1alpha1.DataPlaneRollout) bool {
	c := r.Status.Counts
	return r.Spec.FailurePolicy.GoesOn() && (r.Spec.MaxFailures == nil || c.Failed <= *r.Spec.MaxFailures) && c.Pending > 0
}

// Name of a workload as people write it: "namespace/kind/name".
func Name(w v1alpha1.WorkloadReference) string { return w.Namespace + "/" + w.Kind + "/" + w.Name }

// Render shows bars by namespace, what moves and what failed.
func (v Progress) Render(o Options) string {
	p := newPage(o)
	r := v.Rollout
	p.linef("", "%s %s  %s", o.Theme.Bold("Rollout"), r.Name, o.Theme.Dim(v.subtitle()))
	p.blank()
	v.bars(p)
	v.waves(p)
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionComplete); c != nil && c.Status != metav1.ConditionTrue &&
		c.Reason != v1alpha1.ReasonInProgress && c.Message != "" {
		p.blank()
		p.line(o.Theme.Warn("! "), c.Message)
	}
	if len(r.Status.Moving) > 0 {
		p.blank()
		rows := [][]string{}
		shown := r.Status.Moving[:min(len(r.Status.Moving), v.room(8))]
		for _, m := range shown {
			rows = append(rows, []string{o.Theme.Busy("●") + " " + Name(m.WorkloadReference), m.Message})
		}
		p.table("  ", rows)
		if more := int(r.Status.Counts.Moving) - len(shown); more > 0 {
			p.linef("    ", "and %d more", more)
		}
	}
	v.failures(p)
	if v.Lost != "" {
		p.blank()
		p.line(o.Theme.Warn("! "), v.Lost)
	}
	return p.String()
}

// room shrinks lists on a low terminal.
func (v Progress) room(wanted int) int {
	if v.Height == 0 {
		return wanted
	}
	return max(2, min(wanted, v.Height/4))
}

func (v Progress) subtitle() string {
	r := v.Rollout
	s := "upgrade " + r.Spec.Upgrade
	if r.Spec.Direction == v1alpha1.Back {
		s += ", back to the old revision"
	}
	if r.Status.StartedAt != nil {
		end := v.Now
		if r.Status.CompletedAt != nil {
			end = r.Status.CompletedAt.Time
		}
		s += ", " + max(0, end.Sub(r.Status.StartedAt.Time)).Round(time.Second).String()
		if f := r.Status.Forecast; f != nil {
			s += fmt.Sprintf(" (expected %s)", window.Short(f.P50.Round(time.Second)))
		}
	}
	switch {
	case r.Spec.Stopped:
		s += ", stopped"
	case r.Spec.Paused:
		s += ", paused"
	}
	return s
}

const barCells = 20

// bar draws done of total in the cells of a terminal.
func (t Theme) bar(done, total int) string {
	n := 0
	if total > 0 {
		n = done * barCells / total
	}
	return t.Good(strings.Repeat("█", n)) + t.Dim(strings.Repeat("░", barCells-n))
}

func (v Progress) bars(p *page) {
	var rows [][]string
	omitted := 0
	limit := v.room(12)
	for _, g := range v.Groups {
		done, skipped, total, state := v.namespace(g)
		if total == 0 {
			continue
		}
		if len(rows) == limit {
			omitted++
			continue
		}
		rows = append(rows, []string{g.Namespace, p.Theme.bar(done+skipped, total), fmt.Sprintf("%d/%d", done, total), state})
	}
	c := v.Rollout.Status.Counts
	total := []string{p.Theme.Bold("total"), p.Theme.bar(int(c.Done+c.Skipped), int(c.Total)), fmt.Sprintf("%d/%d", c.Done, c.Total), v.counts(p.Theme)}
	if omitted > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more", omitted), "", "", ""})
	}
	p.table("  ", append(rows, total))
}

func (v Progress) counts(t Theme) string {
	c := v.Rollout.Status.Counts
	var parts []string
	if c.Moving > 0 {
		parts = append(parts, t.Busy(fmt.Sprintf("%d moving", c.Moving)))
	}
	if c.Failed > 0 {
		parts = append(parts, t.Bad(fmt.Sprintf("%d failed", c.Failed)))
	}
	if c.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", c.Skipped))
	}
	if c.Pending > 0 {
		parts = append(parts, t.Dim(fmt.Sprintf("%d pending", c.Pending)))
	}
	return strings.Join(parts, ", ")
}

// namespace counts the targets of the rollout in one namespace.
func (v Progress) namespace(g Group) (done, skipped, total int, state string) {
	moving, failed := 0, 0
	for _, d := range g.DataPlanes {
		ref := v1alpha1.WorkloadReference{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}
		if !targeted(v.Rollout.Spec.Targets, ref) {
			continue
		}
		total++
		switch {
		case d.State == string(rollout.Moved):
			done++
		case !d.Movable() || v.left(ref, d):
			skipped++
		case hasFailure(v.Rollout.Status.Failures, ref):
			failed++
		case d.State == string(rollout.Moving):
			moving++
		}
	}
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{moving, "moving"}, {failed, "failed"}, {skipped, "skipped"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return done, skipped, total, strings.Join(parts, ", ")
}

// left tells whether a person decided to leave the workload where it is, or to move it back, and it is back.
func (v Progress) left(w v1alpha1.WorkloadReference, d DataPlane) bool {
	for _, decision := range v.Rollout.Spec.Decisions {
		if decision.WorkloadReference == w {
			return decision.Action == v1alpha1.Skip || decision.Action == v1alpha1.MoveBack && d.State == string(rollout.Pending)
		}
	}
	return false
}

func targeted(targets []v1alpha1.RolloutTarget, w v1alpha1.WorkloadReference) bool {
	for _, t := range targets {
		if t.Namespace == w.Namespace && (t.Name == "" || t.Name == w.Name && t.Kind == w.Kind) {
			return true
		}
	}
	return len(targets) == 0
}

func hasFailure(failures []v1alpha1.WorkloadFailure, w v1alpha1.WorkloadReference) bool {
	for _, f := range failures {
		if f.WorkloadReference == w {
			return true
		}
	}
	return false
}

func (v Progress) failures(p *page) {
	failures := v.Rollout.Status.Failures
	if len(failures) == 0 {
		return
	}
	p.blank()
	first := max(0, min(v.Selected, len(failures)-v.room(4)))
	shown := failures[first:min(len(failures), first+v.room(4))]
	for n, f := range shown {
		mark := "  "
		if first+n == v.Selected && len(failures) > 1 {
			mark = "> "
		}
		p.line(mark+p.Theme.Bad("✗")+" ", FailureLine(f))
		if v.Selected < 0 || first+n == v.Selected {
			for _, e := range f.Events[:min(len(f.Events), v.room(10))] {
				p.line("      ", EventLine(e, v.Now))
			}
		}
	}
	if more := len(failures) - len(shown); more > 0 {
		p.linef("    ", "and %s more (↑↓)", Count(more, "failure"))
	}
}

// FailureLine is one failed move in one line.
func FailureLine(f v1alpha1.WorkloadFailure) string {
	name := Name(f.WorkloadReference)
	return fmt.Sprintf("%s (attempt %d): %s", name, f.Attempt, strings.TrimPrefix(f.Message, name+" "))
}

// EventLine is one event of a pod in one line.
func EventLine(e v1alpha1.PodEvent, now time.Time) string {
	times := ""
	if e.Count > 1 {
		times = fmt.Sprintf(" (%d times)", e.Count)
	}
	age := ""
	if !e.LastSeen.IsZero() {
		age = max(0, now.Sub(e.LastSeen.Time)).Round(time.Second).String() + " ago  "
	}
	return fmt.Sprintf("%s%s %s  pod %s: %s%s", age, e.Type, e.Reason, e.Pod, e.Message, times)
}
