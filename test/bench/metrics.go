package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// sample is one line of a metric.
type sample struct {
	labels map[string]string
	value  float64
}

// metrics are the lines of some metrics.
type metrics []sample

// parseMetrics reads the lines of the named metric from Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
func parseMetrics(r io.Reader, name string) (metrics, error) {
	var out metrics
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+"{")
		if !ok {
			continue
		}
		text, value, ok := strings.Cut(rest, "} ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		s := sample{labels: map[string]string{}, value: v}
		for text != "" {
			var key, quoted string
			if key, text, ok = strings.Cut(text, `="`); !ok {
				break
			}
			quoted, text, _ = strings.Cut(text, `"`) // no label of these metrics holds a quote
			s.labels[strings.TrimPrefix(key, ",")] = quoted
		}
		out = append(out, s)
	}
	return out, lines.Err()
}

// requests are what the agent asked of the API server: how often, and for how many seconds it waited for the answers, by
// verb and resource ("list leases"). Besides, by controller, how long it looked ("look x") and how long the look had waited
// ("queue x").
type requests struct{ count, seconds map[string]float64 }

// verbs that write; a rehearsal is one that writes nothing.
var writeVerbs = []string{"create", "dryrun", "update", "apply", "patch", "delete"}

const lease = "leases"

func (r requests) minus(o requests) requests {
	less := func(a, b map[string]float64) map[string]float64 {
		out := map[string]float64{}
		for k, v := range a {
			out[k] = v - b[k]
		}
		return out
	}
	return requests{less(r.count, o.count), less(r.seconds, o.seconds)}
}

// of adds the requests that are wanted.
func (r requests) of(want func(verb, resource string) bool) float64 {
	total := 0.0
	for k, n := range r.count {
		if verb, resource, _ := strings.Cut(k, " "); want(verb, resource) {
			total += n
		}
	}
	return total
}

// writes are all but renewals of the lease, and reads all that no cache and no watch answered but those of the lease.
func (r requests) writes() float64 {
	return r.of(func(verb, resource string) bool { return slices.Contains(writeVerbs, verb) && resource != lease })
}

func (r requests) reads() float64 {
	return r.of(func(verb, resource string) bool { return (verb == "get" || verb == "list") && resource != lease })
}

// election is what the replicas need to agree who leads.
func (r requests) election() float64 {
	return r.of(func(_, resource string) bool { return resource == lease })
}

func (r requests) rehearsals() float64 { return r.count["dryrun pods"] }

func (r requests) changes() float64 { return r.count["apply deployments"] }

// mean is how long one request took.
func (r requests) mean(key string) time.Duration {
	if r.count[key] == 0 {
		return 0
	}
	return time.Duration(r.seconds[key] / r.count[key] * float64(time.Second))
}

// named lists what was read or written, in parentheses; "" for nothing.
func (r requests) named() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(r.count)) {
		verb, resource, _ := strings.Cut(k, " ")
		if n := r.count[k]; n > 0 && resource != lease && (verb == "get" || verb == "list" || slices.Contains(writeVerbs, verb)) {
			parts = append(parts, fmt.Sprintf("%.0f %s", n, k))
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// spent says how long each part of a move took, on average.
func (r requests) spent() string {
	var parts []string
	for _, part := range []struct{ what, key string }{
		{"queue", "queue dataplanerollout"},
		{"look", "look dataplanerollout"},
		{"read", "get deployments"},
		{"rehearsal", "dryrun pods"},
		{"change", "apply deployments"},
		{"status", "update dataplanerollouts/status"},
	} {
		parts = append(parts, fmt.Sprintf("%s %d ms (%.0f)", part.what, r.mean(part.key).Milliseconds(), r.count[part.key]))
	}
	return strings.Join(parts, ", ")
}

// countRequests reads the metrics of every replica of the agent.
func countRequests(ctx context.Context, c rest.Interface, pods []string) (requests, error) {
	out := requests{map[string]float64{}, map[string]float64{}}
	for _, pod := range pods {
		text, err := c.Get().AbsPath("/api/v1/namespaces/" + agentNamespace + "/pods/" + pod + ":8080/proxy/metrics").DoRaw(ctx)
		if err != nil {
			return out, fmt.Errorf("read the metrics of %s: %w", pod, err)
		}
		for suffix, all := range map[string]map[string]float64{"_count": out.count, "_sum": out.seconds} {
			for name, key := range map[string]func(sample) string{
				"meshlift_api_request_duration_seconds":     func(s sample) string { return s.labels["verb"] + " " + s.labels["resource"] },
				"controller_runtime_reconcile_time_seconds": func(s sample) string { return "look " + s.labels["controller"] },
				"workqueue_queue_duration_seconds":          func(s sample) string { return "queue " + s.labels["controller"] },
			} {
				m, err := parseMetrics(bytes.NewReader(text), name+suffix)
				if err != nil {
					return out, err
				}
				for _, s := range m {
					all[key(s)] += s.value
				}
			}
		}
	}
	return out, nil
}
