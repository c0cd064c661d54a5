package envoyapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

//go:embed descriptors.binpb.gz
var set []byte

// Types are the messages of Envoy's configuration, of its extensions and of Istio's, from their descriptors: the newest form of
// each, and those that only older versions have. They are made when they are first asked for, and are no Go types, so that a
// program that never asks does not carry them. A broken set is a mistake of the build, so it panics; a test reads it.
var Types = sync.OnceValue(func() *dynamicpb.Types {
	files, err := readSet(set)
	if err != nil {
		panic(fmt.Sprintf("read embedded descriptors of the Envoy API: %v", err))
	}
	return dynamicpb.NewTypes(files)
})

func readSet(compressed []byte) (*protoregistry.Files, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	all := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, all); err != nil {
		return nil, err
	}
	for _, own := range []protoreflect.FileDescriptor{
		anypb.File_google_protobuf_any_proto, durationpb.File_google_protobuf_duration_proto, emptypb.File_google_protobuf_empty_proto,
		structpb.File_google_protobuf_struct_proto, timestamppb.File_google_protobuf_timestamp_proto, wrapperspb.File_google_protobuf_wrappers_proto,
	} {
		all.File = append(all.File, protodesc.ToFileDescriptorProto(own))
	}
	return protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(all)
}

// sensitive is the number of the field option udpa.annotations.sensitive.
const sensitive = 76569463

// Sensitive tells whether the field holds a secret, as its author says
// (https://github.com/cncf/xds/blob/main/udpa/annotations/sensitive.proto).
func Sensitive(f protoreflect.FieldDescriptor) bool {
	return hasOption(f.Options().ProtoReflect().GetUnknown(), sensitive)
}

func hasOption(raw []byte, option protowire.Number) bool {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		size := protowire.ConsumeFieldValue(number, kind, raw[n:])
		if size < 0 || number == option {
			return size >= 0
		}
		raw = raw[n+size:]
	}
	return false
}
