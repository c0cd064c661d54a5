package rollout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones are those of the binary

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/view"
)

const careful = "../../../examples/rollout.yaml"

func count(t *testing.T, w *clitest.World) int {
	t.Helper()
	var all v1alpha1.DataPlaneRolloutList
	if err := w.Client.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	return len(all.Items)
}

func ready() *clitest.World {
	w := clitest.New(clitest.Upgrade(3))
	w.Mesh = clitest.Mesh(true)
	return w
}

func TestTheFlagsOfThePaceAreWrittenIntoTheRollout(t *testing.T) {
	w := ready()
	if code := w.Run(t, NewCommand(w.Env), "--no-prompt", "--detach", "--parallelism", "0", "--parallelism-per-namespace", "2", "--max-pods", "25%",
		"--namespace-order", "istio-ingress,bookinfo", "--gateways", "first", "--failure-policy", "movebackandcontinue", "--max-failures", "3", "--sync-deadline", "1m", "--on-unhealthy", "pause"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	want := v1alpha1.DataPlaneRolloutSpec{
		Upgrade: "1-30-to-1-31", Direction: v1alpha1.Forward, Parallelism: new(int32(0)), ParallelismPerNamespace: 2, MaxPods: new(intstr.FromString("25%")),
		NamespaceOrder: []string{"istio-ingress", "bookinfo"}, Gateways: v1alpha1.GatewaysFirst,
		Health:        &v1alpha1.Health{SyncDeadline: &metav1.Duration{Duration: time.Minute}, OnFailure: v1alpha1.HealthPause},
		FailurePolicy: v1alpha1.FailureMoveBackAndContinue, MaxFailures: new(int32(3)), Timeout: metav1.Duration{Duration: 10 * time.Minute},
	}
	if diff := cmp.Diff(want, created(t, w).Spec); diff != "" {
		t.Error(diff)
	}
}

func TestADryRunShowsThePlanAndChangesNothing(t *testing.T) {
	w := ready()
	if code := w.Run(t, NewCommand(w.Env), "-f", careful, "--dry-run"); code != exit.OK || count(t, w) != 0 {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	for _, line := range []string{
		"Rollout careful  to Istio 1.31.0 (revision 1-31)",
		"  at the same time  20 workloads, 3 workloads of one namespace, 1 pod (10% of 5)",
		"  order             namespaces bookinfo, then the others; gateways last",
		"  window            0 22 * * SAT for 8h, Europe/Berlin",
		"  freeze            year-end, from Fri 2026-12-18 00:00 UTC until Mon 2027-01-04 00:00 UTC",
		"  health            new proxies are in sync with the new istiod 2m after they are ready, and the shares of requests that fail and that are slow grow by at most 1 and 5 percentage points in 10m; else it is moved back, and no further workload is touched",
		"  on failure        move the failed one back, go on with the others, until more than 2 have failed; a workload has failed when it is not ready after 10m",
		"Wave 1 canary  2 data planes to move, 4 pods; then it soaks for 1h",
		"Wave 3 rest  1 data plane to move, 1 pod",
		"! no move starts outside the maintenance windows of the rollout: moves start again Sat 2026-11-28 22:00 Europe/Berlin",
	} {
		if !strings.Contains(w.Output.String(), line+"\n") {
			t.Errorf("missing %q in:\n%s", line, w.Output)
		}
	}
}

func TestADryRunOfFlagsIsReadByScripts(t *testing.T) {
	w := ready()
	if code := w.Run(t, NewCommand(w.Env), "bookinfo/reviews-v1", "--dry-run", "-o", "json"); code != exit.OK || count(t, w) != 0 {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	var p view.RolloutPlan
	if err := json.Unmarshal(w.Output.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Waves) != 1 || len(p.Waves[0].DataPlanes) != 1 || p.Waves[0].DataPlanes[0].Name != "reviews-v1" || p.Waits != "" || len(p.Spec.Targets) != 1 {
		t.Errorf("plan %+v", p)
	}
}

func TestADryRunSaysThatTheRolloutWouldBeRefused(t *testing.T) {
	w := clitest.New(clitest.Upgrade(2))
	w.Mesh = clitest.Mesh(true)
	if code := w.Run(t, NewCommand(w.Env), "--dry-run"); code != exit.Refused || !strings.Contains(w.Output.String(), "step 3 (EnvoyFilters) is not done") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
}

func TestAFreezeOfTheClusterIsInThePlan(t *testing.T) {
	w := clitest.New(clitest.Upgrade(3), &v1alpha1.ControlPlane{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}, Spec: v1alpha1.ControlPlaneSpec{Freezes: []v1alpha1.Freeze{{Name: "incident"}}},
	})
	w.Mesh = clitest.Mesh(true)
	w.Run(t, NewCommand(w.Env), "--dry-run")
	for _, text := range []string{"freeze of the cluster  incident, until it is lifted", `! no move starts in the freeze "incident" of the cluster (ControlPlane default)`} {
		if !strings.Contains(w.Output.String(), text) {
			t.Errorf("missing %q in:\n%s", text, w.Output)
		}
	}
}

func TestARolloutFromAFileIsCreatedAsItIs(t *testing.T) {
	w := ready()
	w.Person("y\n")
	if code := w.Run(t, NewCommand(w.Env), "-f", careful, "--detach"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	r := created(t, w)
	var waves []string
	for _, x := range r.Spec.Waves {
		waves = append(waves, x.Name)
	}
	if r.Name != "careful" || !slices.Equal(waves, []string{"canary", "sidecars"}) || len(r.Spec.Windows) != 1 || r.Spec.Freezes[0].Name != "year-end" {
		t.Errorf("%s: %+v", r.Name, r.Spec)
	}
	if code := w.Run(t, NewCommand(w.Env), "-f", careful, "--dry-run"); code != exit.OK {
		t.Errorf("a second look: exit code %d\n%s", code, w.Errors)
	}
}

func TestAFileThatIsNoRolloutIsRefused(t *testing.T) {
	good, err := os.ReadFile(careful)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, says string
		args       []string
		code       int
	}{
		"another kind":      {"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", `holds a Pod of "v1": give a DataPlaneRollout of meshlift.dev/v1alpha1`, nil, exit.Usage},
		"an unknown field":  {string(good) + "  paralelism: 3\n", `unknown field`, nil, exit.Usage},
		"targets besides":   {string(good), "--filename says what moves", []string{"bookinfo"}, exit.Usage},
		"flags besides":     {string(good), "write --max-pods into the file instead", []string{"--max-pods", "3"}, exit.Usage},
		"an empty wave":     {strings.Replace(string(good), "      role: Sidecar\n", "", 1), `wave "sidecars" selects nothing`, nil, exit.Refused},
		"a bad schedule":    {strings.Replace(string(good), "0 22 * * SAT", "0 25 * * SAT", 1), `window 1 of the rollout: "0 25 * * SAT" is not a schedule`, nil, exit.Refused},
		"an unknown zone":   {strings.Replace(string(good), "Europe/Berlin", "Europe/Atlantis", 1), `there is no time zone "Europe/Atlantis"`, nil, exit.Refused},
		"another namespace": {strings.Replace(string(good), "spec:\n", "spec:\n  targets: [{namespace: nowhere}]\n", 1), `there is no namespace "nowhere"`, nil, exit.Refused},
	} {
		file := filepath.Join(t.TempDir(), "r.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		w := ready()
		code := w.Run(t, NewCommand(w.Env), append([]string{"--no-prompt", "-f", file}, c.args...)...)
		if code != c.code || !strings.Contains(w.Errors.String(), c.says) || count(t, w) != 0 {
			t.Errorf("%s: exit code %d, want %d and %q in:\n%s%s", name, code, c.code, c.says, w.Output, w.Errors)
		}
	}
}

func TestWrongFlagsOfThePaceAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"--max-pods", "0"},
		{"--max-pods", "101%"},
		{"--max-pods", "0%"},
		{"--max-pods", "many"},
		{"--gateways", "never"},
		{"--parallelism-per-namespace", "-1"},
		{"--sync-deadline", "-1s"},
		{"--on-unhealthy", "pause"},
		{"--sync-deadline", "1m", "--on-unhealthy", "explode"},
		{"--watch-metrics", "1m"},
		{"--prometheus", "http://x", "--watch-metrics", "-1m"},
		{"--max-failures", "-2"},
		{"-f", "nowhere.yaml"},
		{"-f", "-"},
		{"--attach", "x", "--dry-run"},
	} {
		w := ready()
		if code := w.Run(t, NewCommand(w.Env), args...); code != exit.Usage {
			t.Errorf("%v: exit code %d\n%s", args, code, w.Errors)
		}
	}
}

func TestSeveralFailedWorkloadsMoveBackWithOneCommand(t *testing.T) {
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r", Generation: 1}, Spec: v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31"}}
	var failures []v1alpha1.WorkloadFailure
	for _, name := range []string{"reviews-v1", "ratings-v1", "details-v1"} {
		failures = append(failures, v1alpha1.WorkloadFailure{WorkloadReference: reference("bookinfo", name), Attempt: 1, Reason: "NotReadyInTime"})
	}
	status(r, v1alpha1.RolloutCounts{Total: 3, Failed: 3}, false, failures...)
	w := clitest.New(clitest.Upgrade(3), r)
	if code := w.Run(t, NewCommand(w.Env), "move-back", "bookinfo/reviews-v1", "bookinfo/Deployment/details-v1"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	want := []v1alpha1.WorkloadDecision{
		{WorkloadReference: reference("bookinfo", "reviews-v1"), Action: v1alpha1.MoveBack},
		{WorkloadReference: reference("bookinfo", "details-v1"), Action: v1alpha1.MoveBack},
	}
	if diff := cmp.Diff(want, created(t, w).Spec.Decisions); diff != "" {
		t.Error(diff)
	}
}
