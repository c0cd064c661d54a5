package view_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

// emphasis is what the theme itself writes.
var emphasis = regexp.MustCompile(`\x1b\[(0|1|2|7|31|32|33|36)m`)

// harmless checks that a text does nothing on a terminal but to be read.
func harmless(t *testing.T, o view.Options, text string) {
	t.Helper()
	if o.Theme.Color {
		text = emphasis.ReplaceAllString(text, "")
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U reaches the terminal in %q", r, text)
		}
	}
	if !utf8.ValidString(text) {
		t.Fatalf("not UTF-8: %q", text)
	}
}

var seeds = []string{
	"", "web", "\x1b[2J\x1b[H", "a\rb", "\x1b]8;;http://x\x07link\x1b]8;;\x07", "\x1b[31mred", "\u202egnp.exe", "\u009b2J", "\xff\xfe", "a\tb\nc", "\x00", "日本語日本語日本語", "\u200b",
}

func FuzzWhatComesFromTheClusterIsOnlyRead(f *testing.F) {
	for n, s := range seeds {
		f.Add(s, n*20, n%2 == 0)
	}
	f.Fuzz(func(t *testing.T, s string, width int, color bool) {
		if len(s) > 1<<10 {
			return
		}
		o := view.Options{Width: max(0, width%300), Theme: view.Theme{Color: color}}
		u := upgradeAt(4, v1alpha1.ReasonFilters, s)
		u.Name, u.Status.From.Version, u.Status.To.Revision = s, s, s
		u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{{Namespace: s, Name: s, Hash: s, Owner: s}}
		u.Status.Blockers = []v1alpha1.Blocker{{Category: v1alpha1.CategorySidecar, Kind: s, Namespace: s, Name: s, Message: s}}
		u.Status.Values = &v1alpha1.ValuesReport{Carried: []string{s}, Changed: []string{s}, NotCarried: []string{s}}
		u.Status.History = []v1alpha1.HistoryEntry{{Message: s}}
		r := runningRollout()
		r.Name, r.Status.Progress, r.Status.Warnings = s, s, []string{s}
		for n := range r.Status.Failures {
			f := &r.Status.Failures[n]
			f.Name, f.Reason, f.Message = s, s, s
			f.Events = []v1alpha1.PodEvent{{Pod: s, Type: s, Reason: s, Message: s}}
		}
		for n := range r.Status.Conditions {
			r.Status.Conditions[n].Message = s
		}
		r.Status.Moving[0].Namespace, r.Status.Moving[0].Message = s, s
		groups := view.Groups([]rollout.Item{item(s, "Deployment", s, mesh.Sidecar, rollout.Pending, 1, s, s), item("a", s, s, mesh.IngressGateway, rollout.Unsupported, 1, s)})
		for _, text := range []string{
			view.NewStatus(view.Facts{Program: "meshlift", Cluster: s, ControlPlane: controlPlane(oldRevision()), Upgrades: []v1alpha1.ClusterUpgrade{*u}, Rollouts: []v1alpha1.DataPlaneRollout{*r}}).Render(o),
			view.Progress{Rollout: r, Groups: groups, Now: now, Lost: s}.Render(o), view.NewRemains(u).Render(o), view.GroupsText(groups, o),
			view.UpgradeText("meshlift", u, r, o), view.UpgradesText([]v1alpha1.ClusterUpgrade{*u}, now, o), view.RolloutsText([]v1alpha1.DataPlaneRollout{*r}, now, o),
			view.EnvoyFiltersText("meshlift", u, view.EnvoyFilters(u), o), view.Wrapped("- ", s, o), o.Clip(s),
		} {
			harmless(t, o, text)
		}
		if clipped := o.Clip(s); o.Width > 0 && !strings.Contains(s, "\n") && ansi.StringWidth(clipped) > o.Width {
			t.Fatalf("%d cells on a terminal of %d", ansi.StringWidth(clipped), o.Width)
		}
		if once := o.Theme.Clean(s); o.Theme.Clean(once) != once {
			t.Fatalf("%q is cleaned again", once)
		}
	})
}
