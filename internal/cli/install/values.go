package install

import (
	"errors"
	"maps"
	"strings"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/release"
)

// Values returns the values of the chart that the flags --image and --set ask for.
func Values(image string, set []string) (map[string]any, error) {
	out := map[string]any{}
	if image != "" {
		repository, tag, err := splitImage(image)
		if err != nil {
			return nil, err
		}
		out["image"] = map[string]any{"repository": repository, "tag": tag}
	}
	for _, s := range set {
		path, text, ok := strings.Cut(s, "=")
		keys := strings.Split(path, ".")
		if !ok || strings.Contains("."+path+".", "..") {
			return nil, exit.Usagef("--set %q: want path.to.key=value", s)
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, exit.Usagef("--set %q: the value is not YAML: %w", s, err)
		}
		for i := len(keys) - 1; i >= 0; i-- {
			value = map[string]any{keys[i]: value}
		}
		out = merge(out, value.(map[string]any))
	}
	return out, nil
}

func splitImage(image string) (repository, tag string, err error) {
	colon := strings.LastIndexByte(image, ':')
	if strings.Contains(image, "@") || colon <= strings.LastIndexByte(image, '/') || colon == len(image)-1 {
		return "", "", exit.Usagef("--image %q: want an image with a tag, for example ghcr.io/meshlift/meshlift:0.1.0", image)
	}
	return image[:colon], image[colon+1:], nil
}

// merge returns a with b over it; maps are merged, everything else is replaced. Neither is changed.
func merge(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		under, isMap := out[k].(map[string]any)
		over, both := v.(map[string]any)
		if isMap && both {
			out[k] = merge(under, over)
		} else {
			out[k] = v
		}
	}
	return out
}

func isNotFound(err error) bool { return errors.Is(err, release.ErrNotFound) }
