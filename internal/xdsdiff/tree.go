package xdsdiff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"meshlift.dev/meshlift/internal/envoyapi"
)

// A tree is a message as plain values: map[string]any by the names of fields that are set, []any, string, bool, int64, float64,
// and hidden. What means the same is the same tree: durations are text, wrapped numbers are numbers, what an Any holds stands
// in its place beside its type, and lists without an order are sorted.

// hidden stands for a secret. Two are equal when the secrets are.
type hidden struct{ sum [sha256.Size]byte }

func hide(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Append(nil, v)
	}
	return hidden{sha256.Sum256(text)}
}

// MarshalJSON shows that something is there.
func (hidden) MarshalJSON() ([]byte, error) { return []byte(`"(hidden)"`), nil }

// typeKey is the name under which the type of an Any stands in a tree.
const typeKey = "@type"

// reader makes trees.
type reader struct {
	// each is called for every message with its tree; nil calls nobody.
	each func(name protoreflect.FullName, tree any)
}

// resource reads a resource of the kind; one that cannot be read is shown as its bytes.
func (r reader) resource(k Kind, value []byte) any {
	return r.any(k.TypeURL(), value)
}

// message reads a message of the type; ok is false when it is not known or the message is broken.
func (r reader) any(url string, value []byte) any {
	name := url[strings.LastIndexByte(url, '/')+1:]
	t, err := envoyapi.Types().FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return map[string]any{typeKey: name, "(bytes of a type that Meshlift does not know)": opaque(value)}
	}
	m := dynamicpb.NewMessage(t.Descriptor())
	if err := (proto.UnmarshalOptions{Resolver: envoyapi.Types()}).Unmarshal(value, m); err != nil {
		return map[string]any{typeKey: name, "(bytes that cannot be read)": opaque(value)}
	}
	return withType(name, r.message(m))
}

func withType(name string, tree any) any {
	fields, ok := tree.(map[string]any)
	if !ok {
		return map[string]any{typeKey: name, "value": tree}
	}
	if _, ok := fields[typeKey]; !ok {
		fields[typeKey] = name
	}
	return fields
}

func (r reader) message(m protoreflect.Message) any {
	name := m.Descriptor().FullName()
	tree, ok := r.special(name, m)
	if !ok {
		tree = r.plain(m)
	}
	if r.each != nil {
		r.each(name, tree)
	}
	return tree
}

func (r reader) plain(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		tree := r.field(f, v)
		if envoyapi.Sensitive(f) {
			tree = hide(tree)
		}
		out[string(f.Name())] = tree
		return true
	})
	if raw := m.GetUnknown(); len(raw) > 0 {
		out["(fields that Meshlift does not know)"] = opaque(raw)
	}
	if key, ok := out["key"].(string); ok && secretive(key) && out["value"] != nil {
		out["value"] = hide(out["value"]) // a header
	}
	if domains, ok := out["domains"].([]any); ok {
		sorted(domains)
	}
	return out
}

func (r reader) field(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.IsMap():
		out := map[string]any{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out[k.String()] = r.value(f.MapValue(), v)
			if secretive(k.String()) {
				out[k.String()] = hide(out[k.String()])
			}
			return true
		})
		return out
	case f.IsList():
		out := make([]any, 0, v.List().Len())
		for n := range v.List().Len() {
			out = append(out, r.value(f, v.List().Get(n)))
		}
		return out
	}
	return r.value(f, v)
}

func (r reader) value(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return r.message(v.Message())
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return int64(v.Enum())
	case protoreflect.BytesKind:
		if utf8.Valid(v.Bytes()) {
			return string(v.Bytes())
		}
		return opaque(v.Bytes())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return int64(v.Uint())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return number(v.Float())
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.StringKind:
		return v.String()
	}
	return v.Int()
}

// number makes a whole number the same whether it came as one or as a fraction.
func number(f float64) any {
	if n := int64(f); float64(n) == f {
		return n
	}
	return f
}

// special reads messages that mean a value.
func (r reader) special(name protoreflect.FullName, m protoreflect.Message) (any, bool) {
	get := func(field protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(field)) }
	switch name {
	case "google.protobuf.Any":
		return r.any(get("type_url").String(), get("value").Bytes()), true
	case "google.protobuf.Duration":
		return (time.Duration(get("seconds").Int())*time.Second + time.Duration(get("nanos").Int())).String(), true
	case "google.protobuf.Timestamp":
		return time.Unix(get("seconds").Int(), get("nanos").Int()).UTC().Format(time.RFC3339Nano), true
	case "google.protobuf.Struct":
		return r.field(m.Descriptor().Fields().ByName("fields"), get("fields")), true
	case "google.protobuf.Value":
		return r.loose(m), true
	case "google.protobuf.ListValue":
		return r.field(m.Descriptor().Fields().ByName("values"), get("values")), true
	case "udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct":
		url := get("type_url").String()
		return withType(url[strings.LastIndexByte(url, '/')+1:], r.message(get("value").Message())), true
	case "envoy.type.v3.Percent":
		return number(get("value").Float()), true
	}
	if name.Parent() == "google.protobuf" && strings.HasSuffix(string(name), "Value") {
		f := m.Descriptor().Fields().ByName("value")
		return r.value(f, m.Get(f)), true
	}
	return nil, false
}

// loose reads a google.protobuf.Value.
func (r reader) loose(m protoreflect.Message) any {
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if f == nil || f.Name() == "null_value" {
		return nil
	}
	return r.value(f, m.Get(f))
}

func opaque(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d bytes, sha256 %s", len(b), hex.EncodeToString(sum[:6]))
}

// secretive tells whether what has that name is probably a secret: a header, an environment variable, a setting of a plugin.
func secretive(name string) bool {
	name = strings.ToLower(name)
	return name == "authorization" || name == "proxy-authorization" || name == "cookie" || slices.ContainsFunc(
		[]string{"secret", "password", "passwd", "token", "api-key", "api_key", "apikey", "private_key", "credential"},
		func(part string) bool { return strings.Contains(name, part) })
}

func sorted(list []any) {
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}
