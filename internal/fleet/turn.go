package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
)

// TurnInput is what the permission to decommission depends on.
type TurnInput struct {
	Mesh string
	// Present turn, as it is recorded; nil when no cluster has it.
	Present *hub.Turn
	// Members of the mesh, as just observed.
	Members []Member
	Now     time.Time
}

// TurnDecision says which cluster may decommission.
type TurnDecision struct {
	// Turn to record. A turn that is recorded belongs to its cluster until that cluster is known to have ended, or to have heard
	// that the permission is taken back; meanwhile no other cluster gets one.
	Turn *hub.Turn
	// Permit tells whether the cluster of the turn may go on now.
	Permit bool
	// Story tells in one sentence what changed, for the history; "" when nothing did.
	Story string
}

// Turns decides. Of the clusters that ask, one at a time gets the permission, in the order of the requests, when every cluster of the
// mesh has moved. It is taken back when that is no longer so.
func Turns(in TurnInput) TurnDecision {
	d := TurnDecision{Turn: in.Present}
	if in.Present != nil {
		d = d.keep(in)
	}
	if d.Turn != nil {
		return d
	}
	if busy(in.Members) != "" {
		return d // somebody decommissions without a turn, by break-glass: one at a time
	}
	candidates := slices.DeleteFunc(slices.Clone(in.Members), func(m Member) bool { return !asks(m) || !Barrier(in.Mesh, m.Name, in.Members).Passed() })
	if len(candidates) == 0 {
		return d
	}
	first := slices.MinFunc(candidates, func(a, b Member) int {
		return cmp.Or(requestedAt(a).Compare(requestedAt(b)), cmp.Compare(a.Name, b.Name))
	})
	d.Turn = &hub.Turn{Cluster: first.Name, Upgrade: first.Upgrade.Name, UID: first.Upgrade.UID, Since: metav1.NewTime(in.Now)}
	d.Permit = true
	d.Story = fmt.Sprintf("cluster %s may decommission istiod %s (revision %s): every cluster of the mesh has moved its data planes", first.Name, first.Upgrade.From.Version, first.Upgrade.From.Revision)
	return d
}

// keep decides about the present turn.
func (d TurnDecision) keep(in TurnInput) TurnDecision {
	t := in.Present
	n := slices.IndexFunc(in.Members, func(m Member) bool { return m.Name == t.Cluster })
	if n < 0 {
		return TurnDecision{Story: fmt.Sprintf("the turn of cluster %s is over: it left the mesh", t.Cluster)}
	}
	m := in.Members[n]
	switch {
	case !m.Known:
		return d // it may be in the middle of it, and cannot be told otherwise
	case m.Upgrade == nil || m.Upgrade.UID != t.UID:
		return TurnDecision{Story: fmt.Sprintf("the turn of cluster %s is over: ClusterUpgrade %q is not under way any more", t.Cluster, t.Upgrade)}
	case ended(m.Upgrade.Conditions):
		return TurnDecision{Story: fmt.Sprintf("the turn of cluster %s is over: its old istiod is gone", t.Cluster)}
	}
	if asks(m) && Barrier(in.Mesh, m.Name, in.Members).Passed() {
		d.Permit = true
		return d
	}
	if m.Heard && !m.allowed() && !m.underWay() {
		return TurnDecision{Story: fmt.Sprintf("the turn of cluster %s is over: %s", t.Cluster, why(in, m))}
	}
	return d
}

func why(in TurnInput, m Member) string {
	if !asks(m) {
		return "its request was withdrawn, or its data planes are not moved any more"
	}
	return "it was taken back, because " + Barrier(in.Mesh, m.Name, in.Members).Message
}

// asks tells whether the cluster is ready to decommission and somebody asked for it.
func asks(m Member) bool {
	return m.Known && m.Moved() && m.Upgrade.DecommissionRequested && m.Upgrade.UID != ""
}

func requestedAt(m Member) time.Time {
	if m.Upgrade == nil || m.Upgrade.DecommissionRequestedAt == nil {
		return time.Time{}
	}
	return m.Upgrade.DecommissionRequestedAt.Time
}

// busy names a cluster that is in the middle of a decommission, or believes that it may be; "" when none is.
func busy(members []Member) string {
	for _, m := range sorted(members) {
		if m.underWay() || m.Unfinished() && m.allowed() {
			return m.Name
		}
	}
	return ""
}

// Answer is what the hub tells the cluster about its decommission; nil when there is nothing to say yet.
func Answer(mesh string, m Member, members []Member, d TurnDecision) *v1alpha1.HubDecommission {
	if !m.Unfinished() || m.Upgrade.UID == "" || !m.Moved() && !m.Upgrade.DecommissionRequested && !m.underWay() {
		return nil
	}
	out := &v1alpha1.HubDecommission{Upgrade: m.Upgrade.Name, UID: m.Upgrade.UID}
	if d.Permit && d.Turn.Cluster == m.Name && d.Turn.UID == m.Upgrade.UID {
		out.Pass = true
		return out
	}
	v := Barrier(mesh, m.Name, members)
	if v.Passed() {
		v = wait(mesh, m, members, d)
	}
	out.Reason, out.Message = v.Reason, clip(v.Message)
	return out
}

func wait(mesh string, m Member, members []Member, d TurnDecision) gate.Verdict {
	other := busy(members)
	if d.Turn != nil {
		other = d.Turn.Cluster
	}
	if other != "" && other != m.Name {
		return gate.Wait(hub.ReasonOneAtATime, "the old istiods of mesh %s are decommissioned one cluster after the other, and cluster %s is under way: it goes on by itself when that is done", mesh, other)
	}
	return gate.Wait(v1alpha1.ReasonUserAction, "every cluster of mesh %s has moved: ask for the decommission of cluster %s", mesh, m.Name)
}

// clip keeps a message within the limit of the schema of HubVerdict, which counts characters.
func clip(s string) string {
	const most = 2048
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// Components is the answer for step 1 of the cluster, from the condition ComponentsReady of its MemberCluster; nil when the
// hub does not know yet.
func Components(mc *hub.MemberCluster) *v1alpha1.HubVerdict {
	for _, c := range mc.Status.Conditions {
		if c.Type != hub.ConditionComponentsReady || c.Status == metav1.ConditionUnknown {
			continue
		}
		if c.Status == metav1.ConditionTrue {
			return &v1alpha1.HubVerdict{Pass: true}
		}
		return &v1alpha1.HubVerdict{Reason: clipReason(c.Reason), Message: clip(c.Message)}
	}
	return nil
}

func clipReason(s string) string {
	if len(s) > 64 {
		return v1alpha1.ReasonUserAction
	}
	return s
}
