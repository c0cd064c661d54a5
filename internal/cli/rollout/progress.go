package rollout

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/view"
)

// Messages to the progress model.
type (
	// updateMsg is a new version of the rollout; open is false when there will be no more.
	updateMsg struct {
		follow.Update[*v1alpha1.DataPlaneRollout]
		open bool
	}
	// groupsMsg is a fresh look at the data planes, and what it cost.
	groupsMsg struct {
		groups []view.Group
		cost   time.Duration
		err    error
	}
	// lookMsg says that it is time for a fresh look.
	lookMsg struct{}
	// clockMsg moves the clock on the screen.
	clockMsg time.Time
	// wroteMsg says that an answer of the user has reached the cluster, or not.
	wroteMsg struct {
		what string
		err  error
	}
)

// link is what the progress model needs from the outside. Each function runs in the background.
type link struct {
	// next waits for the next version of the rollout.
	next func() updateMsg
	// look reads the data planes; nil when that is not possible.
	look func() groupsMsg
	// decide writes decisions about failed workloads.
	decide func([]v1alpha1.WorkloadFailure, v1alpha1.Decision) error
	// stop and pause write spec.stopped and spec.paused.
	stop  func() error
	pause func(bool) error
	now   func() time.Time
}

// progress shows a rollout live, and takes decisions.
type progress struct {
	link
	options  view.Options
	height   int
	rollout  *v1alpha1.DataPlaneRollout
	groups   []view.Group
	clock    time.Time
	lost     string
	selected int
	stopping bool // the user is asked whether to stop
	note     string

	// outcome
	detached bool
	gone     bool
	fatal    error
}

func newProgress(r *v1alpha1.DataPlaneRollout, groups []view.Group, o view.Options, l link) *progress {
	return &progress{link: l, options: o, rollout: r, groups: groups, clock: l.now()}
}

// Init starts to listen.
func (m *progress) Init() tea.Cmd {
	cmds := []tea.Cmd{m.listen, tick()}
	if m.look != nil {
		cmds = append(cmds, m.lookNow)
	}
	return tea.Batch(cmds...)
}

func (m *progress) listen() tea.Msg { return m.next() }

func (m *progress) lookNow() tea.Msg { return m.look() }

func tick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return clockMsg(t) }) }

// lookAgain waits so long that looking takes at most a twentieth of the time.
func lookAgain(cost time.Duration, failed bool) tea.Cmd {
	wait := max(2*time.Second, 20*cost)
	if failed {
		wait = max(wait, 30*time.Second)
	}
	return tea.Tick(wait, func(time.Time) tea.Msg { return lookMsg{} })
}

// Update takes what happens.
func (m *progress) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.options.Width, m.height = msg.Width, msg.Height
	case clockMsg:
		m.clock = m.now()
		return m, tick()
	case lookMsg:
		return m, m.lookNow
	case groupsMsg:
		if msg.err == nil {
			m.groups = msg.groups
		}
		if m.over() {
			return m, tea.Quit
		}
		return m, lookAgain(msg.cost, msg.err != nil)
	case updateMsg:
		return m.updated(msg)
	case wroteMsg:
		m.note = msg.what
		if msg.err != nil {
			m.note = "not written: " + msg.err.Error()
		}
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m *progress) updated(msg updateMsg) (tea.Model, tea.Cmd) {
	switch {
	case !msg.open:
		m.detached = m.detached || !m.over()
		return m, tea.Quit
	case msg.Gone:
		m.gone = true
		return m, tea.Quit
	case msg.Fatal:
		m.fatal = msg.Err
		return m, tea.Quit
	case msg.Err != nil:
		m.lost = "the cluster does not answer, trying again; the rollout goes on: " + msg.Err.Error()
		return m, m.listen
	}
	m.lost, m.rollout, m.clock = "", msg.Object, m.now()
	if failures := len(m.rollout.Status.Failures); m.selected >= failures {
		m.selected = max(0, failures-1)
	}
	switch {
	case m.over() && m.look != nil:
		return m, m.lookNow // the last frame stays on the screen: its bars must show the end
	case m.over():
		return m, tea.Quit
	}
	return m, m.listen
}

func (m *progress) over() bool { return view.Complete(m.rollout) || m.gone || m.fatal != nil }

