package gate

import (
	"fmt"
	"strings"
)

// shown is how many names a message lists before it counts the rest.
const shown = 5

// list writes names for people: "a, b and 3 more".
func list(names []string) string {
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// count writes a number with its noun: "1 data plane", "2 data planes".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// List writes names for people: "a, b and 3 more".
func List(names []string) string { return list(names) }

// Count writes a number with its noun: "1 data plane", "2 data planes".
func Count(n int, noun string) string { return count(n, noun) }
