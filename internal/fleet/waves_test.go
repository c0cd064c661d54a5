package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

func wave(name string, parallelism int32, clusters ...string) hub.ClusterWave {
	return hub.ClusterWave{Name: name, Clusters: clusters, Parallelism: &parallelism}
}

// fleet observes these clusters, each of which tracks the upgrade that it has.
func observe(members ...Member) map[string]Observation {
	out := map[string]Observation{}
	for _, m := range members {
		out[m.Name] = Observation{Member: m, Tracked: m.Upgrade}
	}
	return out
}

func failed(m *Member) { set(m, v1alpha1.ConditionAccepted, false, v1alpha1.ReasonUnsupportedPath) }

func TestWavesStartTheirClustersInOrderAndInParallel(t *testing.T) {
	fresh := func(name string) Member { return cluster(name, "1.30*") }
	moved := func(name string) Member { return upgrading(name, 0) }
	two := []hub.ClusterWave{wave("first", 1, "a"), wave("second", 2, "b", "c", "d")}
	soak := slices.Clone(two)
	soak[0].Soak = &metav1.Duration{Duration: 2 * time.Hour}
	over := slices.Clone(two)
	over[0].Soak = &metav1.Duration{Duration: time.Minute}
	approval := slices.Clone(two)
	approval[1].Approval = true
	broken := Observation{Member: upgrading("b", 5), RolloutProblem: "1 move failed"}
	broken.Tracked = broken.Upgrade
	for name, c := range map[string]struct {
		spec     hub.MeshUpgradeSpec
		clusters map[string]Observation
		before   []hub.ClusterProgress
		start    []string
		reason   string
		says     string
	}{
		"without waves all, one after the other": {hub.MeshUpgradeSpec{}, observe(fresh("b"), fresh("a")), nil, []string{"a"}, v1alpha1.ReasonInProgress, "a (starts)"},
		"the next when the first has moved":      {hub.MeshUpgradeSpec{}, observe(fresh("b"), moved("a")), nil, []string{"b"}, v1alpha1.ReasonInProgress, ""},
		"nothing while the first is moving":      {hub.MeshUpgradeSpec{}, observe(fresh("b"), upgrading("a", 1)), nil, nil, v1alpha1.ReasonInProgress, "a (4/5 data planes)"},
		"only the first wave":                    {hub.MeshUpgradeSpec{Waves: two}, observe(fresh("a"), fresh("b"), fresh("c"), fresh("d")), nil, []string{"a"}, v1alpha1.ReasonInProgress, "wave first"},
		"the second wave, two at a time":         {hub.MeshUpgradeSpec{Waves: two}, observe(moved("a"), fresh("b"), fresh("c"), fresh("d")), nil, []string{"b", "c"}, v1alpha1.ReasonInProgress, "wave second"},
		"no limit":                               {hub.MeshUpgradeSpec{Waves: []hub.ClusterWave{wave("all", 0, "b", "a")}}, observe(fresh("a"), fresh("b")), nil, []string{"b", "a"}, v1alpha1.ReasonInProgress, ""},
		"the soak is not over":                   {hub.MeshUpgradeSpec{Waves: soak}, observe(moved("a"), fresh("b")), nil, nil, v1alpha1.ReasonSoaking, "2026-11-26T13:00:00Z"},
		"the soak is over":                       {hub.MeshUpgradeSpec{Waves: over}, observe(moved("a"), fresh("b")), nil, []string{"b"}, v1alpha1.ReasonInProgress, ""},
		"an approval is missing":                 {hub.MeshUpgradeSpec{Waves: approval}, observe(moved("a"), fresh("b")), nil, nil, hub.ReasonApproval, "meshlift mesh approve up --wave second"},
		"an approval is there":                   {hub.MeshUpgradeSpec{Waves: approval, Approvals: []hub.Approval{{Wave: "second"}}}, observe(moved("a"), fresh("b")), nil, []string{"b"}, v1alpha1.ReasonInProgress, ""},
		"paused":                                 {hub.MeshUpgradeSpec{Paused: true}, observe(fresh("a")), nil, nil, v1alpha1.ReasonPaused, "meshlift mesh resume up"},
		"a failed cluster stops the next wave":   {hub.MeshUpgradeSpec{Waves: two}, observe(upgrading("a", 3, failed), fresh("b")), nil, nil, v1alpha1.ReasonFailed, "because cluster a failed"},
		"a failed cluster stops its wave": {hub.MeshUpgradeSpec{Waves: two}, func() map[string]Observation {
			o := observe(moved("a"), fresh("c"), fresh("d"))
			o["b"] = broken
			return o
		}(), nil, nil, v1alpha1.ReasonFailed, "because cluster b failed"},
		"a cluster that does not answer holds only itself up": {hub.MeshUpgradeSpec{Waves: two}, observe(moved("a"), lost(fresh("b")), fresh("c")), nil, []string{"c"}, v1alpha1.ReasonInProgress, "cluster b does not answer"},
		"a cluster that is not asked yet keeps its place": {hub.MeshUpgradeSpec{Waves: two}, func() map[string]Observation {
			o := observe(moved("a"), fresh("c"), fresh("d"))
			o["b"] = Observation{Member: NotYet(fresh("b"), "it was not asked yet")}
			return o
		}(), nil, nil, hub.ReasonNotConnected, "cluster b does not answer (it was not asked yet)"},
		"one that had started counts as moving":                {hub.MeshUpgradeSpec{}, observe(lost(fresh("a")), fresh("b")), []hub.ClusterProgress{{Name: "a", StartedAt: &metav1.Time{Time: now}}}, nil, v1alpha1.ReasonInProgress, "a (waits)"},
		"one that had moved and does not answer has not moved": {hub.MeshUpgradeSpec{Waves: two}, observe(lost(moved("a")), fresh("b")), nil, nil, hub.ReasonNotConnected, "cluster a does not answer"},
		"a cluster is not in the mesh":                         {hub.MeshUpgradeSpec{Waves: two}, observe(fresh("b")), nil, nil, hub.ReasonNotConnected, "cluster a is not in mesh prod"},
		"a cluster runs the version already":                   {hub.MeshUpgradeSpec{}, observe(cluster("a", "1.31*"), fresh("b")), nil, []string{"b"}, v1alpha1.ReasonInProgress, ""},
		"a cluster is busy with another upgrade": {hub.MeshUpgradeSpec{}, func() map[string]Observation {
			o := observe(upgrading("a", 2), fresh("b"))
			a := o["a"]
			a.Tracked, a.Upgrade.Version = nil, "1.29"
			o["a"] = a
			return o
		}(), nil, []string{"b"}, v1alpha1.ReasonInProgress, "busy with ClusterUpgrade"},
		"everything has moved":      {hub.MeshUpgradeSpec{}, observe(moved("a"), moved("b")), nil, nil, v1alpha1.ReasonUserAction, "meshlift mesh decommission up"},
		"the decommission is asked": {hub.MeshUpgradeSpec{Decommission: &v1alpha1.DecommissionRequest{}}, observe(gone("a"), moved("b")), nil, nil, v1alpha1.ReasonInProgress, "1 of 2"},
		"everything is done":        {hub.MeshUpgradeSpec{}, observe(gone("a"), gone("b")), nil, nil, v1alpha1.ReasonDone, "no old istiod is left"},
		"a mesh without clusters":   {hub.MeshUpgradeSpec{}, nil, nil, nil, v1alpha1.ReasonUserAction, "has no clusters"},
	} {
		c.spec.Mesh, c.spec.Version = "prod", "1.31"
		d := Waves(WavesInput{Spec: c.spec, Name: "up", Clusters: c.clusters, Before: c.before, Now: now})
		if diff := cmp.Diff(c.start, d.Start); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if d.Reason != c.reason || !strings.Contains(d.Message, c.says) {
			t.Errorf("%s: %s: %s", name, d.Reason, d.Message)
		}
	}
}

