package report

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// maxTargets bounds how many targets are named.
const maxTargets = 20

func rolloutOf(ro *v1alpha1.DataPlaneRollout) Rollout {
	out := Rollout{
		Name: ro.Name, Direction: ro.Spec.Direction, By: ro.Annotations[v1alpha1.RequestedByAnnotation], Created: ro.CreationTimestamp.UTC(),
		Started: view.Instant(ro.Status.StartedAt), Completed: view.Instant(ro.Status.CompletedAt), Targets: targets(ro.Spec.Targets), Pace: []string{},
		Counts: ro.Status.Counts, Stopped: ro.Spec.Stopped, Warnings: append([]string{}, ro.Status.Warnings...), Failures: []Failure{}, Decisions: []string{},
	}
	if f := ro.Status.Forecast; f != nil {
		out.Expected = view.Forecast(f)
	}
	for _, p := range view.Pace(&ro.Spec, nil, 0) {
		out.Pace = append(out.Pace, p.What+": "+p.Text)
	}
	for _, w := range ro.Status.Waves {
		text := fmt.Sprintf("%s: %d of %d done", w.Name, w.Counts.Done, w.Counts.Total)
		if w.CompletedAt != nil {
			text += ", complete at " + clock(w.CompletedAt.UTC())
		}
		out.Waves = append(out.Waves, text)
	}
	for _, f := range ro.Status.Failures {
		out.Failures = append(out.Failures, failureOf(f))
	}
	for _, d := range ro.Spec.Decisions {
		text := fmt.Sprintf("%s: %s", d.Action, view.Name(d.WorkloadReference))
		if d.Attempt > 0 {
			text += fmt.Sprintf(" (attempt %d)", d.Attempt)
		}
		out.Decisions = append(out.Decisions, text)
	}
	return out
}

func failureOf(f v1alpha1.WorkloadFailure) Failure {
	out := Failure{Workload: view.Name(f.WorkloadReference), Attempt: f.Attempt, Reason: f.Reason, Message: f.Message}
	if g := f.Gate; g != nil {
		for _, line := range g.Seen {
			out.Evidence = append(out.Evidence, fmt.Sprintf("%s gate %s: %s", clock(g.At.UTC()), g.Gate, line))
		}
	}
	for _, e := range f.Events {
		text := fmt.Sprintf("%s pod %s: %s %s", clock(e.LastSeen.UTC()), e.Pod, e.Reason, e.Message)
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		out.Evidence = append(out.Evidence, text)
	}
	return out
}

func targets(all []v1alpha1.RolloutTarget) []string {
	if len(all) == 0 {
		return []string{"every data plane of the cluster"}
	}
	var out []string
	for n, t := range all {
		switch {
		case n == maxTargets:
			return append(out, fmt.Sprintf("and %d more", len(all)-n))
		case t.Kind == "":
			out = append(out, "namespace "+t.Namespace)
		default:
			out = append(out, t.Namespace+"/"+t.Kind+"/"+t.Name)
		}
	}
	return out
}

// clock is a moment as the texts show it.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
