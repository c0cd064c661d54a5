// Command envoyapi writes the table of internal/envoyapi: which messages and fields the API of Envoy had in which version.
//
//	cd tools && go run ./envoyapi -o ../internal/envoyapi/table.txt.gz v1.32.4 v1.35.0 ...
//
// It asks the Go module proxy for github.com/envoyproxy/go-control-plane/envoy at each version and reads the descriptors out
// of the generated sources; nothing of them is compiled. With -set it writes the descriptors themselves, of the modules that are
// named with their versions, the newest first:
//
//	cd tools && go run ./envoyapi -set -o ../internal/envoyapi/descriptors.binpb.gz github.com/envoyproxy/go-control-plane/envoy@v1.39.0 ...
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Modules with messages of Envoy. The second holds the extensions that Envoy builds only on request; not every version of
// it can be had.
const (
	core    = "github.com/envoyproxy/go-control-plane/envoy"
	contrib = "github.com/envoyproxy/go-control-plane/contrib"
)

// disallowed is the number of the field option envoy.annotations.disallowed_by_default: Envoy refuses such a field.
const disallowed = 189503207

func main() {
	log.SetFlags(0)
	out := flag.String("o", "table.txt.gz", "file to write")
	whole := flag.Bool("set", false, "write the descriptors of modules instead of the table")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("name the versions of go-control-plane, oldest first")
	}
	if *whole {
		if err := writeSet(*out, flag.Args()); err != nil {
			log.Fatal(err)
		}
		return
	}
	versions := flag.Args()
	slices.SortFunc(versions, semver.Compare)
	t := table{}
	for n, v := range versions {
		if err := t.module(core, v, n); err != nil {
			log.Fatal(err)
		}
		if err := t.module(contrib, v, n); err != nil {
			log.Printf("without contrib of %s: %v", v, err)
		}
	}
	if err := os.WriteFile(*out, t.encode(versions), 0o644); err != nil {
		log.Fatal(err)
	}
}

func writeSet(out string, modules []string) error {
	s := &set{names: map[string]bool{}}
	for _, m := range modules {
		if err := s.add(m); err != nil {
			return err
		}
	}
	data, err := s.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o644)
}

// table holds for each message and field in which versions it is there, deprecated, and disallowed: a bit for each version.
type (
	table   map[string]*message
	message struct {
		present uint64
		fields  map[string]*field
	}
	field struct {
		kind                            string
		present, deprecated, disallowed uint64
	}
)

// module adds every message of the module at that version, which is number n.
func (t table) module(name, version string, n int) error {
	dir, err := download(name + "@" + version)
	if err != nil {
		return err
	}
	files, err := descriptors(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		for _, m := range f.MessageType {
			t.message(f.GetPackage()+".", m, 1<<n)
		}
	}
	return nil
}

// download returns the folder of a module, named with its version.
func download(module string) (string, error) {
	text, err := exec.Command("go", "mod", "download", "-json", module).Output()
	var got struct{ Dir, Error string }
	if jerr := json.Unmarshal(text, &got); jerr != nil || got.Error != "" {
		return "", fmt.Errorf("download %s: %s, %w", module, got.Error, cmp.Or(jerr, err))
	}
	return got.Dir, nil
}

func (t table) message(prefix string, d *descriptorpb.DescriptorProto, bit uint64) {
	name := prefix + d.GetName()
	m := t[name]
	if m == nil {
		m = &message{fields: map[string]*field{}}
		t[name] = m
	}
	m.present |= bit
	entries := map[string]*descriptorpb.DescriptorProto{}
	for _, nested := range d.NestedType {
		if nested.GetOptions().GetMapEntry() {
			entries["."+name+"."+nested.GetName()] = nested
			continue
		}
		t.message(name+".", nested, bit)
	}
	for _, fd := range d.Field {
		m.field(fd, entries, bit)
	}
}

func (m *message) field(fd *descriptorpb.FieldDescriptorProto, entries map[string]*descriptorpb.DescriptorProto, bit uint64) {
	f := m.fields[fd.GetName()]
	if f == nil {
		f = &field{}
		m.fields[fd.GetName()] = f
	}
	f.kind = kindOf(fd, entries)
	f.present |= bit
	if fd.GetOptions().GetDeprecated() {
		f.deprecated |= bit
	}
	if hasOption(fd.GetOptions(), disallowed) {
		f.disallowed |= bit
	}
}

// kindOf is "-" for what has no fields, the name of a message, or "*" and the name of the message that a map holds.
func kindOf(fd *descriptorpb.FieldDescriptorProto, entries map[string]*descriptorpb.DescriptorProto) string {
	if fd.GetType() != descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
		return "-"
	}
	entry, ok := entries[fd.GetTypeName()]
	if !ok {
		return strings.TrimPrefix(fd.GetTypeName(), ".")
	}
	for _, value := range entry.Field {
		if value.GetName() == "value" && value.GetType() == descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
			return "*" + strings.TrimPrefix(value.GetTypeName(), ".")
		}
	}
	return "*-"
}

func hasOption(o *descriptorpb.FieldOptions, option protowire.Number) bool {
	for raw := []byte(o.ProtoReflect().GetUnknown()); len(raw) > 0; {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		size := protowire.ConsumeFieldValue(number, kind, raw[n:])
		if size < 0 {
			return false
		}
		if number == option {
			return true
		}
		raw = raw[n+size:]
	}
	return false
}

// encode writes the table as internal/envoyapi reads it: lines of words, compressed. A mask that is left out means all
// versions of the message, and none for deprecated and disallowed.
func (t table) encode(versions []string) []byte {
	var b bytes.Buffer
	b.WriteString("versions")
	for _, v := range versions {
		b.WriteString(" " + strings.TrimPrefix(semver.MajorMinor(v), "v"))
	}
	b.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(t)) {
		m := t[name]
		fmt.Fprintf(&b, "m %s %x\n", name, m.present)
		for _, fname := range slices.Sorted(maps.Keys(m.fields)) {
			f := m.fields[fname]
			fmt.Fprintf(&b, "f %s %s", fname, f.kind)
			if f.present != m.present || f.deprecated != 0 || f.disallowed != 0 {
				fmt.Fprintf(&b, " %x %x %x", f.present, f.deprecated, f.disallowed)
			}
			b.WriteString("\n")
		}
	}
	out, err := compressed(b.Bytes())
	if err != nil {
		log.Fatal(err) // a buffer does not fail
	}
	return out
}
