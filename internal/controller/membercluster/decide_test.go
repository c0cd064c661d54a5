package membercluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/member"
)

var now = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)

func cluster() *hub.MemberCluster {
	return &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Generation: 2}}
}

// healthy is a connected cluster with an agent that reports.
func healthy() facts {
	return facts{
		now:        now,
		connection: member.State{Asked: true, Connected: true, Server: "https://east", Kubernetes: "v1.37.2", LastContact: now},
		agent: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/version": "0.1.0"}},
			Status:     appsv1.DeploymentStatus{ReadyReplicas: 2},
		},
		controlPlane: &v1alpha1.ControlPlane{Status: v1alpha1.ControlPlaneStatus{
			IstioVersions: "1.30.0", Revisions: []v1alpha1.RevisionStatus{{Name: "1-30", Version: "1.30.0", Sidecars: 3, Gateways: 1, UpgradeTo: []string{"1.31"}}},
		}},
	}
}

func away() facts {
	return facts{now: now, connection: member.State{Asked: true, Server: "https://east", Reason: hub.ReasonNotConnected, Message: "it does not answer", LastContact: now.Add(-time.Minute)}}
}

func value(t *testing.T, s hub.MemberClusterStatus, kind string) metav1.Condition {
	t.Helper()
	c := meta.FindStatusCondition(s.Conditions, kind)
	if c == nil {
		t.Fatalf("no condition %s in %+v", kind, s.Conditions)
	}
	return *c
}

func TestTheStatusSaysTheFirstThingThatMatters(t *testing.T) {
	upgrade := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "u"}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"}}
	upgrade.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "InProgress", Message: "3 of 10 have moved"}}
	for name, c := range map[string]struct {
		change                  func(*facts)
		connected, agent, ready metav1.ConditionStatus
		message                 string
	}{
		"all is well":            {func(*facts) {}, "True", "True", "True", "nothing needs attention"},
		"an upgrade runs":        {func(f *facts) { f.upgrades = []v1alpha1.ClusterUpgrade{upgrade} }, "True", "True", "False", "upgrade to 1.31: 3 of 10 have moved"},
		"never asked":            {func(f *facts) { *f = facts{now: now} }, "Unknown", "Unknown", "False", "for the first time"},
		"away":                   {func(f *facts) { *f = away() }, "False", "Unknown", "False", "it does not answer"},
		"no agent":               {func(f *facts) { f.agent = nil }, "True", "False", "False", "there is no Deployment cpaas-system/asm-controller"},
		"an agent that is down":  {func(f *facts) { f.agent.Status.ReadyReplicas = 0 }, "True", "False", "False", "no replica"},
		"an unknown agent":       {func(f *facts) { f.agent, f.agentErr = nil, errors.New("forbidden") }, "True", "Unknown", "False", "forbidden"},
		"objects cannot be read": {func(f *facts) { f.controlPlane, f.objectsErr = nil, errors.New("no kinds") }, "True", "Unknown", "False", "no kinds"},
		"nothing reported yet":   {func(f *facts) { f.controlPlane = nil }, "True", "False", "False", "has not made its ControlPlane yet"},
		"a broken istiod": {func(f *facts) {
			f.controlPlane.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "NotReady", Message: "not every istiod is ready"}}
		}, "True", "True", "False", "not every istiod is ready"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c.change(&f)
			s := decide(cluster(), f)
			for kind, want := range map[string]metav1.ConditionStatus{hub.ConditionConnected: c.connected, hub.ConditionAgentReady: c.agent, hub.ConditionReady: c.ready} {
				if got := value(t, s, kind); got.Status != want || got.ObservedGeneration != 2 || got.Reason == "" {
					t.Errorf("%s: %+v, want %s", kind, got, want)
				}
			}
			if got := value(t, s, hub.ConditionReady).Message; !strings.Contains(got, c.message) {
				t.Errorf("%q, want %q", got, c.message)
			}
		})
	}
}

