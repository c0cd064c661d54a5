package xdsdiff

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// listener is one with that HTTP filter and two others; "" adds none.
func listener(filter string) string {
	if filter != "" {
		filter += ", "
	}
	return `{name: in, filter_chains: [{name: a, filters: [{name: hcm, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
		stat_prefix: x, rds: {route_config_name: "80"}, http_filters: [` + filter + `{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}, {name: wasm, config_discovery: {}}]}}]}]}`
}

const lua = `{name: ours, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline_code: "x"}}`

func TestDifferencesAreShownByTheirField(t *testing.T) {
	for name, c := range map[string]struct {
		kind       Kind
		old, young []string
		want       []string // kind path old new resources
	}{
		"nothing":            {Clusters, []string{"{name: a, connect_timeout: 1s}"}, []string{"{name: a, connect_timeout: 1s}"}, nil},
		"a value":            {Clusters, []string{"{name: a, connect_timeout: 1s}"}, []string{"{name: a, connect_timeout: 2.5s}"}, []string{`connect_timeout "1s" "2.5s" a`}},
		"the same in many":   {Clusters, []string{"{name: a}", "{name: b}"}, []string{"{name: a, lb_policy: RANDOM}", "{name: b, lb_policy: RANDOM}"}, []string{`lb_policy null "RANDOM" a,b`}},
		"set to its default": {Clusters, []string{"{name: a}"}, []string{"{name: a, common_lb_config: {healthy_panic_threshold: {}}}"}, []string{`common_lb_config null {"healthy_panic_threshold":0} a`}},
		"a field of a field": {
			Clusters,
			[]string{"{name: a, common_lb_config: {}}"},
			[]string{"{name: a, common_lb_config: {healthy_panic_threshold: {}}}"},
			[]string{`common_lb_config.healthy_panic_threshold null 0 a`},
		},
		"one only old":     {Clusters, []string{"{name: a}", "{name: b}"}, []string{"{name: a}"}, []string{` removed b`}},
		"one only new":     {Routes, []string{`{name: "80"}`}, []string{`{name: "80"}`, `{name: "81"}`}, []string{` added 81`}},
		"order of domains": {Routes, []string{`{name: r, virtual_hosts: [{name: v, domains: [a, b]}]}`}, []string{`{name: r, virtual_hosts: [{name: v, domains: [b, a]}]}`}, nil},
		"order of hosts":   {Routes, []string{`{name: r, virtual_hosts: [{name: v}, {name: w}]}`}, []string{`{name: r, virtual_hosts: [{name: w}, {name: v}]}`}, []string{`virtual_hosts (order) "v, w" "w, v" r`}},
		"a filter is gone": {Listeners, []string{listener(lua)}, []string{listener("")}, []string{`filter_chains[a].filters[hcm].typed_config.http_filters[ours] {"name":"ours","typed_config":{"@type":"envoy.extensions.filters.http.lua.v3.Lua","inline_code":"x"}} null in`}},
		"another type":     {Listeners, []string{listener(lua)}, []string{listener(strings.Replace(lua, "lua.v3.Lua, inline_code: \"x\"", "buffer.v3.Buffer", 1))}, []string{`filter_chains[a].filters[hcm].typed_config.http_filters[ours].typed_config {"@type":"envoy.extensions.filters.http.lua.v3.Lua","inline_code":"x"} {"@type":"envoy.extensions.filters.http.buffer.v3.Buffer"} in`}},
		"the same in chains": {
			Listeners,
			[]string{"{name: in, filter_chains: [{name: a}, {name: b}]}"},
			[]string{"{name: in, filter_chains: [{name: a, transport_socket_connect_timeout: 15s}, {name: b, transport_socket_connect_timeout: 15s}]}"},
			[]string{`filter_chains[*].transport_socket_connect_timeout null "15s" in`},
		},
		"a place in a list": {
			Clusters,
			[]string{"{name: a, circuit_breakers: {thresholds: [{max_retries: 1}, {max_retries: 3}]}}"},
			[]string{"{name: a, circuit_breakers: {thresholds: [{max_retries: 1}, {max_retries: 4}]}}"},
			[]string{`circuit_breakers.thresholds[1].max_retries 3 4 a`},
		},
		"a key with dots": {
			Clusters,
			[]string{"{name: a, metadata: {filter_metadata: {istio.io: {x: 1}}}}"},
			[]string{"{name: a, metadata: {filter_metadata: {istio.io: {x: 2}}}}"},
			[]string{`metadata.filter_metadata[istio.io].x 1 2 a`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, map[Kind][]string{c.kind: c.old}, map[Kind][]string{c.kind: c.young})
			var got []string
			for _, change := range r.Changes {
				values := asJSON(change.Old) + " " + asJSON(change.New)
				if change.Added {
					values = "added"
				} else if change.Removed {
					values = "removed"
				}
				got = append(got, fmt.Sprintf("%s %s %s", change.Path, values, strings.Join(change.Resources, ",")))
				if change.With != AnyProxy {
					t.Errorf("with %s", change.With)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestAChangeSaysForWhichProxiesItIsThere(t *testing.T) {
	r := Compare(Class{}, Answers{
		Old:         answer(t, map[Kind][]string{Clusters: {"{name: a, connect_timeout: 1s, lb_policy: RANDOM}"}}),
		NewOldProxy: answer(t, map[Kind][]string{Clusters: {"{name: a, connect_timeout: 2s, lb_policy: RANDOM, alt_stat_name: x}"}}),
		New:         answer(t, map[Kind][]string{Clusters: {"{name: a, connect_timeout: 2s, lb_policy: MAGLEV}"}}),
	}, before, after, nil)
	var got []string
	for _, c := range r.Changes {
		got = append(got, c.Path+" "+string(c.With))
	}
	if !slices.Equal(got, []string{"connect_timeout any", "lb_policy new", "alt_stat_name old"}) {
		t.Error(got)
	}
	if len(r.Counts) != 1 || r.Counts[0] != (KindCount{Clusters, 1, 1, 1}) {
		t.Error(r.Counts)
	}
}

func TestSecretsAreNeverShownAndTheirChangesAre(t *testing.T) {
	tls := func(key string) string {
		return `{name: a, transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
			common_tls_context: {tls_certificates: [{private_key: {inline_string: ` + key + `}}], tls_certificate_sds_secret_configs: [{name: default}]}}}, metadata: {filter_metadata: {x: {api_token: ` + key + `}}}}`
	}
	r := compared(t, map[Kind][]string{Clusters: {tls("hush-old")}}, map[Kind][]string{Clusters: {tls("hush-new")}})
	text, err := json.Marshal(r)
	if err != nil || len(r.Changes) != 2 || strings.Contains(string(text), "hush") || !strings.Contains(string(text), "(hidden)") {
		t.Errorf("%v %s", err, text)
	}
	header := func(value string) string {
		return `{name: r, request_headers_to_add: [{header: {key: Authorization, value: ` + value + `}}]}`
	}
	r = compared(t, map[Kind][]string{Routes: {header("hush-old")}}, map[Kind][]string{Routes: {header("hush-new")}})
	if text, err := json.Marshal(r); err != nil || len(r.Changes) != 1 || strings.Contains(string(text), "hush") {
		t.Errorf("%v %s", err, text)
	}
}

func TestWhatIsNotKnownIsComparedAsBytes(t *testing.T) {
	of := func(tail ...byte) Answer {
		a := Answer{}
		raw := encode(t, messages[Clusters], "{name: a}")
		raw = protowire.AppendBytes(protowire.AppendTag(raw, 30000, protowire.BytesType), tail)
		a.Add(Clusters, raw)
		return a
	}
	if c := Compare(Class{}, Answers{of(1), of(2), of(2)}, before, after, nil).Changes; len(c) != 1 || c[0].Path != "(fields that Meshlift does not know)" {
		t.Errorf("%+v", c)
	}
	broken := Answer{Clusters: {"a": {0xff}}}
	if c := Compare(Class{}, Answers{broken, of(2), of(2)}, before, after, nil).Changes; len(c) == 0 {
		t.Error("a broken message is the same as a sound one")
	}
}

func TestKnownChangesHaveTheirReason(t *testing.T) {
	r := Report{From: before, To: after, Classes: []ClassReport{compared(t,
		map[Kind][]string{Clusters: {"{name: a, common_lb_config: {}}"}, Routes: {`{name: r, virtual_hosts: [{name: v, metadata: {filter_metadata: {istio: {config: /apis/networking.istio.io/v1alpha3/x}}}}]}`}},
		map[Kind][]string{Clusters: {"{name: a, common_lb_config: {healthy_panic_threshold: {}}}"}, Routes: {`{name: r, virtual_hosts: [{name: v, metadata: {filter_metadata: {istio: {config: /apis/networking.istio.io/v1/x}}}}]}`}})}}
	if c := r.Classes[0].Changes; len(c) != 2 || c[0].Rule == nil || c[0].Rule.ID != "unhealthy-endpoints" || c[0].Harmless() || c[1].Rule != nil {
		t.Errorf("%+v", c) // the second rule is about Istio 1.22
	}
	for n, want := range map[string]int{"1.30.0": 1, "1.28.0": 2, "1.20.8": 3, "nonsense": 3} {
		if got := Rules(n, "1.31.0"); len(got) != want {
			t.Errorf("from %s: %d rules, want %d", n, len(got), want)
		}
	}
	for _, rule := range rules() {
		if rule.ID == "" || rule.Reason == "" || !strings.HasPrefix(rule.Link, "https://") || rule.Since == "" {
			t.Errorf("%+v", rule)
		}
	}
	c := Change{Rule: &Rule{Harmless: true}}
	r.Classes[0].Changes = append(r.Classes[0].Changes, c)
	if r.Count(); r.Differences != 2 || r.Harmless != 1 {
		t.Errorf("%d differences, %d harmless", r.Differences, r.Harmless)
	}
}

func TestNamesOfTheNextKindsAreThoseThatAProxyWouldAskFor(t *testing.T) {
	a := answer(t, map[Kind][]string{
		Clusters:  {"{name: a, type: EDS, eds_cluster_config: {service_name: b}}", "{name: c, type: EDS}", "{name: d, type: STATIC}"},
		Listeners: {listener(lua)},
	})
	for k, want := range map[Kind]string{Endpoints: "b,c", Routes: "80", Extensions: "wasm", Clusters: ""} {
		if got := strings.Join(a.Names(k), ","); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	a.Add(Endpoints, encode(t, messages[Endpoints], "{cluster_name: b, endpoints: [{priority: 1}]}"))
	if len(a[Endpoints]["b"]) != 0 {
		t.Error("endpoints are kept")
	}
	// An istiod that knows no endpoints of a cluster that both have is a difference; endpoints of a cluster that is gone are none.
	b := answer(t, map[Kind][]string{Clusters: {"{name: a, type: EDS, eds_cluster_config: {service_name: b}}"}, Listeners: {listener(lua)}})
	c := Compare(Class{}, Answers{a, b, b}, before, after, nil).Changes
	if len(c) != 2 || !c[0].Removed || strings.Join(c[0].Resources, ",") != "c,d" || c[1].Kind != Endpoints || !c[1].Removed {
		t.Errorf("%+v", c)
	}
}

// FuzzCompare: whatever an istiod sends is compared with itself without a difference, and with anything else without an end.
func FuzzCompare(f *testing.F) {
	f.Add([]byte{0xff}, []byte{})
	f.Add(encode(f, messages[Listeners], listener(lua)), encode(f, messages[Listeners], listener("")))
	f.Add(encode(f, messages[Clusters], "{name: a}"), encode(f, messages[Routes], "{name: a}"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		for _, k := range Kinds {
			a, b := Answer{}, Answer{}
			a.Add(k, x)
			b.Add(k, y)
			a.Names(Routes)
			var none []difference
			if compare("", reader{}.resource(k, x), reader{}.resource(k, x), &none); len(none) > 0 {
				t.Errorf("a difference from itself: %+v", none)
			}
			Compare(Class{}, Answers{a, b, b}, before, after, nil)
		}
	})
}
