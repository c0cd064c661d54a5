package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"meshlift.dev/meshlift/internal/view"
)

// document is a report as both texts show it: sections of paragraphs, lists and tables.
type document struct {
	Title    string
	Sections []section
}

type section struct {
	// Title; "" for what comes first.
	Title string
	// Level of its heading, from 2.
	Level int
	Text  []string
	List  []string
	Table *table
}

type table struct {
	Head []string
	Rows [][]string
}

func (r Report) document() document {
	where := ""
	if r.Cluster != "" {
		where = " of " + r.Cluster
	}
	d := document{Title: fmt.Sprintf("Upgrade of Istio%s from %s to %s", where, cmp.Or(r.From.Version, "unknown"), r.To.Version)}
	d.Sections = append(d.Sections, r.summary(), r.decided(), r.steps(), r.filtersSection())
	if r.Values != nil {
		d.Sections = append(d.Sections, r.values())
	}
	d.Sections = append(d.Sections, section{Title: "Data planes", Level: 2, Text: []string{fmt.Sprintf("%d of %d data planes run on the new istiod.", r.Moved, r.Total)}})
	for _, ro := range r.Rollouts {
		d.Sections = append(d.Sections, ro.sections()...)
	}
	d.Sections = append(d.Sections, r.removalSection())
	if len(r.Remaining) > 0 {
		remaining := section{Title: "What still needs the old istiod", Level: 2, List: r.Remaining}
		if r.Omitted > 0 {
			remaining.Text = []string{fmt.Sprintf("%d more are not listed.", r.Omitted)}
		}
		d.Sections = append(d.Sections, remaining)
	}
	history := section{Title: "History", Level: 2, Text: []string{"What the agent recorded; it keeps the last 50 entries."}, Table: &table{Head: []string{"When", "Step", "What"}}}
	for _, h := range r.History {
		history.Table.Rows = append(history.Table.Rows, []string{clock(h.At), fmt.Sprint(h.Step), h.What})
	}
	d.Sections = append(d.Sections, history)
	return d
}

func (r Report) summary() section {
	rows := [][]string{{"State", r.State}, {"ClusterUpgrade", r.Upgrade}}
	if r.Cluster != "" {
		rows = append(rows, []string{"Cluster", r.Cluster})
	}
	if r.Kubernetes != "" {
		rows = append(rows, []string{"Kubernetes", r.Kubernetes})
	}
	rows = append(rows,
		[]string{"Old istiod", fmt.Sprintf("%s, revision %s", cmp.Or(r.From.Version, "unknown"), cmp.Or(r.From.Name, "unknown"))},
		[]string{"New istiod", fmt.Sprintf("%s, revision %s", r.To.Version, cmp.Or(r.To.Name, "unknown"))},
		[]string{"Started", clock(r.Started)})
	if r.Ended != nil {
		rows = append(rows, []string{"Old istiod removed", fmt.Sprintf("%s, after %s", clock(*r.Ended), span(r.Started, *r.Ended))})
	}
	rows = append(rows, []string{"This report", "made at " + clock(r.Made) + " from the objects of the cluster"})
	return section{Level: 2, Table: &table{Head: []string{"", ""}, Rows: rows}}
}

func (r Report) decided() section {
	s := section{Title: "Who decided what", Level: 2, Table: &table{Head: []string{"When", "Who", "What"}}}
	for _, d := range r.Decisions {
		s.Table.Rows = append(s.Table.Rows, []string{clock(d.At), d.By, d.What})
	}
	return s
}

func (r Report) steps() section {
	s := section{Title: "The five steps", Level: 2, Table: &table{Head: []string{"Step", "State", "What was found"}}}
	for _, step := range r.Steps {
		s.Table.Rows = append(s.Table.Rows, []string{fmt.Sprintf("%d %s", step.Number, step.Title), words[step.State], step.Message})
	}
	return s
}

var words = map[view.StepState]string{
	view.StepDone: "done", view.StepActive: "in progress", view.StepAttention: "waits for a person", view.StepFailed: "failed", view.StepWaiting: "not begun",
}

