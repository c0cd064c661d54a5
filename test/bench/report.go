package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// result is one way of restarting every workload, measured.
type result struct {
	letter, what string
	wall         time.Duration
	courses      []course
	requests     requests
	cpu          []share
	agent        usage
}

// quiet is the agent while nothing happens.
type quiet struct {
	when      string
	took, cpu time.Duration
	requests  requests
	rss       int64
}

type memoryAt struct {
	pods            int
	rss, file, peak int64
}

// report is everything that was measured.
type report struct {
	date                          time.Time
	machine, commit               string
	cores, workloads, parallelism int
	runs                          []result
	rests                         []quiet
	memory                        []memoryAt
}

func (r report) run(letter string) (result, bool) {
	n := slices.IndexFunc(r.runs, func(x result) bool { return x.letter == letter })
	if n < 0 {
		return result{}, false
	}
	return r.runs[n], true
}

// row is one line of the table: what was measured, the value, the target and whether it is met ("" without a target).
type row struct{ what, value, target, met string }

func verdict(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// rows is the whole table.
func (r report) rows() []row {
	var out []row
	a, measured := r.run("a")
	for _, letter := range []string{"a", "b", "e", "c", "d"} {
		run, ok := r.run(letter)
		if !ok {
			continue
		}
		line := row{what: fmt.Sprintf("(%s) %s", letter, run.what), value: seconds(run.wall)}
		if measured && letter != "a" {
			ratio := run.wall.Seconds() / a.wall.Seconds()
			line.value += fmt.Sprintf(", %.2f x (a)", ratio)
			if letter == "d" {
				line.target, line.met = "1.15 x (a)", verdict(ratio <= 1.15)
			}
		}
		out = append(out, line)
	}
	e, plain := r.run("e")
	if d, ok := r.run("d"); ok && plain {
		out = append(out, row{"(d) against (e)", fmt.Sprintf("%.2f x", d.wall.Seconds()/e.wall.Seconds()), "", ""})
	}
	if c, ok := r.run("c"); ok {
		out = append(out, r.pipeline(c)...)
	}
	for _, letter := range []string{"a", "c"} {
		if run, ok := r.run(letter); ok {
			out = append(out, row{fmt.Sprintf("last pod ready until its own Deployment reports that it is done, (%s)", letter), reporting(run), "", ""})
		}
	}
	for _, letter := range []string{"c", "d"} {
		if run, ok := r.run(letter); ok {
			out = append(out, r.perWorkload(run)...)
		}
	}
	for _, x := range r.rests {
		perMinute := func(n float64) float64 { return n / x.took.Minutes() }
		asked := x.requests.reads() + x.requests.writes()
		which := x.requests.named()
		out = append(
			out,
			row{"requests at rest, " + x.when, fmt.Sprintf("%.0f a minute%s, and %.0f for the lease of the leader", perMinute(asked), which, perMinute(x.requests.election())), "watches only", verdict(perMinute(asked) < 1)},
			row{"CPU at rest, " + x.when + ", both replicas", fmt.Sprintf("%.1f %% of a core", 100*x.cpu.Seconds()/x.took.Seconds()), "about 0", verdict(x.cpu.Seconds()/x.took.Seconds() < 0.02)},
		)
	}
	for _, m := range r.memory {
		limit := int64(100<<20 + 4<<10*m.pods)
		out = append(out, row{fmt.Sprintf("agent's memory (RSS) with %d pods", m.pods), fmt.Sprintf("%d MiB, of which %d MiB are the program; at most %d MiB before", m.rss>>20, m.file>>20, m.peak>>20), fmt.Sprintf("%d MiB", limit>>20), verdict(m.rss <= limit)})
	}
	return out
}

func (r report) pipeline(c result) []row {
	best := ideal(c.courses, r.parallelism)
	ratio := c.wall.Seconds() / best.Seconds()
	ready := turnovers(c.courses, r.parallelism, func(x course) time.Time { return x.ready })
	done := turnovers(c.courses, r.parallelism, func(x course) time.Time { return x.done })
	cpu := spentIn(c.cpu) / time.Duration(r.cores)
	return []row{
		{fmt.Sprintf("ideal pipeline of %d for (c)", r.parallelism), fmt.Sprintf("%s; (c) is %.2f x", seconds(best), ratio), "1.10 x", verdict(ratio <= 1.10)},
		{"last pod ready until the next workload is patched, (c)", spread(ready), "p99 500 ms", verdict(quantile(ready, 0.99) <= 500*time.Millisecond)},
		{"of that, after the Deployment reported it", spread(done), "", ""},
		{fmt.Sprintf("the CPU that (c) used, divided by %d cores", r.cores), fmt.Sprintf("%s; (c) is %.2f x", seconds(cpu), c.wall.Seconds()/cpu.Seconds()), "", ""},
	}
}

// reporting is how long the controller of a Deployment took from the last pod to its report.
func reporting(x result) string {
	var all []time.Duration
	for _, c := range x.courses {
		all = append(all, c.done.Sub(c.ready))
	}
	return spread(all)
}

func spentIn(all []share) (total time.Duration) {
	for _, s := range all {
		total += s.cpu
	}
	return total
}

func (r report) perWorkload(x result) []row {
	n := float64(r.workloads)
	writes, reads := x.requests.writes()/n, x.requests.reads()/n
	return []row{
		{fmt.Sprintf("writes per workload, (%s)", x.letter), fmt.Sprintf("%.2f (%.2f rehearsals, %.2f changes of a template)", writes, x.requests.rehearsals()/n, x.requests.changes()/n), "4", verdict(writes <= 4)},
		{fmt.Sprintf("reads per workload, (%s)", x.letter), fmt.Sprintf("%.2f", reads), "1", verdict(reads <= 1.05)}, // some belong to the run and not to a workload
		{fmt.Sprintf("where the time of a move goes, (%s), on average", x.letter), x.requests.spent(), "", ""},
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func spread(all []time.Duration) string {
	ms := func(q float64) int64 { return quantile(all, q).Milliseconds() }
	return fmt.Sprintf("p50 %d ms, p90 %d ms, p99 %d ms", ms(0.5), ms(0.9), ms(0.99))
}

// table writes the rows for a terminal.
func (r report) table(w io.Writer) {
	rows := append([]row{{"measured", "value", "target", "met"}}, r.rows()...)
	var width [3]int
	for _, x := range rows {
		width[0], width[1], width[2] = max(width[0], len(x.what)), max(width[1], len(x.value)), max(width[2], len(x.target))
	}
	for _, x := range rows {
		_, _ = fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %-*s  %s", width[0], x.what, width[1], x.value, width[2], x.target, x.met), " "))
	}
	for _, x := range r.runs {
		_, _ = fmt.Fprintf(w, "CPU of (%s): %s\n", x.letter, cpus(x.cpu))
	}
}

// cpus lists the components that used most of the CPU.
func cpus(all []share) string {
	var parts []string
	for _, s := range all[:min(8, len(all))] {
		parts = append(parts, fmt.Sprintf("%s %.1f s", s.component, s.cpu.Seconds()))
	}
	return fmt.Sprintf("%.1f s: %s", spentIn(all).Seconds(), strings.Join(parts, ", "))
}

// page writes docs/benchmarks.md.
func (r report) page(w io.Writer) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("# Benchmarks\n")
	p("Written by `make bench` on %s at %s, on %d cores (%s): %d Deployments with 2 pods each on Kubernetes 1.37.2 in the [lab](lab.md), Istio", r.date.Format(time.DateOnly), r.commit, r.cores, r.machine, r.workloads)
	p("1.30.0 and 1.31.0, two replicas of the agent, in one run. Pods are simulated; admission, injection, xDS and the controllers are")
	p("real, and they share the cores with the agent and with the benchmark, so ratios say more than seconds.\n")
	p("| measured | value | target | met |\n|---|---|---|---|")
	for _, x := range r.rows() {
		p("| %s | %s | %s | %s |", x.what, x.value, x.target, cmp.Or(x.met, " "))
	}
	p("\nWhere the CPU went:\n\n| | CPU |\n|---|---|")
	for _, x := range r.runs {
		p("| (%s) | %s |", x.letter, cpus(x.cpu))
	}
	p("%s", explanation)
}

// explanation says how the values were made.
const explanation = `
How it is measured, from the outside and in the same way for all:

- (a) is one ` + "`kubectl rollout restart -f`" + ` for every Deployment before the agent is there: no way of restarting them can be much
  faster. (b) is what people do: for each namespace the label ` + "`istio.io/rev`" + `, ` + "`rollout restart`" + `, ` + "`rollout status`" + `. (d) moves
  everything from 1-30 to 1-31, (c) moves it back; both rehearse each workload. (e) is the change that (d) makes, without reading,
  looking or rehearsing, when the handover is in place: what a move to another istiod costs in any case.
- A run ends when the last Deployment has nothing left to replace, and (c) and (d) when Meshlift has said so.
- The ideal pipeline starts the next workload at the very moment when one is done, each taking as long as it took in the run.
- Requests are what both replicas count (the metric ` + "`meshlift_api_request_duration_seconds`" + `), without watches and without those
  that elect the leader. Status updates of Meshlift's own objects and the upkeep of the handover are among them.
- Pure planning is a Go benchmark: ` + "`go test ./internal/rollout -run XXX -bench Decide`" + ` decides for 100,000 pods (50,000 workloads).
`
