package values

import (
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
)

// Set puts settings as in "helm install --set" into the values: dotted paths, commas between settings, lists in braces,
// indexes (https://helm.sh/docs/intro/using_helm/#the-format-and-limitations-of---set). A later setting wins.
func Set(into map[string]any, settings []string) error {
	for _, s := range settings {
		if strings.HasPrefix(s, "=") { // Helm ignores it
			return fmt.Errorf("--set %q: write KEY=VALUE: the key is empty", s)
		}
		if err := strvals.ParseInto(s, into); err != nil {
			return fmt.Errorf("--set %q: write KEY=VALUE: %w", s, err)
		}
	}
	return nil
}
