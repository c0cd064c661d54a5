package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
)

func reference(namespace, name string) v1alpha1.WorkloadReference {
	return v1alpha1.WorkloadReference{Kind: mesh.KindDeployment, Namespace: namespace, Name: name}
}

// status makes the agent's report: counts, whether it is complete, and failures.
func status(r *v1alpha1.DataPlaneRollout, c v1alpha1.RolloutCounts, complete bool, failures ...v1alpha1.WorkloadFailure) {
	r.Status.ObservedGeneration, r.Status.Counts, r.Status.Failures = r.Generation, c, failures
	set := func(kind string, ok bool, reason string) metav1.Condition {
		s := metav1.ConditionFalse
		if ok {
			s = metav1.ConditionTrue
		}
		return metav1.Condition{Type: kind, Status: s, Reason: reason, Message: reason}
	}
	done := v1alpha1.ReasonInProgress
	if complete {
		done = v1alpha1.ReasonDone
	}
	r.Status.Conditions = []metav1.Condition{set(v1alpha1.ConditionComplete, complete, done), set(v1alpha1.ConditionHealthy, len(failures) == 0, v1alpha1.ReasonFailed)}
}

// agent reports the next of the steps at each look of the command at the rollout.
func agent(steps ...func(*v1alpha1.DataPlaneRollout)) func(client.Client, client.Object, int) error {
	return func(c client.Client, obj client.Object, n int) error {
		if _, ok := obj.(*v1alpha1.DataPlaneRollout); !ok || n > len(steps) {
			return nil
		}
		var all v1alpha1.DataPlaneRolloutList
		if err := c.List(context.Background(), &all); err != nil || len(all.Items) == 0 {
			return err
		}
		r := &all.Items[len(all.Items)-1]
		steps[n-1](r)
		return c.Status().Update(context.Background(), r)
	}
}

func moving(r *v1alpha1.DataPlaneRollout) {
	status(r, v1alpha1.RolloutCounts{Total: 3, Moving: 1, Pending: 2}, false)
	r.Status.Moving = []v1alpha1.WorkloadProgress{{WorkloadReference: reference("bookinfo", "ratings-v1"), Attempt: 1, Message: "0 of 1 pods ready on 1-31"}}
}

func finished(r *v1alpha1.DataPlaneRollout) {
	r.Status.Moving = nil
	status(r, v1alpha1.RolloutCounts{Total: 3, Done: 3}, true)
}

func failing(r *v1alpha1.DataPlaneRollout) {
	r.Status.Moving = nil
	status(r, v1alpha1.RolloutCounts{Total: 3, Done: 1, Failed: 1, Pending: 1}, false, v1alpha1.WorkloadFailure{
		WorkloadReference: reference("bookinfo", "reviews-v1"), Attempt: 1, Reason: "NotReadyInTime", Message: "bookinfo/Deployment/reviews-v1 was not ready in time",
		Events: []v1alpha1.PodEvent{{Pod: "reviews-v1-x", Type: "Warning", Reason: "Failed", Message: "image not found", Count: 2}},
	})
}

func ended(r *v1alpha1.DataPlaneRollout) {
	failing(r)
	status(r, v1alpha1.RolloutCounts{Total: 3, Done: 2, Failed: 1}, true, r.Status.Failures...)
}

func created(t *testing.T, w *clitest.World) *v1alpha1.DataPlaneRollout {
	t.Helper()
	var all v1alpha1.DataPlaneRolloutList
	if err := w.Client.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 1 {
		t.Fatalf("%d rollouts, want 1\n%s%s", len(all.Items), w.Output, w.Errors)
	}
	return &all.Items[0]
}

