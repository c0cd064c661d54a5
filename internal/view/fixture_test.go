package view_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with the file of that name, which shows what people see.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func condition(kind, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if reason == v1alpha1.ReasonDone {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// upgradeAt is an upgrade whose steps before the n-th are done, the n-th is as given, and the rest waits.
func upgradeAt(n int, reason, message string) *v1alpha1.ClusterUpgrade {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31", CreationTimestamp: ago(time.Hour)}}
	u.Spec.Version = "1.31"
	u.Status.From = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}
	u.Status.To = &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	u.Status.DataPlanes = v1alpha1.DataPlaneCounts{Total: 7, Moved: 2, Sidecars: 4, Gateways: 1}
	done := []string{
		"no component besides Istio is managed in this cluster",
		"istiod 1.31.0 (revision 1-31) runs beside 1-30: available, injects, serves xDS",
		"there is no EnvoyFilter in this cluster",
		"every data plane runs on 1-31",
		"istiod 1-30 is removed; every data plane runs on 1-31",
	}
	kinds := []string{
		v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled,
		v1alpha1.ConditionDataPlanesMoved, v1alpha1.ConditionDecommissioned,
	}
	u.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionAccepted, v1alpha1.ReasonDone, "supported")}
	for i, kind := range kinds {
		c := condition(kind, v1alpha1.ReasonDone, done[i])
		switch {
		case i+1 == n:
			c = condition(kind, reason, message)
		case i+1 > n:
			c = condition(kind, v1alpha1.ReasonWaiting, "waits for step "+kinds[n-1])
		}
		u.Status.Conditions = append(u.Status.Conditions, c)
	}
	return u
}

func controlPlane(revisions ...v1alpha1.RevisionStatus) *v1alpha1.ControlPlane {
	return &v1alpha1.ControlPlane{Status: v1alpha1.ControlPlaneStatus{KubernetesVersion: "v1.37.2", Revisions: revisions}}
}

func oldRevision() v1alpha1.RevisionStatus {
	return v1alpha1.RevisionStatus{
		Name: "1-30", Version: "1.30.0", InstalledBy: v1alpha1.InstalledByHelm, Replicas: 2, ReadyReplicas: 2, Tags: []string{"default", "prod"},
		Sidecars: 6, Gateways: 1, UpgradeTo: []string{"1.31"},
		Uses: []v1alpha1.RevisionUse{
			{Why: "namespace label istio.io/rev=prod", Count: 7, Examples: []string{"bookinfo", "shop"}},
			{Why: "pod label istio.io/rev=1-30", Count: 1, Examples: []string{"istio-ingress/Deployment/istio-ingressgateway"}},
		},
	}
}

func newRevision() v1alpha1.RevisionStatus {
	return v1alpha1.RevisionStatus{Name: "1-31", Version: "1.31.0", InstalledBy: v1alpha1.InstalledByHelm, Replicas: 1, ReadyReplicas: 1}
}

func ref(kind, namespace, name string) v1alpha1.WorkloadReference {
	return v1alpha1.WorkloadReference{Kind: kind, Namespace: namespace, Name: name}
}

func item(namespace, kind, name string, role mesh.Role, state rollout.State, pods int32, message string, warnings ...string) rollout.Item {
	return rollout.Item{Ref: mesh.Ref{Kind: kind, Namespace: namespace, Name: name}, Role: role, State: state, Pods: pods, Message: message, Warnings: warnings}
}

func items() []rollout.Item {
	return []rollout.Item{
		item("bookinfo", "Deployment", "ratings-v1", mesh.Sidecar, rollout.Pending, 1, "on 1-30"),
		item("bookinfo", "Deployment", "reviews-v1", mesh.Sidecar, rollout.Moved, 3, "on 1-31"),
		item("bookinfo", "StatefulSet", "cart", mesh.Sidecar, rollout.Moving, 3, "1 of 3 pods ready on 1-31"),
		item("shop", "Deployment", "legacy", mesh.Sidecar, rollout.Excluded, 2, "excluded by the annotation meshlift.dev/exclude"),
		item("shop", "Job", "report", mesh.Sidecar, rollout.Unsupported, 1, "Meshlift does not drive the kind Job: restart it yourself, or let it finish"),
		item("istio-ingress", "Deployment", "istio-ingressgateway", mesh.IngressGateway, rollout.Pending, 1, "on 1-30",
			"istio-ingress/Deployment/istio-ingressgateway has one pod and cannot surge (its strategy is Recreate): it will be unreachable while its pod is replaced; give it a second replica first to avoid that"),
	}
}

// runningRollout has one workload in motion and one that failed.
func runningRollout() *v1alpha1.DataPlaneRollout {
	started := ago(75 * time.Second)
	return &v1alpha1.DataPlaneRollout{
		ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31-r1", Generation: 1, CreationTimestamp: started},
		Spec:       v1alpha1.DataPlaneRolloutSpec{Upgrade: "1-30-to-1-31", Direction: v1alpha1.Forward},
		Status: v1alpha1.DataPlaneRolloutStatus{
			ObservedGeneration: 1, StartedAt: &started, Progress: "1 of 6 moved, 1 moving, 1 failed, 2 skipped",
			Counts: v1alpha1.RolloutCounts{Total: 6, Done: 1, Moving: 1, Failed: 1, Skipped: 2, Pending: 1},
			Moving: []v1alpha1.WorkloadProgress{{WorkloadReference: ref("StatefulSet", "bookinfo", "cart"), Attempt: 1, Message: "1 of 3 pods ready on 1-31"}},
			Failures: []v1alpha1.WorkloadFailure{{
				WorkloadReference: ref("Deployment", "bookinfo", "ratings-v1"), Attempt: 1, Reason: "NotReadyInTime",
				Message: "bookinfo/Deployment/ratings-v1 was not ready 10m0s after its move began: 0 of 1 pods ready on 1-31",
				Events: []v1alpha1.PodEvent{
					{Pod: "ratings-v1-abc", Type: "Warning", Reason: "FailedScheduling", Message: "0/3 nodes are available: 3 Insufficient cpu.", Count: 4, LastSeen: ago(12 * time.Second)},
				},
			}},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInProgress, Message: "1 of 6 moved"},
				{Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFailed, Message: "bookinfo/Deployment/ratings-v1 failed: retry, skip or move back"},
			},
		},
	}
}
