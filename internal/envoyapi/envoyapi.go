// Package envoyapi knows which messages and fields the configuration API of Envoy has in which version. It is a table and no
// set of Go types: the descriptors of several versions cannot be linked into one program. The table is made by tools/envoyapi
// from the modules of go-control-plane; it holds the messages of github.com/envoyproxy/go-control-plane/envoy, and those of
// its contrib module where that can be had.
package envoyapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"meshlift.dev/meshlift/internal/version"
)

//go:embed table.txt.gz
var embedded []byte

// Table is the API of Envoy in several versions. It is immutable.
type Table struct {
	versions []string
	messages map[string]*message
}

type message struct {
	present mask
	fields  map[string]*field
}

type field struct {
	kind                            string
	present, deprecated, disallowed mask
}

// mask has a bit for each version of the table.
type mask uint64

// Field is a field of a message in one version.
type Field struct {
	// Message is the type of its value, of the values of a map, or of the items of a list; "" for text, numbers and the like.
	Message string
	// Map is true when the keys are free.
	Map bool
	// Deprecated fields work and will go.
	Deprecated bool
	// Disallowed fields are refused by Envoy unless a runtime setting allows them.
	Disallowed bool
}

// Default is the table that is built in. A broken one is a mistake of the build, so it panics; a test reads it.
var Default = sync.OnceValue(func() *Table {
	t, err := parse(embedded)
	if err != nil {
		panic(fmt.Sprintf("read embedded table of the Envoy API: %v", err))
	}
	return t
})

// OfIstio is the minor version of the Envoy in an Istio version, for example "1.39" for 1.31.0: they have been 8 apart since
// Istio 1.10 (https://istio.io/latest/docs/releases/supported-releases/#supported-envoy-versions). It is "" when the version
// cannot be read.
func OfIstio(v string) string {
	m, err := version.ParseMinor(v)
	if err != nil || m.Major != 1 {
		return ""
	}
	return fmt.Sprintf("1.%d", m.Minor+8)
}

// Has tells whether the table has the version.
func (t *Table) Has(v string) bool { return t.bit(v) != 0 }

// Message tells whether the message is there in the version, and whether it is there in any version of the table.
func (t *Table) Message(v, name string) (there, known bool) {
	m := t.messages[name]
	return m != nil && m.present&t.bit(v) != 0, m != nil
}

// Field looks up a field by its name or by its name in JSON, which is the same in camel case.
func (t *Table) Field(v, message, name string) (f Field, there, known bool) {
	m := t.messages[message]
	if m == nil {
		return Field{}, false, false
	}
	found := m.fields[name]
	if found == nil {
		found = m.fields[snake(name)]
	}
	if found == nil {
		return Field{}, false, false
	}
	bit := t.bit(v)
	f = Field{Message: strings.TrimPrefix(found.kind, "*"), Map: found.kind[0] == '*', Deprecated: found.deprecated&bit != 0, Disallowed: found.disallowed&bit != 0}
	if f.Message == "-" {
		f.Message = ""
	}
	return f, found.present&bit != 0, true
}

func (t *Table) bit(v string) mask {
	for n, have := range t.versions {
		if have == v {
			return 1 << n
		}
	}
	return 0
}

// snake turns the JSON name of a field into its name in the descriptor.
func snake(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// parse reads what tools/envoyapi writes.
func parse(compressed []byte) (*Table, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	t := &Table{messages: map[string]*message{}}
	var current *message
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) > 1 && words[0] == "versions":
			t.versions = words[1:]
		case len(words) == 3 && words[0] == "m":
			current = &message{fields: map[string]*field{}}
			t.messages[words[1]] = current
			err = masks(words[2:], &current.present)
		case len(words) >= 3 && words[0] == "f" && current != nil:
			f := &field{kind: words[2], present: current.present}
			current.fields[words[1]] = f
			if len(words) == 6 {
				err = masks(words[3:], &f.present, &f.deprecated, &f.disallowed)
			}
		default:
			err = fmt.Errorf("it is %q", lines.Text())
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return t, lines.Err()
}

func masks(words []string, into ...*mask) error {
	for n, w := range words {
		v, err := strconv.ParseUint(w, 16, 64)
		if err != nil {
			return err
		}
		*into[n] = mask(v)
	}
	return nil
}
