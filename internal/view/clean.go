package view

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// emphasis is every escape sequence that a [Theme] makes.
var emphasis = regexp.MustCompile(`\x1b\[(?:[0127]|3[1236])m`)

// Clean replaces what would do something else on a terminal than to be read: control characters and escape sequences other
// than those of the theme, and marks that turn the direction of writing. Names, messages and annotations come from whoever
// may write to the cluster, and must not be able to rewrite the screen of the one who looks.
func (t Theme) Clean(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unreadable) {
		return text
	}
	if !t.Color {
		return strings.Map(readable, text)
	}
	var b strings.Builder
	for len(text) > 0 {
		next := emphasis.FindStringIndex(text)
		if next == nil {
			next = []int{len(text), len(text)}
		}
		b.WriteString(strings.Map(readable, text[:next[0]]) + text[next[0]:next[1]])
		text = text[next[1]:]
	}
	return b.String()
}

func unreadable(r rune) bool { return r != readable(r) }

func readable(r rune) rune {
	switch {
	case r == '\n' || unicode.IsPrint(r):
		return r
	case unicode.IsSpace(r) && r != '\r' && r < 0x80:
		return ' '
	}
	return '\uFFFD'
}