func TestWhatWasKnownStaysWhileAClusterIsAway(t *testing.T) {
	m := cluster()
	m.Status = decide(m, healthy())
	lost := decide(m, away())
	if lost.IstioVersions != "1.30.0" || lost.AgentVersion != "0.1.0" || lost.KubernetesVersion != "v1.37.2" || len(lost.Revisions) != 1 || lost.Revisions[0].Gateways != 1 {
		t.Errorf("%+v", lost)
	}
	if e := event(m.Status.Conditions, lost.Conditions); e == nil || e.kind != corev1.EventTypeWarning || e.reason != "Disconnected" {
		t.Errorf("%+v", e)
	}
	m.Status = lost
	if still := decide(m, away()); event(lost.Conditions, still.Conditions) != nil || still.Connection.Reconnects != 0 {
		t.Errorf("%+v", still.Connection)
	}
	back := decide(m, healthy())
	if e := event(lost.Conditions, back.Conditions); e == nil || e.reason != "Reconnected" || back.Connection.Reconnects != 1 {
		t.Errorf("%+v %+v", e, back.Connection)
	}
}

// A hub that starts has heard of no cluster yet; that is no loss.
func TestANewHubKeepsWhatAnotherOneFound(t *testing.T) {
	m := cluster()
	m.Status = decide(m, healthy())
	s := decide(m, facts{now: now})
	if value(t, s, hub.ConditionConnected).Status != metav1.ConditionTrue || value(t, s, hub.ConditionAgentReady).Status != metav1.ConditionTrue || value(t, s, hub.ConditionReady).Status != metav1.ConditionTrue {
		t.Errorf("%+v", s.Conditions)
	}
}

func TestTheTimeOfTheLastContactIsWrittenOnceAMinute(t *testing.T) {
	m := cluster()
	for n, want := range []time.Duration{0, 0, 0, time.Minute, time.Minute} {
		f := healthy()
		f.connection.LastContact = now.Add(time.Duration(n) * 20 * time.Second)
		m.Status = decide(m, f)
		if got := m.Status.Connection.LastContact.Sub(now); got != want {
			t.Errorf("after %d s: %s, want %s", n*20, got, want)
		}
	}
}

func TestOnlyOwnConditionsAreWritten(t *testing.T) {
	m := cluster()
	m.Status.Conditions = []metav1.Condition{{Type: hub.ConditionComponentsReady, Status: metav1.ConditionTrue, Reason: "Done"}}
	s := decide(m, healthy())
	if meta.FindStatusCondition(s.Conditions, hub.ConditionComponentsReady) == nil {
		t.Error("the condition of another controller is lost")
	}
	if own := ours(s.Conditions); len(own) != 3 || meta.FindStatusCondition(own, hub.ConditionComponentsReady) != nil {
		t.Errorf("%+v", own)
	}
}

func TestTheVersionOfTheAgentIsThatOfTheChartElseOfTheImage(t *testing.T) {
	for image, want := range map[string]string{
		"ghcr.io/meshlift/meshlift:0.2.0": "0.2.0", "registry:5000/meshlift": "", "registry:5000/meshlift:1": "1", "meshlift:1@sha256:abc": "1",
	} {
		d := &appsv1.Deployment{}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: agentDeployment, Image: image}}
		if got := agentVersion(d); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

func TestTheUpgradeThatRunsIsShownElseTheNewest(t *testing.T) {
	done := func(name string, at time.Time) v1alpha1.ClusterUpgrade {
		u := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Time{Time: at}}}
		u.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionDecommissioned, Status: metav1.ConditionTrue}}
		return u
	}
	all := []v1alpha1.ClusterUpgrade{done("a", now), done("b", now.Add(time.Hour)), done("c", now)}
	if u := fleet.Upgrade(all); u == nil || u.Name != "b" {
		t.Errorf("%v", u)
	}
	if u := fleet.Upgrade(append(all, v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "z"}})); u == nil || u.Name != "z" {
		t.Errorf("%v", u)
	}
	if u := fleet.Upgrade(nil); u != nil {
		t.Errorf("%v", u)
	}
}
