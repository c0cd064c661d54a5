package install

import (
	"errors"
	"maps"
	"strings"

	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/release"
	helmvalues "meshlift.dev/meshlift/internal/values"
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
	if err := helmvalues.Set(out, set); err != nil {
		return nil, exit.Usagef("%w", err)
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