func (m *progress) key(key string) (tea.Model, tea.Cmd) {
	if key == "ctrl+c" {
		m.detached = true
		return m, tea.Quit
	}
	if m.stopping {
		m.stopping = false
		if key == "y" || key == "Y" {
			return m, m.write("the rollout stops: moves in flight finish, nothing new starts", m.stop)
		}
		return m, nil
	}
	switch key {
	case "d", "q":
		m.detached = true
		return m, tea.Quit
	case "x":
		m.stopping = true
	case "p":
		paused := !m.rollout.Spec.Paused
		what := "paused: moves in flight finish, nothing new starts"
		if !paused {
			what = "resumed"
		}
		return m, m.write(what, func() error { return m.pause(paused) })
	case "up", "k":
		m.selected = max(0, m.selected-1)
	case "down", "j":
		m.selected = max(0, min(m.selected+1, len(m.rollout.Status.Failures)-1))
	case "r", "s", "b", "R", "S", "B":
		return m, m.decision(key)
	}
	return m, nil
}

// decision answers the selected failure; an upper case key answers all that wait.
func (m *progress) decision(key string) tea.Cmd {
	failures := view.Undecided(m.rollout)
	if strings.ToLower(key) == key {
		all := m.rollout.Status.Failures
		if m.selected >= len(all) {
			return nil
		}
		failures = all[m.selected : m.selected+1]
	}
	if len(failures) == 0 {
		return nil
	}
	action := map[string]v1alpha1.Decision{"r": v1alpha1.Retry, "s": v1alpha1.Skip, "b": v1alpha1.MoveBack}[strings.ToLower(key)]
	return m.write(decisionText(action, failures), func() error { return m.decide(failures, action) })
}

func decisionText(d v1alpha1.Decision, failures []v1alpha1.WorkloadFailure) string {
	what := view.Count(len(failures), "data plane")
	if len(failures) == 1 {
		what = view.Name(failures[0].WorkloadReference)
	}
	switch d {
	case v1alpha1.Retry:
		return what + ": trying again"
	case v1alpha1.Skip:
		return what + ": left as it is"
	default:
		return what + ": moving back"
	}
}

// write runs in the background, so that a slow API server does not freeze the screen.
func (m *progress) write(what string, f func() error) tea.Cmd {
	m.note = ""
	return func() tea.Msg { return wroteMsg{what, f()} }
}

// View shows the state and the keys.
func (m *progress) View() tea.View {
	p := view.Progress{Rollout: m.rollout, Groups: m.groups, Now: m.clock, Lost: m.lost, Selected: m.selected, Height: m.height}
	lines := strings.Split(strings.TrimSuffix(p.Render(m.options), "\n"), "\n")
	var foot []string
	if !m.over() && !m.detached {
		foot = m.foot()
	}
	if m.height > 0 && len(lines)+len(foot) > m.height-1 {
		lines = lines[:max(1, m.height-1-len(foot))]
	}
	lines = append(lines, foot...)
	for n, l := range lines {
		lines[n] = m.options.Clip(l)
	}
	return tea.NewView(strings.Join(lines, "\n") + "\n")
}

func (m *progress) foot() []string {
	t := m.options.Theme
	out := []string{""}
	if m.note != "" {
		out = append(out, t.Busy(m.note))
	}
	if m.stopping {
		return append(out, t.Bold("Stop the rollout?")+" Moves in flight finish, nothing new starts.  "+t.Bold("y")+" stop · "+t.Bold("n")+" go on")
	}
	if open := view.Undecided(m.rollout); len(open) > 0 {
		back := "move back"
		if m.rollout.Spec.Direction == v1alpha1.Back {
			back = "return to the new revision"
		}
		s := t.Bold("r") + " retry · " + t.Bold("s") + " skip · " + t.Bold("b") + " " + back
		if len(open) > 1 {
			s += " · " + t.Bold("R S B") + fmt.Sprintf(" for all %d", len(open))
		}
		out = append(out, s)
	}
	pause := "pause"
	if m.rollout.Spec.Paused {
		pause = "resume"
	}
	return append(out, t.Dim("p "+pause+" · x stop · ctrl+c leave (the rollout goes on)"))
}
