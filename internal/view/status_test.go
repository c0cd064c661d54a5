package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

func TestThePageShowsWhatThereIsAndWhatToDoNext(t *testing.T) {
	paused := upgradeAt(4, v1alpha1.ReasonPaused, "paused")
	paused.Spec.Paused = true
	refused := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "far"}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.40"}}
	refused.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionAccepted, v1alpha1.ReasonUnknownVersion, "Istio 1.40 is not in the catalog: choose one that is")}
	odd := upgradeAt(2, v1alpha1.ReasonInstallFailed, "istiod 1-31 could not be installed and was removed again: chart not found")
	odd.Status.Values = &v1alpha1.ValuesReport{NotCarried: []string{"pilot.oldFlag: the chart of 1.31 does not know it"}}
	soaking := upgradeAt(5, v1alpha1.ReasonSoaking, "istiod 1-30 is scaled to zero; it is uninstalled in 4m")
	soaking.Spec.Decommission = &v1alpha1.DecommissionRequest{By: "ann"}
	sick := controlPlane(oldRevision())
	sick.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, "Error", "istiod of revision 1-30 is not ready")}

	for name, c := range map[string]struct {
		cp       *v1alpha1.ControlPlane
		upgrade  *v1alpha1.ClusterUpgrade
		rollouts []v1alpha1.DataPlaneRollout
	}{
		"status-no-agent":        {},
		"status-idle":            {cp: sick},
		"status-installing":      {controlPlane(oldRevision()), upgradeAt(2, v1alpha1.ReasonInProgress, "istiod 1-31 is being installed: starting"), nil},
		"status-install-failed":  {controlPlane(oldRevision()), odd, nil},
		"status-envoyfilters":    {controlPlane(oldRevision(), newRevision()), upgradeAt(3, v1alpha1.ReasonFilters, "2 EnvoyFilters wait: bookinfo/add-header, shop/lua"), nil},
		"status-data-planes":     {controlPlane(oldRevision(), newRevision()), upgradeAt(4, v1alpha1.ReasonDataPlanesRemain, "5 of 7 data planes remain on 1-30"), nil},
		"status-rollout":         {controlPlane(oldRevision(), newRevision()), upgradeAt(4, v1alpha1.ReasonDataPlanesRemain, "5 of 7 data planes remain on 1-30"), []v1alpha1.DataPlaneRollout{*runningRollout()}},
		"status-decommission":    {controlPlane(oldRevision(), newRevision()), upgradeAt(5, v1alpha1.ReasonUserAction, "nothing uses 1-30: confirm the decommission"), nil},
		"status-soaking":         {controlPlane(oldRevision(), newRevision()), soaking, nil},
		"status-paused":          {controlPlane(oldRevision(), newRevision()), paused, nil},
		"status-refused-upgrade": {controlPlane(oldRevision()), refused, nil},
	} {
		t.Run(name, func(t *testing.T) {
			facts := view.Facts{Program: "kubectl meshlift", Cluster: "prod-1", ControlPlane: c.cp, Rollouts: c.rollouts}
			if c.upgrade != nil {
				facts.Upgrades = []v1alpha1.ClusterUpgrade{*c.upgrade}
			}
			golden(t, name, view.NewStatus(facts).Render(view.Options{Width: 100}))
		})
	}
}

func TestAFinishedUpgradeIsNotOnThePage(t *testing.T) {
	u := upgradeAt(6, "", "")
	s := view.NewStatus(view.Facts{Program: "meshlift", ControlPlane: controlPlane(newRevision()), Upgrades: []v1alpha1.ClusterUpgrade{*u}})
	if s.Upgrade != nil {
		t.Errorf("the finished upgrade is shown: %+v", s.Upgrade)
	}
	if diff := cmp.Diff([]view.Next{{Why: "nothing to do"}}, s.Next); diff != "" {
		t.Error(diff)
	}
}

func TestTheRunningUpgradeIsTheAcceptedOneThenTheOldest(t *testing.T) {
	accepted := *upgradeAt(2, v1alpha1.ReasonInProgress, "")
	accepted.Name, accepted.CreationTimestamp = "accepted", ago(time.Minute)
	older := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "older", CreationTimestamp: ago(time.Hour)}}
	younger := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "younger", CreationTimestamp: ago(time.Second)}}
	finished := *upgradeAt(6, "", "")

	for name, c := range map[string]struct {
		in   []v1alpha1.ClusterUpgrade
		want string
	}{
		"none":                            {nil, ""},
		"only finished ones":              {[]v1alpha1.ClusterUpgrade{finished}, ""},
		"an accepted one before an older": {[]v1alpha1.ClusterUpgrade{older, accepted}, "accepted"},
		"the older of two":                {[]v1alpha1.ClusterUpgrade{younger, finished, older}, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if u := view.Current(c.in); u != nil {
				got = u.Name
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheLatestUpgradeIsTheRunningOneThenTheNewest(t *testing.T) {
	first, second := *upgradeAt(6, "", ""), *upgradeAt(6, "", "")
	first.Name, first.CreationTimestamp = "first", ago(2*time.Hour)
	second.Name, second.CreationTimestamp = "second", ago(time.Hour)
	running := v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "running", CreationTimestamp: ago(3 * time.Hour)}}
	if u := view.Latest(nil); u != nil {
		t.Errorf("got %q of none", u.Name)
	}
	for want, in := range map[string][]v1alpha1.ClusterUpgrade{"second": {second, first}, "running": {first, running, second}} {
		if u := view.Latest(in); u == nil || u.Name != want {
			t.Errorf("got %+v, want %q", u, want)
		}
	}
}

func TestNoLineIsWiderThanTheTerminalButCommandsStayWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(60, 200).Draw(t, "width")
		reason := rapid.SampledFrom([]string{v1alpha1.ReasonInProgress, v1alpha1.ReasonFilters, v1alpha1.ReasonInstallFailed}).Draw(t, "reason")
		message := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[a-z-]{1,20}`), 1, 40).Draw(t, "words"), " ")
		u := upgradeAt(rapid.IntRange(1, 5).Draw(t, "step"), reason, message)
		s := view.NewStatus(view.Facts{Program: "meshlift", Cluster: "c", Upgrades: []v1alpha1.ClusterUpgrade{*u}})
		text := s.Render(view.Options{Width: width, Theme: view.Theme{Color: true}})
		for _, l := range strings.Split(text, "\n") {
			if strings.Contains(l, "meshlift ") {
				continue // a command that is wrapped cannot be copied
			}
			if w := ansi.StringWidth(l); w > width {
				t.Fatalf("line of %d cells on a terminal of %d: %q", w, width, l)
			}
		}
		for _, n := range s.Next {
			if !strings.Contains(text, n.Command) {
				t.Fatalf("the command %q is not whole in:\n%s", n.Command, text)
			}
		}
	})
}
