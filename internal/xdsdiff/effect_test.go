package xdsdiff

import (
	"strings"
	"testing"
)

func TestTheValueOfAnEnvoyFilterIsLookedForInBothAnswers(t *testing.T) {
	timeout := `{applyTo: CLUSTER, patch: {operation: MERGE, value: {connectTimeout: 3s}}}`
	with, without := "{name: a, connect_timeout: 3s}", "{name: a, connect_timeout: 10s}"
	host := `{applyTo: VIRTUAL_HOST, patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x, value: ours}}]}}}`
	inserted := `{applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: ` + lua + `}}`
	for name, c := range map[string]struct {
		patch      string
		kind       Kind
		old, young []string
		verdict    Seen
		why        string
		explains   bool
	}{
		"kept":                {timeout, Clusters, []string{with}, []string{with}, Kept, "", false},
		"lost":                {timeout, Clusters, []string{with}, []string{without}, Lost, "", true},
		"begins":              {timeout, Clusters, []string{without}, []string{with}, More, "", true},
		"fewer":               {timeout, Clusters, []string{with, "{name: b, connect_timeout: 3s}"}, []string{with, "{name: b, connect_timeout: 1s}"}, Fewer, "", true},
		"nowhere":             {timeout, Clusters, []string{without}, []string{without}, Nowhere, "", false},
		"a filter lost":       {inserted, Listeners, []string{listener(lua)}, []string{listener("")}, Lost, "", true},
		"a filter kept":       {inserted, Listeners, []string{listener(lua)}, []string{listener(lua)}, Kept, "", false},
		"a header lost":       {host, Routes, []string{`{name: r, virtual_hosts: [{name: v, response_headers_to_add: [{header: {key: a, value: b}}, {header: {key: x, value: ours}}]}]}`}, []string{`{name: r, virtual_hosts: [{name: v, response_headers_to_add: [{header: {key: a, value: b}}]}]}`}, Lost, "", true},
		"something is taken":  {`{applyTo: CLUSTER, patch: {operation: REMOVE}}`, Clusters, []string{with}, []string{with}, Unseen, "removes", false},
		"the bootstrap":       {`{applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {x: y}}}`, Clusters, []string{with}, []string{with}, Unseen, "bootstrap", false},
		"no value":            {`{applyTo: CLUSTER, patch: {operation: MERGE, value: {}}}`, Clusters, []string{with}, []string{with}, Unseen, "no value", false},
		"a misspelt field":    {`{applyTo: CLUSTER, patch: {operation: MERGE, value: {conect_timeout: 3s}}}`, Clusters, []string{with}, []string{with}, Unseen, "no field", false},
		"a type of somebody":  {`{applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: x, typed_config: {"@type": type.googleapis.com/example.X}}}}`, Clusters, []string{with}, []string{with}, Unseen, "does not know", false},
		"applied to the moon": {`{applyTo: MOON, patch: {operation: MERGE, value: {x: y}}}`, Clusters, []string{with}, []string{with}, Unseen, "MOON", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, map[Kind][]string{c.kind: c.old}, map[Kind][]string{c.kind: c.young}, object(t, "EnvoyFilter", "shop", "f", "{configPatches: ["+c.patch+"]}"))
			if len(r.Effects) != 1 || r.Effects[0].Verdict != c.verdict || !strings.Contains(r.Effects[0].Why, c.why) {
				t.Errorf("%+v", r.Effects)
			}
			for _, change := range r.Changes {
				if got := strings.Join(change.EnvoyFilters, ","); (got == "shop/f patch 1") != c.explains {
					t.Errorf("%s is explained by %q", change.Path, got)
				}
			}
			if c.explains && len(r.Changes) == 0 {
				t.Error("no difference")
			}
		})
	}
}

func TestAnEffectThatIsLostCountsOnceForEachEnvoyFilter(t *testing.T) {
	r := Report{Classes: []ClassReport{
		{Effects: []Effect{{EnvoyFilter: "a/b", Patch: 1, Verdict: Lost}, {EnvoyFilter: "a/b", Patch: 2, Verdict: Fewer}, {EnvoyFilter: "a/c", Verdict: Kept}}},
		{Effects: []Effect{{EnvoyFilter: "a/b", Patch: 1, Verdict: Lost}}},
	}}
	if r.Count(); r.Lost != 1 {
		t.Error(r.Lost)
	}
}
