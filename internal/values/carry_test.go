package values_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/values"
)

// flat has the shape of the defaults of charts from 1.24 on, nested that of charts up to 1.21.
const (
	flat = `
_internal_defaults_do_not_set:
  autoscaleEnabled: true
  autoscaleMin: 1
  hub: ""
  tag: ""
  variant: ""
  image: pilot
  cni: {enabled: false, provider: default}
  resources: {requests: {cpu: 500m}}
  env: {}
  nodeSelector: {}
  podAnnotations: {}
  revision: ""
  revisionTags: []
  ownerName: ""
  meshConfig: {enablePrometheusMerge: true}
  sidecarInjectorWebhook: {reinvocationPolicy: Never, templates: {}}
  global:
    hub: registry.istio.io/testing
    tag: latest
    variant: ""
    meshID: ""
    multiCluster: {clusterName: ""}
    proxy: {image: proxyv2, resources: {requests: {cpu: 100m}}}
    proxy_init: {image: proxyv2}
    defaultResources: {requests: {cpu: 10m}}
`
	nested = `
pilot:
  autoscaleEnabled: true
  autoscaleMin: 1
  image: pilot
  env: {}
  cni: {enabled: false}
  resources: {requests: {cpu: 500m}}
meshConfig: {enablePrometheusMerge: true}
revision: ""
revisionTags: []
global:
  hub: gcr.io/istio-testing
  tag: latest
  proxy: {image: proxyv2}
`
)

