package fleet

import (
	"fmt"
	"slices"
	"strings"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/version"
)

// Barrier says whether the data planes of all clusters of the mesh have come as far as those of the given cluster, so that it may
// decommission its old istiod, and lists exactly what is in the way. Members are as just observed.
//
// Others are compared with the version that the cluster moves to, not with the newest of the mesh: else a cluster that goes one
// version further meanwhile would hold the first one up, and the first one the other.
func Barrier(mesh, cluster string, members []Member) gate.Verdict {
	n := slices.IndexFunc(members, func(m Member) bool { return m.Name == cluster })
	if n < 0 {
		return gate.Block(v1alpha1.ReasonUnknownUse, "cluster %q is not in mesh %q: nothing of it can be decommissioned", cluster, mesh)
	}
	if m := members[n]; !m.Unfinished() || m.Upgrade.To == nil {
		return gate.Block(v1alpha1.ReasonUserAction, "cluster %q has no upgrade under way: there is nothing to decommission", cluster)
	}
	u := members[n].Upgrade
	reason := hub.ReasonNotConnected // when that is all that is in the way
	var obstacles []string
	for _, m := range sorted(members) {
		o := obstacle(m, *u.To)
		if o == "" {
			continue
		}
		obstacles = append(obstacles, o)
		if m.Known {
			reason = hub.ReasonBarrier
		}
	}
	if len(obstacles) == 0 {
		return gate.Pass()
	}
	return gate.Wait(reason, "istiod %s (revision %s) of cluster %s can be decommissioned when the data planes of every cluster of mesh %s have moved to %s: %s",
		u.From.Version, u.From.Revision, cluster, mesh, minorOf(u.To.Version), limit(obstacles))
}

// limit keeps the sentence at a length that conditions and links hold.
func limit(obstacles []string) string {
	const most = 10
	if len(obstacles) <= most {
		return strings.Join(obstacles, "; ")
	}
	return fmt.Sprintf("%s; and %s more", strings.Join(obstacles[:most], "; "), gate.Count(len(obstacles)-most, "cluster"))
}

func minorOf(v string) string {
	if minor, err := version.ParseMinor(v); err == nil {
		return minor.String()
	}
	return v
}

// obstacle says what keeps the cluster from having moved to the version; "" when it has.
func obstacle(m Member, to v1alpha1.RevisionRef) string {
	if !m.Known {
		return fmt.Sprintf("cluster %s is not known to have moved (%s), and unknown is never \"no\": make it answer, or remove it", m.Name, short(m.Problem))
	}
	target, err := version.ParseMinor(to.Version)
	if err != nil {
		return fmt.Sprintf("the version %q is not known", to.Version)
	}
	if m.Unfinished() && !m.Moved() && behind(m.Upgrade.From.Version, target) {
		return fmt.Sprintf("cluster %s is at step %s, %s", m.Name, orUnknown(m.Upgrade.Step), Remaining(m.Upgrade))
	}
	for _, r := range m.Revisions {
		if r.Sidecars+r.Gateways == 0 || !behind(r.Version, target) {
			continue
		}
		left := fmt.Sprintf("%s and %s on istiod %s (revision %s)", gate.Count(int(r.Sidecars), "sidecar"), gate.Count(int(r.Gateways), "gateway"), unknownVersion(r.Version), r.Revision)
		if m.Unfinished() {
			return fmt.Sprintf("cluster %s has %s left", m.Name, left)
		}
		return fmt.Sprintf("cluster %s has %s and no upgrade: start one", m.Name, left)
	}
	return ""
}

// behind tells whether the version is lower than the target, or not known.
func behind(v string, target version.Minor) bool {
	minor, err := version.ParseMinor(v)
	return err != nil || minor.Compare(target) < 0
}

// Remaining says which data planes of an upgrade have not moved: "2 ingress gateways, 1 gateway and 5 sidecars remain".
func Remaining(u *hub.UpgradeSummary) string {
	var parts []string
	add := func(n int32, noun string) {
		if n > 0 {
			parts = append(parts, gate.Count(int(n), noun))
		}
	}
	add(u.IngressGateways, "ingress gateway")
	add(u.EgressGateways, "egress gateway")
	add(u.DataPlanes.Gateways-u.IngressGateways-u.EgressGateways, "gateway")
	add(u.DataPlanes.Sidecars, "sidecar")
	switch len(parts) {
	case 0:
		return "what remains is not counted yet"
	case 1:
		return parts[0] + remain(u)
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1] + " remain"
}

func remain(u *hub.UpgradeSummary) string {
	if u.IngressGateways+u.EgressGateways+u.DataPlanes.Gateways+u.DataPlanes.Sidecars == 1 || u.DataPlanes.Gateways == 1 && u.DataPlanes.Sidecars == 0 {
		return " remains"
	}
	return " remain"
}

// short cuts a problem to what fits into a list of clusters.
func short(s string) string {
	const most = 160
	s = strings.TrimRight(s, ". ")
	if s == "" {
		return "it does not answer"
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
