package decommission_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/decommission"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/view"
)

func request(t *testing.T, w *clitest.World) *v1alpha1.DecommissionRequest {
	t.Helper()
	u := &v1alpha1.ClusterUpgrade{}
	if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "1-30-to-1-31"}, u); err != nil {
		t.Fatal(err)
	}
	return u.Spec.Decommission
}

func blocked() *v1alpha1.ClusterUpgrade {
	u := clitest.Upgrade(3)
	u.Status.Blockers = []v1alpha1.Blocker{
		{Source: v1alpha1.BlockerConnection, Category: v1alpha1.CategoryConnection, Kind: "Pod", Namespace: "vm", Name: "vm-1", Message: "Pod vm/vm-1 has a live xDS connection"},
		{Source: v1alpha1.BlockerPod, Category: v1alpha1.CategoryIngressGateway, Kind: "Gateway", Namespace: "web", Name: "gw", Message: "Gateway web/gw has 1 pod on revision 1-30"},
	}
	return u
}

func TestWhatRemainsIsListedAndNothingChanges(t *testing.T) {
	for _, args := range [][]string{nil, {"--yes"}, {"--yes", "--wait"}} {
		w := clitest.New(blocked())
		if code := w.Run(t, decommission.NewCommand(w.Env), args...); code != exit.Refused {
			t.Errorf("%v: exit code %d", args, code)
		}
		for _, s := range []string{"2 objects still use revision 1-30:", "Ingress gateways (1)\n  web/Gateway/gw", "Connections (1)\n  vm/Pod/vm-1"} {
			if !strings.Contains(w.Output.String(), s) {
				t.Errorf("missing %q in:\n%s", s, w.Output)
			}
		}
		if !strings.Contains(w.Errors.String(), "The old istiod cannot be removed while it is in use") {
			t.Error(w.Errors)
		}
		if request(t, w) != nil {
			t.Error("the decommission was asked for")
		}
	}
}

func TestWhatRemainsIsDataForScripts(t *testing.T) {
	w := clitest.New(blocked())
	if code := w.Run(t, decommission.NewCommand(w.Env), "-o", "json"); code != exit.Refused {
		t.Errorf("exit code %d", code)
	}
	var r view.Remains
	if err := json.Unmarshal(w.Output.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, w.Output)
	}
	if r.Revision != "1-30" || len(r.Blockers) != 2 || r.Blockers[0].Name != "gw" {
		t.Errorf("%+v", r)
	}
}

func TestItIsTooEarlyBeforeTheOtherStepsAreDone(t *testing.T) {
	u := clitest.Upgrade(3)
	clitest.Steps(u, 3, v1alpha1.ReasonDataPlanesRemain, "3 data planes remain")
	w := clitest.New(u)
	if code := w.Run(t, decommission.NewCommand(w.Env), "--yes"); code != exit.Refused || !strings.Contains(w.Errors.String(), "step 4 (data planes) is not done: 3 data planes remain") {
		t.Errorf("exit code %d\n%s", code, w.Errors)
	}
	if request(t, w) != nil {
		t.Error("the decommission was asked for")
	}
}

func ready() *v1alpha1.ClusterUpgrade {
	u := clitest.Upgrade(4)
	clitest.Steps(u, 4, v1alpha1.ReasonUserAction, "confirm the decommission")
	return u
}

func TestItIsAskedForOnlyAfterAYes(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		args        []string
		code        int
		want        *v1alpha1.DecommissionRequest
	}{
		{"no", "n\n", nil, exit.Refused, nil},
		{"yes", "y\n", []string{"--soak", "1m"}, exit.OK, &v1alpha1.DecommissionRequest{By: clitest.User, At: metav1.NewTime(clitest.Now), Soak: metav1.Duration{Duration: time.Minute}}},
		{"without a question", "", []string{"--yes"}, exit.OK, &v1alpha1.DecommissionRequest{By: clitest.User, At: metav1.NewTime(clitest.Now), Soak: metav1.Duration{Duration: 5 * time.Minute}}},
		{"a negative soak", "", []string{"--yes", "--soak", "-1s"}, exit.Usage, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clitest.New(ready()).Person(c.lines)
			if code := w.Run(t, decommission.NewCommand(w.Env), c.args...); code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, w.Output, w.Errors)
			}
			same := cmp.Comparer(func(a, b metav1.Time) bool { return a.Equal(&b) })
			if diff := cmp.Diff(c.want, request(t, w), same); diff != "" {
				t.Error(diff)
			}
		})
	}
	w := clitest.New(ready())
	if code := w.Run(t, decommission.NewCommand(w.Env)); code != exit.Usage || request(t, w) != nil {
		t.Errorf("nobody can be asked: exit code %d", code)
	}
}

