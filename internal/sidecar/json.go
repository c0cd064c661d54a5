package sidecar

import (
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/resource"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// ReadRecord reads what [Record.String] wrote; "" is an empty record.
func ReadRecord(text string) (Record, error) {
	out := Record{}
	if text == "" {
		return out, nil
	}
	if err := utiljson.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("read the record of sidecar values: %w", err)
	}
	return out, nil
}

// String is the record as JSON; "" for an empty one.
func (r Record) String() string {
	if len(r) == 0 {
		return ""
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // it holds only what came from JSON
	}
	return string(data)
}

// canonical is the tree as it comes out of JSON, in which whole numbers are int64: values come from storage as floats and from
// tests as ints.
func canonical(values map[string]any) map[string]any {
	data, err := json.Marshal(values)
	if err != nil {
		return map[string]any{}
	}
	out := map[string]any{}
	if err := utiljson.Unmarshal(data, &out); err != nil || out == nil {
		return map[string]any{}
	}
	return out
}

func equal(a, b map[string]any) bool { return reflect.DeepEqual(canonical(a), canonical(b)) }

func quantities(list map[string]resource.Quantity) map[string]string {
	out := map[string]string{}
	for name, q := range list {
		out[name] = q.String()
	}
	return out
}
