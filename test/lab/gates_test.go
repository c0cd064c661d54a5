package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// gatedRollout moves one workload after the other; %s is its name, the namespace and what health says.
const gatedRollout = `apiVersion: meshlift.dev/v1alpha1
kind: DataPlaneRollout
metadata: {name: %s}
spec:
  upgrade: 1-30-to-1-31
  parallelism: 1
  failurePolicy: Continue
  targets: [{namespace: %s}]
  health: %s
`

// TestGates has a target whose configuration proxies reject, and one with which they do not connect: the right gate stops the
// workload, moves it back by itself or leaves it, and no further one is touched, although the failure policy says Continue. Where
// nothing is wrong, everything moves.
func TestGates(t *testing.T) {
	t.Parallel()
	c := withAgent(t, "gates", nil)
	proxies := func(mode string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"lab.meshlift.dev/xds": mode}
		}
	}
	for _, ns := range []string{"shop", "lost"} {
		namespace(t, c.Lab, ns, map[string]string{"istio.io/rev": oldRev})
		c.create(t, deployment(ns, "c-last", 1))
	}
	c.create(t, deployment("shop", "a-first", 2))
	c.create(t, deployment("shop", "b-rejects", 2, proxies("nack@"+newRev)))
	c.create(t, deployment("lost", "b-silent", 1, proxies("off@"+newRev)))
	c.paid(t)
	c.prometheus(t)
	c.ok(t, "upgrade", "start", "--to", "1.31", "--yes")
	c.reached(t, upgrade, v1alpha1.ConditionEnvoyFiltersHandled)

	t.Run("a workload whose requests fail more often is moved back, and no further workload is touched", func(t *testing.T) { metricsGate(t, c) })
	t.Run("a proxy that rejects what the new istiod sends is moved back, and no further workload is touched", func(t *testing.T) {
		c.gated(t, "rejected", "shop", "{syncDeadline: 5m}")
		f := c.stopped(t, "rejected", v1alpha1.FailureMovedBack)
		if f.Name != "b-rejects" || f.Gate == nil || f.Gate.Gate != "Sync" || len(f.Gate.Seen) == 0 || !strings.Contains(f.Message, "rejected by annotation") {
			t.Errorf("the failure does not tell what was seen: %+v", f)
		}
		c.runs(t, "shop", "a-first", newRev, 2, 2)
		c.runs(t, "shop", "b-rejects", oldRev, 2, 2)
		c.runs(t, "shop", "c-last", oldRev, 1, 1)
		c.told(t, "rejected", v1alpha1.FailureRejected)
	})
	t.Run("skipped by somebody, the others move", func(t *testing.T) {
		c.ok(t, "rollout", "skip", "shop/Deployment/b-rejects")
		c.complete(t)
		c.runs(t, "shop", "c-last", newRev, 1, 2)
	})
	t.Run("a proxy that does not connect in time stays when the gate pauses, and no further workload is touched", func(t *testing.T) {
		c.ok(t, "rollout", "-n", "lost", "--parallelism", "1", "--sync-deadline", "5s", "--on-unhealthy", "pause", "--failure-policy", "Continue", "--no-prompt", "--detach")
		f := c.stopped(t, upgrade+"-r1", v1alpha1.FailureNotSynced)
		if f.Name != "b-silent" || !strings.Contains(f.Message, "is not connected to istiod "+newRev) {
			t.Errorf("%+v", f)
		}
		c.runs(t, "lost", "b-silent", newRev, 1, 2)
		c.runs(t, "lost", "c-last", oldRev, 1, 1)
	})
}

// gated starts a rollout with health gates.
func (c *cluster) gated(t *testing.T, name, namespace, health string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollout.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, gatedRollout, name, namespace, health), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ok(t, "rollout", "-f", file, "--no-prompt", "--detach")
}

// stopped waits until a rollout has exactly one failure, with that reason, and nothing moves any more.
func (c *cluster) stopped(t *testing.T, name, reason string) v1alpha1.WorkloadFailure {
	t.Helper()
	r := &v1alpha1.DataPlaneRollout{}
	labtest.Eventually(t, "rollout "+name+" is stopped by "+reason, func(ctx context.Context) string {
		if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, r); err != nil {
			return err.Error()
		}
		if len(r.Status.Failures) != 1 || r.Status.Failures[0].Reason != reason || r.Status.Counts.Moving > 0 {
			return fmt.Sprintf("%s: %+v", r.Status.Progress, r.Status.Failures)
		}
		return ""
	})
	return r.Status.Failures[0]
}

// runs waits until a Deployment runs on the revision, and checks how many pod templates it has had.
func (c *cluster) runs(t *testing.T, namespace, name, revision string, pods, templates int) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("%s/%s runs on %s", namespace, name, revision), func(context.Context) string {
		if got := c.revisions(t, namespace, name); fmt.Sprint(got) != fmt.Sprint(only(revision, pods)) {
			return fmt.Sprint(got)
		}
		return ""
	})
	if got := c.replicaSets(t, namespace, name); got != templates {
		t.Errorf("%s/%s has had %d pod templates, want %d", namespace, name, got, templates)
	}
}

// told waits for the event of a gate.
func (c *cluster) told(t *testing.T, rollout, reason string) {
	t.Helper()
	labtest.Eventually(t, "an event "+reason+" of rollout "+rollout, func(ctx context.Context) string {
		list := &eventsv1.EventList{}
		if err := c.Client.List(ctx, list); err != nil {
			return err.Error()
		}
		for n := range list.Items {
			if e := &list.Items[n]; e.Regarding.Name == rollout && e.Reason == reason && e.Type == "Warning" {
				return ""
			}
		}
		return fmt.Sprintf("%d events", len(list.Items))
	})
}
