package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTheSameSeedGivesTheSameScheduleAndItsTextGivesItBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		s := Random(seed)
		if diff := cmp.Diff(s, Random(seed)); diff != "" {
			t.Fatal(diff)
		}
		back, err := Parse(s.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Fatalf("%s\n%s", s, diff)
		}
	})
}

func TestTwoHundredSeedsHaveEveryKindAndBothCycles(t *testing.T) {
	seen, cycles := map[Kind]bool{}, map[Cycle]int{}
	for seed := range uint64(200) {
		s := Random(seed + 1)
		cycles[s.Cycle]++
		if len(s.Faults) == 0 || len(s.Faults) > maxFaults {
			t.Errorf("seed %d has %d faults", seed+1, len(s.Faults))
		}
		for _, f := range s.Faults {
			seen[f.Kind] = true
		}
	}
	for _, k := range Kinds() {
		if !seen[k] {
			t.Errorf("no seed has %s", k)
		}
	}
	if cycles[Forward] < 60 || cycles[Return] < 60 {
		t.Errorf("cycles: %v", cycles)
	}
}

func TestWhatIsNoScheduleIsRefusedWithTheFaultThatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "want",
		"sideways: 1 kill":      "want",
		"forward: kill":         "number of changes",
		"forward: x kill":       "number of changes",
		"forward: 1 earthquake": `no kind "earthquake"`,
		"return: 1 stale long":  `"long" is neither`,
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	s, err := Parse("return: 9 stale 2s; 3 lost 4;")
	if err != nil || s.String() != "return: 3 lost 4; 9 stale 2s" || s.Faults[1].For != 2*time.Second {
		t.Errorf("%s, %v", s, err)
	}
}

func TestAFailingScheduleIsShrunkToTheFaultsThatMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{Cycle: Forward}
		for n := range rapid.IntRange(1, 12).Draw(t, "faults") {
			s.Faults = append(s.Faults, Fault{After: n, Kind: Lost, N: 1})
		}
		guilty := rapid.SliceOfNDistinct(rapid.IntRange(0, len(s.Faults)-1), 0, min(3, len(s.Faults)), rapid.ID).Draw(t, "guilty")
		slices.Sort(guilty)
		runs := 0
		small := Shrink(s, 200, func(c Schedule) bool {
			runs++
			return !slices.ContainsFunc(guilty, func(g int) bool {
				return !slices.ContainsFunc(c.Faults, func(f Fault) bool { return f.After == g })
			})
		})
		var left []int
		for _, f := range small.Faults {
			left = append(left, f.After)
		}
		if !slices.Equal(left, guilty) && len(guilty) > 0 {
			t.Fatalf("%v are guilty, shrunk to %v in %d runs", guilty, left, runs)
		}
	})
}

func TestShrinkingStopsAfterSoManyTries(t *testing.T) {
	s, runs := Random(7), 0
	Shrink(s, 3, func(Schedule) bool { runs++; return false })
	if runs > 3 {
		t.Errorf("%d runs", runs)
	}
}
