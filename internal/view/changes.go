package view

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/rollout"
)

// Changes says in plain lines what happened to a rollout between two looks at it. Before may be nil.
func Changes(before, after *v1alpha1.DataPlaneRollout, now time.Time) []string {
	var out []string
	if before == nil {
		before = &v1alpha1.DataPlaneRollout{}
	}
	for _, w := range after.Status.Warnings {
		if !contains(before.Status.Warnings, w) {
			out = append(out, "warning: "+w)
		}
	}
	out = append(out, moves(before, after)...)
	for _, f := range after.Status.Failures {
		if known(before.Status.Failures, f) {
			continue
		}
		out = append(out, "failed: "+FailureLine(f))
		for _, e := range f.Events {
			out = append(out, "  event: "+EventLine(e, now))
		}
	}
	out = append(out, conditionChange(before, after)...)
	if after.Status.Counts != before.Status.Counts && after.Status.Counts.Total > 0 {
		out = append(out, "progress: "+rollout.Summary(after.Status.Counts))
	}
	return out
}

// moves lists what began to move and what no longer does.
func moves(before, after *v1alpha1.DataPlaneRollout) []string {
	var out []string
	old := map[string]v1alpha1.WorkloadProgress{}
	for _, m := range before.Status.Moving {
		old[Name(m.WorkloadReference)] = m
	}
	for _, m := range after.Status.Moving {
		name := Name(m.WorkloadReference)
		o, was := old[name]
		delete(old, name)
		switch {
		case !was || o.Attempt != m.Attempt:
			again := ""
			if m.Attempt > 1 {
				again = fmt.Sprintf(" (attempt %d)", m.Attempt)
			}
			out = append(out, "moving: "+name+again+": "+m.Message)
		case o.Message != m.Message:
			out = append(out, "moving: "+name+": "+m.Message)
		}
	}
	listed := int(after.Status.Counts.Moving) == len(after.Status.Moving)
	for _, m := range before.Status.Moving {
		if _, gone := old[Name(m.WorkloadReference)]; gone && listed && !hasFailure(after.Status.Failures, m.WorkloadReference) {
			out = append(out, ended(after, m.WorkloadReference)+": "+Name(m.WorkloadReference))
		}
	}
	return out
}

// ended names the end of a move: a decision to move back ends where the workload came from.
func ended(r *v1alpha1.DataPlaneRollout, w v1alpha1.WorkloadReference) string {
	for _, d := range r.Spec.Decisions {
		if d.WorkloadReference == w && d.Action == v1alpha1.MoveBack {
			return "moved back"
		}
	}
	return "moved"
}

// conditionChange reports that the rollout waits for something, or goes on.
func conditionChange(before, after *v1alpha1.DataPlaneRollout) []string {
	c := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionComplete)
	if c == nil || c.Message == "" || c.Reason == v1alpha1.ReasonInProgress || c.Status == metav1.ConditionTrue {
		return nil
	}
	if o := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionComplete); o != nil && o.Message == c.Message {
		return nil
	}
	return []string{"rollout: " + c.Message}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func known(failures []v1alpha1.WorkloadFailure, f v1alpha1.WorkloadFailure) bool {
	for _, o := range failures {
		if o.WorkloadReference == f.WorkloadReference && o.Attempt == f.Attempt {
			return true
		}
	}
	return false
}
