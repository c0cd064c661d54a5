package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
)

// The generators below make clusters in which everything that somebody can write by hand is written by hand: labels,
// annotations, records, numbers, times. Only what an inventory promises (order, unique references) holds.
var (
	wildRevision = rapid.SampledFrom([]string{oldRev, newRev, "1-29", "default", "prod", "", "\x1b[2J"})
	wildNumber   = rapid.SampledFrom([]int32{0, 1, 2, 3, -1, 1 << 20, 1<<31 - 1, -1 << 31})
	wildTime     = rapid.SampledFrom([]time.Time{
		{},
		wildNow, wildNow.Add(-time.Minute), wildNow.Add(-time.Hour), wildNow.Add(time.Second), wildNow.Add(time.Hour),
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	wildNow  = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	wildName = rapid.SampledFrom([]string{"a", "b", "c"})
)

func wildMap(keys ...string) *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom(keys), rapid.OneOf(wildRevision, rapid.SampledFrom([]string{"true", "false", "{", "null", "enabled"})), 0, 3)
}

func wildSelector(t *rapid.T, name string) *metav1.LabelSelector {
	if rapid.Bool().Draw(t, name+" is missing") {
		return nil
	}
	return &metav1.LabelSelector{MatchLabels: wildMap(mesh.LabelRev, v1alpha1.RevisionLabel, mesh.LabelInjection).Draw(t, name)}
}

func wildInventory(t *rapid.T) *mesh.Inventory {
	inv := &mesh.Inventory{IstioNamespace: "istio-system", KubernetesVersion: "v1.37.2", Namespaces: map[string]mesh.Namespace{}}
	for _, name := range []string{newRev, oldRev, "default"} {
		if rapid.Bool().Draw(t, "revision "+name) {
			inv.Revisions = append(inv.Revisions, mesh.Revision{Name: name, Tags: rapid.SliceOfN(wildRevision, 0, 2).Draw(t, "tags")})
		}
	}
	slices.SortFunc(inv.Revisions, func(a, b mesh.Revision) int { return strings.Compare(a.Name, b.Name) })
	for n := range rapid.IntRange(0, 3).Draw(t, "configurations") {
		c := mesh.Configuration{Name: fmt.Sprint("c", n)}
		for range rapid.IntRange(0, 3).Draw(t, "webhooks") {
			c.Webhooks = append(c.Webhooks, mesh.Injector{
				Revision: wildRevision.Draw(t, "webhook's revision"), Excluded: wildRevision.Draw(t, "excluded"), Handover: rapid.Bool().Draw(t, "twin"),
				NamespaceSelector: wildSelector(t, "namespaces"), ObjectSelector: wildSelector(t, "pods"),
			})
		}
		inv.Configurations = append(inv.Configurations, c)
	}
	for _, name := range []string{"a", "b"} {
		inv.Namespaces[name] = mesh.Namespace{
			Labels:      wildMap(mesh.LabelRev, mesh.LabelInjection, "team").Draw(t, "namespace labels"),
			Annotations: wildMap(v1alpha1.ExcludeAnnotation).Draw(t, "namespace annotations"), Terminating: rapid.Bool().Draw(t, "terminating"),
		}
	}
	seen := map[mesh.Ref]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "workloads") {
		if w := wildWorkload(t); !seen[w.Ref] {
			seen[w.Ref] = true
			inv.Workloads = append(inv.Workloads, w)
		}
	}
	slices.SortFunc(inv.Workloads, func(a, b mesh.Workload) int { return a.Compare(b.Ref) })
	for range rapid.IntRange(0, 2).Draw(t, "loose pods") {
		inv.LoosePods = append(inv.LoosePods, mesh.LoosePod{
			Pod: wildPod(t), Namespace: wildName.Draw(t, "namespace"), Role: mesh.Sidecar,
			Owner: rapid.SampledFrom([]string{"", "Job/x", "Deployment/a", "/", "a/b/c"}).Draw(t, "owner"),
		})
	}
	return inv
}

func wildPod(t *rapid.T) mesh.Pod {
	return mesh.Pod{
		Name: wildName.Draw(t, "pod"), Revision: wildRevision.Draw(t, "pod's revision"), Ready: rapid.Bool().Draw(t, "ready"), Terminating: rapid.Bool().Draw(t, "terminating"),
	}
}

