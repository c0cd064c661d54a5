package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/internal/envoyfilter"
)

// Filter is one EnvoyFilter with its verdict.
type Filter struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	envoyfilter.Verdict
}

// Filters judges every EnvoyFilter of the cluster against the target: by the tables, and by the new istiod's own answer when it runs. They are
// sorted by namespace and name.
func Filters(f *Facts) []Filter {
	var all []Resource
	var specs []map[string]any
	for _, r := range f.Config {
		if r.Kind == "EnvoyFilter" {
			all, specs = append(all, r), append(specs, spec(r))
		}
	}
	out := []Filter{}
	for n, verdict := range envoyfilter.JudgeAll(specs, f.From.Version, f.To.Version) {
		r := all[n]
		filter := Filter{Namespace: r.Namespace, Name: r.Name, Verdict: verdict}
		for _, a := range f.Admission {
			if a.Object == r.Object {
				filter.hear(a, f.To.Revision)
			}
		}
		out = append(out, filter)
	}
	slices.SortFunc(out, func(a, b Filter) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// hear adds what the new istiod said.
func (f *Filter) hear(a Answer, revision string) {
	switch {
	case a.Denied != "":
		f.Add(envoyfilter.Breaks, 0, "istiod %s refuses it: %s", revision, strings.TrimSuffix(a.Denied, "."))
	case a.Failed != "":
		f.Add(envoyfilter.Unknown, 0, "istiod %s could not be asked: %s", revision, strings.TrimSuffix(a.Failed, "."))
	}
	for _, w := range a.Warnings {
		f.Add(envoyfilter.Fine, 0, "istiod %s warns: %s", revision, strings.TrimSuffix(w, "."))
	}
}

func spec(r Resource) map[string]any {
	s, _ := r.Content["spec"].(map[string]any)
	return s
}

func envoyFilters(f *Facts) []Finding {
	var out []Finding
	if why, unknown := f.Unknown[Admission]; unknown && slices.ContainsFunc(f.Config, func(r Resource) bool { return r.Kind == "EnvoyFilter" }) {
		out = append(out, general(Unknown, "The new istiod could not be asked: "+strings.TrimSuffix(why, ".")+".", "Run it with credentials that may create EnvoyFilters in a dry run."))
	}
	for _, filter := range Filters(f) {
		o := Object{Kind: "EnvoyFilter", Namespace: filter.Namespace, Name: filter.Name}
		text := strings.TrimSuffix(filter.Explain(), ".")
		if text != "" {
			text += "."
		}
		switch filter.Outcome {
		case envoyfilter.Breaks:
			// Step 3 keeps data planes where they are until its owner has looked, so an upgrade may start.
			out = append(out, about(Warning, o, "It breaks with Istio "+f.To.Version+": "+text, "Change it with its owner before data planes move (step 3)."))
		case envoyfilter.Changes:
			out = append(out, about(Warning, o, "It changes with Istio "+f.To.Version+": "+text, "Make sure with its owner that this is meant (step 3)."))
		case envoyfilter.Unknown:
			out = append(out, about(Unknown, o, "It cannot be judged for Istio "+f.To.Version+": "+text, "Check it with its owner (step 3)."))
		default:
			if text != "" {
				out = append(out, about(Info, o, "It does the same with both versions. "+text, ""))
			}
		}
	}
	return out
}

// configAdmission shows what the new istiod says of everything but EnvoyFilters, which have a check of their own.
func configAdmission(f *Facts) []Finding {
	var out []Finding
	for _, a := range f.Admission {
		switch {
		case a.Kind == "EnvoyFilter":
		case a.Denied != "":
			out = append(out, about(Warning, a.Object, fmt.Sprintf("istiod %s refuses it in a dry run: %s.", f.To.Revision, strings.TrimSuffix(a.Denied, ".")), "Correct it before data planes move; what is stored stays in force, but can no longer be changed."))
		case a.Failed != "":
			out = append(out, about(Unknown, a.Object, fmt.Sprintf("istiod %s could not be asked: %s.", f.To.Revision, strings.TrimSuffix(a.Failed, ".")), "Run it with credentials that may create such objects in a dry run."))
		case len(a.Warnings) > 0:
			out = append(out, about(Info, a.Object, fmt.Sprintf("istiod %s warns: %s.", f.To.Revision, strings.Join(a.Warnings, "; ")), ""))
		}
	}
	return out
}
