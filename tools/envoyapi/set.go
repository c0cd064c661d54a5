package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// sensitive is the number of the field option udpa.annotations.sensitive: the value is a secret.
const sensitive = 76569463

// dead are packages that no configuration of Envoy's present API holds.
var dead = regexp.MustCompile(`^(envoy\.api\.v2|envoy\.service\.|envoy\.admin\.|google\.api$|google\.api\.(servicecontrol|expr\.conformance)|google\.(rpc\.context|logging|longrunning)|cel\.expr\.conformance|opentelemetry\.proto\.(collector|profiles)|istio\.workload|validate$)|\.v[12](alpha[0-9]*|beta[0-9]*)?$`)

// alive are packages that dead matches and that are used all the same.
var alive = regexp.MustCompile(`^(envoy\.extensions|istio\.|google\.api\.expr\.v1alpha1|opentelemetry\.proto\.(common|trace|metrics|resource)|udpa\.type|xds\.)`)

// set collects files of descriptors. What a later module has is left out when an earlier one had it, so the newest comes first.
type set struct {
	files []*descriptorpb.FileDescriptorProto
	names map[string]bool // of messages and enums
}

// add takes the messages and enums of the module at that version that are not there yet.
func (s *set) add(module string) error {
	dir, err := download(module)
	if err != nil {
		return err
	}
	files, err := descriptors(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if dead.MatchString(f.GetPackage()) && !alive.MatchString(f.GetPackage()) {
			continue
		}
		f.MessageType = slices.DeleteFunc(f.MessageType, func(m *descriptorpb.DescriptorProto) bool { return s.seen(f, m.GetName()) })
		f.EnumType = slices.DeleteFunc(f.EnumType, func(e *descriptorpb.EnumDescriptorProto) bool { return s.seen(f, e.GetName()) })
		if len(f.MessageType)+len(f.EnumType) == 0 {
			continue
		}
		f.Name = proto.String(fmt.Sprintf("%d/%s", len(s.files), f.GetName())) // the same file of another version is another file
		bare(f)
		s.files = append(s.files, f)
	}
	return nil
}

func (s *set) seen(f *descriptorpb.FileDescriptorProto, name string) bool {
	full := f.GetPackage() + "." + name
	was := s.names[full]
	s.names[full] = true
	return was
}

// bare takes away what is not needed to read and name values: services, options, extensions.
func bare(f *descriptorpb.FileDescriptorProto) {
	f.Options, f.Service, f.Extension, f.SourceCodeInfo = nil, nil, nil, nil
	f.Dependency, f.PublicDependency, f.WeakDependency, f.OptionDependency = nil, nil, nil, nil
	for _, m := range f.MessageType {
		bareMessage(m)
	}
	for _, e := range f.EnumType {
		bareEnum(e)
	}
}

func bareMessage(m *descriptorpb.DescriptorProto) {
	m.Extension, m.ExtensionRange, m.ReservedName, m.ReservedRange = nil, nil, nil, nil
	if entry := m.GetOptions().GetMapEntry(); entry {
		m.Options = &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)}
	} else {
		m.Options = nil
	}
	for _, o := range m.OneofDecl {
		o.Options = nil
	}
	for _, fd := range m.Field {
		fd.JsonName = nil
		options := fd.GetOptions()
		fd.Options = nil
		if hasOption(options, sensitive) {
			fd.Options = &descriptorpb.FieldOptions{}
			raw := protowire.AppendVarint(protowire.AppendTag(nil, sensitive, protowire.VarintType), 1)
			fd.Options.ProtoReflect().SetUnknown(raw)
		}
	}
	for _, nested := range m.NestedType {
		bareMessage(nested)
	}
	for _, e := range m.EnumType {
		bareEnum(e)
	}
}

func bareEnum(e *descriptorpb.EnumDescriptorProto) {
	e.ReservedName, e.ReservedRange = nil, nil
	if !e.GetOptions().GetAllowAlias() {
		e.Options = nil
	}
	for _, v := range e.Value {
		v.Options = nil
	}
}

// link gives each file the files that its fields refer to.
func (s *set) link() {
	home := map[string]string{}
	for _, f := range s.files {
		for _, m := range f.MessageType {
			within(f.GetPackage()+"."+m.GetName(), m, func(name string) { home["."+name] = f.GetName() })
		}
		for _, e := range f.EnumType {
			home["."+f.GetPackage()+"."+e.GetName()] = f.GetName()
		}
	}
	for _, f := range s.files {
		needs := map[string]bool{}
		for _, m := range f.MessageType {
			types(m, func(name string) {
				at, ok := home[name]
				if strings.HasPrefix(name, ".google.protobuf.") {
					at, ok = wellKnown(name), true
				}
				if ok && at != f.GetName() && !needs[at] {
					needs[at] = true
					f.Dependency = append(f.Dependency, at)
				}
			})
		}
		slices.Sort(f.Dependency)
	}
}

func within(name string, m *descriptorpb.DescriptorProto, each func(string)) {
	each(name)
	for _, nested := range m.NestedType {
		within(name+"."+nested.GetName(), nested, each)
	}
	for _, e := range m.EnumType {
		each(name + "." + e.GetName())
	}
}

func types(m *descriptorpb.DescriptorProto, each func(string)) {
	for _, fd := range m.Field {
		if fd.GetTypeName() != "" {
			each(fd.GetTypeName())
		}
	}
	for _, nested := range m.NestedType {
		types(nested, each)
	}
}

// wellKnown is the file of a type of protobuf itself, which every program has.
func wellKnown(name string) string {
	switch name {
	case ".google.protobuf.Any":
		return "google/protobuf/any.proto"
	case ".google.protobuf.Duration":
		return "google/protobuf/duration.proto"
	case ".google.protobuf.Empty":
		return "google/protobuf/empty.proto"
	case ".google.protobuf.Timestamp":
		return "google/protobuf/timestamp.proto"
	case ".google.protobuf.Struct", ".google.protobuf.Value", ".google.protobuf.ListValue", ".google.protobuf.NullValue":
		return "google/protobuf/struct.proto"
	}
	return "google/protobuf/wrappers.proto"
}

func (s *set) encode() ([]byte, error) {
	s.link()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&descriptorpb.FileDescriptorSet{File: s.files})
	if err != nil {
		return nil, err
	}
	return compressed(raw)
}

func compressed(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}
