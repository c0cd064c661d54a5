package view

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Theme decides how emphasised text looks. The zero Theme is plain text.
type Theme struct {
	// Color turns on the 16 colors that every terminal has.
	Color bool
}

func (t Theme) sgr(code, s string) string {
	if !t.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Good is for what is done.
func (t Theme) Good(s string) string { return t.sgr("32", s) }

// Warn is for what needs a person.
func (t Theme) Warn(s string) string { return t.sgr("33", s) }

// Bad is for what failed.
func (t Theme) Bad(s string) string { return t.sgr("31", s) }

// Busy is for what Meshlift is working on.
func (t Theme) Busy(s string) string { return t.sgr("36", s) }

// Dim is for what matters less.
func (t Theme) Dim(s string) string { return t.sgr("2", s) }

// Bold is for headings and commands.
func (t Theme) Bold(s string) string { return t.sgr("1", s) }

// Options say where a text will be shown.
type Options struct {
	Theme Theme
	// Width of the terminal in cells; 0 means that lines are not wrapped.
	Width int
}

// page collects lines that respect the width.
type page struct {
	Options
	b strings.Builder
}

func newPage(o Options) *page { return &page{Options: o} }

func (p *page) String() string { return p.Theme.Clean(p.b.String()) }

// line writes one line, wrapped with a hanging indent that is as wide as the prefix.
func (p *page) line(prefix, text string) {
	prefix, text = p.Theme.Clean(prefix), p.Theme.Clean(text)
	indent := strings.Repeat(" ", ansi.StringWidth(prefix))
	for n, l := range p.wrap(text, ansi.StringWidth(prefix)) {
		if n > 0 {
			prefix = indent
		}
		p.b.WriteString(strings.TrimRight(prefix+l, " ") + "\n")
	}
}

func (p *page) linef(prefix, format string, args ...any) {
	p.line(prefix, fmt.Sprintf(format, args...))
}

func (p *page) blank() { p.b.WriteString("\n") }

func (p *page) heading(text string) { p.line("", p.Theme.Bold(text)) }

// wrap splits text into lines; indent cells are taken already. It breaks at spaces only, because names and commands with a
// hyphen must stay whole, and within a word only when the word is wider than the line.
func (p *page) wrap(text string, indent int) []string {
	if p.Width == 0 {
		return strings.Split(text, "\n")
	}
	width := max(20, p.Width-indent)
	var out []string
	for _, paragraph := range strings.Split(text, "\n") {
		line := ""
		for _, word := range strings.Split(paragraph, " ") {
			switch {
			case line == "":
				line = word
			case ansi.StringWidth(line)+1+ansi.StringWidth(word) <= width:
				line += " " + word
			default:
				out, line = append(out, line), word
			}
			for ansi.StringWidth(line) > width {
				out = append(out, ansi.Cut(line, 0, width))
				line = ansi.TruncateLeft(line, width, "")
			}
		}
		out = append(out, line)
	}
	return out
}

const gap = "  "

// table writes aligned columns; the last column is wrapped.
func (p *page) table(indent string, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for n, cell := range row {
			if cell = p.Theme.Clean(cell); n < len(row)-1 {
				cell = strings.ReplaceAll(cell, "\n", " ")
			}
			row[n] = cell
			if n == len(widths) {
				widths = append(widths, 0)
			}
			widths[n] = max(widths[n], ansi.StringWidth(cell))
		}
	}
	for _, row := range rows {
		prefix := indent
		for n, cell := range row[:len(row)-1] {
			prefix += cell + strings.Repeat(" ", widths[n]-ansi.StringWidth(cell)) + gap
		}
		p.line(prefix, row[len(row)-1])
	}
}

// Count is a number with its noun: "1 gateway", "2 gateways".
func Count[N ~int | ~int32 | ~int64](n N, noun string) string {
	if n != 1 {
		switch {
		case strings.HasSuffix(noun, "s"):
			noun += "es"
		default:
			noun += "s"
		}
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Clip shortens a line to the width of the terminal.
func (o Options) Clip(line string) string {
	line = o.Theme.Clean(line)
	if o.Width == 0 {
		return line
	}
	return ansi.Truncate(line, o.Width, "…")
}

// Wrapped is one text with a prefix, wrapped with a hanging indent.
func Wrapped(prefix, text string, o Options) string {
	p := newPage(o)
	p.line(prefix, text)
	return p.String()
}