func wildWorkload(t *rapid.T) mesh.Workload {
	w := mesh.Workload{
		Ref: mesh.Ref{
			Kind:      rapid.SampledFrom([]string{mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet, mesh.KindGateway, "Rollout", ""}).Draw(t, "kind"),
			Namespace: wildName.Draw(t, "namespace"), Name: wildName.Draw(t, "name"),
		},
		Role:                rapid.SampledFrom([]mesh.Role{mesh.Sidecar, mesh.IngressGateway, mesh.EgressGateway, mesh.GenericGateway, ""}).Draw(t, "role"),
		TemplateLabels:      wildMap(mesh.LabelRev, v1alpha1.RevisionLabel, mesh.LabelInject).Draw(t, "template labels"),
		TemplateAnnotations: wildMap(mesh.AnnotationProxyImage, mesh.LabelInject, v1alpha1.AttemptAnnotation).Draw(t, "template annotations"),
		Annotations:         wildMap(v1alpha1.ExcludeAnnotation, v1alpha1.StrategyAnnotation).Draw(t, "annotations"),
		HostNetwork:         rapid.Bool().Draw(t, "host network"), HostPorts: rapid.Bool().Draw(t, "host ports"),
		Desired: wildNumber.Draw(t, "desired"), Owner: rapid.SampledFrom([]string{"", "App/x"}).Draw(t, "owner"),
		Strategy: mesh.Strategy{
			Type:     rapid.SampledFrom([]string{"RollingUpdate", "Recreate", "OnDelete", "", "x"}).Draw(t, "strategy"),
			MaxSurge: wildNumber.Draw(t, "surge"), MaxUnavailable: wildNumber.Draw(t, "unavailable"), Partition: wildNumber.Draw(t, "partition"),
		},
		Progress: mesh.Progress{
			Generation: int64(wildNumber.Draw(t, "generation")), ObservedGeneration: int64(wildNumber.Draw(t, "observed")),
			Replicas: wildNumber.Draw(t, "replicas"), Updated: wildNumber.Draw(t, "updated"), Ready: wildNumber.Draw(t, "ready"),
			Available: wildNumber.Draw(t, "available"), Paused: rapid.Bool().Draw(t, "paused"), DeadlineExceeded: rapid.Bool().Draw(t, "deadline"),
		},
	}
	for range rapid.IntRange(0, 3).Draw(t, "pods") {
		w.Pods = append(w.Pods, wildPod(t))
	}
	if rapid.Bool().Draw(t, "has a record") {
		w.Move = &mesh.Move{
			To: wildRevision.Draw(t, "moved to"), From: wildRevision.Draw(t, "moved from"), Started: wildTime.Draw(t, "started"),
			Attempt: wildNumber.Draw(t, "attempt"), Rollout: rapid.SampledFrom([]string{"r", "another", ""}).Draw(t, "rollout"), Pin: wildRevision.Draw(t, "pin"),
		}
	}
	return w
}

func wildReference(t *rapid.T) v1alpha1.WorkloadReference {
	return v1alpha1.WorkloadReference{
		Kind: rapid.SampledFrom([]string{mesh.KindDeployment, mesh.KindGateway, "", "Pod"}).Draw(t, "kind"), Namespace: wildName.Draw(t, "namespace"), Name: wildName.Draw(t, "name"),
	}
}

func wildPods(t *rapid.T) *intstr.IntOrString {
	text := rapid.SampledFrom([]string{"", "0", "-1", "1", "3", "2147483647", "1%", "50%", "100%", "0%", "-5%", "9999999999%", "many"}).Draw(t, "max pods")
	if text == "" {
		return nil
	}
	v := intstr.Parse(text)
	return &v
}

func wildWaves(t *rapid.T) (out []v1alpha1.Wave) {
	for n := range rapid.IntRange(0, 3).Draw(t, "waves") {
		w := v1alpha1.Wave{
			Name:              rapid.SampledFrom([]string{fmt.Sprint("w", n), "w0", v1alpha1.RestWave, ""}).Draw(t, "wave"),
			NamespaceSelector: wildSelector(t, "wave's namespaces"), PodSelector: wildSelector(t, "wave's pods"),
			Role: rapid.SampledFrom([]v1alpha1.PlaneRole{"", v1alpha1.RoleGateway, v1alpha1.RoleSidecar, "x"}).Draw(t, "wave's role"),
		}
		if rapid.Bool().Draw(t, "soaks") {
			w.Soak = &metav1.Duration{Duration: rapid.SampledFrom([]time.Duration{0, -1, time.Minute, 1<<63 - 1, -1 << 63}).Draw(t, "soak")}
		}
		out = append(out, w)
	}
	return out
}

