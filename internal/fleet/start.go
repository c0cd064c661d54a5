package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/version"
)

// Check says whether the waves of an upgrade name clusters of the mesh, each once, and approvals name waves.
func Check(spec hub.MeshUpgradeSpec, clusters []string) gate.Verdict {
	if _, err := version.ParseMinor(spec.Version); err != nil {
		return gate.Block(v1alpha1.ReasonUnknownVersion, "the version %q cannot be read: write \"1.31\" or \"1.31.0\"", spec.Version)
	}
	waves, in := map[string]bool{}, map[string]string{}
	var strangers []string
	for _, w := range spec.Waves {
		waves[w.Name] = true
		if w.Soak != nil && w.Soak.Duration < 0 {
			return gate.Block(v1alpha1.ReasonUserAction, "the soak of wave %q is %s: give a duration that is not negative", w.Name, w.Soak.Duration)
		}
		for _, c := range w.Clusters {
			if other, twice := in[c]; twice {
				return gate.Block(v1alpha1.ReasonUserAction, "cluster %q is in the waves %q and %q: keep it in one", c, other, w.Name)
			}
			in[c] = w.Name
			if !slices.Contains(clusters, c) {
				strangers = append(strangers, c)
			}
		}
	}
	if len(strangers) > 0 {
		return gate.Block(v1alpha1.ReasonUserAction, "%s not in mesh %q: its clusters are %s", are(strangers), spec.Mesh, orNone(clusters))
	}
	for _, a := range spec.Approvals {
		if !waves[a.Wave] {
			return gate.Block(v1alpha1.ReasonUserAction, "there is no wave %q to approve in this upgrade", a.Wave)
		}
	}
	return gate.Pass()
}

func are(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("cluster %q is", names[0])
	}
	return "clusters " + strings.Join(names, ", ") + " are"
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return gate.List(slices.Sorted(slices.Values(names)))
}

// StartUpgrade says whether a mesh may be upgraded: no other upgrade of it runs, and no cluster is known to be unable.
func StartUpgrade(u *hub.MeshUpgrade, others []hub.MeshUpgrade, members []Member) gate.Verdict {
	for _, o := range others {
		if o.Name != u.Name && o.Spec.Mesh == u.Spec.Mesh && o.DeletionTimestamp.IsZero() && !meta.IsStatusConditionTrue(o.Status.Conditions, hub.ConditionDecommissioned) {
			return gate.Block(v1alpha1.ReasonAnotherUpgrade, "MeshUpgrade %q of mesh %q to Istio %s is not finished: finish it, or delete it (what it started in clusters stays)", o.Name, u.Spec.Mesh, o.Spec.Version)
		}
	}
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	if v := Check(u.Spec, names); !v.Passed() {
		return v
	}
	target, _ := version.ParseMinor(u.Spec.Version)
	var unable []string
	for _, w := range WavesOf(u.Spec, names) {
		for _, name := range w.Clusters {
			n := slices.IndexFunc(members, func(m Member) bool { return m.Name == name })
			if m := members[n]; m.Known && !able(m, target) {
				unable = append(unable, name+" (Istio "+cmp.Or(Versions([]Member{m}), "none")+")")
			}
		}
	}
	if len(unable) > 0 {
		return gate.Block(v1alpha1.ReasonUnsupportedPath, "mesh %q cannot be upgraded to Istio %s: the catalog offers it not to %s; see `meshlift plan --to %s` there, or leave the cluster out with waves",
			u.Spec.Mesh, u.Spec.Version, strings.Join(unable, ", "), u.Spec.Version)
	}
	return gate.Pass()
}

func able(m Member, target version.Minor) bool {
	return m.Unfinished() || arrived(m.Revisions, target) || slices.ContainsFunc(m.Revisions, func(r hub.RevisionSummary) bool {
		return slices.Contains(r.UpgradeTo, target.String())
	})
}
