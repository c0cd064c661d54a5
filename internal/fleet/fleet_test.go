package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// cluster is one with these istiods, "1.30" or "1.30*" when data planes run on it, and no upgrade.
func cluster(name string, istiods ...string) Member {
	m := Member{Name: name, Known: true, Heard: true}
	for _, v := range istiods {
		r := hub.RevisionSummary{}
		if v, r.Sidecars = strings.TrimSuffix(v, "*"), int32(strings.Count(v, "*")); r.Sidecars > 0 {
			r.Sidecars, r.Gateways = 3, 1
		}
		r.Version, r.Revision = v+".0", strings.ReplaceAll(v, ".", "-")
		m.Revisions = append(m.Revisions, r)
	}
	return m
}

// upgrading is a cluster in the middle of an upgrade from 1.30 to 1.31 of which so many sidecars are left.
func upgrading(name string, left int32, change ...func(*Member)) Member {
	m := cluster(name, "1.30", "1.31*")
	m.Upgrade = &hub.UpgradeSummary{
		Name: "up", UID: types.UID("uid-" + name), Version: "1.31", Step: "4/5 data planes",
		From: &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, To: &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"},
		DataPlanes: v1alpha1.DataPlaneCounts{Total: 9, Moved: 9 - left, Sidecars: left},
	}
	set(&m, v1alpha1.ConditionAccepted, true, v1alpha1.ReasonDone)
	set(&m, v1alpha1.ConditionDataPlanesMoved, left == 0, v1alpha1.ReasonDataPlanesRemain)
	if left > 0 {
		m.Revisions[0].Sidecars = left
	}
	for _, f := range change {
		f(&m)
	}
	return m
}

func set(m *Member, kind string, met bool, reason string) {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}
	if met {
		c.Status = metav1.ConditionTrue
	}
	m.Upgrade.Conditions = append(slices.DeleteFunc(m.Upgrade.Conditions, func(o metav1.Condition) bool { return o.Type == kind }), c)
}

func asked(ago time.Duration) func(*Member) {
	return func(m *Member) {
		at := metav1.NewTime(now.Add(-ago))
		m.Upgrade.DecommissionRequested, m.Upgrade.DecommissionRequestedAt = true, &at
	}
}

func told(m *Member) {
	m.Link = &v1alpha1.HubLink{Decommission: &v1alpha1.HubDecommission{UID: m.Upgrade.UID, HubVerdict: v1alpha1.HubVerdict{Pass: true}}}
}

func soaking(m *Member) {
	m.Upgrade.ScaledDown = true
	set(m, v1alpha1.ConditionDecommissioned, false, v1alpha1.ReasonSoaking)
}

func gone(name string) Member {
	m := upgrading(name, 0, asked(time.Hour))
	m.Revisions = m.Revisions[1:]
	set(&m, v1alpha1.ConditionDecommissioned, true, v1alpha1.ReasonDone)
	return m
}

func lost(m Member) Member { return Unknown(m, "connection refused") }

