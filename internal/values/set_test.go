package values

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsAreReadAsHelmReadsThem(t *testing.T) {
	for in, want := range map[string]map[string]any{
		"a.b.c=1":               {"a": map[string]any{"b": map[string]any{"c": int64(1)}}},
		"a=true,b=false,c=null": {"a": true, "b": false, "c": nil},
		`labels.a\.b/c=d`:       {"labels": map[string]any{"a.b/c": "d"}},
		`a=x\,y,b=z`:            {"a": "x,y", "b": "z"},
		"a={--x=1,y}":           {"a": []any{"--x=1", "y"}},
		"a[0].b=c":              {"a": []any{map[string]any{"b": "c"}}},
	} {
		got := map[string]any{}
		err := Set(got, []string{in})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", in, err, diff)
		}
	}
	if err := Set(map[string]any{}, []string{"a"}); err == nil {
		t.Error("a key without a value is taken")
	}
}
