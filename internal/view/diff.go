package view

import (
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/xdsdiff"
)

// Bounds of what is shown as text; JSON has all.
const (
	maxValue     = 160
	maxNames     = 2
	maxWorkloads = 3
	maxChanges   = 40
)

// DiffText shows a comparison of two istiods, by class. Harmless changes and long lists of names are shown with all.
func DiffText(r *xdsdiff.Report, all bool, next []Next, o Options) string {
	p := newPage(o)
	p.line("", fmt.Sprintf("%s Istio %s (revision %s), compared with %s (revision %s)", o.Theme.Bold("What istiod sends:"), r.To.Version, r.To.Name, r.From.Version, r.From.Name))
	for n := range r.Classes {
		p.blank()
		diffClass(p, &r.Classes[n], all)
	}
	if len(r.Left) > 0 {
		p.blank()
		p.heading("Not compared")
		for _, l := range r.Left {
			p.line("  "+o.Theme.Warn("?")+" ", l.Workload+": "+l.Why)
		}
	}
	p.blank()
	p.line("", diffSummary(r))
	renderNext(p, next)
	return p.String()
}

func diffSummary(r *xdsdiff.Report) string {
	if len(r.Classes) == 0 {
		return "No proxy of these two istiods runs: there is nothing to compare."
	}
	proxies := 0
	for _, c := range r.Classes {
		proxies += c.Proxies
	}
	out := plural(len(r.Classes), "class", "classes") + " of " + plural(proxies, "proxy", "proxies") + ": " + plural(r.Differences, "difference", "differences")
	if r.Harmless > 0 {
		out += ", " + plural(r.Harmless, "harmless one", "harmless ones")
	}
	if r.Lost > 0 {
		out += ", " + plural(r.Lost, "EnvoyFilter that no longer has its effect", "EnvoyFilters that no longer have their effect")
	}
	return out + "."
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func diffClass(p *page, c *xdsdiff.ClassReport, all bool) {
	p.line("", p.Theme.Bold(c.Namespace)+"  "+c.Type+"  "+plural(c.Proxies, "pod", "pods")+" of "+some(c.Workloads, maxWorkloads, all))
	if len(c.Selected) > 0 {
		p.line("  ", p.Theme.Dim("selected by "+some(c.Selected, maxWorkloads, all)))
	}
	var counts []string
	for _, k := range c.Counts {
		text := fmt.Sprintf("%d %s", k.New, k.Kind)
		if k.Old != k.New {
			text = fmt.Sprintf("%d → %d %s", k.Old, k.New, k.Kind)
		}
		if k.Differ > 0 {
			text += fmt.Sprintf(" (%d differ)", k.Differ)
		}
		counts = append(counts, text)
	}
	p.line("  ", strings.Join(counts, ", "))
	if c.Unsettled {
		p.line("  "+p.Theme.Warn("!")+" ", "The old istiod changed its answer while it was asked: some of this may be nothing but time. Ask again.")
	}
	shown, folded := 0, 0
	for n := range c.Changes {
		switch change := &c.Changes[n]; {
		case change.Harmless() && !all:
			folded++
		case shown == maxChanges && !all:
		default:
			shown++
			diffChange(p, change, all)
		}
	}
	if rest := len(c.Changes) - folded - shown; rest > 0 {
		p.linef("  ", "… and %d more; --all shows them", rest)
	}
	if folded > 0 {
		p.line("  "+p.Theme.Good("✓")+" ", plural(folded, "harmless change", "harmless changes")+"; --all shows why")
	}
	if len(c.Changes) == 0 {
		p.line("  "+p.Theme.Good("✓")+" ", "no difference")
	}
	for _, e := range c.Effects {
		diffEffect(p, e, all)
	}
}

func diffChange(p *page, c *xdsdiff.Change, all bool) {
	where := plural(len(c.Resources), strings.TrimSuffix(string(c.Kind), "s"), string(c.Kind)) + ": " + some(c.Resources, maxNames, all)
	if c.Places > len(c.Resources) {
		where = fmt.Sprintf("%d places in %s", c.Places, where)
	}
	glyph := p.Theme.Warn("~")
	text := ""
	switch {
	case c.Added:
		glyph, text, where = p.Theme.Good("+"), "only the new istiod has "+where, ""
	case c.Removed:
		glyph, text, where = p.Theme.Bad("-"), "only the old istiod has "+where, ""
	default:
		text = c.Path + ": " + value(c.Old, all) + " → " + value(c.New, all)
	}
	switch c.With {
	case xdsdiff.NewProxy:
		text += p.Theme.Dim("  (once the proxy is new)")
	case xdsdiff.OldProxy:
		text += p.Theme.Dim("  (only while the proxy is old)")
	}
	p.line("  "+glyph+" ", text)
	if where != "" {
		p.line("    ", p.Theme.Dim(where))
	}
	if len(c.EnvoyFilters) > 0 {
		p.line("    → ", "EnvoyFilter "+strings.Join(c.EnvoyFilters, ", "))
	}
	if c.Rule != nil {
		p.line("    → ", c.Rule.ID+": "+c.Rule.Reason)
		p.line("      ", p.Theme.Dim(c.Rule.Link))
	}
}

func diffEffect(p *page, e xdsdiff.Effect, all bool) {
	glyph, text := p.Theme.Good("✓"), fmt.Sprintf("its value is in both answers, in %s", resources(e.New))
	switch e.Verdict {
	case xdsdiff.Lost:
		glyph, text = p.Theme.Bad("✗"), fmt.Sprintf("its value is in %s of the old istiod and in none of the new one: %s", resources(e.Old), some(e.Missing, maxNames, all))
	case xdsdiff.Fewer:
		glyph, text = p.Theme.Bad("✗"), fmt.Sprintf("its value is in %s of the old istiod and in %d of the new one; missing: %s", resources(e.Old), e.New, some(e.Missing, maxNames, all))
	case xdsdiff.More:
		glyph, text = p.Theme.Warn("!"), fmt.Sprintf("its value is in %s of the old istiod and in %d of the new one", resources(e.Old), e.New)
	case xdsdiff.Nowhere:
		glyph, text = p.Theme.Busy("i"), "its value is in neither answer: it has no effect here, before or after"
	case xdsdiff.Unseen:
		glyph, text = p.Theme.Warn("?"), e.Why
	}
	p.line("  "+glyph+" ", fmt.Sprintf("EnvoyFilter %s patch %d (%s): %s", e.EnvoyFilter, e.Patch, e.ApplyTo, text))
}

func resources(n int) string { return plural(n, "resource", "resources") }

func some(names []string, limit int, all bool) string {
	if all || len(names) <= limit+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(slices.Clone(names[:limit]), ", "), len(names)-limit)
}

// value of a field in one line.
func value(v any, all bool) string {
	if v == nil {
		return "unset"
	}
	text, err := xdsdiff.JSON(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if runes := []rune(text); len(runes) > maxValue && !all {
		return string(runes[:maxValue]) + "…"
	}
	return text
}
