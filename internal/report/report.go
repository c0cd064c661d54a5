// Package report makes one record of a whole upgrade for those who were not there: who decided what and when, what was moved, what
// failed, and by what proof the old istiod was removed. It is pure: the objects of the upgrade go in, a value comes out, and texts of it.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// Facts are what a report is made of.
type Facts struct {
	// Cluster is its name for people; "" when it has none.
	Cluster string
	// Kubernetes version of the API server; "" when it is not known.
	Kubernetes string
	Upgrade    *v1alpha1.ClusterUpgrade
	// Rollouts of any upgrade; those of this one are looked at.
	Rollouts []v1alpha1.DataPlaneRollout
	// At is when the report is made.
	At time.Time
}

// Report is the record.
type Report struct {
	Cluster    string    `json:"cluster,omitempty"`
	Kubernetes string    `json:"kubernetes,omitempty"`
	Upgrade    string    `json:"upgrade"`
	From       Revision  `json:"from"`
	To         Revision  `json:"to"`
	Made       time.Time `json:"made"`
	Started    time.Time `json:"started"`
	// Ended is when the old istiod was removed.
	Ended *time.Time `json:"ended,omitempty"`
	// State in one sentence.
	State string `json:"state"`
	// Decisions of people, oldest first.
	Decisions []Decision  `json:"decisions"`
	Steps     []view.Step `json:"steps"`
	// Moved of Total data planes.
	Moved        int32      `json:"moved"`
	Total        int32      `json:"total"`
	EnvoyFilters []Filter   `json:"envoyFilters"`
	Values       *Values    `json:"values,omitempty"`
	Rollouts     []Rollout  `json:"rollouts"`
	Decommission *Removal   `json:"decommission,omitempty"`
	Remaining    []string   `json:"remaining"`
	Omitted      int32      `json:"remainingOmitted,omitempty"`
	History      []Happened `json:"history"`
}

// Revision of istiod.
type Revision struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Decision of a person.
type Decision struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	What string    `json:"what"`
}

// Filter is an EnvoyFilter and how it was handled.
type Filter struct {
	Name    string `json:"name"`
	Owner   string `json:"owner,omitempty"`
	Hash    string `json:"hash"`
	Verdict string `json:"verdict,omitempty"`
	Why     string `json:"why,omitempty"`
	// Handled is true when its present content was checked by a person.
	Handled bool   `json:"handled"`
	By      string `json:"by,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Values of Helm that went from the old istiod to the new one.
type Values struct {
	Carried    []string `json:"carried"`
	Changed    []string `json:"changed"`
	NotCarried []string `json:"notCarried"`
}

// Rollout is one batch of moves.
type Rollout struct {
	Name      string             `json:"name"`
	Direction v1alpha1.Direction `json:"direction"`
	By        string             `json:"by,omitempty"`
	Created   time.Time          `json:"created"`
	Started   *time.Time         `json:"started,omitempty"`
	Completed *time.Time         `json:"completed,omitempty"`
	Targets   []string           `json:"targets"`
	Pace      []string           `json:"pace"`
	// Expected says how long it was expected to take before its first move.
	Expected  string                 `json:"expected,omitempty"`
	Counts    v1alpha1.RolloutCounts `json:"counts"`
	Stopped   bool                   `json:"stopped,omitempty"`
	Waves     []string               `json:"waves,omitempty"`
	Warnings  []string               `json:"warnings"`
	Failures  []Failure              `json:"failures"`
	Decisions []string               `json:"decisions"`
}

// Failure is a workload that could not be moved, or was moved back.
type Failure struct {
	Workload string `json:"workload"`
	Attempt  int32  `json:"attempt"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	// Evidence of a health gate, and events of its pods.
	Evidence []string `json:"evidence,omitempty"`
}

// Removal of the old istiod.
type Removal struct {
	By        string     `json:"by,omitempty"`
	Asked     *time.Time `json:"asked,omitempty"`
	Soak      string     `json:"soak,omitempty"`
	Proved    *time.Time `json:"proved,omitempty"`
	ScaledOut *time.Time `json:"scaledToZero,omitempty"`
	Removed   *time.Time `json:"removed,omitempty"`
}

// Happened is one entry of the history.
type Happened struct {
	At   time.Time `json:"at"`
	Step int32     `json:"step"`
	What string    `json:"what"`
}

