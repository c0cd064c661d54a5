package upgrade

import (
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/cli/exit"
)

// values merges files of Helm values and then settings "path.to.key=value" over each other, as "helm install" does for
// what people use: dotted paths, commas between settings, a backslash before a dot or comma that is meant as such,
// lists in braces. Indexes ("a[0]") are refused; a file can say that more clearly.
func values(files map[string][]byte, order, settings []string) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range order {
		var v map[string]any
		if err := yaml.Unmarshal(files[name], &v); err != nil {
			return nil, exit.Usagef("%s is not a file of Helm values: %w", name, err)
		}
		merge(out, v)
	}
	for _, s := range settings {
		for _, one := range splitUnescaped(s, ',') {
			if err := set(out, one); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// merge puts src over dst; maps are merged, everything else is replaced.
func merge(dst, src map[string]any) {
	for k, v := range src {
		if from, ok := v.(map[string]any); ok {
			if into, ok := dst[k].(map[string]any); ok {
				merge(into, from)
				continue
			}
		}
		dst[k] = v
	}
}

func set(dst map[string]any, setting string) error {
	key, value, ok := strings.Cut(setting, "=")
	if !ok || key == "" {
		return exit.Usagef("--set %q: write KEY=VALUE", setting)
	}
	path := splitUnescaped(key, '.')
	for n, part := range path {
		if part == "" || strings.ContainsAny(part, "[]") {
			return exit.Usagef("--set %q: %q is not a key; use a file (-f) for lists of objects", setting, part)
		}
		if n == len(path)-1 {
			dst[part] = scalar(value)
			return nil
		}
		next, ok := dst[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			dst[part] = next
		}
		dst = next
	}
	return nil
}

// scalar reads a value as Helm does: true, false, null and whole numbers are what they look like, the rest is text.
func scalar(s string) any {
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		list := []any{}
		for _, item := range splitUnescaped(s[1:len(s)-1], ',') {
			list = append(list, scalar(item))
		}
		return list
	}
	switch s {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && (s == "0" || s[0] != '0') {
		return n
	}
	return s
}

// splitUnescaped splits at a separator outside of braces that has no backslash before it, and removes those backslashes.
func splitUnescaped(s string, sep byte) []string {
	var out []string
	var part strings.Builder
	depth := 0
	for n := 0; n < len(s); n++ {
		switch c := s[n]; {
		case c == '\\' && n+1 < len(s) && depth == 0:
			// An escape for another level (a comma inside a key) is kept for that level.
			if s[n+1] != sep {
				part.WriteByte(c)
			}
			n++
			part.WriteByte(s[n])
		case c == sep && depth == 0:
			out = append(out, part.String())
			part.Reset()
		default:
			if c == '{' {
				depth++
			}
			if c == '}' {
				depth = max(0, depth-1)
			}
			part.WriteByte(c)
		}
	}
	return append(out, part.String())
}

// name of an upgrade: "1-30-to-1-31".
func name(from, to string) string { return fmt.Sprintf("%s-to-%s", from, to) }