func TestAnUpgradeOfAMeshIsRefusedForWhatIsKnown(t *testing.T) {
	able := func(m Member) Member { m.Revisions[0].UpgradeTo = []string{"1.31"}; return m }
	members := []Member{able(cluster("a", "1.30*")), able(cluster("b", "1.30*"))}
	up := func(change func(*hub.MeshUpgradeSpec)) *hub.MeshUpgrade {
		u := &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up"}, Spec: hub.MeshUpgradeSpec{Mesh: "prod", Version: "1.31"}}
		if change != nil {
			change(&u.Spec)
		}
		return u
	}
	other := hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: hub.MeshUpgradeSpec{Mesh: "prod", Version: "1.30"}}
	over := *other.DeepCopy()
	over.Status.Conditions = []metav1.Condition{{Type: hub.ConditionDecommissioned, Status: metav1.ConditionTrue}}
	for name, c := range map[string]struct {
		u       *hub.MeshUpgrade
		others  []hub.MeshUpgrade
		members []Member
		says    string
	}{
		"it may start":                      {up(nil), nil, members, ""},
		"another one is over":               {up(nil), []hub.MeshUpgrade{over, *up(nil)}, members, ""},
		"another one runs":                  {up(nil), []hub.MeshUpgrade{other}, members, `MeshUpgrade "other"`},
		"a cluster is twice":                {up(func(s *hub.MeshUpgradeSpec) { s.Waves = []hub.ClusterWave{wave("x", 1, "a"), wave("y", 1, "a")} }), nil, members, `in the waves "x" and "y"`},
		"a cluster is of another mesh":      {up(func(s *hub.MeshUpgradeSpec) { s.Waves = []hub.ClusterWave{wave("x", 1, "z")} }), nil, members, `cluster "z" is not in mesh "prod": its clusters are a, b`},
		"an approval of no wave":            {up(func(s *hub.MeshUpgradeSpec) { s.Approvals = []hub.Approval{{Wave: "q"}} }), nil, members, `no wave "q"`},
		"a version that is none":            {up(func(s *hub.MeshUpgradeSpec) { s.Version = "new" }), nil, members, "cannot be read"},
		"the catalog does not offer it":     {up(func(s *hub.MeshUpgradeSpec) { s.Version = "1.33" }), nil, members, "a (Istio 1.30.0), b (Istio 1.30.0)"},
		"unless the clusters do not answer": {up(func(s *hub.MeshUpgradeSpec) { s.Version = "1.33" }), nil, []Member{lost(members[0])}, ""},
	} {
		v := StartUpgrade(c.u, c.others, c.members)
		if v.Passed() != (c.says == "") || !strings.Contains(v.Message, c.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
