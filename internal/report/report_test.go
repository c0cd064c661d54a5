package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

func pointer(minutes int) *metav1.Time { t := at(minutes); return &t }

// upgraded is an upgrade in which everything happened that a report has a place for.
func upgraded() Facts {
	u := &v1alpha1.ClusterUpgrade{
		ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31", CreationTimestamp: at(0), Annotations: map[string]string{v1alpha1.RequestedByAnnotation: "ann"}},
		Spec: v1alpha1.ClusterUpgradeSpec{
			Version:       "1.31",
			IgnoredChecks: []v1alpha1.IgnoredCheck{{ID: "capacity", Findings: 2, By: "ann", At: at(0)}},
			EnvoyFilters:  []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "lua", Hash: "7cfe", By: "bob", At: at(2), Note: "checked with <team> | reviews"}},
			Decommission:  &v1alpha1.DecommissionRequest{By: "ann", At: at(20), Soak: metav1.Duration{Duration: 5 * time.Minute}},
		},
		Status: v1alpha1.ClusterUpgradeStatus{
			From: &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, To: &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"},
			DataPlanes:   v1alpha1.DataPlaneCounts{Total: 2, Moved: 2},
			EnvoyFilters: []v1alpha1.EnvoyFilterStatus{{Namespace: "shop", Name: "lua", Hash: "7cfe", Owner: "team-reviews", Verdict: "fine", Acknowledged: true, By: "bob"}},
			Values:       &v1alpha1.ValuesReport{Carried: []string{"pilot.cpu"}, Changed: []string{"meshConfig: became a map"}},
			Decommission: &v1alpha1.DecommissionStatus{ProvedAt: pointer(21), ScaledDownAt: pointer(21), RemovedAt: pointer(26)},
			History:      []v1alpha1.HistoryEntry{{At: at(1), Step: 2, Message: "istiod 1.31.0 is ready"}, {At: at(26), Step: 5, Message: "istiod 1-30 is removed"}},
		},
	}
	for _, t := range []string{
		v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled,
		v1alpha1.ConditionDataPlanesMoved, v1alpha1.ConditionDecommissioned, v1alpha1.ConditionReady,
	} {
		u.Status.Conditions = append(u.Status.Conditions, metav1.Condition{Type: t, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, Message: "all of " + t + " is done"})
	}
	web := v1alpha1.WorkloadReference{Kind: "Deployment", Namespace: "shop", Name: "web"}
	first := v1alpha1.DataPlaneRollout{
		ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31-r1", CreationTimestamp: at(5), Annotations: map[string]string{v1alpha1.RequestedByAnnotation: "ann"}},
		Spec: v1alpha1.DataPlaneRolloutSpec{
			Upgrade: u.Name, Direction: v1alpha1.Forward, FailurePolicy: v1alpha1.FailureStop,
			Targets: []v1alpha1.RolloutTarget{{Namespace: "shop"}}, Decisions: []v1alpha1.WorkloadDecision{{WorkloadReference: web, Action: v1alpha1.Retry, Attempt: 2}},
		},
		Status: v1alpha1.DataPlaneRolloutStatus{
			Counts: v1alpha1.RolloutCounts{Total: 2, Done: 2}, StartedAt: pointer(5), CompletedAt: pointer(9),
			Forecast: &v1alpha1.RolloutForecast{P50: metav1.Duration{Duration: 3 * time.Minute}, P95: metav1.Duration{Duration: 5 * time.Minute}, Guessed: 1}, Warnings: []string{"shop/Deployment/web has one pod"},
			Failures: []v1alpha1.WorkloadFailure{{
				WorkloadReference: web, Attempt: 1, Reason: "NotSynced", Message: "1 of 2 proxies were in sync",
				Gate:   &v1alpha1.GateEvidence{Gate: "Sync", At: at(6), Seen: []string{"web-1 is not connected"}},
				Events: []v1alpha1.PodEvent{{Pod: "web-1", Type: "Warning", Reason: "BackOff", Message: "Back-off pulling image", Count: 3, LastSeen: at(6)}},
			}},
		},
	}
	other := first
	other.Name, other.Spec.Upgrade = "r", "another upgrade"
	return Facts{Cluster: "east", Kubernetes: "v1.37.2", Upgrade: u, Rollouts: []v1alpha1.DataPlaneRollout{other, first}, At: noon.Add(time.Hour)}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), see -update:\n%s", name, diff)
	}
}

func TestTheReportOfAWholeUpgrade(t *testing.T) {
	golden(t, "complete.md", New(upgraded()).Markdown())
}

func TestTheReportOfAnUpgradeThatHasOnlyBegun(t *testing.T) {
	f := upgraded()
	f.Cluster, f.Kubernetes, f.Rollouts = "", "", nil
	f.Upgrade.Annotations, f.Upgrade.Spec, f.Upgrade.Status = nil, v1alpha1.ClusterUpgradeSpec{Version: "1.31"}, v1alpha1.ClusterUpgradeStatus{
		Blockers: []v1alpha1.Blocker{{Message: "Deployment shop/web has 1 pod on revision 1-30"}}, BlockersOmitted: 4,
	}
	golden(t, "begun.md", New(f).Markdown())
}

// TestNothingInAReportIsMarkup gives every text that others write the worst that it can hold.
func TestNothingInAReportIsMarkup(t *testing.T) {
	const evil = "<script>alert(1)</script> | **x** [a](javascript:b)\n# y"
	f := upgraded()
	f.Cluster = evil
	f.Upgrade.Spec.EnvoyFilters[0].Note, f.Upgrade.Status.History[0].Message, f.Upgrade.Annotations[v1alpha1.RequestedByAnnotation] = evil, evil, evil
	f.Rollouts[1].Status.Failures[0].Message, f.Rollouts[1].Status.Failures[0].Events[0].Message = evil, evil
	r := New(f)
	plain := strings.Count(New(upgraded()).Markdown(), "\n")
	if got := r.Markdown(); strings.Contains(got, "<script") || strings.Contains(got, "[a](") || strings.Contains(got, "**x") || strings.Count(got, "\n") != plain {
		t.Errorf("Markdown that somebody else wrote is in the report:\n%s", got)
	}
	text, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	page, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range page.Descendants() {
		if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "a" || n.Data == "img") {
			t.Errorf("the page has an element <%s>", n.Data)
		}
	}
	if !strings.Contains(text, "&lt;script&gt;alert(1)") {
		t.Error("what was written is not shown")
	}
}

func TestEveryRowOfTheMarkdownHasTheColumnsOfItsTable(t *testing.T) {
	columns := 0
	for _, line := range strings.Split(New(upgraded()).Markdown(), "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, "\\|", ""), "|")
		if columns != 0 && n != columns {
			t.Errorf("%d columns, want %d: %s", n, columns, line)
		}
		columns = n
	}
}
