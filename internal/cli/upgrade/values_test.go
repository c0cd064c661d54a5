package upgrade

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsAreReadAsHelmReadsThem(t *testing.T) {
	for in, want := range map[string]map[string]any{
		"a=b":                           {"a": "b"},
		"a.b.c=1":                       {"a": map[string]any{"b": map[string]any{"c": int64(1)}}},
		"a=true,b=false,c=null":         {"a": true, "b": false, "c": nil},
		"a=":                            {"a": ""},
		"a=x=y":                         {"a": "x=y"},
		"a=0,b=007,c=-3,d=1.5":          {"a": int64(0), "b": "007", "c": int64(-3), "d": "1.5"},
		`labels.a\.b/c=d`:               {"labels": map[string]any{"a.b/c": "d"}},
		`a=x\,y,b=z`:                    {"a": "x,y", "b": "z"},
		"a={x,y,2}":                     {"a": []any{"x", "y", int64(2)}},
		"meshConfig.accessLogFile=/dev": {"meshConfig": map[string]any{"accessLogFile": "/dev"}},
	} {
		got, err := values(nil, nil, []string{in})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", in, err, diff)
		}
	}
	for _, in := range []string{"a", "=b", "a[0]=b", "a..b=c", "", "a=b,,c=d"} {
		if got, err := values(nil, nil, []string{in}); err == nil {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

func TestLaterValuesWinAndMapsAreMerged(t *testing.T) {
	files := map[string][]byte{
		"one": []byte("pilot: {env: {A: x, B: y}, replicas: 1}\nlist: [1, 2]\n"),
		"two": []byte("pilot: {env: {B: z}}\nlist: [3]\n"),
	}
	got, err := values(files, []string{"one", "two"}, []string{"pilot.replicas=2", "pilot.env.C=w", "list.x=1"})
	want := map[string]any{
		"pilot": map[string]any{"env": map[string]any{"A": "x", "B": "z", "C": "w"}, "replicas": int64(2)},
		"list":  map[string]any{"x": int64(1)},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := values(map[string][]byte{"bad": []byte("- a\n")}, []string{"bad"}, nil); err == nil {
		t.Error("a list is taken for values")
	}
}
