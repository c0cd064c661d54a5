package upgrade

import (
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/cli/exit"
	helmvalues "meshlift.dev/meshlift/internal/values"
)

// values merges files of Helm values and then settings over each other, as "helm install" does.
func values(files map[string][]byte, order, settings []string) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range order {
		var v map[string]any
		if err := yaml.Unmarshal(files[name], &v); err != nil {
			return nil, exit.Usagef("%s is not a file of Helm values: %w", name, err)
		}
		merge(out, v)
	}
	if err := helmvalues.Set(out, settings); err != nil {
		return nil, exit.Usagef("%w", err)
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
