package upgrade

import (
	"strings"
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

func TestStepThreeSaysWhatEachEnvoyFilterIsWorthWithTheTarget(t *testing.T) {
	squash := `{"configPatches": [{"applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_FIRST", "value": {"name": "s", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.squash.v3.Squash"}}}}]}`
	in := input("1-30", func(in *Input) {
		in.Snapshot.Inventory.EnvoyFilters = []mesh.EnvoyFilter{
			{Namespace: "shop", Name: "bad", Hash: "h1", Spec: squash}, {Namespace: "shop", Name: "broken", Hash: "h2", Spec: "no JSON"}, {Namespace: "shop", Name: "good", Hash: "h3", Spec: `{"configPatches": []}`},
		}
		in.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{{Namespace: "shop", Name: "good", Hash: "h3"}}
	})
	d := Decide(in)
	if len(d.EnvoyFilters) != 3 || d.EnvoyFilters[0].Verdict != "breaks" || !strings.Contains(d.EnvoyFilters[0].Why, "patch 1: the type envoy.extensions.filters.http.squash.v3.Squash") ||
		d.EnvoyFilters[1].Verdict != "fine" || d.EnvoyFilters[2].Verdict != "fine" || !d.EnvoyFilters[2].Acknowledged {
		t.Fatalf("%+v", d.EnvoyFilters)
	}
	if m := step(d, v1alpha1.ConditionEnvoyFiltersHandled).Message; !strings.Contains(m, "2 of 3 EnvoyFilters are not acknowledged for 1.31.0 (1 of them will break), the first is shop/bad") {
		t.Error(m)
	}
	in.Status.EnvoyFilters = d.EnvoyFilters
	in.Status.EnvoyFilters[1].Why = "kept while nothing changes"
	if d = Decide(in); d.EnvoyFilters[1].Why != "kept while nothing changes" || d.EnvoyFilters[0].Verdict != "breaks" {
		t.Errorf("judged again: %+v", d.EnvoyFilters)
	}
	in.Snapshot.Inventory.EnvoyFilters[0].Hash = "h4"
	if d = Decide(in); d.EnvoyFilters[1].Why != "" {
		t.Errorf("not judged again: %+v", d.EnvoyFilters)
	}
}
