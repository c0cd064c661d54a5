package upgrade

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

const uid = types.UID("this-upgrade")

// linked is a cluster of mesh prod that was told these things.
func linked(components *v1alpha1.HubVerdict, decommission *v1alpha1.HubDecommission) func(*Input) {
	return func(in *Input) {
		in.Snapshot.Hub = Hub{Upgrade: uid, Link: &v1alpha1.HubLink{Mesh: "prod", Cluster: "east", Components: components, Decommission: decommission}}
	}
}

func says(of types.UID, pass bool, reason, message string) *v1alpha1.HubDecommission {
	return &v1alpha1.HubDecommission{Upgrade: "up", UID: of, HubVerdict: v1alpha1.HubVerdict{Pass: pass, Reason: reason, Message: message}}
}

var ready = &v1alpha1.HubVerdict{Pass: true}

func TestStepOneWaitsForTheAnswerOfTheHub(t *testing.T) {
	for name, c := range map[string]struct {
		change []func(*Input)
		done   bool
		reason string
		says   string
	}{
		"no hub":                {nil, true, v1alpha1.ReasonDone, "no component besides Istio is managed"},
		"no answer yet":         {[]func(*Input){linked(nil, nil)}, false, v1alpha1.ReasonInProgress, "waits for the hub"},
		"ready":                 {[]func(*Input){linked(ready, nil)}, true, v1alpha1.ReasonDone, "says the hub"},
		"not ready":             {[]func(*Input){linked(&v1alpha1.HubVerdict{Reason: "Behind", Message: "flagger is old"}, nil)}, false, "Behind", "flagger is old"},
		"an empty answer":       {[]func(*Input){linked(&v1alpha1.HubVerdict{}, nil)}, false, v1alpha1.ReasonUserAction, "upgrade them from the hub"},
		"a reason that is none": {[]func(*Input){linked(&v1alpha1.HubVerdict{Reason: "not a reason!", Message: "x"}, nil)}, false, v1alpha1.ReasonUserAction, "x"},
		"a reason that lies":    {[]func(*Input){linked(&v1alpha1.HubVerdict{Reason: v1alpha1.ReasonDone, Message: "x"}, nil)}, false, v1alpha1.ReasonUserAction, "x"},
		"no ControlPlane":       {[]func(*Input){func(in *Input) { in.Snapshot.Hub = Hub{Unknown: "it is not there"} }}, false, v1alpha1.ReasonError, "it is not there"},
		"an answer that came too late for an upgrade in flight": {[]func(*Input){linked(&v1alpha1.HubVerdict{Message: "offered since"}, nil), func(in *Input) {
			in.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComponentsReady, Status: metav1.ConditionTrue, Message: "was ready"}}
		}}, true, v1alpha1.ReasonDone, "was ready"},
	} {
		d := Decide(input(oldRev, append(c.change, func(in *Input) { in.Snapshot.ControlPlane = ControlPlaneFacts{} })...))
		s := step(d, v1alpha1.ConditionComponentsReady)
		if s.Done != c.done || s.Reason != c.reason || !strings.Contains(s.Message, c.says) {
			t.Errorf("%s: %+v", name, s)
		}
		if installs := d.Action == Install; installs != c.done {
			t.Errorf("%s: action %q", name, d.Action)
		}
	}
}

