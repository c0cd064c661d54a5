package lab

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// What is here plays the Operator Lifecycle Manager, whose controllers are in no Go module that the lab builds: the kinds are OLM's
// own, and one subscription behaves as its documentation says. An approved install plan becomes a ClusterServiceVersion.

func olmObject(kind, name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "operators.coreos.com", Version: "v1alpha1", Kind: kind})
	o.SetNamespace("operators")
	o.SetName(name)
	return o
}

func csv(version string) *unstructured.Unstructured {
	return olmObject("ClusterServiceVersion", "asm-operator.v"+version, map[string]any{"spec": map[string]any{
		"displayName": "Asm Operator", "version": version,
		"install": map[string]any{"strategy": "deployment", "spec": map[string]any{"deployments": []any{}}},
	}})
}

// startFakeOLM installs OLM's kinds and one subscription with manual approval, whose channel offers a newer version.
func startFakeOLM(t *testing.T, l *labtest.Lab) {
	t.Helper()
	l.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(l.Root, ".lab", "olm"))
	l.Kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=5m")
	namespace(t, l, "operators", nil)
	create := func(o *unstructured.Unstructured, status map[string]any) {
		t.Helper()
		if err := l.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if status == nil {
			return
		}
		o.Object["status"] = status
		if err := l.Client.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	create(csv("4.0.0"), map[string]any{"phase": "Succeeded"})
	plan := map[string]any{"phase": "RequiresApproval", "catalogSources": []any{}, "plan": []any{}}
	create(olmObject("InstallPlan", "install-4-1-0", map[string]any{"spec": map[string]any{
		"approval": "Manual", "approved": false, "clusterServiceVersionNames": []any{"asm-operator.v4.1.0"},
	}}), plan)
	create(olmObject("Subscription", "asm", map[string]any{"spec": map[string]any{
		"name": "asm-operator", "channel": "stable", "installPlanApproval": "Manual", "source": "platform", "sourceNamespace": "operators",
	}}), map[string]any{
		"installedCSV": "asm-operator.v4.0.0", "currentCSV": "asm-operator.v4.1.0", "state": "UpgradePending", "lastUpdated": "2026-11-26T00:00:00Z",
		"installPlanRef": map[string]any{"namespace": "operators", "name": "install-4-1-0"},
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		playOLM(ctx, l.Client)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// playOLM carries out the install plan when it is approved.
func playOLM(ctx context.Context, c client.Client) {
	for ctx.Err() == nil {
		plan := olmObject("InstallPlan", "install-4-1-0", map[string]any{})
		if err := c.Get(ctx, client.ObjectKeyFromObject(plan), plan); err == nil {
			if approved, _, _ := unstructured.NestedBool(plan.Object, "spec", "approved"); approved && carryOut(ctx, c, plan) == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func carryOut(ctx context.Context, c client.Client, plan *unstructured.Unstructured) error {
	next := csv("4.1.0")
	if err := client.IgnoreAlreadyExists(c.Create(ctx, next)); err != nil {
		return err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(next), next); err != nil {
		return err
	}
	next.Object["status"] = map[string]any{"phase": "Succeeded"}
	if err := c.Status().Update(ctx, next); err != nil {
		return err
	}
	if err := unstructured.SetNestedField(plan.Object, "Complete", "status", "phase"); err != nil {
		return err
	}
	if err := c.Status().Update(ctx, plan); err != nil {
		return err
	}
	s := olmObject("Subscription", "asm", map[string]any{})
	if err := c.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
		return err
	}
	for field, value := range map[string]string{"installedCSV": "asm-operator.v4.1.0", "state": "AtLatestKnown"} {
		if err := unstructured.SetNestedField(s.Object, value, "status", field); err != nil {
			return err
		}
	}
	return c.Status().Update(ctx, s)
}
