// Package preflight looks for what would go wrong in an upgrade, before it starts. A [Check] is a value: what it looks for,
// where that is explained, and a pure function of [Facts]. Checks know nothing of each other, so one that cannot be answered,
// or that panics, hides no other; and what is not known is [Unknown], never fine.
//
// What a gate refuses is in package gate; the check "upgrade-path" shows its sentence.
package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"meshlift.dev/meshlift/internal/mesh"
)

// Severity says how bad a finding is.
type Severity string

// Severities. An Error keeps an upgrade from starting, unless the check is ignored by name.
const (
	// OK is the answer of a check that found nothing.
	OK Severity = "ok"
	// Info is good to know.
	Info Severity = "info"
	// Unknown means that the check could not be made.
	Unknown Severity = "unknown"
	// Warning may hurt some workloads, or will at a later step.
	Warning Severity = "warning"
	// Error would stop the upgrade half way, or take traffic or sidecars away.
	Error Severity = "error"
)

// Severities from the best to the worst.
var Severities = []Severity{OK, Info, Unknown, Warning, Error}

// Compare orders severities, the best first.
func (s Severity) Compare(o Severity) int {
	return cmp.Compare(slices.Index(Severities, s), slices.Index(Severities, o))
}

// Object is what a finding is about.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is "namespace/kind/name", or "kind/name" for what is cluster-wide; "" for no object.
func (o Object) String() string {
	if o == (Object{}) {
		return ""
	}
	return strings.TrimPrefix(o.Namespace+"/"+o.Kind+"/"+o.Name, "/")
}

func objectOf(r mesh.Ref) Object { return Object{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name} }

// Finding is one thing that a check has to say about one object.
type Finding struct {
	// Check is the id of the check.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Object that it is about; nil for the whole cluster.
	Object *Object `json:"object,omitempty"`
	// Explanation says in a sentence what is the case and what follows from it.
	Explanation string `json:"explanation"`
	// Remedy says what to do; "" when there is nothing to do.
	Remedy string `json:"remedy,omitempty"`
	// Link to where it is documented.
	Link string `json:"link,omitempty"`
}

// Check looks for one kind of trouble.
type Check struct {
	// ID never changes: scripts and --ignore-check name it.
	ID string
	// Title says what the check makes sure of.
	Title string
	// Link to the documentation of what it is about.
	Link string
	// Needs are the sources without which it cannot be made.
	Needs []Source
	// Find returns what is wrong; nothing means fine. Check, Link and an empty list are filled in for it.
	Find func(*Facts) []Finding
}

// Result is a check with its findings.
type Result struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Severity of the worst finding; "ok" without one.
	Severity Severity `json:"severity"`
	// Ignored is true when its errors do not count.
	Ignored bool   `json:"ignored,omitempty"`
	Link    string `json:"link"`
	// Findings, the worst first, then by object.
	Findings []Finding `json:"findings"`
}

// Run makes every check, each by itself, and returns the results in the order of the checks.
func Run(checks []Check, f *Facts) []Result {
	out := make([]Result, len(checks))
	var group sync.WaitGroup
	for n, c := range checks {
		group.Go(func() { out[n] = c.run(f) })
	}
	group.Wait()
	return out
}

func (c Check) run(f *Facts) (r Result) {
	r = Result{ID: c.ID, Title: c.Title, Severity: OK, Link: c.Link, Findings: []Finding{}}
	defer func() {
		if problem := recover(); problem != nil {
			r.Findings = []Finding{{Severity: Unknown, Explanation: fmt.Sprintf("The check itself failed: %v.", problem), Remedy: "Report this as a mistake of Meshlift; the other checks are not affected."}}
		}
		r.finish()
	}()
	for _, s := range c.Needs {
		if why, unknown := f.Unknown[s]; unknown {
			r.Findings = append(r.Findings, Finding{Severity: Unknown, Explanation: fmt.Sprintf("It cannot be checked, because %s cannot be read: %s.", s.Words(), strings.TrimSuffix(why, ".")), Remedy: "Run it with credentials that may read this."})
		}
	}
	if len(r.Findings) == 0 {
		r.Findings = append(r.Findings, c.Find(f)...)
	}
	return r
}

// finish sorts the findings and fills in what every one has.
func (r *Result) finish() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(b.Severity.Compare(a.Severity), cmp.Compare(a.place(), b.place()), cmp.Compare(a.Explanation, b.Explanation))
	})
	for n := range r.Findings {
		f := &r.Findings[n]
		f.Check, f.Link = r.ID, cmp.Or(f.Link, r.Link)
		if f.Severity.Compare(r.Severity) > 0 {
			r.Severity = f.Severity
		}
	}
}

func (f Finding) place() string {
	if f.Object == nil {
		return ""
	}
	return f.Object.String()
}

// Blocking returns the results with errors that are not ignored.
func Blocking(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Severity != Error || r.Ignored })
}

// Ignore marks the checks with these ids, and returns those ids that no check has.
func Ignore(results []Result, ids []string) (unknown []string) {
	for _, id := range ids {
		n := slices.IndexFunc(results, func(r Result) bool { return r.ID == id })
		if n < 0 {
			unknown = append(unknown, id)
			continue
		}
		results[n].Ignored = true
	}
	return unknown
}

// about makes a finding for an object.
func about(s Severity, o Object, explanation, remedy string) Finding {
	return Finding{Severity: s, Object: &o, Explanation: explanation, Remedy: remedy}
}

// general makes a finding for the cluster.
func general(s Severity, explanation, remedy string) Finding {
	return Finding{Severity: s, Explanation: explanation, Remedy: remedy}
}