func TestOldIstiodsAreThoseBelowTheNewestAndThoseThatAnUpgradeLeaves(t *testing.T) {
	same := cluster("south", "1.31")
	same.Upgrade = &hub.UpgradeSummary{From: &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}}
	for name, c := range map[string]struct {
		members []Member
		want    string
	}{
		"none":                                  {[]Member{cluster("east", "1.31"), cluster("west", "1.31")}, ""},
		"no cluster":                            {nil, ""},
		"one cluster is behind":                 {[]Member{cluster("west", "1.30*"), cluster("east", "1.31*")}, "west: 1.30.0 (revision 1-30)"},
		"an upgrade runs":                       {[]Member{upgrading("east", 0)}, "east: 1.30.0 (revision 1-30)"},
		"an upgrade to the same minor version":  {[]Member{same}, "south: 1.31.0 (revision 1-31)"},
		"an upgrade is over":                    {[]Member{gone("east")}, ""},
		"a cluster that does not answer counts": {[]Member{lost(cluster("west", "1.30")), cluster("east", "1.31")}, "west: 1.30.0 (revision 1-30)"},
		"a patch version never matters":         {[]Member{{Name: "a", Revisions: []hub.RevisionSummary{{RevisionRef: v1alpha1.RevisionRef{Revision: "x", Version: "1.31.0"}}, {RevisionRef: v1alpha1.RevisionRef{Revision: "y", Version: "1.31.4"}}}}}, ""},
	} {
		if got := Names(OldIstiods(c.members)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAFreezeNamesTheClustersAndTheActionAndHowToOverrideIt(t *testing.T) {
	old := OldIstiods([]Member{cluster("west", "1.30"), cluster("east", "1.31")})
	for action, want := range map[Action]string{
		AddCluster: `cluster "north" cannot be added to mesh "prod"`, RemoveCluster: `cluster "north" cannot be removed from mesh "prod"`,
		ChangeSidecars: `the configuration of sidecars of mesh "prod" cannot be changed`, DeleteMesh: `mesh "prod" cannot be deleted`,
	} {
		v := Frozen(action, "north", "prod", old)
		for _, word := range []string{want, "west: 1.30.0", hub.BreakGlassAnnotation} {
			if v.Passed() || !strings.Contains(v.Message, word) {
				t.Errorf("%q does not say %q", v.Message, word)
			}
		}
		if !Frozen(action, "north", "prod", nil).Passed() {
			t.Errorf("%s is frozen without an old istiod", action)
		}
	}
}

func TestThePlatformIsNotUpgradedWhileAnOldIstiodExists(t *testing.T) {
	old := OldIstiods([]Member{upgrading("east", 0)})
	for _, c := range []struct {
		running, offered string
		old              []hub.OldIstiod
		pass             bool
	}{
		{"1.0.0", "1.1.0", nil, true},
		{"1.0.0", "1.1.0", old, false},
		{"1.1.0", "1.1.0", old, true},
		{"1.2.0", "1.1.0", old, true},
		{"", "1.1.0", old, false},
		{"dev", "1.1.0", old, false},
		{"1.0.0", "whatever", old, false},
	} {
		v := UpgradePlatform(PlatformInput{Running: c.running, Offered: c.offered, Old: c.old})
		if v.Passed() != c.pass || !c.pass && !strings.Contains(v.Message, "east: 1.30.0") {
			t.Errorf("%q to %q with %d old istiods: %+v", c.running, c.offered, len(c.old), v)
		}
	}
}

func TestTheBarrierListsExactlyWhatIsInTheWay(t *testing.T) {
	gateways := upgrading("west", 2)
	gateways.Upgrade.DataPlanes = v1alpha1.DataPlaneCounts{Total: 9, Moved: 4, Sidecars: 2, Gateways: 3}
	gateways.Upgrade.IngressGateways, gateways.Upgrade.EgressGateways = 1, 1
	further := cluster("north", "1.31*", "1.32")
	further.Upgrade = &hub.UpgradeSummary{From: &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}, To: &v1alpha1.RevisionRef{Revision: "1-32", Version: "1.32.0"}}
	for name, c := range map[string]struct {
		others []Member
		want   []string // none: it passes
	}{
		"alone in the mesh":                       {nil, nil},
		"the other has moved":                     {[]Member{upgrading("west", 0)}, nil},
		"the other is done":                       {[]Member{gone("west")}, nil},
		"the other never had the old version":     {[]Member{cluster("west", "1.31*")}, nil},
		"the other has an old istiod without use": {[]Member{cluster("west", "1.30")}, nil},
		"the other goes one version further":      {[]Member{further}, nil},
		"the other is at step 4":                  {[]Member{gateways}, []string{"west is at step 4/5 data planes", "1 ingress gateway, 1 egress gateway, 1 gateway and 2 sidecars remain"}},
		"the other has not begun":                 {[]Member{cluster("west", "1.30*")}, []string{"west has 3 sidecars and 1 gateway on istiod 1.30.0 (revision 1-30) and no upgrade"}},
		"the other does not answer":               {[]Member{lost(gone("west"))}, []string{"west is not known to have moved (connection refused)", "unknown is never \"no\""}},
		"another version cannot be read":          {[]Member{cluster("west", "latest*")}, []string{"west has 3 sidecars"}},
		"two are in the way, and both are named":  {[]Member{cluster("west", "1.30*"), lost(cluster("north"))}, []string{"north is not known", "west has 3 sidecars"}},
		"a third revision of the cluster is in use": {[]Member{func() Member {
			m := upgrading("west", 0)
			m.Revisions = append(m.Revisions, cluster("", "1.29*").Revisions...)
			return m
		}()}, []string{"west has 3 sidecars and 1 gateway on istiod 1.29.0"}},
	} {
		v := Barrier("prod", "east", append([]Member{upgrading("east", 0)}, c.others...))
		if v.Passed() != (len(c.want) == 0) {
			t.Errorf("%s: %+v", name, v)
		}
		for _, w := range append(c.want, "") {
			if !strings.Contains(v.Message, w) {
				t.Errorf("%s: %q does not say %q", name, v.Message, w)
			}
		}
	}
}

func TestOneClusterAtATimeInTheOrderOfTheRequests(t *testing.T) {
	turn := func(cluster string) *hub.Turn {
		return &hub.Turn{Cluster: cluster, Upgrade: "up", UID: types.UID("uid-" + cluster)}
	}
	east, west := upgrading("east", 0, asked(time.Minute)), upgrading("west", 0, asked(time.Hour))
	for name, c := range map[string]struct {
		present *hub.Turn
		members []Member
		want    string
		permit  bool
	}{
		"the first that asked":                                     {nil, []Member{east, west}, "west", true},
		"nobody asked":                                             {nil, []Member{upgrading("east", 0), upgrading("west", 0)}, "", false},
		"the other has not moved":                                  {nil, []Member{east, upgrading("west", 1)}, "", false},
		"the other does not answer":                                {nil, []Member{east, lost(gone("west"))}, "", false},
		"the turn is kept, whoever asked first":                    {turn("east"), []Member{east, west}, "east", true},
		"the turn goes on to the next when the old istiod is gone": {turn("east"), []Member{gone("east"), west}, "west", true},
		"a turn of another upgrade of the cluster is over":         {&hub.Turn{Cluster: "east", UID: "before"}, []Member{east, west}, "west", true},
		"the cluster left the mesh":                                {turn("south"), []Member{east, west}, "west", true},
		"the cluster of the turn does not answer: nobody else":     {turn("east"), []Member{lost(east), west}, "east", false},
		"another stopped to answer in the middle: taken back":      {turn("east"), []Member{upgrading("east", 0, asked(0), told, soaking), lost(west)}, "east", false},
		"taken back, and the cluster has not heard of it":          {turn("east"), []Member{func() Member { m := upgrading("east", 0, asked(0)); m.Heard = false; return m }(), upgrading("west", 1)}, "east", false},
		"taken back, heard, and it is still scaled to zero":        {turn("east"), []Member{upgrading("east", 0, asked(0), soaking), upgrading("west", 1)}, "east", false},
		"taken back and heard":                                     {turn("east"), []Member{east, upgrading("west", 1)}, "", false},
		"withdrawn, still coming up":                               {turn("east"), []Member{upgrading("east", 0, soaking), west}, "east", false},
		"withdrawn and up again":                                   {turn("east"), []Member{upgrading("east", 0), west}, "west", true},
		"somebody broke the glass elsewhere":                       {nil, []Member{east, upgrading("west", 0, soaking)}, "", false},
		"a data plane came back in the cluster of the turn":        {turn("east"), []Member{upgrading("east", 1, asked(0), told), west}, "east", false},
	} {
		d := Turns(TurnInput{Mesh: "prod", Present: c.present, Members: c.members, Now: now})
		got := ""
		if d.Turn != nil {
			got = d.Turn.Cluster
		}
		if got != c.want || d.Permit != c.permit {
			t.Errorf("%s: turn %q, permit %t, want %q, %t (%s)", name, got, d.Permit, c.want, c.permit, d.Story)
		}
		for _, m := range c.members {
			a := Answer("prod", m, c.members, d)
			if pass := a != nil && a.Pass; pass != (d.Permit && m.Name == got) {
				t.Errorf("%s: cluster %s is told %+v", name, m.Name, a)
			}
			if a != nil && !a.Pass && a.Message == "" {
				t.Errorf("%s: cluster %s is not told why it waits", name, m.Name)
			}
		}
	}
}

func TestClustersAreSummedUpFromTheirObjects(t *testing.T) {
	at := metav1.NewTime(now)
	u := func(name string, age time.Duration, from bool, over bool) v1alpha1.ClusterUpgrade {
		u := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(now.Add(-age))}}
		if from {
			u.Status.From = &v1alpha1.RevisionRef{Revision: "1-30"}
		}
		if over {
			u.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
		}
		return u
	}
	for want, list := range map[string][]v1alpha1.ClusterUpgrade{
		"":         nil,
		"accepted": {u("older", 3*time.Hour, false, false), u("accepted", time.Hour, true, false), u("over", time.Minute, true, true)},
		"older":    {u("younger", time.Hour, false, false), u("older", 2*time.Hour, false, false)},
		"newest":   {u("oldest", 3*time.Hour, true, true), u("newest", time.Hour, true, true)},
	} {
		got := ""
		if s := Upgrade(list); s != nil {
			got = s.Name
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	up := u("up", 0, true, false)
	up.Spec.Decommission = &v1alpha1.DecommissionRequest{At: at}
	up.Status.Decommission = &v1alpha1.DecommissionStatus{ScaledDownAt: &at}
	up.Status.Blockers = []v1alpha1.Blocker{
		{Source: v1alpha1.BlockerPod, Category: v1alpha1.CategoryIngressGateway},
		{Source: v1alpha1.BlockerPod, Category: v1alpha1.CategoryEgressGateway},
		{Source: v1alpha1.BlockerReference, Category: v1alpha1.CategoryReference},
	}
	s := Summary(&up)
	if !s.ScaledDown || !s.DecommissionRequested || s.DecommissionRequestedAt == nil || s.IngressGateways != 1 || s.EgressGateways != 1 {
		t.Errorf("%+v", s)
	}
	if m := Observed("east", nil, nil); m.Known || m.Problem == "" {
		t.Errorf("a cluster without a report is known: %+v", m)
	}
	cp := &v1alpha1.ControlPlane{}
	cp.Generation, cp.Status.ObservedGeneration = 2, 1
	if m := Observed("east", cp, nil); !m.Known || m.Heard {
		t.Errorf("%+v", m)
	}
}

func TestAMemberClusterThatIsNotConnectedOrHasNoAgentIsUnknown(t *testing.T) {
	mc := func(connected, agent metav1.ConditionStatus) *hub.MemberCluster {
		mc := &hub.MemberCluster{}
		for kind, s := range map[string]metav1.ConditionStatus{hub.ConditionConnected: connected, hub.ConditionAgentReady: agent} {
			if s != "" {
				mc.Status.Conditions = append(mc.Status.Conditions, metav1.Condition{Type: kind, Status: s, Message: kind})
			}
		}
		return mc
	}
	for _, c := range []struct {
		connected, agent metav1.ConditionStatus
		known            bool
	}{
		{"", "", false},
		{metav1.ConditionUnknown, "", false},
		{metav1.ConditionFalse, metav1.ConditionTrue, false},
		{metav1.ConditionTrue, metav1.ConditionFalse, false},
		{metav1.ConditionTrue, metav1.ConditionUnknown, false},
		{metav1.ConditionTrue, metav1.ConditionTrue, true},
		{metav1.ConditionTrue, "", true},
	} {
		if m := Registered(mc(c.connected, c.agent)); m.Known != c.known || !c.known && m.Problem == "" {
			t.Errorf("connected %q, agent %q: %+v", c.connected, c.agent, m)
		}
	}
	for n, want := range []*v1alpha1.HubVerdict{nil, nil, {Pass: true}, {Reason: "Behind", Message: "flagger is old"}} {
		mc := &hub.MemberCluster{}
		if n > 0 {
			s := []metav1.ConditionStatus{metav1.ConditionUnknown, metav1.ConditionTrue, metav1.ConditionFalse}[n-1]
			mc.Status.Conditions = []metav1.Condition{{Type: hub.ConditionComponentsReady, Status: s, Reason: "Behind", Message: "flagger is old"}}
		}
		if got := Components(mc); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}
