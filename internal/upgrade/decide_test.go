package upgrade

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	oldRev = "1-30"
	newRev = "1-31"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// cluster has two revisions and one Deployment that runs on the given one.
func cluster(on string) *mesh.Inventory {
	selector := func(rev string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: rev}}
	}
	w := mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}, Role: mesh.Sidecar, Desired: 1,
		TemplateLabels: map[string]string{}, Pods: []mesh.Pod{{Name: "cart-1", Revision: on, Ready: true}},
		Progress: mesh.Progress{Replicas: 1, Updated: 1, Ready: 1, Available: 1},
	}
	if on == newRev {
		w.TemplateLabels[v1alpha1.RevisionLabel] = newRev
	}
	return &mesh.Inventory{
		IstioNamespace: "istio-system", KubernetesVersion: "v1.36.1",
		Revisions: []mesh.Revision{
			{Name: oldRev, Version: "1.30.0", Replicas: 1, ReadyReplicas: 1, Tags: []string{"prod"}},
			{Name: newRev, Version: "1.31.0", Replicas: 1, ReadyReplicas: 1},
		},
		Configurations: []mesh.Configuration{
			{Name: "old", Webhooks: []mesh.Injector{
				{Name: "rev", Revision: oldRev, NamespaceSelector: selector(oldRev), Excluded: newRev},
				{
					Name: "rev.handover.meshlift.dev", Revision: newRev, Handover: true, NamespaceSelector: selector(oldRev),
					ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.RevisionLabel: newRev}},
				},
			}},
			{Name: "new", Webhooks: []mesh.Injector{{Name: "rev", Revision: newRev, NamespaceSelector: selector(newRev)}}},
		},
		Validators: []mesh.Validator{{Name: "istiod-default-validator", Revision: oldRev, Default: true, Fail: true}},
		Namespaces: map[string]mesh.Namespace{"shop": {Labels: map[string]string{mesh.LabelRev: oldRev}}},
		Workloads:  []mesh.Workload{w},
	}
}

func input(on string, change ...func(*Input)) Input {
	in := Input{Now: now, Status: v1alpha1.ClusterUpgradeStatus{From: &v1alpha1.RevisionRef{Revision: oldRev}, To: &v1alpha1.RevisionRef{Revision: newRev}}, Snapshot: Snapshot{
		Inventory: cluster(on), ControlPlane: ControlPlaneFacts{Ready: true}, Connections: Connections{Known: true},
		From: v1alpha1.RevisionRef{Revision: oldRev, Version: "1.30.0"}, To: v1alpha1.RevisionRef{Revision: newRev, Version: "1.31.0"},
		Admission: Admission{Handover: true, Guards: true},
	}}
	for _, f := range change {
		f(&in)
	}
	return in
}

func requested(in *Input) {
	in.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "ann", Soak: metav1.Duration{Duration: time.Minute}}
}

func reasons(d Decision) []string {
	var out []string
	for _, s := range d.Steps {
		out = append(out, s.Reason)
	}
	return out
}

func step(d Decision, condition string) Step {
	for _, s := range d.Steps {
		if s.Type == condition {
			return s
		}
	}
	return Step{}
}

