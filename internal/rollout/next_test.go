package rollout

import (
	"testing"

	"k8s.io/utils/ptr"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestAsManyMovesAreNextAsWaitForTheirLastPod(t *testing.T) {
	c := newSim(10, 0)
	spec := v1alpha1.DataPlaneRolloutSpec{Direction: v1alpha1.Forward, Parallelism: ptr.To(int32(3))}
	out := c.decide(spec, nil)
	if len(out.Actions) != 3 || len(out.Next) != 0 {
		t.Fatalf("%d moves start and %d are next although nothing has begun", len(out.Actions), len(out.Next))
	}
	for _, a := range out.Actions {
		c.do(a)
	}
	if out = c.decide(spec, nil); len(out.Actions) != 0 || len(out.Next) != 0 {
		t.Fatalf("%d moves start and %d are next although no pod is ready", len(out.Actions), len(out.Next))
	}
	for n := range 2 { // of two pods each
		c.inv.Workloads[n].Pods[0].Revision = newRev
	}
	out = c.decide(spec, nil)
	if len(out.Actions) != 0 || len(out.Next) != 2 || out.Next[0].Ref != c.inv.Workloads[3].Ref || out.Next[1].Ref != c.inv.Workloads[4].Ref {
		t.Errorf("%d moves start, next are %v", len(out.Actions), out.Next)
	}
	spec.Paused = true
	if out = c.decide(spec, nil); len(out.Next) != 0 {
		t.Errorf("next are %v although the rollout is paused", out.Next)
	}
}
