package catalog

import (
	"regexp"

	"github.com/Masterminds/semver/v3"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// componentName is what a component may be called, as in the API's schema.
var componentName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// components complains about components that could not be found, compared or fetched.
func (f *complaints) components(list []v1alpha1.Component) {
	if len(list) > maxComponents {
		f.add("it has %d components, at most %d are allowed", len(list), maxComponents)
		return
	}
	seen := map[string]bool{}
	for _, c := range list {
		if !componentName.MatchString(c.Name) || len(c.Name) > 63 {
			f.add("component %q: want a name of lower case letters, digits and dashes", c.Name)
			continue
		}
		switch {
		case c.Name == "istio" || c.Name == "kubernetes":
			f.add("component %s: this name is taken", c.Name)
		case seen[c.Name]:
			f.add("component %s is there twice", c.Name)
		case c.Helm == nil && c.OLM == nil:
			f.add("component %s: want helm or olm, or both: it is not known how to find it", c.Name)
		case c.Helm != nil && c.Helm.Chart == "":
			f.add("component %s: the name of its Helm chart is missing", c.Name)
		case c.OLM != nil && c.OLM.Package == "":
			f.add("component %s: the name of its OLM package is missing", c.Name)
		}
		seen[c.Name] = true
		f.semver(c.Name, "version", c.Version)
		if c.Helm != nil {
			f.semver(c.Name, "chart version", c.Helm.ChartVersion)
			if c.Helm.ChartVersion != "" && c.Version == "" {
				f.add("component %s has a chart version and no version", c.Name)
			}
		}
	}
}

func (f *complaints) semver(name, what, version string) {
	if version == "" {
		return
	}
	if _, err := semver.NewVersion(version); err != nil {
		f.add("component %s: %s %q: want a version like 1.31.0", name, what, version)
	}
}
