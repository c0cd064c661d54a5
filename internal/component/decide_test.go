package component

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/release"
)

var now = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)

func at(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

// components of the tests: one of each way.
func components() catalog.Catalog {
	return catalog.Catalog{ChartRepository: "https://charts.example", Components: []v1alpha1.Component{
		{Name: "flagger-operator", Title: "Flagger Operator", Version: "1.1.0", Helm: &v1alpha1.HelmComponent{Chart: "flagger"}},
		{Name: "jaeger-operator", Title: "Jaeger Operator", OLM: &v1alpha1.OLMComponent{Package: "jaeger"}},
		{Name: "dashboards", Version: "2.0.0", AfterIstio: true, Helm: &v1alpha1.HelmComponent{Chart: "dashboards", ChartVersion: "0.9.0", Repository: "oci://x"}},
	}}
}

func helm(chart, version, status string) Helm {
	r := release.Release{Name: chart, Namespace: "ops", Revision: 3, Chart: chart, ChartVersion: version, Status: status, Values: map[string]any{"a": 1}, Labels: map[string]string{}, Updated: now}
	return Helm{Last: r, Deployed: &r}
}

func subscription(installed, current string, plan *InstallPlan) Subscription {
	return Subscription{Namespace: "operators", Name: "jaeger", Package: "jaeger", Channel: "stable", Manual: true, Installed: "jaeger.v" + installed, Current: "jaeger.v" + current, Plan: plan}
}

func request(name, version string, when metav1.Time) hub.ComponentRequest {
	return hub.ComponentRequest{Name: name, Version: version, By: "ann", At: when}
}

func row(t *testing.T, p Plan, name string) hub.ComponentStatus {
	t.Helper()
	for _, r := range p.Components {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no row %s in %+v", name, p.Components)
	return hub.ComponentStatus{}
}

func TestARowSaysWhatRunsAndWhatIsOffered(t *testing.T) {
	for name, c := range map[string]struct {
		in                      Input
		row                     string
		phase                   hub.ComponentPhase
		running, offered, about string
	}{
		"an older release":                  {Input{Helm: []Helm{helm("flagger", "1.0.0", "deployed")}}, "flagger-operator", hub.ComponentUpgradeable, "1.0.0", "1.1.0", ""},
		"a newer release":                   {Input{Helm: []Helm{helm("flagger", "1.2.0", "deployed")}}, "flagger-operator", hub.ComponentCurrent, "1.2.0", "1.1.0", ""},
		"nothing installed":                 {Input{}, "flagger-operator", hub.ComponentNotInstalled, "", "1.1.0", ""},
		"two releases, one of them old":     {Input{Helm: []Helm{helm("flagger", "1.1.0", "deployed"), helm("flagger", "1.0.9", "deployed")}}, "flagger-operator", hub.ComponentUpgradeable, "1.0.9", "1.1.0", ""},
		"a version that is none":            {Input{Helm: []Helm{helm("flagger", "latest", "deployed")}}, "flagger-operator", hub.ComponentUnknown, "latest", "1.1.0", "cannot be read"},
		"Helm does not answer":              {Input{HelmProblem: "cluster east does not answer"}, "flagger-operator", hub.ComponentUnknown, "", "1.1.0", "does not answer"},
		"never deployed":                    {Input{Helm: []Helm{{Last: helm("flagger", "1.1.0", "failed").Last}}}, "flagger-operator", hub.ComponentUnknown, "1.1.0", "1.1.0", "never deployed"},
		"what the channel offers":           {Input{Subscriptions: []Subscription{subscription("1.0.0", "1.2.0", nil)}}, "jaeger-operator", hub.ComponentUpgradeable, "1.0.0", "1.2.0", ""},
		"the channel offers nothing newer":  {Input{Subscriptions: []Subscription{subscription("1.2.0", "1.2.0", nil)}}, "jaeger-operator", hub.ComponentCurrent, "1.2.0", "1.2.0", ""},
		"OLM does not answer":               {Input{OLMProblem: "forbidden"}, "jaeger-operator", hub.ComponentUnknown, "", "", "forbidden"},
		"asked for another version":         {Input{Helm: []Helm{helm("flagger", "1.0.0", "deployed")}, Requests: []hub.ComponentRequest{request("flagger-operator", "1.0.5", at(0))}}, "flagger-operator", hub.ComponentUpgradeable, "1.0.0", "1.1.0", "1.0.5 was asked for by ann"},
		"asked for what is not there":       {Input{Requests: []hub.ComponentRequest{request("flagger-operator", "1.1.0", at(0))}}, "flagger-operator", hub.ComponentNotInstalled, "", "1.1.0", "is not installed"},
		"asked for less than what runs":     {Input{Helm: []Helm{helm("flagger", "1.2.0", "deployed")}, Requests: []hub.ComponentRequest{request("flagger-operator", "1.1.0", at(0))}}, "flagger-operator", hub.ComponentCurrent, "1.2.0", "1.1.0", ""},
		"Istio without an agent":            {Input{}, Istio, hub.ComponentUnknown, "", "", "agent"},
		"Istio with a newer one":            {Input{Kubernetes: "v1.36.1", Mesh: Mesh{Installed: true, Versions: []string{"1.30.0"}}}, Istio, hub.ComponentUpgradeable, "1.30.0", "1.31.4", ""},
		"Kubernetes with a newer one":       {Input{Kubernetes: "v1.35.1", Mesh: Mesh{Installed: true, Versions: []string{"1.30.0"}}}, Kubernetes, hub.ComponentUpgradeable, "1.35.1", "1.36", "upgraded by your platform"},
		"Kubernetes that two istiods allow": {Input{Kubernetes: "v1.36.1", Mesh: Mesh{Installed: true, Versions: []string{"1.30.0", "1.31.0"}}}, Kubernetes, hub.ComponentCurrent, "1.36.1", "1.36.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Catalog, c.in.Now = catalog.Default(), now
			c.in.Catalog.Components = components().Components
			p := Decide(c.in)
			r := row(t, p, c.row)
			if r.Phase != c.phase || r.Running != c.running || r.Offered != c.offered || !strings.Contains(r.Message, c.about) || len(p.Actions) > 0 {
				t.Errorf("got %+v and %+v", r, p.Actions)
			}
		})
	}
}

func TestARequestBecomesOneAction(t *testing.T) {
	asked := []hub.ComponentRequest{request("flagger-operator", "1.1.0", at(-time.Second)), request("jaeger-operator", "1.2.0", at(-time.Second)), request("dashboards", "2.0.0", at(-time.Second))}
	plan := func(approved bool, names ...string) *InstallPlan {
		return &InstallPlan{Name: "install-x", Approved: approved, New: names}
	}
	old := helm("dashboards", "0.8.0", "deployed")
	old.Deployed.AppVersion = "1.9.0"
	manual := subscription("1.0.0", "1.2.0", plan(false, "jaeger.v1.2.0"))
	for name, c := range map[string]struct {
		helm  []Helm
		olm   []Subscription
		row   string
		kind  Kind
		phase hub.ComponentPhase
		about string
	}{
		"Helm":                       {[]Helm{helm("flagger", "1.0.0", "deployed")}, nil, "flagger-operator", Upgrade, hub.ComponentUpgrading, "from chart version 1.0.0 to 1.1.0"},
		"Helm, other chart version":  {[]Helm{old}, nil, "dashboards", Upgrade, hub.ComponentUpgrading, "to 0.9.0"},
		"a plan to approve":          {nil, []Subscription{manual}, "jaeger-operator", Approve, hub.ComponentUpgrading, "install-x"},
		"a plan that is carried out": {nil, []Subscription{subscription("1.0.0", "1.2.0", plan(true))}, "jaeger-operator", "", hub.ComponentUpgrading, "OLM installs jaeger.v1.2.0"},
		"no plan yet":                {nil, []Subscription{subscription("1.0.0", "1.2.0", nil)}, "jaeger-operator", "", hub.ComponentUpgrading, "waits for OLM"},
		"an old plan":                {nil, []Subscription{subscription("1.0.0", "1.2.0", plan(false, "jaeger.v1.1.0"))}, "jaeger-operator", "", hub.ComponentUpgrading, "waits for OLM"},
		"a plan that does more":      {nil, []Subscription{subscription("1.0.0", "1.2.0", plan(false, "jaeger.v1.2.0", "other.v3"))}, "jaeger-operator", "", hub.ComponentFailed, "would also install other.v3"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Decide(Input{Catalog: components(), Requests: asked, Now: now, Helm: c.helm, Subscriptions: c.olm})
			r := row(t, p, c.row)
			if r.Phase != c.phase || !strings.Contains(r.Message, c.about) {
				t.Errorf("got %+v", r)
			}
			if c.kind == "" && len(p.Actions) > 0 || c.kind != "" && (len(p.Actions) != 1 || p.Actions[0].Kind != c.kind || p.Actions[0].Component != c.row) {
				t.Errorf("actions %+v", p.Actions)
			}
		})
	}
}