func TestStepsFollowEachOtherAndTheFirstUnmetOneSaysWhatToDo(t *testing.T) {
	d, w, done := v1alpha1.ReasonDone, v1alpha1.ReasonWaiting, v1alpha1.ReasonDone
	for name, c := range map[string]struct {
		in      Input
		reasons []string
		action  Action
		says    string
	}{
		"a refused path touches nothing": {
			input(oldRev, func(in *Input) {
				in.Snapshot.Refused, in.Snapshot.RefusedReason = "no such path", v1alpha1.ReasonUnsupportedPath
			}),
			[]string{v1alpha1.ReasonUnsupportedPath, w, w, w, w, w},
			Nothing, "no such path",
		},
		"the new istiod is installed first": {
			input(oldRev, func(in *Input) { in.Snapshot.ControlPlane = ControlPlaneFacts{} }),
			[]string{d, d, v1alpha1.ReasonInProgress, w, w, w},
			Install, "being installed",
		},
		"a failed installation waits for a person": {
			input(oldRev, func(in *Input) { in.Snapshot.ControlPlane = ControlPlaneFacts{Failed: "no image"} }),
			[]string{d, d, v1alpha1.ReasonInstallFailed, w, w, w},
			Nothing, "no image",
		},
		"a paused upgrade installs nothing": {
			input(oldRev, func(in *Input) { in.Snapshot.ControlPlane, in.Spec.Paused = ControlPlaneFacts{}, true }),
			[]string{d, d, v1alpha1.ReasonPaused, w, w, w},
			Nothing, "meshlift upgrade resume",
		},
		"an EnvoyFilter waits for its acknowledgement": {
			input(oldRev, func(in *Input) {
				in.Snapshot.Inventory.EnvoyFilters = []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", Hash: "h1"}}
			}),
			[]string{d, d, done, v1alpha1.ReasonFilters, w, w},
			Nothing, "shop/lua",
		},
		"an EnvoyFilter that changed after its acknowledgement waits again": {
			input(oldRev, func(in *Input) {
				in.Snapshot.Inventory.EnvoyFilters = []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", Hash: "h2"}}
				in.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "lua", Hash: "h1"}}
			}),
			[]string{d, d, done, v1alpha1.ReasonFilters, w, w},
			Nothing, "1 of 1",
		},
		"an acknowledged EnvoyFilter is handled, and the handover is kept while data planes remain": {
			input(oldRev, func(in *Input) {
				in.Snapshot.Inventory.EnvoyFilters = []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", Hash: "h1"}}
				in.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "lua", Hash: "h1"}}
			}),
			[]string{d, d, done, d, v1alpha1.ReasonDataPlanesRemain, w},
			Handover, "meshlift rollout",
		},
		"when everything has moved, a person decides": {
			input(newRev), []string{d, d, done, d, d, v1alpha1.ReasonUserAction}, Handover, "meshlift decommission",
		},
		"namespaces, tags and the validator are switched before anything is scaled down": {
			input(newRev, requested), []string{d, d, done, d, d, v1alpha1.ReasonInProgress}, SwitchOver, "moved to revision 1-31",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(c.in)
			if diff := cmp.Diff(c.reasons, reasons(got)); diff != "" {
				t.Error(diff)
			}
			if got.Action != c.action {
				t.Errorf("action %q, want %q", got.Action, c.action)
			}
			text := ""
			for _, s := range got.Steps {
				text += s.Message + "\n"
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("nothing says %q:\n%s", c.says, text)
			}
		})
	}
}

func TestTheAcceptanceIsWrittenDownBeforeAnythingIsDone(t *testing.T) {
	d := Decide(input(oldRev, func(in *Input) {
		in.Snapshot.ControlPlane, in.Status = ControlPlaneFacts{}, v1alpha1.ClusterUpgradeStatus{}
	}))
	if d.Action != Nothing || d.Again == 0 || !d.Steps[0].Done {
		t.Errorf("action %q, again %s, %+v", d.Action, d.Again, d.Steps[0])
	}
}

// switched is a cluster after the switch-over: nothing names the old revision any more.
func switched(in *Input) {
	inv := in.Snapshot.Inventory
	inv.Namespaces["shop"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: newRev}}
	inv.Revisions[0].Tags, inv.Revisions[1].Tags = nil, []string{"prod"}
	inv.Validators[0].Revision = newRev
	in.Snapshot.Admission.Handover = false
	in.Status.Decommission = &v1alpha1.DecommissionStatus{}
}

func scaledDown(ago time.Duration) func(*Input) {
	return func(in *Input) {
		at := metav1.NewTime(now.Add(-ago))
		in.Status.Decommission = &v1alpha1.DecommissionStatus{ScaledDownAt: &at, Replicas: 1}
		in.Snapshot.Inventory.Revisions[0].Replicas, in.Snapshot.Inventory.Revisions[0].ReadyReplicas = 0, 0
	}
}

