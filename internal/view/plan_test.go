package view_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

func TestAPlanSaysWhatWouldHappen(t *testing.T) {
	p := view.Plan{
		From: "1-30", FromVersion: "1.30.0", To: "1-31", ToVersion: "1.31.0", Kubernetes: "v1.37.2", Supported: true, Groups: view.Groups(items()),
		EnvoyFilters: []view.EnvoyFilter{{Namespace: "bookinfo", Name: "add-header", Owner: "team-reviews"}, {Namespace: "shop", Name: "lua"}},
		Next:         []view.Next{{Why: "nothing was changed; start the upgrade", Command: "meshlift upgrade start --to 1.31"}},
	}
	p.Explain()
	golden(t, "plan", p.Render(view.Options{Width: 120}))
	p.Supported, p.Refusal = false, "Istio 1.30 to 1.31 needs Kubernetes 1.35 or 1.36 and this cluster runs 1.27: upgrade Kubernetes first"
	golden(t, "plan-refused", p.Render(view.Options{Width: 120}))
}

func TestGatewaysComeFirstInTheirNamespaceAndNamespacesAreSorted(t *testing.T) {
	all := items()
	all = append(all, item("bookinfo", "Gateway", "zz", "IngressGateway", "Pending", 1, ""))
	var got []string
	for _, g := range view.Groups(all) {
		for _, d := range g.DataPlanes {
			got = append(got, d.String())
		}
	}
	want := []string{
		"bookinfo/Gateway/zz", "bookinfo/Deployment/ratings-v1", "bookinfo/Deployment/reviews-v1", "bookinfo/StatefulSet/cart",
		"istio-ingress/Deployment/istio-ingressgateway", "shop/Deployment/legacy", "shop/Job/report",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatRemainsIsListedByCategory(t *testing.T) {
	u := upgradeAt(4, v1alpha1.ReasonDataPlanesRemain, "")
	u.Status.BlockersOmitted = 3
	u.Status.Blockers = []v1alpha1.Blocker{
		{Category: v1alpha1.CategoryUnknown, Kind: "Revision", Name: "1-30", Message: "nobody knows which proxies are connected"},
		{Category: v1alpha1.CategorySidecar, Kind: "Deployment", Namespace: "bookinfo", Name: "ratings-v1", Message: "Deployment bookinfo/ratings-v1 has 1 pod on revision 1-30"},
		{Category: v1alpha1.CategoryReference, Kind: "Namespace", Name: "shop", Message: "namespace shop is pinned to 1-30"},
		{Category: v1alpha1.CategoryConnection, Kind: "Pod", Namespace: "vm", Name: "vm-1", Message: "Pod vm/vm-1 has a live xDS connection"},
		{Category: v1alpha1.CategoryEgressGateway, Kind: "Deployment", Namespace: "istio-egress", Name: "gw", Message: "Deployment istio-egress/gw has 1 pod on revision 1-30"},
		{Category: v1alpha1.CategoryIngressGateway, Kind: "Gateway", Namespace: "web", Name: "gw", Message: "Gateway web/gw has 2 pods on revision 1-30"},
		{Category: v1alpha1.CategorySidecar, Kind: "StatefulSet", Namespace: "bookinfo", Name: "cart", Message: "StatefulSet bookinfo/cart has 3 pods on revision 1-30"},
	}
	golden(t, "remains", view.NewRemains(u).Render(view.Options{Width: 110}))
}

func TestEnvoyFiltersShowWhoCheckedThem(t *testing.T) {
	u := upgradeAt(3, v1alpha1.ReasonFilters, "")
	u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{
		{Namespace: "bookinfo", Name: "add-header", Hash: "aaaa", Owner: "team-reviews", Verdict: "breaks", Why: "patch 1: the field x of Lua is gone in Envoy 1.39"},
		{Namespace: "shop", Name: "lua", Hash: "bbbb", Verdict: "fine"},
		{Namespace: "shop", Name: "changed", Hash: "new"},
	}
	u.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{
		{Namespace: "shop", Name: "lua", Hash: "bbbb", By: "ann@example.com", At: ago(0), Note: "no change needed"},
		{Namespace: "shop", Name: "changed", Hash: "old", By: "ann@example.com", At: ago(0)},
	}
	golden(t, "envoyfilters", view.EnvoyFiltersText("meshlift", u, view.EnvoyFilters(u), view.Options{}))
	u.Status.EnvoyFilters = nil
	if got := view.EnvoyFiltersText("meshlift", u, view.EnvoyFilters(u), view.Options{}); !strings.Contains(got, "the check is complete") {
		t.Errorf("without EnvoyFilters: %q", got)
	}
}

func TestAnUpgradeIsShownWithItsValuesAndHistory(t *testing.T) {
	u := upgradeAt(4, v1alpha1.ReasonDataPlanesRemain, "5 of 7 data planes remain on 1-30")
	u.Status.Values = &v1alpha1.ValuesReport{
		Carried: []string{"meshConfig.accessLogFile", "pilot.autoscaleMin"}, Changed: []string{"global.hub: gcr.io/istio-release is closed, docker.io/istio is used"},
		NotCarried: []string{"pilot.oldFlag: the chart of 1.31 does not know it"},
	}
	u.Status.History = []v1alpha1.HistoryEntry{{At: ago(0), Step: 2, Message: "istiod 1-31 is ready"}}
	golden(t, "upgrade", view.UpgradeText("meshlift", u, nil, view.Options{Width: 100}))
	golden(t, "upgrades", view.UpgradesText([]v1alpha1.ClusterUpgrade{*u}, now, view.Options{Width: 100}))
	golden(t, "confirmation", view.Confirmation{
		From: "1-30", FromVersion: "1.30.0", To: "1-31", ToVersion: "1.31.0", Kubernetes: "v1.37.2", Filters: 2,
	}.Render(view.Options{Width: 100}))
}