func TestAPlanThatOnlyOLMsFailureEndsIsTold(t *testing.T) {
	s := subscription("1.0.0", "1.2.0", &InstallPlan{Name: "p", Approved: true})
	s.CurrentPhase, s.CurrentMessage = "Failed", "install strategy failed: quota."
	in := Input{Catalog: components(), Now: now, Requests: []hub.ComponentRequest{request("jaeger-operator", "1.2.0", at(0))}, Subscriptions: []Subscription{s}}
	r := row(t, Decide(in), "jaeger-operator")
	if want := "OLM could not install jaeger.v1.2.0: install strategy failed: quota; the old version is kept, ask again to try again"; r.Phase != hub.ComponentFailed || r.Message != want || r.Running != "1.0.0" {
		t.Errorf("got %+v", r)
	}
}

func TestTheAgentsOwnImageTagGoesAndAnotherOneStays(t *testing.T) {
	in := Input{Now: now, Requests: []hub.ComponentRequest{request("asm", "0.2.0", at(0))}, Catalog: catalog.Catalog{Components: []v1alpha1.Component{{Name: "asm", Version: "0.2.0", Helm: &v1alpha1.HelmComponent{Chart: AgentChart}}}}}
	for tag, stays := range map[string]bool{"0.1.0": false, "v0.1.0": false, "0.1.0-fips": true} {
		h := helm(AgentChart, "0.1.0", "deployed")
		h.Deployed.AppVersion, h.Deployed.Values = "0.1.0", map[string]any{"image": map[string]any{"repository": "r", "tag": tag}, "replicas": 3}
		in.Helm = []Helm{h}
		p := Decide(in)
		if len(p.Actions) != 1 || p.Actions[0].Release.Source != (release.Source{Repository: release.BuiltIn, Name: AgentChart, Version: "0.2.0"}) {
			t.Fatalf("actions %+v", p.Actions)
		}
		image := p.Actions[0].Release.Values["image"].(map[string]any)
		if _, has := image["tag"]; has != stays || image["repository"] != "r" || p.Actions[0].Release.Values["replicas"] != 3 {
			t.Errorf("tag %s: %v", tag, p.Actions[0].Release.Values)
		}
		if h.Deployed.Values["image"].(map[string]any)["tag"] != tag {
			t.Error("the record was changed")
		}
	}
}

