package rollout

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// key is the message for a key as bubbletea names it.
func key(name string) tea.KeyPressMsg {
	special := map[string]tea.KeyPressMsg{
		"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "backspace": {Code: tea.KeyBackspace},
		"space": {Code: tea.KeySpace, Text: " "}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "pgdown": {Code: tea.KeyPgDown}, "end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome},
	}
	if k, ok := special[name]; ok {
		return k
	}
	r := []rune(name)[0]
	return tea.KeyPressMsg{Code: r, Text: name}
}

// press sends keys and tells whether the last one ended the program.
func press(m tea.Model, keys ...string) (quit bool) {
	for _, k := range keys {
		_, cmd := m.Update(key(k))
		quit = isQuit(cmd)
	}
	return quit
}

func isQuit(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, ok := cmd().(tea.QuitMsg)
	return ok
}

func groups() []view.Group {
	return view.Groups(rollout.Plan(clitest.Mesh(true), "1-30", "1-31", v1alpha1.Forward))
}

func chosenNames(m *chooser) []string {
	var out []string
	for name, c := range m.chosen {
		if c {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestTheListAnswersToKeys(t *testing.T) {
	ratings, reviews, web := "bookinfo/Deployment/ratings-v1", "bookinfo/Deployment/reviews-v1", "istio-ingress/Deployment/web"
	for _, c := range []struct {
		name string
		keys []string
		want []string
	}{
		{"all is preselected", nil, []string{ratings, reviews, web}},
		{"space on a namespace takes all of it away", []string{"space"}, []string{web}},
		{"and gives it back", []string{"space", "space"}, []string{ratings, reviews, web}},
		{"space on a workload", []string{"down", "space"}, []string{reviews, web}},
		{"space on a half chosen namespace chooses all of it", []string{"down", "space", "up", "space"}, []string{ratings, reviews, web}},
		{"a takes all away", []string{"a"}, nil},
		{"a chooses all when one is missing", []string{"down", "space", "a"}, []string{ratings, reviews, web}},
		{"the end of the list is its end", []string{"end", "down", "down", "space"}, []string{ratings, reviews}},
		{"the top of the list is its top", []string{"up", "up", "down", "down", "space"}, []string{ratings, web}},
		{"a acts on what the filter shows", []string{"a", "/", "w", "e", "b", "enter", "a"}, []string{web}},
		{"a letter of the filter is no command", []string{"/", "a", "q", "backspace", "backspace", "enter"}, []string{ratings, reviews, web}},
		{"esc takes the filter away", []string{"/", "w", "e", "b", "esc", "a"}, nil},
		{"j and k move too", []string{"j", "j", "k", "space"}, []string{reviews, web}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newChooser("Move", groups(), view.Options{})
			press(m, c.keys...)
			if diff := cmp.Diff(c.want, chosenNames(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnlyYesToTheQuestionMovesAnything(t *testing.T) {
	for _, c := range []struct {
		keys            []string
		quit, confirmed bool
	}{
		{[]string{"enter"}, false, false},
		{[]string{"enter", "y"}, true, true},
		{[]string{"enter", "n"}, false, false},
		{[]string{"enter", "enter"}, false, false},
		{[]string{"enter", "esc", "q"}, true, false},
		{[]string{"y"}, false, false},
		{[]string{"q"}, true, false},
		{[]string{"esc"}, true, false},
		{[]string{"ctrl+c"}, true, false},
		{[]string{"enter", "ctrl+c"}, true, false},
		{[]string{"a", "enter", "y"}, false, false}, // nothing is chosen
	} {
		t.Run(strings.Join(c.keys, " "), func(t *testing.T) {
			m := newChooser("Move", groups(), view.Options{})
			if quit := press(m, c.keys...); quit != c.quit || m.confirmed != c.confirmed {
				t.Errorf("quit %t, confirmed %t; want %t, %t", quit, m.confirmed, c.quit, c.confirmed)
			}
		})
	}
}

func TestTheListIsShownWithinTheTerminal(t *testing.T) {
	m := newChooser("Move data planes to Istio 1.31.0 (revision 1-31)", groups(), view.Options{})
	m.Update(tea.WindowSizeMsg{Width: 90, Height: 30})
	press(m, "end")
	golden(t, "choose", m.View().Content)
	press(m, "/", "r", "e", "v")
	golden(t, "choose-filter", m.View().Content)
	press(m, "esc", "enter")
	golden(t, "choose-question", m.View().Content)

	var many []view.Group
	for n := range 40 {
		many = append(many, view.Group{Namespace: "ns" + string(rune('a'+n%26)), DataPlanes: []view.DataPlane{{Namespace: "n", Kind: "Deployment", Name: strings.Repeat("long", n), State: "Pending", Role: "Sidecar"}}})
	}
	for _, size := range []tea.WindowSizeMsg{{Width: 40, Height: 10}, {Width: 80, Height: 24}, {Width: 200, Height: 60}} {
		m := newChooser("Move data planes", many, view.Options{})
		m.Update(size)
		for range 90 {
			press(m, "down")
			lines := strings.Split(strings.TrimSuffix(m.View().Content, "\n"), "\n")
			if len(lines) > size.Height {
				t.Fatalf("%d lines on a terminal of %d", len(lines), size.Height)
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > size.Width {
					t.Fatalf("%d cells on a terminal of %d: %q", w, size.Width, l)
				}
			}
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "> ") }) {
				t.Fatalf("the cursor is not shown:\n%s", strings.Join(lines, "\n"))
			}
		}
	}
}

// recorder writes down what the progress model asks for.
type recorder struct {
	said []string
	err  error
}

func (r *recorder) link() link {
	note := func(s string) error { r.said = append(r.said, s); return r.err }
	return link{
		next: func() updateMsg { return updateMsg{} },
		decide: func(f []v1alpha1.WorkloadFailure, d v1alpha1.Decision) error {
			s := string(d)
			for _, x := range f {
				s += " " + x.Name
			}
			return note(s)
		},
		stop:  func() error { return note("stop") },
		pause: func(p bool) error { return note(map[bool]string{true: "pause", false: "resume"}[p]) },
		now:   func() time.Time { return clitest.Now },
	}
}

func failed(names ...string) *v1alpha1.DataPlaneRollout {
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31-r1", Generation: 1}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31"}}
	failing(r)
	f := r.Status.Failures[0]
	r.Status.Failures = nil
	for _, n := range names {
		f.Name = n
		r.Status.Failures = append(r.Status.Failures, *f.DeepCopy())
	}
	r.Status.Counts.Failed = int32(len(names))
	return r
}

func TestAFailureIsAnsweredByOneKey(t *testing.T) {
	decided := failed("a", "b")
	decided.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: decided.Status.Failures[0].WorkloadReference, Action: v1alpha1.Skip}}
	paused := failed()
	paused.Spec.Paused = true
	for _, c := range []struct {
		name string
		r    *v1alpha1.DataPlaneRollout
		keys []string
		want []string
	}{
		{"retry", failed("a", "b"), []string{"r"}, []string{"Retry a"}},
		{"skip the second", failed("a", "b"), []string{"down", "down", "s"}, []string{"Skip b"}},
		{"move the first back", failed("a", "b"), []string{"down", "up", "b"}, []string{"MoveBack a"}},
		{"retry all", failed("a", "b"), []string{"R"}, []string{"Retry a b"}},
		{"all means those that wait", decided, []string{"B"}, []string{"MoveBack b"}},
		{"no failure, no decision", failed(), []string{"r", "S"}, nil},
		{"stop asks", failed("a"), []string{"x"}, nil},
		{"stop after yes", failed("a"), []string{"x", "y"}, []string{"stop"}},
		{"no stop after no", failed("a"), []string{"x", "n", "y"}, nil},
		{"pause", failed(), []string{"p"}, []string{"pause"}},
		{"resume", paused, []string{"p"}, []string{"resume"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := &recorder{}
			m := newProgress(c.r, nil, view.Options{}, rec.link())
			for _, k := range c.keys {
				if _, cmd := m.Update(key(k)); cmd != nil {
					m.Update(cmd())
				}
			}
			if diff := cmp.Diff(c.want, rec.said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWriteThatFailsIsShown(t *testing.T) {
	rec := &recorder{err: errors.New("forbidden")}
	m := newProgress(failed("a"), nil, view.Options{}, rec.link())
	_, cmd := m.Update(key("r"))
	m.Update(cmd())
	if !strings.Contains(m.View().Content, "not written: forbidden") {
		t.Error(m.View().Content)
	}
}

func TestTheProgressEndsWithTheRolloutOrWhenTheUserLeaves(t *testing.T) {
	complete := failed()
	finished(complete)
	send := func(u follow.Update[*v1alpha1.DataPlaneRollout], open bool) tea.Msg { return updateMsg{u, open} }
	for _, c := range []struct {
		name                 string
		msg                  tea.Msg
		quit, detached, gone bool
	}{
		{"the rollout is complete", send(follow.Update[*v1alpha1.DataPlaneRollout]{Object: complete}, true), true, false, false},
		{"it goes on", send(follow.Update[*v1alpha1.DataPlaneRollout]{Object: failed("a")}, true), false, false, false},
		{"the cluster is lost for a while", send(follow.Update[*v1alpha1.DataPlaneRollout]{Err: errors.New("refused")}, true), false, false, false},
		{"it was deleted", send(follow.Update[*v1alpha1.DataPlaneRollout]{Gone: true}, true), true, false, true},
		{"reading is forbidden", send(follow.Update[*v1alpha1.DataPlaneRollout]{Err: errors.New("forbidden"), Fatal: true}, true), true, false, false},
		{"the time is over", send(follow.Update[*v1alpha1.DataPlaneRollout]{}, false), true, true, false},
		{"Ctrl-C", key("ctrl+c"), true, true, false},
		{"d", key("d"), true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newProgress(failed("a"), nil, view.Options{}, (&recorder{}).link())
			_, cmd := m.Update(c.msg)
			if got := isQuit(cmd); got != c.quit || m.detached != c.detached || m.gone != c.gone {
				t.Errorf("quit %t, detached %t, gone %t; want %t, %t, %t", got, m.detached, m.gone, c.quit, c.detached, c.gone)
			}
		})
	}
}

func TestTheScreenOfAFailureShowsEventsAndChoices(t *testing.T) {
	m := newProgress(failed("ratings-v1", "reviews-v1"), groups(), view.Options{}, (&recorder{}).link())
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
	press(m, "down")
	golden(t, "progress-failure", m.View().Content)
	press(m, "x")
	golden(t, "progress-stop", m.View().Content)
	for _, size := range []tea.WindowSizeMsg{{Width: 30, Height: 8}, {Width: 80, Height: 24}} {
		m.Update(size)
		lines := strings.Split(strings.TrimSuffix(m.View().Content, "\n"), "\n")
		if len(lines) > size.Height {
			t.Errorf("%d lines on a terminal of %d", len(lines), size.Height)
		}
	}
}

func TestTheInterfaceIsUsedOnATerminal(t *testing.T) {
	w := clitest.New(clitest.Upgrade(3))
	w.Mesh, w.Read = clitest.Mesh(true), agent(moving)
	w.Terminal.In, w.Terminal.Out = true, true
	var shown []string
	o := &options{env: w.Env}
	o.play = func(m tea.Model) (tea.Model, error) {
		switch m := m.(type) {
		case *chooser:
			shown = append(shown, "list")
			press(m, "end", "space", "enter", "y") // without the gateway
		case *progress:
			shown = append(shown, "progress")
			m.Update(m.listen())
			if m.look == nil {
				t.Error("no bars by namespace")
			} else {
				m.Update(m.lookNow())
			}
			if !strings.Contains(m.View().Content, "bookinfo") {
				t.Error(m.View().Content)
			}
			press(m, "ctrl+c")
		}
		return m, nil
	}
	code := w.Run(t, newCommand(w.Env, o))
	if diff := cmp.Diff([]string{"list", "progress"}, shown); diff != "" || code != exit.Unfinished {
		t.Errorf("exit code %d, screens %s\n%s%s", code, diff, w.Output, w.Errors)
	}
	if diff := cmp.Diff([]v1alpha1.RolloutTarget{{Namespace: "bookinfo"}}, created(t, w).Spec.Targets); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(w.Output.String(), "The rollout goes on. Come back to it with: meshlift rollout --attach 1-30-to-1-31-r1") {
		t.Error(w.Output)
	}
}