func (r Report) filtersSection() section {
	s := section{Title: "EnvoyFilters", Level: 2}
	if len(r.EnvoyFilters) == 0 {
		s.Text = []string{"There were none."}
		return s
	}
	s.Table = &table{Head: []string{"EnvoyFilter", "Owner", "Content", "Verdict for the new version", "Checked by", "Note"}}
	for _, f := range r.EnvoyFilters {
		verdict := f.Verdict
		if f.Why != "" {
			verdict += ": " + f.Why
		}
		by := f.By
		if !f.Handled {
			by = "nobody"
		}
		s.Table.Rows = append(s.Table.Rows, []string{f.Name, f.Owner, f.Hash, verdict, by, f.Note})
	}
	return s
}

func (r Report) values() section {
	s := section{Title: "Helm values", Level: 2, Text: []string{fmt.Sprintf("%s of the old istiod went to the new one unchanged.", view.Count(len(r.Values.Carried), "value"))}}
	for _, c := range r.Values.Changed {
		s.List = append(s.List, "changed: "+c)
	}
	for _, c := range r.Values.NotCarried {
		s.List = append(s.List, "not carried over: "+c)
	}
	return s
}

func (ro Rollout) sections() []section {
	rows := [][]string{
		{"Started by", fmt.Sprintf("%s, %s", cmp.Or(ro.By, "not recorded"), clock(ro.Created))},
		{"Targets", strings.Join(ro.Targets, ", ")},
		{"Pace", strings.Join(ro.Pace, "; ")},
	}
	if ro.Expected != "" {
		rows = append(rows, []string{"Expected", ro.Expected})
	}
	rows = append(rows, []string{"Result", ro.result()})
	if len(ro.Waves) > 0 {
		rows = append(rows, []string{"Waves", strings.Join(ro.Waves, "; ")})
	}
	if len(ro.Warnings) > 0 {
		rows = append(rows, []string{"Known beforehand", strings.Join(ro.Warnings, "; ")})
	}
	if len(ro.Decisions) > 0 {
		rows = append(rows, []string{"Decided about failures", strings.Join(ro.Decisions, "; ")})
	}
	title := "Rollout " + ro.Name
	if ro.Direction == "Back" {
		title += ", back to the old istiod"
	}
	out := []section{{Title: title, Level: 3, Table: &table{Head: []string{"", ""}, Rows: rows}}}
	for _, f := range ro.Failures {
		text := []string{fmt.Sprintf("%s (attempt %d): %s", f.Reason, f.Attempt, f.Message)}
		out = append(out, section{Title: "Failure of " + f.Workload, Level: 4, Text: text, List: f.Evidence})
	}
	return out
}

func (ro Rollout) result() string {
	c := ro.Counts
	text := fmt.Sprintf("%d of %d done, %d failed, %d skipped", c.Done, c.Total, c.Failed, c.Skipped)
	switch {
	case ro.Completed != nil && ro.Started != nil:
		text += fmt.Sprintf("; complete at %s, after %s", clock(*ro.Completed), span(*ro.Started, *ro.Completed))
	case ro.Completed != nil:
		text += "; complete at " + clock(*ro.Completed)
	default:
		text += "; not complete"
	}
	if ro.Stopped {
		text += "; stopped by a person"
	}
	return text
}

func (r Report) removalSection() section {
	s := section{Title: "Decommission of the old istiod", Level: 2}
	d := r.Decommission
	if d == nil {
		s.Text = []string{"Nobody has asked for it."}
		return s
	}
	s.Table = &table{Head: []string{"When", "What"}}
	row := func(at *time.Time, what string) {
		if at != nil {
			s.Table.Rows = append(s.Table.Rows, []string{clock(*at), what})
		}
	}
	row(d.Asked, fmt.Sprintf("%s asked for it, with a soak of %s", d.By, d.Soak))
	row(d.Proved, "pods, live connections with every istiod of the revision, and references agreed: nothing uses it")
	row(d.ScaledOut, "scaled to zero, ready to come back")
	row(d.Removed, "uninstalled")
	return s
}

// span is a time between two moments, in whole seconds.
func span(from, to time.Time) string { return to.Sub(from).Round(time.Second).String() }