func TestTheDecommissionSwitchesEndsTheHandoverScalesSoaksAndOnlyThenUninstalls(t *testing.T) {
	for name, c := range map[string]struct {
		in     Input
		action Action
	}{
		"a namespace still names the old revision": {input(newRev, requested, switched, func(in *Input) {
			in.Snapshot.Inventory.Namespaces["late"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: oldRev}}
		}), SwitchOver},
		"a tag still points to the old revision":             {input(newRev, requested, switched, func(in *Input) { in.Snapshot.Inventory.Revisions[0].Tags = []string{"canary"} }), SwitchOver},
		"the default validator still calls the old revision": {input(newRev, requested, switched, func(in *Input) { in.Snapshot.Inventory.Validators[0].Revision = oldRev }), SwitchOver},
		"the handover is still there":                        {input(newRev, requested, switched, func(in *Input) { in.Snapshot.Admission.Handover = true }), EndHandover},
		"the old istiod still runs":                          {input(newRev, requested, switched), ScaleDown},
		"the soak is not over":                               {input(newRev, requested, switched, scaledDown(59*time.Second)), Nothing},
		"the soak is over":                                   {input(newRev, requested, switched, scaledDown(time.Minute)), Uninstall},
		"it was scaled up again by hand during the soak":     {input(newRev, requested, switched, scaledDown(time.Hour), func(in *Input) { in.Snapshot.Inventory.Revisions[0].Replicas = 1 }), ScaleDown},
		"the decommission was withdrawn during the soak":     {input(newRev, switched, scaledDown(time.Second)), ScaleUp},
		"it is paused":                                       {input(newRev, requested, switched, func(in *Input) { in.Spec.Paused = true }), Nothing},
	} {
		if got := Decide(c.in); got.Action != c.action {
			t.Errorf("%s: action %q, want %q: %+v", name, got.Action, c.action, step(got, v1alpha1.ConditionDecommissioned))
		}
	}
}

func TestASoakIsLookedAtAgainSoonEnoughForAClockThatIsSetBack(t *testing.T) {
	for name, c := range map[string]struct {
		since, again time.Duration
	}{
		"near its end":     {58 * time.Second, 2 * time.Second},
		"at its beginning": {0, later},
		// By this clock the old istiod was scaled down in the future.
		"the clock was set back": {-12 * time.Minute, later},
	} {
		if got := Decide(input(newRev, requested, switched, scaledDown(c.since))); got.Action != Nothing || got.Again != c.again {
			t.Errorf("%s: action %q, again after %s, want %s", name, got.Action, got.Again, c.again)
		}
	}
}

func TestDecommissionIsRefusedForEachSingleUserByEachSourceAlone(t *testing.T) {
	loose := func(owner string, role mesh.Role) func(*Input) {
		return func(in *Input) {
			in.Snapshot.Inventory.LoosePods = []mesh.LoosePod{{Pod: mesh.Pod{Name: "p", Revision: oldRev}, Namespace: "shop", Owner: owner, Role: role}}
		}
	}
	for name, c := range map[string]struct {
		user     func(*Input)
		source   v1alpha1.BlockerSource
		category v1alpha1.BlockerCategory
	}{
		"a bare pod":                        {loose("", mesh.Sidecar), v1alpha1.BlockerPod, v1alpha1.CategorySidecar},
		"a pod of a Job":                    {loose("Job/report", mesh.Sidecar), v1alpha1.BlockerPod, v1alpha1.CategorySidecar},
		"an egress gateway of another kind": {loose("Rollout/egress", mesh.EgressGateway), v1alpha1.BlockerPod, v1alpha1.CategoryEgressGateway},
		"a terminating pod of a moved Deployment": {func(in *Input) {
			w := &in.Snapshot.Inventory.Workloads[0]
			w.Pods = append(w.Pods, mesh.Pod{Name: "cart-0", Revision: oldRev, Terminating: true})
		}, v1alpha1.BlockerPod, v1alpha1.CategorySidecar},
		"a live connection": {func(in *Input) {
			in.Snapshot.Connections.Live = []Connection{{Namespace: "vm", Pod: "vm-1", Replica: "istiod-1-30-a"}}
		}, v1alpha1.BlockerConnection, v1alpha1.CategoryConnection},
		"a replica that does not answer": {func(in *Input) {
			in.Snapshot.Connections = Connections{Problem: "istiod-1-30-a does not answer"}
		}, v1alpha1.BlockerConnection, v1alpha1.CategoryUnknown},
		"a pod template of a Job": {func(in *Input) {
			in.Snapshot.Inventory.TemplateReferences = []mesh.TemplateReference{{Ref: mesh.Ref{Kind: "Job", Namespace: "shop", Name: "nightly"}, Revision: oldRev}}
		}, v1alpha1.BlockerReference, v1alpha1.CategoryReference},
	} {
		t.Run(name, func(t *testing.T) {
			for _, phase := range []func(*Input){func(*Input) {}, switched, func(in *Input) { switched(in); scaledDown(time.Hour)(in) }} {
				got := Decide(input(newRev, requested, phase, c.user))
				switch got.Action {
				case SwitchOver, EndHandover, ScaleDown, Uninstall:
					t.Errorf("action %q although %s uses the old revision", got.Action, name)
				}
				if len(got.Blockers) != 1 || got.Blockers[0].Source != c.source || got.Blockers[0].Category != c.category {
					t.Errorf("blockers %+v", got.Blockers)
				}
				if s := got.Steps[len(got.Steps)-1]; s.Done || got.Done() {
					t.Errorf("counts as decommissioned: %+v", s)
				}
			}
		})
	}
}

