package rollout

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"meshlift.dev/meshlift/internal/view"
)

// chooser lets the user choose what moves, and asks. All is preselected.
type chooser struct {
	options view.Options
	title   string
	groups  []view.Group
	chosen  map[string]bool

	height    int
	cursor    int // index into rows()
	top       int // first row on the screen
	filter    string
	filtering bool
	asking    bool

	// Confirmed is true when the user has said yes.
	confirmed, finished bool
}

// row is a line of the list: a namespace when plane is nil.
type row struct {
	group int
	plane *view.DataPlane
}

func newChooser(title string, groups []view.Group, o view.Options) *chooser {
	return &chooser{options: o, title: title, groups: groups, chosen: everything(groups)}
}

// Init asks for nothing; the terminal tells its size by itself.
func (m *chooser) Init() tea.Cmd { return nil }

// rows are the lines that the filter lets through.
func (m *chooser) rows() []row {
	var out []row
	for n := range m.groups {
		g := &m.groups[n]
		var planes []row
		for i := range g.DataPlanes {
			d := &g.DataPlanes[i]
			if d.Movable() && strings.Contains(strings.ToLower(d.String()), strings.ToLower(m.filter)) {
				planes = append(planes, row{n, d})
			}
		}
		if len(planes) > 0 {
			out = append(append(out, row{group: n}), planes...)
		}
	}
	return out
}

// Update takes keys and the size of the terminal.
func (m *chooser) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.options.Width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m *chooser) key(msg tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	key := msg.String()
	if key == "ctrl+c" {
		m.finished = true
		return m, tea.Quit
	}
	switch {
	case m.asking:
		return m.answer(key)
	case m.filtering:
		m.typed(key, msg.Text)
		return m, nil
	}
	switch key {
	case "q", "esc":
		if key == "esc" && m.filter != "" {
			m.filter, m.cursor, m.top = "", 0, 0
			return m, nil
		}
		m.finished = true
		return m, tea.Quit
	case "/":
		m.filtering = true
	case "space", "x":
		m.toggle()
	case "a":
		m.toggleAll()
	case "enter":
		if n, g, _ := tally(m.groups, m.chosen); n+g > 0 {
			m.asking = true
		}
	default:
		m.move(key)
	}
	return m, nil
}

func (m *chooser) answer(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "y", "Y":
		m.confirmed, m.finished = true, true
		return m, tea.Quit
	case "n", "N", "esc", "q", "backspace":
		m.asking = false
	}
	return m, nil
}

func (m *chooser) typed(key, text string) {
	switch key {
	case "enter":
		m.filtering = false
	case "esc":
		m.filtering, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case "up", "down":
		m.filtering = false
		m.move(key)
		return
	default:
		m.filter += text
	}
	m.cursor, m.top = 0, 0
}

func (m *chooser) move(key string) {
	last := len(m.rows()) - 1
	switch key {
	case "up", "k":
		m.cursor--
	case "down", "j":
		m.cursor++
	case "pgup":
		m.cursor -= m.room()
	case "pgdown":
		m.cursor += m.room()
	case "home", "g":
		m.cursor = 0
	case "end", "G":
		m.cursor = last
	}
	m.cursor = max(0, min(m.cursor, last))
}

// toggle changes one workload, or all of a namespace that the filter shows.
func (m *chooser) toggle() {
	rows := m.rows()
	if m.cursor >= len(rows) {
		return
	}
	at := rows[m.cursor]
	if at.plane != nil {
		m.chosen[at.plane.String()] = !m.chosen[at.plane.String()]
		return
	}
	var planes []*view.DataPlane
	for _, r := range rows {
		if r.group == at.group && r.plane != nil {
			planes = append(planes, r.plane)
		}
	}
	m.setAll(planes)
}

// toggleAll chooses all that the filter shows, or none when all are.
func (m *chooser) toggleAll() {
	var planes []*view.DataPlane
	for _, r := range m.rows() {
		if r.plane != nil {
			planes = append(planes, r.plane)
		}
	}
	m.setAll(planes)
}

func (m *chooser) setAll(planes []*view.DataPlane) {
	all := true
	for _, d := range planes {
		all = all && m.chosen[d.String()]
	}
	for _, d := range planes {
		m.chosen[d.String()] = !all
	}
}

