package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

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

// sum adds the lines that have all of the labels.
func (m metrics) sum(labels map[string]string) float64 {
	total := 0.0
lines:
	for _, s := range m {
		for k, v := range labels {
			if s.labels[k] != v {
				continue lines
			}
		}
		total += s.value
	}
	return total
}

// requests are what the agent asked of the API server, by what they cost.
type requests struct {
	// reads that no cache answered; writes without renewals of the lease; the renewals.
	reads, writes, leases float64
	// by verb and kind, from the API server's own count: what only the agent does.
	rehearsals, applies float64
}

func (r requests) minus(o requests) requests {
	return requests{r.reads - o.reads, r.writes - o.writes, r.leases - o.leases, r.rehearsals - o.rehearsals, r.applies - o.applies}
}

// countRequests reads the metrics of every replica of the agent, and those of the API server. The renewals of the lease are
// what was seen of them (the API server counts those of other components together with the agent's).
func countRequests(ctx context.Context, c rest.Interface, pods []string, renewals int) (requests, error) {
	out := requests{leases: float64(renewals)}
	for _, pod := range pods {
		m, err := scrape(ctx, c, "/api/v1/namespaces/"+agentNamespace+"/pods/"+pod+":8080/proxy/metrics", "rest_client_requests_total")
		if err != nil {
			return out, err
		}
		out.reads += m.sum(map[string]string{"method": "GET"})
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			out.writes += m.sum(map[string]string{"method": method})
		}
	}
	m, err := scrape(ctx, c, "/metrics", "apiserver_request_total")
	if err != nil {
		return out, err
	}
	out.rehearsals = m.sum(map[string]string{"verb": "POST", "resource": "pods", "dry_run": "All"})
	out.applies = m.sum(map[string]string{"verb": "APPLY", "resource": "deployments"})
	return out, nil
}

func scrape(ctx context.Context, c rest.Interface, path, name string) (metrics, error) {
	body, err := c.Get().AbsPath(path).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the metrics %s: %w", path, err)
	}
	defer func() { _ = body.Close() }()
	return parseMetrics(body, name)
}
