package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/version"
)

// OldIstiods lists the istiods of a mesh that have to be decommissioned, by cluster: those whose minor version is lower than the
// newest one of the mesh, and those that an unfinished upgrade leaves. Of a cluster that does not answer it is what it said last.
func OldIstiods(members []Member) []hub.OldIstiod {
	newest, known := newest(members)
	var out []hub.OldIstiod
	for _, m := range sorted(members) {
		listed := map[string]bool{}
		for _, r := range m.Revisions {
			minor, err := version.ParseMinor(r.Version)
			old := known && err == nil && minor.Compare(newest) < 0
			if old || m.Unfinished() && m.Upgrade.From.Revision == r.Revision {
				listed[r.Revision] = true
				out = append(out, hub.OldIstiod{Cluster: m.Name, RevisionRef: r.RevisionRef})
			}
		}
		if m.Unfinished() && !listed[m.Upgrade.From.Revision] {
			out = append(out, hub.OldIstiod{Cluster: m.Name, RevisionRef: *m.Upgrade.From})
		}
	}
	return out
}

func newest(members []Member) (out version.Minor, known bool) {
	for _, m := range members {
		for _, r := range m.Revisions {
			if minor, err := version.ParseMinor(r.Version); err == nil && (!known || minor.Compare(out) > 0) {
				out, known = minor, true
			}
		}
	}
	return out, known
}

func sorted(members []Member) []Member {
	out := slices.Clone(members)
	slices.SortStableFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Versions are the versions of all istiods in one line, newest first, for the eye.
func Versions(members []Member) string {
	var out []string
	for _, m := range members {
		for _, r := range m.Revisions {
			if r.Version != "" && !slices.Contains(out, r.Version) {
				out = append(out, r.Version)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return -compareVersions(a, b) })
	return strings.Join(out, ", ")
}

// compareVersions orders versions; what is none comes first, by its text.
func compareVersions(a, b string) int {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	switch {
	case errA == nil && errB == nil && va.Compare(vb) != 0:
		return va.Compare(vb)
	case errA == nil && errB != nil:
		return 1
	case errA != nil && errB == nil:
		return -1
	}
	return strings.Compare(a, b)
}

// Action that is frozen while an old istiod exists.
type Action string

// Actions; the text is what cannot be done.
const (
	AddCluster     Action = "cluster {cluster} cannot be added to mesh {mesh}"
	RemoveCluster  Action = "cluster {cluster} cannot be removed from mesh {mesh}"
	ChangeSidecars Action = "the configuration of sidecars of mesh {mesh} cannot be changed"
	DeleteMesh     Action = "mesh {mesh} cannot be deleted"
)

// Frozen says whether the action may happen to a mesh with these old istiods. The sentence names the clusters.
func Frozen(a Action, cluster, mesh string, old []hub.OldIstiod) gate.Verdict {
	if len(old) == 0 {
		return gate.Pass()
	}
	what := strings.NewReplacer("{cluster}", strconv.Quote(cluster), "{mesh}", strconv.Quote(mesh)).Replace(string(a))
	return gate.Block(hub.ReasonOldIstiod, "%s while old istiods exist (%s): finish the upgrade and decommission them, or override with the annotation %s and a reason",
		what, Names(old), hub.BreakGlassAnnotation)
}

// State is the condition Frozen of a mesh.
func State(old []hub.OldIstiod) (frozen bool, reason, message string) {
	if len(old) == 0 {
		return false, v1alpha1.ReasonDone, "no old istiod exists in the mesh"
	}
	return true, hub.ReasonOldIstiod, fmt.Sprintf("old istiods exist (%s): clusters are neither added nor removed, the configuration of sidecars does not change, and the platform is not upgraded until they are decommissioned", Names(old))
}

// Names writes old istiods by cluster: "east: 1.30.0 (revision 1-30)"; every cluster is named, as far as 20 go.
func Names(old []hub.OldIstiod) string {
	var names []string
	for _, o := range old {
		name := fmt.Sprintf("%s: %s (revision %s)", o.Cluster, unknownVersion(o.Version), o.Revision)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return enumerate(names)
}

const maxNamed = 20

func enumerate(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

func unknownVersion(v string) string {
	if v == "" {
		return "unknown version"
	}
	return v
}

// PlatformInput is what the upgrade of the platform, the hub itself, depends on.
type PlatformInput struct {
	// Running and Offered version of the hub. A running version that is not known is taken for an older one.
	Running, Offered string
	// Old istiods of all meshes.
	Old []hub.OldIstiod
}

// UpgradePlatform says whether the hub may be upgraded to the offered version: not while any cluster has an old istiod. To install
// the version again that runs is no upgrade.
func UpgradePlatform(in PlatformInput) gate.Verdict {
	if len(in.Old) == 0 {
		return gate.Pass()
	}
	offered, err := semver.NewVersion(in.Offered)
	if err == nil && in.Running != "" {
		if running, err := semver.NewVersion(in.Running); err == nil && offered.Compare(running) <= 0 {
			return gate.Pass()
		}
	}
	return gate.Block(hub.ReasonOldIstiod, "the platform cannot be upgraded to version %q while old istiods exist (%s): finish the upgrade and decommission them first, or override with `--break-glass REASON`",
		in.Offered, Names(in.Old))
}
