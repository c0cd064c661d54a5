package envoyfilter

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/envoyapi"
)

func TestTheVerdictSaysWhatIsDifferentWithTheTarget(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		patch    string
		outcome  Outcome
		says     string
	}{
		"nothing special": {"1.30.0", "1.31.0", `{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Fine, ""},
		"camel case":      {"1.30.0", "1.31.0", `{applyTo: CLUSTER, patch: {operation: MERGE, value: {connectTimeout: 3s, circuitBreakers: {thresholds: [{maxRetries: 3}]}}}}`, Fine, ""},

		"it stops":                 {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '^1\.30.*'}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Changes, "it stops"},
		"it begins":                {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '^1\.31.*'}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Changes, "it begins"},
		"for another version":      {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '^1\.20.*'}}, patch: {operation: MERGE, value: {nonsense: 3s}}}`, Fine, ""},
		"without an anchor":        {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '1.3'}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Fine, ""},
		"no expression":            {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '('}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Breaks, "no regular expression"},
		"an expression too long":   {"1.30.4", "1.31.0", `{applyTo: CLUSTER, match: {proxy: {proxyVersion: '1|` + strings.Repeat("x", 1100) + `'}}, patch: {operation: MERGE, value: {x: y}}}`, Fine, ""},
		"a type that is gone":      {"1.24.0", "1.27.0", filter("envoy.extensions.filters.http.squash.v3.Squash", ""), Breaks, "Squash (typed_config) is gone in Envoy 1.35"},
		"a type that is long gone": {"1.30.0", "1.31.0", filter("envoy.extensions.filters.http.squash.v3.Squash", ""), Breaks, "drops the patch already"},
		"a type of the API v2":     {"1.30.0", "1.31.0", filter("envoy.config.filter.http.lua.v2.Lua", ""), Breaks, "API v2"},
		"a type of somebody":       {"1.30.0", "1.31.0", filter("example.com.Filter", ""), Unknown, "not in Meshlift's table"},
		"a known type":             {"1.30.0", "1.31.0", filter("envoy.extensions.filters.http.lua.v3.Lua", "default_source_code: {inline_string: x}"), Fine, ""},
		"a misspelt field":         {"1.30.0", "1.31.0", filter("envoy.extensions.filters.http.lua.v3.Lua", "default_sauce: x"), Fine, "no field typed_config.default_sauce in either version"},
		"a newly deprecated field": {"1.30.0", "1.31.0", filter("envoy.extensions.filters.http.set_filter_state.v3.Config", "on_request_headers: [{object_key: x, read_only: true}]"), Changes, "read_only of FilterStateValue is deprecated from Envoy 1.39 on"},
		"an old deprecated field":  {"1.30.0", "1.31.0", filter("envoy.extensions.filters.http.lua.v3.Lua", "inline_code: x"), Fine, "deprecated in both"},
		"a struct with a type":     {"1.24.0", "1.27.0", filter("udpa.type.v1.TypedStruct", "type_url: type.googleapis.com/envoy.extensions.filters.http.squash.v3.Squash, value: {cluster: x}"), Breaks, "gone"},
		"a bootstrap field gone":   {"1.30.0", "1.31.0", `{applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {listener_manager: {name: x, typed_config: {"@type": type.googleapis.com/envoy.config.listener.v3.ListenerManager}}}}}`, Breaks, "ListenerManager"},
		"no table":                 {"1.20.0", "1.22.0", `{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Unknown, "no table"},
		"applied to nothing known": {"1.30.0", "1.31.0", `{applyTo: MOON, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Unknown, "MOON"},

		"an anchor that is there":     {"1.30.0", "1.31.0", before("envoy.filters.http.router"), Fine, ""},
		"an anchor of another filter": {"1.30.0", "1.31.0", before("ours"), Fine, ""},
		"an anchor nobody makes":      {"1.30.0", "1.31.0", before("theirs"), Unknown, "INSERT_BEFORE does nothing when it is not there"},
		"an anchor that is gone":      {"1.28.0", "1.30.0", before("istio_authn"), Breaks, "does not make any more"},
		"an old name":                 {"1.30.0", "1.31.0", before("envoy.router"), Breaks, "the name is envoy.filters.http.router"},
		"a cluster that is gone":      {"1.28.0", "1.30.0", `{applyTo: CLUSTER, match: {cluster: {name: InboundPassthroughClusterIpv4}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Breaks, "it is InboundPassthroughCluster"},
		"a cluster of a service":      {"1.28.0", "1.30.0", `{applyTo: CLUSTER, match: {cluster: {name: "outbound|80||a.b"}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, Fine, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(spec(t, c.patch), Versions{From: c.from, To: c.to, Table: envoyapi.Default(), Added: map[string]bool{"ours": true}})
			all := ""
			for _, r := range v.Reasons {
				all += r.Text + "\n"
			}
			if v.Outcome != c.outcome || !strings.Contains(all, c.says) {
				t.Errorf("%s, want %s that says %q:\n%s", v.Outcome, c.outcome, c.says, all)
			}
		})
	}
}

func TestTheWorstPatchDecidesAndEachIsNamed(t *testing.T) {
	v := Judge(spec(t, `{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 3s}}}`, filter("example.com.Filter", ""), before("envoy.router")),
		Versions{From: "1.30.0", To: "1.31.0", Table: envoyapi.Default()})
	if v.Outcome != Breaks || len(v.Reasons) != 2 || v.Reasons[0].Patch != 2 || v.Reasons[1].Patch != 3 {
		t.Errorf("%+v", v)
	}
}

func TestNamesAreThoseThatAreAdded(t *testing.T) {
	got := Names(spec(t, filter("a.B", ""), before("x"), `{applyTo: CLUSTER, patch: {operation: MERGE, value: {name: merged}}}`))
	if strings.Join(got, ",") != "f,mine" {
		t.Error(got)
	}
}

// FuzzJudge: whatever is stored as an EnvoyFilter gets a verdict.
func FuzzJudge(f *testing.F) {
	for _, seed := range []string{`{"configPatches": [1, {"patch": {"value": []}}, {"applyTo": "CLUSTER", "patch": {"value": {"metadata": {"filter_metadata": {"x": {"y": 1}}}, "transport_socket": [{"typed_config": "x"}]}}}]}`, `{}`, `{"configPatches": {}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var spec map[string]any
		if yaml.Unmarshal([]byte(text), &spec) != nil {
			return
		}
		if v := Judge(spec, Versions{From: "1.30.0", To: "1.31.0", Table: envoyapi.Default()}); v.Outcome == "" {
			t.Error("no verdict")
		}
		Names(spec)
	})
}

func spec(t *testing.T, patches ...string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte("configPatches: ["+strings.Join(patches, ", ")+"]"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func filter(kind, fields string) string {
	if fields != "" {
		fields = ", " + fields
	}
	return `{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}, patch: {operation: INSERT_FIRST, value: {name: f, typed_config: {"@type": type.googleapis.com/` + kind + fields + `}}}}`
}

func before(name string) string {
	return `{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: ` + name + `}}}}}, patch: {operation: INSERT_BEFORE, value: {name: mine, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}`
}