func TestStepFiveWaitsForThePermissionOfTheHub(t *testing.T) {
	glass := func(in *Input) { in.Snapshot.Hub.Glass = "the other cluster burned down" }
	paused := func(in *Input) { in.Spec.Paused = true }
	gone := func(in *Input) { in.Snapshot.Inventory.Revisions = in.Snapshot.Inventory.Revisions[1:] }
	no := linked(ready, says(uid, false, hub.ReasonOneAtATime, "west is under way"))
	for name, c := range map[string]struct {
		change []func(*Input)
		action Action
		reason string
		says   string
	}{
		"permitted":                        {[]func(*Input){switched, linked(ready, says(uid, true, "", ""))}, ScaleDown, v1alpha1.ReasonInProgress, ""},
		"no answer yet":                    {[]func(*Input){switched, linked(ready, nil)}, Nothing, hub.ReasonBarrier, "has not said yet whether cluster east of mesh prod"},
		"no":                               {[]func(*Input){switched, no}, Nothing, hub.ReasonOneAtATime, "west is under way"},
		"no, without a word":               {[]func(*Input){switched, linked(ready, says(uid, false, "?", ""))}, Nothing, hub.ReasonBarrier, "does not allow"},
		"a permission for another upgrade": {[]func(*Input){switched, linked(ready, says("another", true, "", ""))}, Nothing, hub.ReasonBarrier, "has not said yet"},
		"nothing is switched over before":  {[]func(*Input){no}, Handover, hub.ReasonOneAtATime, "west is under way"},
		"the permission is taken back in the soak":   {[]func(*Input){switched, scaledDown(time.Second), no}, ScaleUp, v1alpha1.ReasonAborted, "took its permission back: west is under way"},
		"and after the soak, before it is removed":   {[]func(*Input){switched, scaledDown(time.Hour), no}, ScaleUp, v1alpha1.ReasonAborted, ""},
		"and while it is paused":                     {[]func(*Input){switched, scaledDown(time.Second), no, paused}, ScaleUp, v1alpha1.ReasonAborted, ""},
		"but what is removed already cannot come up": {[]func(*Input){switched, scaledDown(time.Hour), no, gone}, Nothing, hub.ReasonOneAtATime, ""},
		"somebody broke the glass":                   {[]func(*Input){switched, no, glass}, ScaleDown, v1alpha1.ReasonInProgress, ""},
		"the ControlPlane is not there": {[]func(*Input){switched, func(in *Input) {
			in.Snapshot.Hub = Hub{Unknown: "it is not there"}
			in.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComponentsReady, Status: metav1.ConditionTrue}}
		}}, Nothing, v1alpha1.ReasonUnknownUse, "it is not there"},
		"the soak goes on with the permission": {[]func(*Input){switched, scaledDown(time.Second), linked(ready, says(uid, true, "", ""))}, Nothing, v1alpha1.ReasonSoaking, ""},
		"the end":                              {[]func(*Input){switched, scaledDown(time.Hour), linked(ready, says(uid, true, "", ""))}, Uninstall, v1alpha1.ReasonInProgress, ""},
		"without a hub as before":              {[]func(*Input){switched, func(in *Input) { in.Snapshot.Hub = Hub{Upgrade: uid} }}, ScaleDown, v1alpha1.ReasonInProgress, ""},
	} {
		d := Decide(input(newRev, append([]func(*Input){requested}, c.change...)...))
		s := step(d, v1alpha1.ConditionDecommissioned)
		if d.Action != c.action || s.Reason != c.reason || !strings.Contains(s.Message, c.says) {
			t.Errorf("%s: action %q, %+v", name, d.Action, s)
		}
		if (d.Glass != "") != (name == "somebody broke the glass") {
			t.Errorf("%s: the record says %q", name, d.Glass)
		}
	}
}

// TestNothingIsDecommissionedWithoutThePermissionOfTheHub holds whatever the ControlPlane says.
func TestNothingIsDecommissionedWithoutThePermissionOfTheHub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		link := &v1alpha1.HubLink{Mesh: rapid.String().Draw(t, "mesh"), Cluster: rapid.String().Draw(t, "cluster")}
		verdict := v1alpha1.HubVerdict{Pass: rapid.Bool().Draw(t, "pass"), Reason: rapid.String().Draw(t, "reason"), Message: rapid.String().Draw(t, "message")}
		if rapid.Bool().Draw(t, "answered") {
			link.Decommission = &v1alpha1.HubDecommission{UID: rapid.SampledFrom([]types.UID{uid, "", "other"}).Draw(t, "uid"), HubVerdict: verdict}
		}
		if rapid.Bool().Draw(t, "components") {
			link.Components = &verdict
		}
		of := rapid.SampledFrom([]types.UID{uid, ""}).Draw(t, "upgrade")
		phase := rapid.SampledFrom([]func(*Input){func(*Input) {}, switched, func(in *Input) { switched(in); scaledDown(time.Hour)(in) }}).Draw(t, "phase")
		d := Decide(input(newRev, requested, phase, func(in *Input) { in.Snapshot.Hub = Hub{Link: link, Upgrade: of} }))
		allowed := link.Decommission != nil && link.Decommission.Pass && of != "" && link.Decommission.UID == of
		switch d.Action {
		case SwitchOver, EndHandover, ScaleDown, Uninstall:
			if !allowed {
				t.Fatalf("%s without a permission", d.Action)
			}
		}
		for _, s := range d.Steps {
			if !reasonPattern.MatchString(s.Reason) {
				t.Fatalf("the API server does not take the reason %q", s.Reason)
			}
		}
	})
}