func TestStepOneIsReadyWhenNothingThatIsInstalledIsBehind(t *testing.T) {
	r := func(phase hub.ComponentPhase, before bool) []hub.ComponentStatus {
		return []hub.ComponentStatus{{Name: "x", Title: "X", Running: "1.0.0", Offered: "1.1.0", Phase: phase, BeforeIstio: before, Message: "why"}}
	}
	for phase, want := range map[hub.ComponentPhase]gate.Outcome{
		hub.ComponentNotInstalled: gate.Passed, hub.ComponentCurrent: gate.Passed, hub.ComponentUpgradeable: gate.Blocked,
		hub.ComponentUpgrading: gate.Waiting, hub.ComponentFailed: gate.Blocked, hub.ComponentUnknown: gate.Blocked,
	} {
		if got := Ready("east", r(phase, true)); got.Outcome != want || !got.Passed() && (!strings.Contains(got.Message, "cluster east") || got.Reason == "") {
			t.Errorf("%s: %+v", phase, got)
		}
		if got := Ready("east", r(phase, false)); !got.Passed() {
			t.Errorf("%s after Istio: %+v", phase, got)
		}
	}
}

func TestVersionsOfClusterServiceVersionsAreTheEndOfTheirNames(t *testing.T) {
	for name, want := range map[string]string{
		"jaeger-operator.v1.65.0": "1.65.0", "etcdoperator.v0.9.4-clusterwide": "0.9.4-clusterwide", "a.1.2.3": "1.2.3", "v1": "", "a.b.v2.0.0-rc.1": "2.0.0-rc.1", "": "", "web3.v1.0.0": "1.0.0",
	} {
		if got := CSVVersion(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
