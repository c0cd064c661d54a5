package xdsdiff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// difference of one value. Old or New is nil when it is not there.
type difference struct {
	path     string
	old, new any
}

// compare adds the differences of two trees, those deepest down.
func compare(path string, a, b any, out *[]difference) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok && x[typeKey] == y[typeKey] {
			compareFields(path, x, y, out)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			compareLists(path, x, y, out)
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		*out = append(*out, difference{path, a, b})
	}
}

func compareFields(path string, a, b map[string]any, out *[]difference) {
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := name
		if strings.ContainsAny(name, ".[]") {
			at = "[" + name + "]" // the key of a map
		}
		compare(join(path, at), a[name], b[name], out)
	}
}

func join(path, name string) string {
	if path == "" || strings.HasPrefix(name, "[") {
		return path + name
	}
	return path + "." + name
}

// compareLists matches items by their names, as those of filters, chains, hosts and routes; else by their place, without the items that
// are the same at both ends.
func compareLists(path string, a, b []any, out *[]difference) {
	namesA, namesB := keys(a), keys(b)
	if namesA == nil || namesB == nil {
		comparePlaces(path, a, b, out)
		return
	}
	of := func(list []any, names []string, name string) any {
		if n := slices.Index(names, name); n >= 0 {
			return list[n]
		}
		return nil
	}
	var both []string
	for _, name := range namesA {
		compare(path+"["+name+"]", of(a, namesA, name), of(b, namesB, name), out)
		if slices.Contains(namesB, name) {
			both = append(both, name)
		}
	}
	var order []string
	for _, name := range namesB {
		if slices.Contains(namesA, name) {
			order = append(order, name)
		} else {
			compare(path+"["+name+"]", nil, of(b, namesB, name), out)
		}
	}
	if !slices.Equal(both, order) {
		*out = append(*out, difference{path + " (order)", strings.Join(both, ", "), strings.Join(order, ", ")})
	}
}

func comparePlaces(path string, a, b []any, out *[]difference) {
	start := 0
	for start < len(a) && start < len(b) && reflect.DeepEqual(a[start], b[start]) {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && reflect.DeepEqual(a[endA-1], b[endB-1]) {
		endA, endB = endA-1, endB-1
	}
	for n := start; n < max(endA, endB); n++ {
		var x, y any
		if n < endA {
			x = a[n]
		}
		if n < endB {
			y = b[n]
		}
		compare(fmt.Sprintf("%s[%d]", path, n), x, y, out)
	}
}

// keys are the names of all items, with a number at those that come again; nil when an item has none. An empty list has no names and
// is compared with any.
func keys(list []any) []string {
	out := make([]string, 0, len(list))
	seen := map[string]int{}
	for _, item := range list {
		fields, _ := item.(map[string]any)
		name, ok := fields["name"].(string)
		if !ok {
			return nil
		}
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, seen[name])
		}
		out = append(out, name)
	}
	return out
}

// contains tells whether a tree has everything that the other one has: the fields of a message, and for each item of a list an item.
func contains(tree, part any) bool {
	switch p := part.(type) {
	case map[string]any:
		t, ok := tree.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range p {
			if have, ok := t[name]; !ok || !contains(have, value) {
				return false
			}
		}
		return true
	case []any:
		t, ok := tree.([]any)
		return ok && !slices.ContainsFunc(p, func(item any) bool {
			return !slices.ContainsFunc(t, func(have any) bool { return contains(have, item) })
		})
	}
	return reflect.DeepEqual(tree, part)
}