// New makes the report.
func New(f Facts) Report {
	u := f.Upgrade
	r := Report{
		Cluster: f.Cluster, Kubernetes: f.Kubernetes, Upgrade: u.Name, Made: f.At.UTC(), Started: u.CreationTimestamp.UTC(),
		Steps: view.Steps(u), Moved: u.Status.DataPlanes.Moved, Total: u.Status.DataPlanes.Total,
		Decisions: []Decision{}, EnvoyFilters: []Filter{}, Rollouts: []Rollout{}, Remaining: []string{}, History: []Happened{}, Omitted: u.Status.BlockersOmitted,
	}
	r.From, r.To = revision(u.Status.From, u.Spec.FromRevision, ""), revision(u.Status.To, u.Spec.Revision, u.Spec.Version)
	r.filters(u)
	if v := u.Status.Values; v != nil {
		r.Values = &Values{Carried: v.Carried, Changed: v.Changed, NotCarried: v.NotCarried}
	}
	for n := range f.Rollouts {
		if ro := &f.Rollouts[n]; ro.Spec.Upgrade == u.Name {
			r.Rollouts = append(r.Rollouts, rolloutOf(ro))
		}
	}
	slices.SortFunc(r.Rollouts, func(a, b Rollout) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) })
	r.removal(u)
	for _, b := range u.Status.Blockers {
		r.Remaining = append(r.Remaining, b.Message)
	}
	for _, h := range u.Status.History {
		r.History = append(r.History, Happened{h.At.UTC(), h.Step, h.Message})
	}
	r.decisions(u)
	r.State = state(r)
	return r
}

func revision(known *v1alpha1.RevisionRef, name, version string) Revision {
	if known != nil {
		return Revision{known.Revision, known.Version}
	}
	return Revision{name, version}
}

func state(r Report) string {
	for _, s := range r.Steps {
		if s.State != view.StepDone {
			return fmt.Sprintf("not finished, at step %d (%s): %s", s.Number, s.Title, cmp.Or(s.Message, strings.ToLower(string(s.State))))
		}
	}
	return "complete: " + r.Steps[len(r.Steps)-1].Message
}

func (r *Report) filters(u *v1alpha1.ClusterUpgrade) {
	notes := map[string]v1alpha1.EnvoyFilterAcknowledgement{}
	for _, a := range u.Spec.EnvoyFilters {
		notes[a.Namespace+"/"+a.Name] = a
	}
	for _, f := range u.Status.EnvoyFilters {
		name := f.Namespace + "/" + f.Name
		out := Filter{Name: name, Owner: f.Owner, Hash: f.Hash, Verdict: f.Verdict, Why: f.Why, Handled: f.Acknowledged, By: f.By}
		if a, ok := notes[name]; ok && f.Acknowledged {
			out.Note = a.Note
		}
		r.EnvoyFilters = append(r.EnvoyFilters, out)
	}
}

func (r *Report) removal(u *v1alpha1.ClusterUpgrade) {
	spec, status := u.Spec.Decommission, u.Status.Decommission
	if spec == nil && status == nil {
		return
	}
	r.Decommission = &Removal{}
	if spec != nil {
		r.Decommission.By, r.Decommission.Asked, r.Decommission.Soak = spec.By, view.Instant(&spec.At), spec.Soak.Duration.String()
	}
	if status != nil {
		r.Decommission.Proved, r.Decommission.ScaledOut, r.Decommission.Removed = view.Instant(status.ProvedAt), view.Instant(status.ScaledDownAt), view.Instant(status.RemovedAt)
		r.Ended = view.Instant(status.RemovedAt)
	}
}

// decisions are what people said, wherever it is kept.
func (r *Report) decisions(u *v1alpha1.ClusterUpgrade) {
	add := func(at time.Time, by, format string, args ...any) {
		r.Decisions = append(r.Decisions, Decision{at.UTC(), cmp.Or(by, "not recorded"), fmt.Sprintf(format, args...)})
	}
	add(u.CreationTimestamp.Time, u.Annotations[v1alpha1.RequestedByAnnotation], "started the upgrade to Istio %s", u.Spec.Version)
	for _, c := range u.Spec.IgnoredChecks {
		add(c.At.Time, c.By, "ignored the check %s, which had found %s", c.ID, view.Count(c.Findings, "error"))
	}
	for _, a := range u.Spec.EnvoyFilters {
		what := fmt.Sprintf("recorded that EnvoyFilter %s/%s (content %s) was checked", a.Namespace, a.Name, a.Hash)
		if a.Note != "" {
			what += ": " + a.Note
		}
		add(a.At.Time, a.By, "%s", what)
	}
	for _, ro := range r.Rollouts {
		verb := "started to move data planes"
		if ro.Direction == v1alpha1.Back {
			verb = "started to move data planes back"
		}
		add(ro.Created, ro.By, "%s: %s", verb, strings.Join(ro.Targets, ", "))
	}
	if d := u.Spec.Decommission; d != nil {
		add(d.At.Time, d.By, "asked for the decommission of the old istiod, with a soak of %s", d.Soak.Duration)
	}
	if why := u.Annotations[v1alpha1.BreakGlassAnnotation]; why != "" {
		add(u.CreationTimestamp.Time, "", "overrode a rule of the hub: %s", why)
	}
	slices.SortStableFunc(r.Decisions, func(a, b Decision) int { return a.At.Compare(b.At) })
}