func TestNoPromptMovesEverythingAndTellsItInLines(t *testing.T) {
	w := clitest.New(clitest.Upgrade(3))
	w.Mesh = clitest.Mesh(true)
	w.Read = agent(moving, finished)
	if code := w.Run(t, NewCommand(w.Env), "--no-prompt"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	want := v1alpha1.DataPlaneRolloutSpec{
		Upgrade: "1-30-to-1-31", Direction: v1alpha1.Forward, Parallelism: new(int32(5)), FailurePolicy: v1alpha1.FailureStop, Timeout: metav1.Duration{Duration: 10 * time.Minute},
	}
	r := created(t, w)
	if diff := cmp.Diff(want, r.Spec); diff != "" {
		t.Error(diff)
	}
	if r.Name != "1-30-to-1-31-r1" {
		t.Errorf("name %q", r.Name)
	}
	for _, line := range []string{
		"Data planes to move to Istio 1.31.0 (revision 1-31):",
		"! istio-ingress/Deployment/web has one pod and cannot surge (its strategy is Recreate): it will be unreachable",
		"DataPlaneRollout 1-30-to-1-31-r1 created: every data plane of the cluster",
		"12:00:00  moving: bookinfo/Deployment/ratings-v1: 0 of 1 pods ready on 1-31",
		"12:00:00  moved: bookinfo/Deployment/ratings-v1",
		"Done: 3 of 3 moved.",
	} {
		if !strings.Contains(w.Output.String(), line) {
			t.Errorf("missing %q in:\n%s", line, w.Output)
		}
	}
}

func TestTheExitCodeTellsTheOutcome(t *testing.T) {
	stopped := func(r *v1alpha1.DataPlaneRollout) {
		r.Spec.Stopped = true
		status(r, v1alpha1.RolloutCounts{Total: 3, Done: 1, Pending: 2}, true)
	}
	for _, c := range []struct {
		name  string
		steps []func(*v1alpha1.DataPlaneRollout)
		args  []string
		code  int
		says  string
	}{
		{"a failure waits for a decision", []func(*v1alpha1.DataPlaneRollout){moving, failing}, nil, exit.MovesFailed, "Decide with: meshlift rollout retry|skip|move-back"},
		{"the events of the failure are shown", []func(*v1alpha1.DataPlaneRollout){failing}, nil, exit.MovesFailed, "  event: Warning Failed  pod reviews-v1-x: image not found (2 times)"},
		{"it ended with failures", []func(*v1alpha1.DataPlaneRollout){ended}, []string{"--failure-policy", "continue"}, exit.MovesFailed, "Ended with failures: 2 of 3 moved, 1 failed."},
		{"somebody stopped it", []func(*v1alpha1.DataPlaneRollout){stopped}, nil, exit.OK, "Done: 1 of 3 moved."},
		{"the time is over", []func(*v1alpha1.DataPlaneRollout){moving}, []string{"--wait-timeout", "20ms"}, exit.Unfinished, "Come back to it with: meshlift rollout --attach 1-30-to-1-31-r1"},
		{"detached from the start", nil, []string{"--detach"}, exit.OK, "Come back to it with: meshlift rollout --attach 1-30-to-1-31-r1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clitest.New(clitest.Upgrade(3))
			w.Mesh, w.Read = clitest.Mesh(true), agent(c.steps...)
			code := w.Run(t, NewCommand(w.Env), append([]string{"--no-prompt"}, c.args...)...)
			if code != c.code || !strings.Contains(w.Output.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s%s", code, c.code, c.says, w.Output, w.Errors)
			}
		})
	}
}

func TestAStoppedRolloutIsNotFinished(t *testing.T) {
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "u", Stopped: true}}
	status(r, v1alpha1.RolloutCounts{Total: 3, Done: 1, Pending: 2}, true)
	w := clitest.New(r)
	if code := w.Run(t, NewCommand(w.Env), "--attach", "r"); code != exit.Unfinished {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if got := w.Output.String(); !strings.Contains(got, "Stopped: 1 of 3 moved, 2 left.") {
		t.Error(got)
	}
}

