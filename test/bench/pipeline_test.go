package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func TestTheIdealPipelineStartsTheNextOneWhenOneIsDone(t *testing.T) {
	var all []course
	for n := range 6 {
		all = append(all, course{patched: at(n * 100), done: at(n*100 + 10)})
	}
	for parallelism, want := range map[int]time.Duration{1: time.Minute, 2: 30 * time.Second, 4: 20 * time.Second, 100: 10 * time.Second} {
		if got := ideal(all, parallelism); got != want {
			t.Errorf("parallelism %d: %s, want %s", parallelism, got, want)
		}
	}
}

func TestATurnoverIsFromTheRoomThatWasMadeToItsUse(t *testing.T) {
	all := []course{{patched: at(0), ready: at(5)}, {patched: at(1), ready: at(3)}, {patched: at(4), ready: at(20)}, {patched: at(9), ready: at(30)}}
	got := turnovers(all, 2, func(c course) time.Time { return c.ready })
	if want := []time.Duration{time.Second, 4 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestQuantilesAreByTheNearestRank(t *testing.T) {
	if quantile([]int{}, 0.5) != 0 || quantile([]int{3, 1, 2}, 0.5) != 2 || quantile([]int{3, 1, 2}, 0.99) != 3 {
		t.Error("wrong quantile")
	}
}

func TestRequestsAreReadWritesOrOfTheElection(t *testing.T) {
	text := `# HELP meshlift_api_request_duration_seconds x
meshlift_api_request_duration_seconds_bucket{resource="leases",verb="get",le="0.004"} 3
meshlift_api_request_duration_seconds_count{resource="leases",verb="get"} 3
meshlift_api_request_duration_seconds_count{resource="deployments",verb="get"} 1e+03
meshlift_api_request_duration_seconds_count{resource="pods",verb="dryrun"} 7
meshlift_api_request_duration_seconds_count{resource="pods",verb="watch"} 2
go_memstats_heap_inuse_bytes 5
`
	m, err := parseMetrics(strings.NewReader(text), "meshlift_api_request_duration_seconds_count")
	if err != nil {
		t.Fatal(err)
	}
	r := requests{count: map[string]float64{}}
	for _, s := range m {
		r.count[s.labels["verb"]+" "+s.labels["resource"]] += s.value
	}
	if r.reads() != 1000 || r.writes() != 7 || r.election() != 3 {
		t.Errorf("%v reads, %v writes, %v of the election", r.reads(), r.writes(), r.election())
	}
}
