package view

import (
	"fmt"
	"strings"

	"meshlift.dev/meshlift/internal/envoyfilter"
	"meshlift.dev/meshlift/internal/preflight"
)

// maxFindings of one check are shown as text; JSON has all.
const maxFindings = 10

// CheckText shows a preflight: what was found, by check, from the severity on; the rest is counted.
func CheckText(r preflight.Report, from preflight.Severity, next []Next, o Options) string {
	p := newPage(o)
	p.line("", fmt.Sprintf("%s Istio %s (revision %s) → %s (revision %s) on Kubernetes %s", o.Theme.Bold("Checks for"),
		dash(r.From.Version), dash(r.From.Revision), dash(r.To.Version), dash(r.To.Revision), strings.TrimPrefix(r.Kubernetes, "v")))
	for _, c := range r.Checks {
		if c.Severity == preflight.OK || c.Severity.Compare(from) < 0 {
			continue
		}
		p.blank()
		title := o.Theme.Bold(c.Title) + "  " + o.Theme.Dim(c.ID)
		if c.Ignored {
			title += " " + o.Theme.Warn("(ignored)")
		}
		p.line(o.Theme.severity(c.Severity)+" ", title)
		shown := 0
		for _, f := range c.Findings {
			if f.Severity.Compare(from) < 0 {
				continue
			}
			if shown++; shown > maxFindings {
				continue
			}
			finding(p, f)
		}
		if shown > maxFindings {
			p.linef("    ", "… and %d more; -o json shows all", shown-maxFindings)
		}
		p.line("    ", o.Theme.Dim(c.Link))
	}
	p.blank()
	p.line("", r.Words()+".")
	renderNext(p, next)
	return p.String()
}

func finding(p *page, f preflight.Finding) {
	text := f.Explanation
	if f.Object != nil {
		text = p.Theme.Bold(f.Object.String()) + ": " + text
	}
	p.line("  "+p.Theme.severity(f.Severity)+" ", text)
	if f.Remedy != "" {
		p.line("    → ", f.Remedy)
	}
}

func (t Theme) severity(s preflight.Severity) string {
	switch s {
	case preflight.Error:
		return t.Bad("✗")
	case preflight.Warning:
		return t.Warn("!")
	case preflight.Unknown:
		return t.Warn("?")
	case preflight.Info:
		return t.Busy("i")
	}
	return t.Good("✓")
}

// CheckList shows which checks there are.
func CheckList(checks []preflight.Check, o Options) string {
	p := newPage(o)
	rows := [][]string{}
	for _, c := range checks {
		rows = append(rows, []string{c.ID, c.Title})
	}
	p.table("", rows)
	return p.String()
}

// FiltersText shows what each EnvoyFilter is worth with the target version.
func FiltersText(r preflight.Report, filters []preflight.Filter, next []Next, o Options) string {
	p := newPage(o)
	if len(filters) == 0 {
		p.line("", "There are no EnvoyFilters: the check is complete.")
		return p.String()
	}
	p.line("", fmt.Sprintf("EnvoyFilters, Istio %s → %s", dash(r.From.Version), dash(r.To.Version)))
	for _, f := range filters {
		p.blank()
		p.line("", o.Theme.Bold(f.Namespace+"/"+f.Name)+"  "+o.Theme.verdict(string(f.Outcome), string(f.Outcome)))
		for _, reason := range f.Reasons {
			p.line("  "+o.Theme.verdict(string(reason.Outcome), verdictGlyph(string(reason.Outcome)))+" ", reason.String())
		}
	}
	p.blank()
	renderNext(p, next)
	return p.String()
}

func verdictGlyph(outcome string) string {
	switch envoyfilter.Outcome(outcome) {
	case envoyfilter.Breaks:
		return "✗"
	case envoyfilter.Changes:
		return "!"
	case envoyfilter.Unknown:
		return "?"
	}
	return "i"
}

func (t Theme) verdict(outcome, text string) string {
	switch envoyfilter.Outcome(outcome) {
	case envoyfilter.Breaks:
		return t.Bad(text)
	case envoyfilter.Fine:
		return t.Good(text)
	case "":
		return text
	}
	return t.Warn(text)
}

func reasonOf(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
