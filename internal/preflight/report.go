package preflight

import (
	"fmt"
	"strings"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
)

// Report is the outcome of a preflight. Its JSON form is stable: fields are added, not changed.
type Report struct {
	// At is when the facts were read, in UTC.
	At   time.Time            `json:"at"`
	From v1alpha1.RevisionRef `json:"from"`
	To   v1alpha1.RevisionRef `json:"to"`
	// Kubernetes version of the API server.
	Kubernetes string `json:"kubernetes"`
	// Passed is true when no check found an error, or only those that are ignored.
	Passed bool `json:"passed"`
	// Summary counts checks by the severity of their worst finding.
	Summary map[Severity]int `json:"summary"`
	Checks  []Result         `json:"checks"`
}

// NewReport makes every check.
func NewReport(f *Facts) Report {
	r := Report{
		At: f.Now.UTC(), From: v1alpha1.RevisionRef{Revision: f.From.Name, Version: f.From.Version}, To: f.To,
		Kubernetes: f.Inventory.KubernetesVersion, Checks: Run(All(), f),
	}
	r.Count()
	return r
}

// Count counts anew, after checks were ignored.
func (r *Report) Count() {
	r.Passed, r.Summary = len(Blocking(r.Checks)) == 0, map[Severity]int{}
	for _, s := range Severities {
		r.Summary[s] = 0
	}
	for _, c := range r.Checks {
		r.Summary[c.Severity]++
	}
}

// Errors counts the findings of a check that are errors.
func (r Result) Errors() int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// Start says whether an upgrade may start with these results; flag is what one writes to start it all the same.
func (r Report) Start(program, flag string) gate.Verdict {
	blocking := Blocking(r.Checks)
	if len(blocking) == 0 {
		return gate.Pass()
	}
	var ids []string
	for _, c := range blocking {
		ids = append(ids, c.ID)
	}
	first := blocking[0].Findings[0]
	about := ""
	if first.Object != nil {
		about = first.Object.String() + ": "
	}
	return gate.Block(v1alpha1.ReasonPreflight, "The upgrade to Istio %s is not started, because %s found errors (%s), the first: %s%s Mend them, see %q; or go on with %s, which is recorded",
		r.To.Version, gate.Count(len(blocking), "check"), gate.List(ids), about, first.Explanation, program+" check --to "+r.To.Version, strings.TrimSpace(flag+" "+strings.Join(ids, ",")))
}

// Words is the summary in one line: "38 checks: 1 error, 2 warnings, 3 unknown, 32 fine".
func (r Report) Words() string {
	var parts []string
	for _, p := range []struct {
		severity Severity
		one      string
		many     string
	}{{Error, "error", "errors"}, {Warning, "warning", "warnings"}, {Unknown, "unknown", "unknown"}, {Info, "to know", "to know"}, {OK, "fine", "fine"}} {
		if n := r.Summary[p.severity]; n > 0 {
			word := p.many
			if n == 1 {
				word = p.one
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return gate.Count(len(r.Checks), "check") + ": " + strings.Join(parts, ", ")
}
