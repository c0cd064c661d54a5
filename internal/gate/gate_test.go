package gate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAChainPassesOnlyWhenEveryGatePassesAndGivesTheFirstReason(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		verdicts := rapid.SliceOf(rapid.SampledFrom([]Verdict{Pass(), Wait("w", "wait"), Block("b", "block")})).Draw(rt, "verdicts")
		var chain Chain[int]
		asked := 0
		for _, v := range verdicts {
			chain = append(chain, func(int) Verdict { asked++; return v })
		}
		want, wantAsked := Pass(), len(verdicts)
		for n, v := range verdicts {
			if v.Outcome != Passed {
				want, wantAsked = v, n+1
				break
			}
		}
		if diff := cmp.Diff(want, chain.Evaluate(0)); diff != "" {
			rt.Fatalf("verdict (-want +got):\n%s", diff)
		}
		if asked != wantAsked {
			rt.Fatalf("%d gates were asked, want %d: the first answer that is not a pass ends the chain", asked, wantAsked)
		}
	})
}

func TestTheZeroVerdictDoesNotPass(t *testing.T) {
	if (Verdict{}).Passed() {
		t.Error("a gate that forgot to answer must not open")
	}
}

func TestLongListsAreCounted(t *testing.T) {
	for want, names := range map[string][]string{
		"a":                        {"a"},
		"a, b, c, d, e":            {"a", "b", "c", "d", "e"},
		"a, b, c, d, e and 2 more": {"a", "b", "c", "d", "e", "f", "g"},
	} {
		if got := list(names); got != want {
			t.Errorf("list(%v) = %q, want %q", names, got, want)
		}
	}
}
