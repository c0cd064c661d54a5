package sidecar_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/sidecar"
)

func config(t testing.TB, text string) *v1alpha1.SidecarConfiguration {
	t.Helper()
	out := &v1alpha1.SidecarConfiguration{}
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func tree(t testing.TB, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

const everything = `
resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
concurrency: 2
logLevel: debug
holdApplicationUntilProxyStarts: true
terminationDrainDuration: 1m30s
traffic:
  includeOutboundIPRanges: [10.0.0.0/8, 192.168.0.0/16]
  excludeOutboundIPRanges: [10.1.0.0/16]
  includeInboundPorts: [80, 443]
  excludeInboundPorts: [9090]
  excludeOutboundPorts: [3306]
`

func TestTheSettingsBecomeTheValuesOfTheChart(t *testing.T) {
	plan, err := sidecar.Decide(config(t, everything), nil, []sidecar.Release{{Name: "istiod-1-31", Values: tree(t, `
revision: 1-31
global: {hub: example.com/istio, proxy: {logLevel: warning, image: proxyv2}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	want := tree(t, `
revision: 1-31
global:
  hub: example.com/istio
  proxy:
    image: proxyv2
    logLevel: debug
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
    includeIPRanges: 10.0.0.0/8,192.168.0.0/16
    excludeIPRanges: 10.1.0.0/16
    includeInboundPorts: 80,443
    excludeInboundPorts: "9090"
    excludeOutboundPorts: "3306"
meshConfig: {defaultConfig: {concurrency: 2, holdApplicationUntilProxyStarts: true, terminationDrainDuration: 90s}}`)
	if len(plan.Changes) != 1 {
		t.Fatalf("%d releases change, want 1", len(plan.Changes))
	}
	if diff := cmp.Diff(text(t, want), text(t, plan.Changes[0].Values)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// text compares trees whatever the types of their numbers are.
func text(t testing.TB, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTheSettingsBecomeTheAnnotationsOfPods(t *testing.T) {
	want := map[string]string{
		"sidecar.istio.io/proxyCPU":                        "50m",
		"sidecar.istio.io/proxyMemory":                     "64Mi",
		"sidecar.istio.io/proxyMemoryLimit":                "256Mi",
		"sidecar.istio.io/logLevel":                        "debug",
		"proxy.istio.io/config":                            "concurrency: 2\nholdApplicationUntilProxyStarts: true\nterminationDrainDuration: 90s\n",
		"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8,192.168.0.0/16",
		"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.1.0.0/16",
		"traffic.sidecar.istio.io/includeInboundPorts":     "80,443",
		"traffic.sidecar.istio.io/excludeInboundPorts":     "9090",
		"traffic.sidecar.istio.io/excludeOutboundPorts":    "3306",
	}
	if diff := cmp.Diff(want, sidecar.Annotations(config(t, everything).SidecarSettings)); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestAnIstiodOfAnUpgradeGivesBackWhatItsPredecessorHad(t *testing.T) {
	first, err := sidecar.Decide(config(t, "logLevel: debug"), nil, []sidecar.Release{{Name: "old", Values: tree(t, `{global: {proxy: {logLevel: error}}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	carried := first.Changes[0].Values // the upgrade carries the values over, then the old release goes
	last, err := sidecar.Decide(nil, first.Record, []sidecar.Release{{Name: "new", Values: carried}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(last.Changes[0].Values, "global", "proxy", "logLevel"); got != "error" {
		t.Errorf("log level is %q when the setting is taken back, want error, which the old istiod had before", got)
	}
	if len(last.Record) != 0 {
		t.Errorf("the record remembers %v for nothing", last.Record)
	}
}

func settings(t *rapid.T) v1alpha1.SidecarSettings {
	s := v1alpha1.SidecarSettings{LogLevel: rapid.SampledFrom([]string{"", "debug", "error"}).Draw(t, "level")}
	if rapid.Bool().Draw(t, "concurrency") {
		n := rapid.Int32Range(0, 8).Draw(t, "threads")
		s.Concurrency = &n
	}
	if rapid.Bool().Draw(t, "hold") {
		yes := rapid.Bool().Draw(t, "yes")
		s.HoldApplicationUntilProxyStarts = &yes
	}
	if rapid.Bool().Draw(t, "drain") {
		s.TerminationDrainDuration = &metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 90000).Draw(t, "ms")) * time.Millisecond}
	}
	if rapid.Bool().Draw(t, "resources") {
		s.Resources = &v1alpha1.SidecarResources{Requests: map[string]resource.Quantity{"cpu": *resource.NewMilliQuantity(rapid.Int64Range(1, 5000).Draw(t, "cpu"), resource.DecimalSI)}}
	}
	if rapid.Bool().Draw(t, "traffic") {
		s.Traffic = &v1alpha1.SidecarTraffic{ExcludeOutboundPorts: rapid.SliceOfN(rapid.Int32Range(1, 65535), 1, 3).Draw(t, "ports")}
	}
	return s
}

func values(t *rapid.T) map[string]any {
	out := map[string]any{"revision": "1-31"}
	if rapid.Bool().Draw(t, "has proxy") {
		out["global"] = map[string]any{"proxy": map[string]any{"logLevel": "warning", "excludeOutboundPorts": "1", "resources": map[string]any{"limits": map[string]any{"cpu": "2"}}}}
	}
	if rapid.Bool().Draw(t, "has mesh") {
		out["meshConfig"] = map[string]any{"accessLogFile": "/dev/stdout", "defaultConfig": map[string]any{"concurrency": 4}}
	}
	return out
}

// apply does what a plan says, up to a crash.
func apply(releases []sidecar.Release, p sidecar.Plan, crash int) []sidecar.Release {
	out := slices.Clone(releases)
	for n, change := range p.Changes {
		if n == crash {
			break
		}
		at := slices.IndexFunc(out, func(r sidecar.Release) bool { return r.Name == change.Name })
		out[at] = change
	}
	return out
}

func TestTakingAllSettingsBackLeavesWhatWasThereWhateverHappenedBetween(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		original := []sidecar.Release{{Name: "a", Values: values(rt)}, {Name: "b", Values: values(rt)}}
		now, record := slices.Clone(original), sidecar.Record{}
		step := func(c *v1alpha1.SidecarConfiguration, crash int) {
			p, err := sidecar.Decide(c, record, now)
			if err != nil {
				rt.Fatal(err)
			}
			// As the controller: the record of both, the changes, the record of the end unless there was a crash.
			for name, paths := range p.Record {
				if record[name] == nil {
					record[name] = map[string]sidecar.Before{}
				}
				for path, before := range paths {
					if _, there := record[name][path]; !there {
						record[name][path] = before
					}
				}
			}
			now = apply(now, p, crash)
			if crash < 0 {
				record = reread(rt, p.Record)
			}
		}
		for range rapid.IntRange(0, 4).Draw(rt, "edits") {
			step(&v1alpha1.SidecarConfiguration{SidecarSettings: settings(rt)}, rapid.IntRange(-1, 1).Draw(rt, "crash"))
		}
		step(nil, rapid.IntRange(-1, 1).Draw(rt, "crash at the end"))
		step(nil, -1)
		if len(record) != 0 {
			rt.Fatalf("the record still holds %v", record)
		}
		for n := range original {
			if diff := cmp.Diff(prune(original[n].Values), prune(now[n].Values)); diff != "" {
				rt.Fatalf("release %s (-before +after):\n%s", original[n].Name, diff)
			}
		}
		p, err := sidecar.Decide(nil, record, now)
		if err != nil || len(p.Changes) > 0 {
			rt.Fatalf("a second pass changes %v, %v", p.Changes, err)
		}
	})
}

// reread passes a record through its annotation.
func reread(t *rapid.T, r sidecar.Record) sidecar.Record {
	out, err := sidecar.ReadRecord(r.String())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func prune(v map[string]any) string {
	data, err := yaml.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func TestAConfigurationThatCannotBeIsRefusedInOneSentence(t *testing.T) {
	for text, want := range map[string]string{
		"terminationDrainDuration: -1s":                                                             "terminationDrainDuration is -1s",
		"resources: {requests: {gpu: 1}}":                                                           `a request of "gpu" cannot be set`,
		"resources: {requests: {cpu: 0}}":                                                           "the request of cpu is 0",
		"resources: {requests: {cpu: 2}, limits: {cpu: 1}}":                                         "is more than its limit",
		"traffic: {includeOutboundIPRanges: [10.0.0.1]}":                                            "write ranges like 10.0.0.0/8",
		"traffic: {includeOutboundIPRanges: ['*', 10.0.0.0/8]}":                                     "write ranges like",
		"traffic: {excludeOutboundIPRanges: ['*']}":                                                 "write ranges like",
		"traffic: {excludeInboundPorts: [0]}":                                                       "ports are 1 to 65535",
		"namespaces: [{namespace: a}, {namespace: a}]":                                              "twice",
		"namespaces: [{namespace: a, concurrency: 1, resources: {limits: {ephemeral-storage: 1}}}]": `sidecars of namespace "a"`,
	} {
		if err := sidecar.Validate(config(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"{}", everything, "traffic: {includeOutboundIPRanges: ['*']}"} {
		if err := sidecar.Validate(config(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := sidecar.Validate(nil); err != nil {
		t.Error(err)
	}
}

func TestEveryNamespaceWithSettingsHasAPolicyAndItsBinding(t *testing.T) {
	c := config(t, `{logLevel: debug, namespaces: [{namespace: shop, logLevel: error, concurrency: 1}, {namespace: empty}]}`)
	var got []string
	for _, p := range sidecar.Policies(c) {
		got = append(got, fmt.Sprintf("%s %s", p.GetKind(), p.GetName()))
		if !maps.Equal(p.GetLabels(), map[string]string{"app.kubernetes.io/managed-by": "meshlift", sidecar.PolicyLabel: "true"}) {
			t.Errorf("labels of %s are %v: it would not be found again", p.GetName(), p.GetLabels())
		}
	}
	want := []string{"MutatingAdmissionPolicy meshlift-sidecars-shop", "MutatingAdmissionPolicyBinding meshlift-sidecars-shop"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}
