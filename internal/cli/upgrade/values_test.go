package upgrade

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestASettingThatCannotBeReadIsAUsageError(t *testing.T) {
	if got, err := values(nil, nil, []string{"a"}); err == nil {
		t.Errorf("taken for %v", got)
	}
}

func TestLaterValuesWinAndMapsAreMerged(t *testing.T) {
	files := map[string][]byte{
		"one": []byte("pilot: {env: {A: x, B: y}, replicas: 1}\nlist: [1, 2]\n"),
		"two": []byte("pilot: {env: {B: z}}\nlist: [3]\n"),
	}
	got, err := values(files, []string{"one", "two"}, []string{"pilot.replicas=2", "pilot.env.C=w", "list={4}"})
	want := map[string]any{
		"pilot": map[string]any{"env": map[string]any{"A": "x", "B": "z", "C": "w"}, "replicas": int64(2)},
		"list":  []any{int64(4)},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := values(map[string][]byte{"bad": []byte("- a\n")}, []string{"bad"}, nil); err == nil {
		t.Error("a list is taken for values")
	}
}