// room is the number of rows that fit between the head and the foot.
func (m *chooser) room() int {
	if m.height == 0 {
		return 1 << 20
	}
	return max(3, m.height-8)
}

// View shows the list, or the question.
func (m *chooser) View() tea.View {
	if m.finished {
		return tea.NewView("")
	}
	var lines []string
	if m.asking {
		lines = m.question()
	} else {
		lines = m.list()
	}
	for n, l := range lines {
		lines[n] = m.options.Clip(l)
	}
	if m.height > 0 && len(lines) > m.height-1 {
		// The last lines hold the keys.
		lines = append(lines[:max(1, m.height-3)], lines[len(lines)-2:]...)
	}
	return tea.NewView(strings.Join(lines, "\n") + "\n")
}

func (m *chooser) list() []string {
	t := m.options.Theme
	rows := m.rows()
	room := m.room()
	m.top = max(0, min(max(m.top, m.cursor-room+1), m.cursor, len(rows)-1))
	lines := []string{t.Bold(m.title), "Choose what moves: " + inWords(m.groups, m.chosen), ""}
	width := m.nameWidth(rows)
	for n := m.top; n < min(len(rows), m.top+room); n++ {
		mark := "  "
		if n == m.cursor {
			mark = t.Bold("> ")
		}
		lines = append(lines, mark+m.line(rows[n], width))
	}
	if len(rows) == 0 {
		lines = append(lines, "  nothing matches")
	}
	if hidden := len(rows) - min(len(rows), m.top+room) + m.top; hidden > 0 {
		lines = append(lines, t.Dim(fmt.Sprintf("  … %d more lines (↑↓)", hidden)))
	}
	lines = append(lines, "")
	if m.cursor < len(rows) && rows[m.cursor].plane != nil && len(rows[m.cursor].plane.Warnings) > 0 {
		lines = append(lines, t.Warn("! ")+strings.Join(rows[m.cursor].plane.Warnings, "; "))
	}
	switch {
	case m.filtering:
		lines = append(lines, "/"+m.filter+"▏", t.Dim("type to filter · enter keep · esc clear"))
	case m.filter != "":
		lines = append(lines, "/"+m.filter, m.keys())
	default:
		lines = append(lines, m.keys())
	}
	return lines
}

func (m *chooser) keys() string {
	return m.options.Theme.Dim("↑↓ move · space choose · a all/none · / filter · enter go on · q leave")
}

func (m *chooser) nameWidth(rows []row) int {
	width := 0
	for _, r := range rows {
		if r.plane != nil {
			width = max(width, len(r.plane.Kind+"/"+r.plane.Name))
		}
	}
	return width
}

func (m *chooser) line(r row, width int) string {
	t := m.options.Theme
	if r.plane == nil {
		g := m.groups[r.group]
		n, total := 0, 0
		for _, d := range g.DataPlanes {
			if d.Movable() {
				total++
				if m.chosen[d.String()] {
					n++
				}
			}
		}
		return t.Bold(g.Namespace) + t.Dim(fmt.Sprintf("  %d of %d", n, total))
	}
	d := r.plane
	box := "[ ]"
	if m.chosen[d.String()] {
		box = t.Good("[x]")
	}
	s := fmt.Sprintf("  %s %-*s  %s, %s", box, width, d.Kind+"/"+d.Name, view.RoleWord(*d), view.Count(d.Pods, "pod"))
	if len(d.Warnings) > 0 {
		s += " " + t.Warn("!")
	}
	return s
}

func (m *chooser) question() []string {
	t := m.options.Theme
	lines := []string{t.Bold(m.title), ""}
	lines = append(lines, "Move "+inWords(m.groups, m.chosen)+"?",
		"Pods are replaced by rolling update, so long connections are cut once.")
	if w := warnings(m.groups, m.chosen); len(w) > 0 {
		lines = append(lines, "")
		for _, s := range w {
			lines = append(lines, strings.Split(strings.TrimSuffix(view.Wrapped(t.Warn("! "), s, m.options), "\n"), "\n")...)
		}
	}
	return append(lines, "", t.Bold("y")+" move them · "+t.Bold("n")+" back to the list")
}