// wildInput is what the schema lets through, and more.
func wildInput(t *rapid.T) Input {
	in := Input{
		Name: "r", From: oldRev, To: newRev, Inventory: wildInventory(t), Now: wildNow,
		Suspended: rapid.SampledFrom([]string{"", "", "not now"}).Draw(t, "suspended"),
		Spec: v1alpha1.DataPlaneRolloutSpec{
			Upgrade: "u", Direction: rapid.SampledFrom([]v1alpha1.Direction{v1alpha1.Forward, v1alpha1.Back, ""}).Draw(t, "direction"),
			Parallelism: rapid.Ptr(wildNumber, true).Draw(t, "parallelism"), ParallelismPerNamespace: wildNumber.Draw(t, "parallelism per namespace"),
			MaxPods: wildPods(t), MaxFailures: rapid.Ptr(wildNumber, true).Draw(t, "max failures"), Waves: wildWaves(t),
			NamespaceOrder: rapid.SliceOfN(wildName, 0, 3).Draw(t, "order"),
			Gateways:       rapid.SampledFrom([]v1alpha1.GatewayOrder{v1alpha1.GatewaysLast, v1alpha1.GatewaysFirst, v1alpha1.GatewaysMixed, ""}).Draw(t, "gateways"),
			FailurePolicy:  rapid.SampledFrom([]v1alpha1.FailurePolicy{v1alpha1.FailureStop, v1alpha1.FailureContinue, v1alpha1.FailureMoveBack, v1alpha1.FailureMoveBackAndContinue, ""}).Draw(t, "failure policy"),
			Timeout:        metav1.Duration{Duration: rapid.SampledFrom([]time.Duration{0, -1, time.Nanosecond, 10 * time.Minute, 1<<63 - 1, -1 << 63}).Draw(t, "timeout")},
			Paused:         rapid.Bool().Draw(t, "rollout is paused"), Stopped: rapid.Bool().Draw(t, "rollout is stopped"),
		},
	}
	for range rapid.IntRange(0, 2).Draw(t, "targets") {
		r := wildReference(t)
		in.Spec.Targets = append(in.Spec.Targets, v1alpha1.RolloutTarget{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name})
	}
	for range rapid.IntRange(0, 3).Draw(t, "decisions") {
		in.Spec.Decisions = append(in.Spec.Decisions, v1alpha1.WorkloadDecision{
			WorkloadReference: wildReference(t), Attempt: wildNumber.Draw(t, "decided attempt"),
			Action: rapid.SampledFrom([]v1alpha1.Decision{v1alpha1.Retry, v1alpha1.Skip, v1alpha1.MoveBack, ""}).Draw(t, "decision"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "failures") {
		in.Failures = append(in.Failures, v1alpha1.WorkloadFailure{
			WorkloadReference: wildReference(t), Attempt: wildNumber.Draw(t, "failed attempt"),
			Reason: rapid.SampledFrom([]string{v1alpha1.FailureRehearsal, v1alpha1.FailureApply, v1alpha1.FailureMovedBack, v1alpha1.FailureNotSynced, ""}).Draw(t, "failure"),
			Gate:   rapid.SampledFrom([]*v1alpha1.GateEvidence{nil, {Gate: health.GateSync}}).Draw(t, "evidence"),
		})
	}
	if rapid.Bool().Draw(t, "has gates") {
		in.Spec.Health = &v1alpha1.Health{
			SyncDeadline: rapid.SampledFrom([]*metav1.Duration{nil, {}, {Duration: -1}, {Duration: time.Minute}}).Draw(t, "sync deadline"),
			OnFailure:    rapid.SampledFrom([]v1alpha1.HealthAction{v1alpha1.HealthPause, v1alpha1.HealthMoveBack, ""}).Draw(t, "when unhealthy"),
		}
		for _, s := range Subjects(in) {
			in.Verdicts = append(in.Verdicts, health.Verdict{
				Key: s.Key, State: rapid.SampledFrom([]health.State{health.Pass, health.Wait, health.Fail, ""}).Draw(t, "verdict"), Gate: health.GateSync, Reason: v1alpha1.FailureNotSynced,
			})
		}
	}
	for n, w := range in.Spec.Waves {
		if rapid.Bool().Draw(t, "wave has a status") {
			at := metav1.NewTime(wildTime.Draw(t, "completed"))
			in.Waves = append(in.Waves, v1alpha1.WaveStatus{Name: in.Spec.Waves[len(in.Spec.Waves)-1-n].Name + w.Name[:min(1, len(w.Name))], CompletedAt: &at}, v1alpha1.WaveStatus{Name: w.Name, CompletedAt: &at})
		}
	}
	return in
}

// text is the whole input, to see whether it was changed.
func text(t *rapid.T, in Input) string {
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// soundDecision holds for every cluster and every wish.
func soundDecision(t *rapid.T) {
	in := wildInput(t)
	before := text(t, in)
	out := Decide(in)
	if after := text(t, in); after != before {
		t.Fatalf("the decision changed its input: %s", cmp.Diff(before, after))
	}
	if again := Decide(in); !cmp.Equal(out, again) {
		t.Fatalf("two decisions: %s", cmp.Diff(out, again))
	}
	c := out.Counts
	for _, n := range []int32{c.Total, c.Done, c.Moving, c.Failed, c.Skipped, c.Pending} {
		if n < 0 || int(n) > len(in.Inventory.Workloads)+len(in.Inventory.LoosePods) {
			t.Fatalf("counts %+v", c)
		}
	}
	if c.Total != c.Done+c.Moving+c.Failed+c.Skipped+c.Pending {
		t.Fatalf("the counts do not add up: %+v", c)
	}
	if out.Complete && (len(out.Actions) > 0 || c.Moving > 0) {
		t.Fatalf("complete with %d actions and %d moving", len(out.Actions), c.Moving)
	}
	soundActions(t, in, out)
	for _, m := range out.Moving {
		if m.Attempt < 1 || m.Attempt > mesh.MaxAttempt {
			t.Fatalf("moving: %+v", m)
		}
	}
}

func soundActions(t *rapid.T, in Input, out Outcome) {
	touched, forward := map[mesh.Ref]bool{}, 0
	for _, a := range out.Actions {
		w, ok := in.Inventory.Workload(a.Ref)
		switch {
		case !ok && !(bare(a.Ref) && len(a.Evict) > 0) || !Selected(in.Spec.Targets, a.Ref):
			t.Fatalf("%s is not a workload that was asked for", a.Ref)
		case touched[a.Ref]:
			t.Fatalf("%s is touched twice at once: %+v", a.Ref, out.Actions)
		case a.Restore && w.Kind != mesh.KindDeployment && w.Kind != mesh.KindStatefulSet:
			t.Fatalf("%s never had another strategy", a.Ref)
		case a.Restore && a.Record != (mesh.Move{}):
			t.Fatalf("a restore that moves: %+v", a)
		case len(a.Evict) > 0 && (a.Record != (mesh.Move{}) || a.Target != in.From && a.Target != in.To || !a.Method.evicts()):
			t.Fatalf("an eviction that does something else: %+v", a)
		}
		touched[a.Ref] = true
		if a.Restore || len(a.Evict) > 0 {
			continue
		}
		if a.Record.Attempt < 1 || a.Record.Attempt > mesh.MaxAttempt || a.Record.Rollout != in.Name || a.Record.To != a.Target || a.Target != in.From && a.Target != in.To || a.Label != (a.Target == in.To) {
			t.Fatalf("the action %+v", a)
		}
		if a.Pin != "" && a.Pin != in.From && a.Pin != in.To {
			t.Fatalf("%s would be pinned to %q", a.Ref, a.Pin)
		}
		if excluded(in.Inventory, w) || unsupported(in.Inventory, w) != "" && w.Kind != mesh.KindGateway {
			t.Fatalf("%s must not be touched", a.Ref)
		}
		target := in.To
		if in.Spec.Direction == v1alpha1.Back {
			target = in.From
		}
		if a.Target == target && a.Record.From != target {
			forward++
		}
	}
	held := in.Spec.Paused || in.Spec.Stopped || in.Suspended != "" || out.Undecided
	if held && forward > 0 || in.Spec.Workloads() > 0 && forward > int(in.Spec.Workloads()) {
		t.Fatalf("%d moves start (parallelism %d, held %v)", forward, in.Spec.Workloads(), held)
	}
}

func TestADecisionIsSoundWhateverIsWrittenByHand(t *testing.T) { rapid.Check(t, soundDecision) }

func FuzzADecisionIsSoundWhateverIsWrittenByHand(f *testing.F) {
	for n := range 3 {
		f.Add([]byte(strings.Repeat(string(rune('a'+n)), 2000)))
	}
	f.Fuzz(rapid.MakeFuzz(soundDecision))
}

func TestTheOrderInWhichPodsAreListedDoesNotChangeThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inv := wildInventory(t)
		before := Plan(inv, oldRev, newRev, v1alpha1.Forward)
		slices.Reverse(inv.LoosePods)
		for n := range inv.Workloads {
			slices.Reverse(inv.Workloads[n].Pods)
		}
		state := func(items []Item) (out []string) {
			for _, i := range items {
				out = append(out, fmt.Sprint(i.Ref, i.State, i.Pods, i.MovedPods, i.Remaining))
			}
			return out
		}
		if diff := cmp.Diff(state(before), state(Plan(inv, oldRev, newRev, v1alpha1.Forward))); diff != "" {
			t.Fatal(diff)
		}
	})
}
