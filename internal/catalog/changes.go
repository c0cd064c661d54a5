package catalog

import (
	"regexp"
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/version"
)

// maxChanges is that of the API's schema.
const maxChanges = 500

// Between returns the changes of behaviour that an upgrade meets, those of older releases first. Either version may be a full
// one; of one that cannot be read nothing is known, so nothing is returned.
func (c Catalog) Between(from, to string) []v1alpha1.Change {
	var out []v1alpha1.Change
	for _, change := range c.Changes {
		if minorOf(from) != "" && minorOf(to) != "" && compare(change.Version, minorOf(from)) > 0 && compare(change.Version, minorOf(to)) <= 0 {
			out = append(out, change)
		}
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.Change) int { return compare(a.Version, b.Version) })
	return out
}

// Supports lists the Kubernetes versions of the release of that Istio version, oldest first; none when it is not in the catalog.
func (c Catalog) Supports(v string) []string {
	r, _ := c.named(v)
	return slices.SortedFunc(slices.Values(r.Kubernetes), compare)
}

// changes complains about changes that are there twice, or that nothing can be done with.
func (f *complaints) changes(list []v1alpha1.Change) {
	if len(list) > maxChanges {
		f.add("it has %d changes, at most %d are allowed", len(list), maxChanges)
		return
	}
	seen := map[string]bool{}
	for _, c := range list {
		if c.ID == "" || seen[c.ID] {
			f.add("change %q is there twice, or has no name", c.ID)
		}
		seen[c.ID] = true
		if !minor(c.Version) {
			f.add("change %q: version %q: want a minor version, for example 1.31", c.ID, c.Version)
		}
		if !slices.Contains([]string{"info", "warning", "error"}, c.Severity) {
			f.add("change %q: severity %q: want info, warning or error", c.ID, c.Severity)
		}
		if len(c.Touches) == 0 || c.Summary == "" {
			f.add("change %q says nothing, or touches nothing", c.ID)
		}
		for _, s := range c.Touches {
			if _, err := regexp.Compile(s.Matches); err != nil || s.Kind == "" {
				f.add("change %q: a selector without a kind, or with an expression that cannot be read", c.ID)
			}
		}
	}
}

// minorOf is the minor version of a version, "" when it cannot be read.
func minorOf(v string) string {
	m, err := version.ParseMinor(v)
	if err != nil {
		return ""
	}
	return m.String()
}