func TestWhatIsEndingAnywayIsWaitedForAndNotRefused(t *testing.T) {
	u := ready()
	u.Status.Blockers = []v1alpha1.Blocker{{Source: v1alpha1.BlockerPod, Category: v1alpha1.CategorySidecar, Kind: "Deployment", Namespace: "shop", Name: "cart", Message: "Deployment shop/cart has 1 pod on revision 1-30: still ending, wait until it is gone", Ending: true}}
	w := clitest.New(u)
	if code := w.Run(t, decommission.NewCommand(w.Env), "--yes"); code != exit.OK || request(t, w) == nil {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if !strings.Contains(w.Output.String(), "The removal begins when what is ending is gone: Deployment shop/cart has 1 pod") || strings.Contains(w.Output.String(), "Nothing uses") {
		t.Error(w.Output)
	}
}

func TestWaitingShowsTheSoakAndTheEnd(t *testing.T) {
	steps := []func(*v1alpha1.ClusterUpgrade){
		func(u *v1alpha1.ClusterUpgrade) {
			clitest.Steps(u, 4, v1alpha1.ReasonSoaking, "istiod 1-30 is scaled to zero")
		},
		func(u *v1alpha1.ClusterUpgrade) { clitest.Steps(u, 5, "", "") },
	}
	w := clitest.New(ready())
	w.Read = func(c client.Client, obj client.Object, n int) error {
		if _, ok := obj.(*v1alpha1.ClusterUpgrade); !ok || n > len(steps) {
			return nil
		}
		var all v1alpha1.ClusterUpgradeList
		if err := c.List(context.Background(), &all); err != nil {
			return err
		}
		steps[n-1](&all.Items[0])
		return c.Status().Update(context.Background(), &all.Items[0])
	}
	if code := w.Run(t, decommission.NewCommand(w.Env), "--yes", "--wait"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	want := `The removal of istiod 1.30.0 (revision 1-30) is asked for: scale to zero, soak for 5m0s, uninstall.
12:00:00  ● 5 decommission: istiod 1-30 is scaled to zero
12:00:00  ✓ 5 decommission: done
Done: done
`
	if diff := cmp.Diff(want, w.Output.String()); diff != "" {
		t.Error(diff)
	}
	again := clitest.New(func() client.Object { u := clitest.Upgrade(5); return u }())
	if code := again.Run(t, decommission.NewCommand(again.Env), "--upgrade", "1-30-to-1-31"); code != exit.OK || !strings.Contains(again.Output.String(), "gone already") {
		t.Errorf("a second time: exit code %d\n%s%s", code, again.Output, again.Errors)
	}
}

func TestADecommissionCanBeWithdrawn(t *testing.T) {
	u := ready()
	u.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "bob", At: metav1.NewTime(clitest.Now)}
	w := clitest.New(u)
	for _, says := range []string{"The decommission of istiod 1.30.0 (revision 1-30) is withdrawn.", "nothing to withdraw"} {
		w.Output.Reset()
		if code := w.Run(t, decommission.NewCommand(w.Env), "--withdraw"); code != exit.OK || !strings.Contains(w.Output.String(), says) {
			t.Errorf("exit code %d, want %q in:\n%s%s", code, says, w.Output, w.Errors)
		}
		if request(t, w) != nil {
			t.Error("the decommission is still asked for")
		}
	}
}