func TestNothingStartsWhenItMayNot(t *testing.T) {
	moved := clitest.Mesh(true)
	for n := range moved.Workloads {
		moved.Workloads[n].Annotations = map[string]string{v1alpha1.ExcludeAnnotation: "true"}
	}
	denied := func(client.Object) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "dataplanerollouts"}, "x",
			errors.New(`admission webhook "v.meshlift.dev" denied the request: DataPlaneRollout "other" is not complete: wait for it`))
	}
	for _, c := range []struct {
		name   string
		world  *clitest.World
		mesh   *mesh.Inventory
		refuse func(client.Object) error
		args   []string
		code   int
		says   string
	}{
		{"no upgrade runs", clitest.New(), nil, nil, nil, exit.Refused, `no upgrade runs in this cluster: start one with "meshlift upgrade start --to VERSION"`},
		{"the EnvoyFilters are not checked", clitest.New(clitest.Upgrade(2)), clitest.Mesh(true), nil, nil, exit.Refused, "step 3 (EnvoyFilters) is not done"},
		{"everything is excluded", clitest.New(clitest.Upgrade(3)), moved, nil, nil, exit.OK, "Nothing to move: 3 data planes cannot or must not be moved by Meshlift."},
		{"an empty namespace", clitest.New(clitest.Upgrade(3)), clitest.Mesh(true), nil, []string{"-n", "empty"}, exit.OK, "Nothing to move: everything chosen runs on Istio 1.31.0"},
		{"a namespace that is not there", clitest.New(clitest.Upgrade(3)), clitest.Mesh(true), nil, []string{"nowhere"}, exit.Usage, `there is no namespace "nowhere"`},
		{"a workload that is not there", clitest.New(clitest.Upgrade(3)), clitest.Mesh(true), nil, []string{"bookinfo/nobody"}, exit.Usage, `"bookinfo/nobody" is not a data plane of this upgrade`},
		{"admission refuses", clitest.New(clitest.Upgrade(3)), clitest.Mesh(true), denied, nil, exit.Refused, `DataPlaneRollout "other" is not complete: wait for it`},
		{"a wrong failure policy", clitest.New(), nil, nil, []string{"--failure-policy", "Panic"}, exit.Usage, "unknown failure policy"},
		{"a negative parallelism", clitest.New(), nil, nil, []string{"--parallelism", "-1"}, exit.Usage, "--parallelism must not be negative"},
		{"a negative timeout", clitest.New(), nil, nil, []string{"--timeout", "-1s"}, exit.Usage, "--timeout must not be negative"},
		{"a kind that cannot move", clitest.New(), nil, nil, []string{"a/job/b"}, exit.Usage, `Meshlift does not move the kind "job"`},
		{"a rollout that is not there", clitest.New(), nil, nil, []string{"--attach", "x"}, exit.Failure, `there is no rollout "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.world
			if c.mesh != nil {
				w.Mesh = c.mesh
			}
			w.Refuse = c.refuse
			code := w.Run(t, NewCommand(w.Env), append(c.args, "--no-prompt")...)
			if code != c.code || !strings.Contains(w.Output.String()+w.Errors.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s%s", code, c.code, c.says, w.Output, w.Errors)
			}
			var all v1alpha1.DataPlaneRolloutList
			if err := w.Client.List(t.Context(), &all); err != nil || len(all.Items) > 0 {
				t.Errorf("%d rollouts (%v), want none", len(all.Items), err)
			}
		})
	}
}

func TestAPersonIsAskedBeforeAnythingMoves(t *testing.T) {
	for _, c := range []struct {
		answer string
		code   int
		made   int
	}{{"n\n", exit.Refused, 0}, {"\n", exit.Refused, 0}, {"", exit.Refused, 0}, {"y\n", exit.OK, 1}, {"yes\n", exit.OK, 1}} {
		t.Run("answer "+strings.TrimSpace(c.answer), func(t *testing.T) {
			w := clitest.New(clitest.Upgrade(3)).Person(c.answer)
			w.Mesh, w.Read = clitest.Mesh(true), agent(finished)
			if code := w.Run(t, NewCommand(w.Env)); code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, w.Output, w.Errors)
			}
			if q := "Move 2 workloads with sidecars and 1 gateway (5 pods)?"; !strings.Contains(w.Errors.String(), q) {
				t.Errorf("missing the question %q in %q", q, w.Errors)
			}
			var all v1alpha1.DataPlaneRolloutList
			if err := w.Client.List(t.Context(), &all); err != nil || len(all.Items) != c.made {
				t.Errorf("%d rollouts (%v), want %d", len(all.Items), err, c.made)
			}
		})
	}
}

func TestARunningRolloutIsShownInsteadOfMakingAnother(t *testing.T) {
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31"}}
	moving(r)
	w := clitest.New(clitest.Upgrade(3), r)
	w.Read = agent(finished)
	if code := w.Run(t, NewCommand(w.Env), "--no-prompt", "bookinfo"); code != exit.OK {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	for _, s := range []string{"Rollout first runs already (0 of 3 moved, 1 moving): this is it.", "What was asked for now is ignored", "Done: 3 of 3 moved."} {
		if !strings.Contains(w.Output.String(), s) {
			t.Errorf("missing %q in:\n%s", s, w.Output)
		}
	}
	created(t, w)
}

func TestAClusterThatDoesNotAnswerIsWaitedFor(t *testing.T) {
	w := clitest.New(clitest.Upgrade(3))
	w.Mesh = clitest.Mesh(true)
	then := agent(moving, moving, moving, moving, finished)
	w.Read = func(c client.Client, obj client.Object, n int) error {
		if err := then(c, obj, n); err != nil {
			return err
		}
		if _, ok := obj.(*v1alpha1.DataPlaneRollout); ok && (n == 2 || n == 3) {
			return errors.New("connection refused")
		}
		return nil
	}
	if code := w.Run(t, NewCommand(w.Env), "--no-prompt"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if n := strings.Count(w.Output.String(), "the cluster does not answer, trying again"); n != 1 {
		t.Errorf("the trouble is told %d times, want once:\n%s", n, w.Output)
	}
	if !strings.Contains(w.Output.String(), "the cluster answers again") {
		t.Error(w.Output)
	}
}

func TestJSONIsTheObjectAloneAtTheEnd(t *testing.T) {
	w := clitest.New(clitest.Upgrade(3))
	w.Mesh, w.Read = clitest.Mesh(true), agent(moving, finished)
	w.Mesh.Namespaces["bookinfo"].Labels[mesh.LabelRev] = "1-31"
	w.Mesh.Workloads[0].Pods[0].Revision = "1-31"
	if code := w.Run(t, NewCommand(w.Env), "-o", "json", "bookinfo/ratings-v1", "--back", "--parallelism", "1", "--timeout", "3m"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	var r v1alpha1.DataPlaneRollout
	if err := json.Unmarshal(w.Output.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, w.Output)
	}
	if r.Kind != "DataPlaneRollout" || r.Status.Counts.Done != 3 {
		t.Errorf("%+v", r)
	}
	want := v1alpha1.DataPlaneRolloutSpec{
		Upgrade: "1-30-to-1-31", Direction: v1alpha1.Back, Parallelism: new(int32(1)), FailurePolicy: v1alpha1.FailureStop, Timeout: metav1.Duration{Duration: 3 * time.Minute},
		Targets: []v1alpha1.RolloutTarget{{Namespace: "bookinfo", Kind: "Deployment", Name: "ratings-v1"}},
	}
	if diff := cmp.Diff(want, r.Spec); diff != "" {
		t.Error(diff)
	}
}

func TestDecisionsAreWrittenIntoTheRollout(t *testing.T) {
	ratings, reviews := reference("bookinfo", "ratings-v1"), reference("bookinfo", "reviews-v1")
	running := func() *v1alpha1.DataPlaneRollout {
		r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "first", Generation: 1}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31"}}
		r.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: ratings, Action: v1alpha1.Retry, Attempt: 2}}
		status(r, v1alpha1.RolloutCounts{Total: 3, Failed: 2}, false,
			v1alpha1.WorkloadFailure{WorkloadReference: ratings, Attempt: 2, Message: "no"}, v1alpha1.WorkloadFailure{WorkloadReference: reviews, Attempt: 1, Message: "no"})
		return r
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want func(*v1alpha1.DataPlaneRolloutSpec)
	}{
		{"retry all", []string{"retry"}, exit.OK, func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: ratings, Action: v1alpha1.Retry, Attempt: 3}, {WorkloadReference: reviews, Action: v1alpha1.Retry, Attempt: 2}}
		}},
		{"skip one", []string{"skip", "bookinfo/reviews-v1"}, exit.OK, func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Decisions = append(s.Decisions, v1alpha1.WorkloadDecision{WorkloadReference: reviews, Action: v1alpha1.Skip})
		}},
		{"move one back after a retry", []string{"move-back", "bookinfo/deploy/ratings-v1", "--attach", "first"}, exit.OK, func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: ratings, Action: v1alpha1.MoveBack}}
		}},
		{"one that has not failed", []string{"retry", "bookinfo/details-v1"}, exit.Failure, func(*v1alpha1.DataPlaneRolloutSpec) {}},
		{"stop", []string{"stop"}, exit.OK, func(s *v1alpha1.DataPlaneRolloutSpec) { s.Stopped = true }},
		{"pause", []string{"pause"}, exit.OK, func(s *v1alpha1.DataPlaneRolloutSpec) { s.Paused = true }},
		{"resume what is not paused", []string{"resume"}, exit.OK, func(*v1alpha1.DataPlaneRolloutSpec) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clitest.New(clitest.Upgrade(3), running())
			if code := w.Run(t, NewCommand(w.Env), c.args...); code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, w.Output, w.Errors)
			}
			want := running().Spec
			c.want(&want)
			if diff := cmp.Diff(want, created(t, w).Spec); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADecisionSurvivesThatSomebodyElseWasFaster(t *testing.T) {
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "u"}}
	failing(r)
	w := clitest.New(r)
	w.Refuse = func(client.Object) error {
		w.Refuse = nil
		var other v1alpha1.DataPlaneRollout
		if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "first"}, &other); err != nil {
			return err
		}
		other.Spec.Paused = true
		return w.Client.Update(t.Context(), &other)
	}
	if code := w.Run(t, NewCommand(w.Env), "skip"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if s := created(t, w).Spec; !s.Paused || len(s.Decisions) != 1 {
		t.Errorf("one of the two writes is lost: %+v", s)
	}
}