func TestAPodOfTheNewRevisionThatIsNotReadyDoesNotKeepTheOldOneInUse(t *testing.T) {
	d := Decide(input(newRev, func(in *Input) {
		w := &in.Snapshot.Inventory.Workloads[0]
		w.Pods[0].Ready, w.Progress.Available = false, 0
	}))
	if s := step(d, v1alpha1.ConditionDataPlanesMoved); !s.Done || d.DataPlanes.Moved != 1 {
		t.Errorf("%+v, %+v", s, d.DataPlanes)
	}
}

func TestAHandoverThatWasEstablishedIsKeptWhileAnEarlierStepIsOpenAgain(t *testing.T) {
	for name, reopen := range map[string]func(*Input){
		"step 2": func(in *Input) { in.Snapshot.ControlPlane = ControlPlaneFacts{Message: "0 of 1 replicas ready"} },
		"step 3": func(in *Input) {
			in.Snapshot.Inventory.EnvoyFilters = []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", Hash: "h1"}}
		},
	} {
		if d := Decide(input(oldRev, reopen)); !d.Maintain {
			t.Errorf("%s is open again and the handover is not kept", name)
		}
		never := func(in *Input) { in.Snapshot.Admission = Admission{} }
		if d := Decide(input(oldRev, reopen, never)); d.Maintain {
			t.Errorf("%s is open for the first time and a handover is put in place", name)
		}
	}
	if d := Decide(input(newRev, requested, switched)); d.Maintain {
		t.Error("the handover is kept during the decommission")
	}
}

func TestABlockerThatIsOnlyEndingSaysSo(t *testing.T) {
	d := Decide(input(newRev, requested, func(in *Input) {
		w := &in.Snapshot.Inventory.Workloads[0]
		w.Pods = append(w.Pods, mesh.Pod{Name: "cart-0", Revision: oldRev, Terminating: true})
	}))
	if len(d.Blockers) != 1 || !d.Blockers[0].Ending || !strings.Contains(d.Blockers[0].Message, "still ending") || strings.Contains(d.Blockers[0].Message, "meshlift rollout") {
		t.Errorf("%+v", d.Blockers)
	}
}

func TestBlockersAreBoundedAndCounted(t *testing.T) {
	d := Decide(input(newRev, requested, func(in *Input) {
		for range 250 {
			in.Snapshot.Connections.Live = append(in.Snapshot.Connections.Live, Connection{Namespace: "n", Pod: "p"})
		}
	}))
	if len(d.Blockers) != MaxBlockers || d.BlockersOmitted != 150 {
		t.Errorf("%d listed, %d omitted", len(d.Blockers), d.BlockersOmitted)
	}
}

func TestARemovedRevisionEndsTheUpgradeWithEveryStepDone(t *testing.T) {
	at := metav1.NewTime(now)
	d := Decide(input(newRev, requested, switched, func(in *Input) { in.Status.Decommission.RemovedAt = &at }))
	if !d.Done() || d.Action != Nothing || d.Step != "done" {
		t.Errorf("%+v", d)
	}
}

func TestAPodThatAppearsOnTheOldRevisionLaterReopensTheDataPlaneStep(t *testing.T) {
	d := Decide(input(newRev, requested, switched, func(in *Input) {
		in.Snapshot.Inventory.Workloads[0].Pods[0].Revision = oldRev
	}))
	if s := step(d, v1alpha1.ConditionDataPlanesMoved); s.Done || d.DataPlanes.Sidecars != 1 {
		t.Errorf("%+v, %+v", s, d.DataPlanes)
	}
	if step(d, v1alpha1.ConditionDecommissioned).Reason != v1alpha1.ReasonWaiting {
		t.Errorf("the decommission goes on")
	}
}