func tree(t testing.TB, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func input(t testing.TB, old string) values.Input {
	return values.Input{
		Old: tree(t, old), NewDefaults: tree(t, flat),
		Files: []string{"files/profile-demo.yaml", "files/profile-compatibility-version-1.30.yaml"},
		Mentions: func(key string) bool {
			return slices.Contains([]string{"compatibilityVersion", "profile", "platform"}, key)
		},
		Target: values.Target{Revision: "1-31", Hub: "docker.io/istio", Tag: "1.31.0"},
	}
}

type carryCase struct {
	name, old, want string
	report          v1alpha1.ValuesReport
}

var carryCases = []carryCase{
	{
		name: "mesh configuration and settings of istiod are kept",
		old: `
meshConfig: {accessLogFile: /dev/stdout, defaultConfig: {proxyMetadata: {A.B: "1"}}}
pilot: {autoscaleMin: 3, env: {PILOT_X: "true"}, nodeSelector: {zone: a}}
global: {meshID: m1, multiCluster: {clusterName: c1}}`,
		want: `
meshConfig: {accessLogFile: /dev/stdout, defaultConfig: {proxyMetadata: {A.B: "1"}}}
autoscaleMin: 3
env: {PILOT_X: "true"}
nodeSelector: {zone: a}
revision: 1-31
global: {meshID: m1, multiCluster: {clusterName: c1}, hub: docker.io/istio, tag: 1.31.0}`,
		report: v1alpha1.ValuesReport{Carried: []string{
			"global.meshID", "global.multiCluster.clusterName", "meshConfig.accessLogFile", `meshConfig.defaultConfig.proxyMetadata.A\.B`,
			"pilot.autoscaleMin -> autoscaleMin", "pilot.env.PILOT_X -> env.PILOT_X", "pilot.nodeSelector.zone -> nodeSelector.zone",
		}},
	},
	{
		name: "identity, tags and images become those of the new revision",
		old: `
revision: 1-30
revisionTags: [prod]
defaultRevision: 1-30
global: {hub: gcr.io/istio-release, tag: 1.30.3-distroless}
pilot: {tag: 1.30.1, image: "mirror.example/pilot:1.30.3"}`,
		want: `
revision: 1-31
global: {hub: docker.io/istio, tag: 1.31.0-distroless}`,
		report: v1alpha1.ValuesReport{
			Changed: []string{
				"defaultRevision: dropped: the validator stays where it is until the old revision is decommissioned",
				"global.hub: gcr.io/istio-release became docker.io/istio",
				"global.tag: 1.30.3-distroless became 1.31.0-distroless",
				"pilot.tag: dropped: 1.30.1 is a version of the old istiod; the new one comes from global.tag",
				"revision: 1-30 became 1-31",
				"revisionTags: dropped: the tags [prod] stay where they are until the old revision is decommissioned",
			},
			NotCarried: []string{"pilot.image: mirror.example/pilot:1.30.3 names an image of the old version; if you build your own, give the new one in spec.values"},
		},
	},
	{
		name: "the variant is not written twice",
		old:  `global: {tag: 1.30.3, variant: distroless}`,
		want: `{revision: 1-31, global: {hub: docker.io/istio, tag: 1.31.0, variant: distroless}}`,
		report: v1alpha1.ValuesReport{
			Carried: []string{"global.variant"},
			Changed: []string{"global.tag: 1.30.3 became 1.31.0"},
		},
	},
	{
		name: "the CNI plugin of old charts finds its new place",
		old:  `istio_cni: {enabled: true, chained: true}`,
		want: `{revision: 1-31, cni: {enabled: true}, global: {hub: docker.io/istio, tag: 1.31.0}}`,
		report: v1alpha1.ValuesReport{
			Carried:    []string{"istio_cni.enabled -> cni.enabled"},
			NotCarried: []string{"istio_cni.chained: the new chart does not know it and would ignore it; look in the release notes for what took its place"},
		},
	},
	{
		name: "compatibility that the new chart offers is kept and said",
		old:  `compatibilityVersion: "1.30"`,
		want: `{revision: 1-31, compatibilityVersion: "1.30", global: {hub: docker.io/istio, tag: 1.31.0}}`,
		report: v1alpha1.ValuesReport{Changed: []string{
			"compatibilityVersion: kept: 1.30, the new istiod will behave like Istio 1.30 in the ways that later versions changed; remove it to get the new behaviour",
		}},
	},
	{
		name: "compatibility and profiles that the new chart has no more are left out",
		old:  `{compatibilityVersion: "1.20", profile: openshift}`,
		want: `{revision: 1-31, global: {hub: docker.io/istio, tag: 1.31.0}}`,
		report: v1alpha1.ValuesReport{NotCarried: []string{
			"compatibilityVersion: the new chart has no compatibility version 1.20", "profile: the new chart has no profile openshift",
		}},
	},
	{
		name: "of two spellings of one setting the one that wins today wins",
		old:  `{pilot: {autoscaleMin: 2}, autoscaleMin: 5}`,
		want: `{revision: 1-31, autoscaleMin: 2, global: {hub: docker.io/istio, tag: 1.31.0}}`,
		report: v1alpha1.ValuesReport{
			Carried:    []string{"pilot.autoscaleMin -> autoscaleMin"},
			NotCarried: []string{"autoscaleMin: pilot.autoscaleMin is set too and wins"},
		},
	},
}

func TestValuesReachTheNewChart(t *testing.T) {
	for _, test := range carryCases {
		t.Run(test.name, func(t *testing.T) {
			got, report := values.Carry(input(t, test.old))
			if diff := cmp.Diff(tree(t, test.want), got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.report, report); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChartsOfOldStyleKeepPilot(t *testing.T) {
	in := input(t, `{pilot: {env: {A: b}, autoscaleMin: 2}, istio_cni: {enabled: true}}`)
	in.NewDefaults = tree(t, nested)
	got, _ := values.Carry(in)
	want := tree(t, `{revision: 1-31, pilot: {env: {A: b}, autoscaleMin: 2, cni: {enabled: true}}, global: {hub: docker.io/istio, tag: 1.31.0}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOverridesCannotMoveTagsOrTheRevision(t *testing.T) {
	in := input(t, `revisionTags: [prod]`)
	in.Overrides = tree(t, `{revision: other, revisionTags: [prod], pilot: {autoscaleMin: 4}}`)
	got, report := values.Carry(in)
	want := tree(t, `{revision: 1-31, autoscaleMin: 4, global: {hub: docker.io/istio, tag: 1.31.0}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(report.Changed); n != 3 {
		t.Errorf("%d changes reported, want the tags of the old values and two ignored overrides: %q", n, report.Changed)
	}
}

// keys are those of Istio's charts, so that rules meet.
var keys = []string{
	"global", "pilot", "meshConfig", "revision", "revisionTags", "defaultRevision", "hub", "tag", "image", "env", "proxy", "istio_cni",
	"cni", "enabled", "compatibilityVersion", "profile", "variant", "autoscaleMin", "resources", "nonsense", "with.dot", "ownerName",
	"_internal_defaults_do_not_set", "sidecarInjectorWebhook", "templates",
}

func anyTree(t *rapid.T, label string, depth int, allowed []string) map[string]any {
	out := map[string]any{}
	for range rapid.IntRange(0, 5).Draw(t, label+"/n") {
		key := rapid.SampledFrom(allowed).Draw(t, label+"/key")
		switch kind := rapid.IntRange(0, 5).Draw(t, label+"/kind"); {
		case kind < 3 && depth > 0:
			out[key] = anyTree(t, label, depth-1, allowed)
		case kind == 4:
			out[key] = []any{"a", map[string]any{"b": 1.0}}
		case kind == 5:
			out[key] = nil
		default:
			out[key] = rapid.SampledFrom([]any{"x", "1.30.3-debug", "a/b:c", true, 2.0, ""}).Draw(t, label+"/value")
		}
	}
	return out
}

// paths lists the values of a tree as the report writes them.
func paths(m map[string]any, prefix string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		p := prefix + strings.ReplaceAll(k, ".", `\.`)
		if child, ok := m[k].(map[string]any); ok && len(child) > 0 {
			out = append(out, paths(child, p+".")...)
			continue
		}
		out = append(out, p)
	}
	return out
}

// subject is the path that a line of the report starts with.
func subject(line string) string {
	line, _, _ = strings.Cut(line, ": ")
	line, _, _ = strings.Cut(line, " -> ")
	return line
}

func TestNothingIsLostSilently(t *testing.T) {
	flatDefaults, nestedDefaults := tree(t, flat), tree(t, nested)
	rapid.Check(t, func(t *rapid.T) {
		in := values.Input{
			Old: anyTree(t, "old", 3, keys), NewDefaults: flatDefaults,
			Target: values.Target{Revision: "1-31", Hub: rapid.SampledFrom([]string{"", "docker.io/istio"}).Draw(t, "hub"), Tag: "1.31.0"},
		}
		if rapid.Bool().Draw(t, "nested") {
			in.NewDefaults = nestedDefaults
		}
		before, _ := json.Marshal(in.Old)
		got, report := values.Carry(in)
		var told []string
		for _, line := range slices.Concat(report.Carried, report.Changed, report.NotCarried) {
			told = append(told, subject(line))
		}
		slices.Sort(told)
		want := paths(in.Old, "")
		slices.Sort(want)
		if diff := cmp.Diff(want, told); diff != "" {
			t.Fatalf("values (-) and lines of the report (+) differ:\n%s", diff)
		}
		if after, _ := json.Marshal(in.Old); string(after) != string(before) {
			t.Fatalf("Carry changed its input: %s", after)
		}
		again, report2 := values.Carry(in)
		if diff := cmp.Diff(got, again) + cmp.Diff(report, report2); diff != "" {
			t.Fatalf("not deterministic:\n%s", diff)
		}
		if got["revision"] != "1-31" || got["revisionTags"] != nil || got["defaultRevision"] != nil {
			t.Fatalf("the new release is %v and routes %v, %v", got["revision"], got["revisionTags"], got["defaultRevision"])
		}
	})
}

func TestOverridesWin(t *testing.T) {
	defaults := tree(t, flat)
	free := slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		return slices.Contains([]string{"revision", "revisionTags", "defaultRevision", "pilot", "istio_cni"}, k)
	})
	rapid.Check(t, func(t *rapid.T) {
		in := values.Input{
			Old: anyTree(t, "old", 3, keys), NewDefaults: defaults, Overrides: anyTree(t, "overrides", 2, free),
			Target: values.Target{Revision: "1-31", Hub: "docker.io/istio", Tag: "1.31.0"},
		}
		got, _ := values.Carry(in)
		if msg := contains(got, in.Overrides, ""); msg != "" {
			t.Fatal(msg)
		}
	})
}

// contains says which value of part is not in whole.
func contains(whole, part map[string]any, prefix string) string {
	for k, v := range part {
		if child, ok := v.(map[string]any); ok {
			if len(child) == 0 {
				continue
			}
			at, ok := whole[k].(map[string]any)
			if !ok {
				return fmt.Sprintf("%s%s is %v", prefix, k, whole[k])
			}
			if msg := contains(at, child, prefix+k+"."); msg != "" {
				return msg
			}
			continue
		}
		if diff := cmp.Diff(v, whole[k]); diff != "" {
			return fmt.Sprintf("%s%s: %s", prefix, k, diff)
		}
	}
	return ""
}
