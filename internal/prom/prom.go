// Package prom asks a Prometheus about the requests to workloads, by the standard metrics of Istio
// (https://istio.io/latest/docs/reference/config/metrics/).
package prom

import (
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
)

const (
	// timeout of one query.
	timeout = 10 * time.Second
	// atOnce is how many workloads are asked about at the same time.
	atOnce = 4
	// usual is the share of requests to old pods that are not slow.
	usual = 0.95
	// longest bounds how far back a move may have begun, whatever its record says.
	longest = 24 * time.Hour
	// maxShown bounds what is shown of the result of an own query.
	maxShown = 200
)

// Meter implements dataplanerollout.Meter.
type Meter struct {
	// Now is the clock that samples are stamped with.
	Now func() time.Time
}

// Measure asks about every workload.
func (m Meter) Measure(ctx context.Context, spec *v1alpha1.Metrics, questions []health.Question) map[health.Key]health.Sample {
	samples := make([]health.Sample, len(questions))
	c, err := api.NewClient(api.Config{Address: spec.Prometheus})
	turns := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for n, q := range questions {
		samples[n].At = m.Now()
		if err != nil {
			samples[n].Unknown = fmt.Sprintf("health.metrics.prometheus %q cannot be used: %v", spec.Prometheus, err)
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			asked := inquiry{API: v1.NewAPI(c), spec: spec, question: q, now: samples[n].At}
			s, err := asked.sample(ctx)
			if err != nil {
				s = health.Sample{Unknown: fmt.Sprintf("Prometheus %s did not answer: %v", spec.Prometheus, err)}
			}
			s.At = asked.now
			samples[n] = s
		})
	}
	wg.Wait()
	out := make(map[health.Key]health.Sample, len(questions))
	for n, q := range questions {
		out[q.Key] = samples[n]
	}
	return out
}

// inquiry is about one workload.
type inquiry struct {
	v1.API
	spec     *v1alpha1.Metrics
	question health.Question
	now      time.Time
}

func (i inquiry) sample(ctx context.Context) (health.Sample, error) {
	var s health.Sample
	for _, side := range []struct {
		counts *health.Counts
		codes  string
	}{{&s.New, i.sum("response_code, grpc_response_status", "istio_requests_total", true)}, {&s.Old, i.sum("response_code, grpc_response_status", "istio_requests_total", false)}} {
		v, err := i.query(ctx, side.codes)
		if err != nil {
			return s, err
		}
		for _, one := range v {
			n := math.Round(float64(one.Value)) // increase() extrapolates
			side.counts.Requests += n
			if failed(string(one.Metric["response_code"]), string(one.Metric["grpc_response_status"])) {
				side.counts.Errors += n
			}
		}
	}
	before, err := i.histogram(ctx, false)
	if err != nil {
		return s, err
	}
	after, err := i.histogram(ctx, true)
	if err != nil {
		return s, err
	}
	if bound, slow, ok := before.bound(s.Old.Requests); ok && after[math.Inf(1)] > 0 {
		s.Bound, s.Old.Slow, s.New.Slow = bound, slow, after.above(bound, s.New.Requests)
	}
	for _, q := range i.spec.Queries {
		v, err := i.query(ctx, i.fill(q.Query))
		if err != nil {
			return s, fmt.Errorf("query %q: %w", q.Name, err)
		}
		if len(v) > 0 {
			text := v[0].String()
			s.Fired = append(s.Fired, fmt.Sprintf("%s returned %s", q.Name, text[:min(maxShown, len(text))]))
		}
	}
	return s, nil
}

// sum is the query for the requests to the new pods since they live, or to the others from spec.watch before the move on: in the same
// minutes as long as there are any, and in those before.
func (i inquiry) sum(by, metric string, fresh bool) string {
	end := "destination"
	if i.question.Gateway {
		end = "source" // a gateway reports what it sends on
	}
	selector := fmt.Sprintf(`reporter=%q, %s_workload_namespace=%q, %s_workload=%q, namespace=%q`,
		end, end, i.question.Ref.Namespace, end, i.question.Ref.Name, i.question.Ref.Namespace)
	if fresh {
		return fmt.Sprintf(`sum by (%s) (%s{%s, pod=~%q})`, by, metric, selector, pods(i.question.Pods))
	}
	span := min(max(0, i.now.Sub(i.question.Started)), longest) + i.spec.For()
	return fmt.Sprintf(`sum by (%s) (increase(%s{%s, pod!~%q}[%ds]))`, by, metric, selector, pods(i.question.Pods), int(math.Ceil(span.Seconds())))
}

// fill writes what is asked about into a query.
func (i inquiry) fill(query string) string {
	return strings.NewReplacer("{{namespace}}", i.question.Ref.Namespace, "{{workload}}", i.question.Ref.Name,
		"{{newPods}}", escaped(pods(i.question.Pods))).Replace(query)
}

// pods is a regular expression; names of pods have dots.
func pods(names []string) string {
	quoted := make([]string, len(names))
	for n, name := range names {
		quoted[n] = regexp.QuoteMeta(name)
	}
	return strings.Join(quoted, "|")
}

// escaped is what stands between the quotes of a string in PromQL.
func escaped(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func (i inquiry) query(ctx context.Context, text string) (model.Vector, error) {
	v, _, err := i.Query(ctx, text, i.now, v1.WithTimeout(timeout))
	if err != nil {
		return nil, err
	}
	vector, ok := v.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("the result is a %s: the query must give an instant vector", v.Type())
	}
	return vector, nil
}

// failed tells whether a request failed by the server's fault: HTTP 5xx, or the status of gRPC that OpenTelemetry takes for an error
// of a server (https://opentelemetry.io/docs/specs/semconv/rpc/grpc/).
func failed(code, status string) bool {
	return strings.HasPrefix(code, "5") || slices.Contains([]string{"2", "4", "12", "13", "14", "15"}, status)
}

// buckets are how many requests took at most so many milliseconds.
type buckets map[float64]float64

func (i inquiry) histogram(ctx context.Context, fresh bool) (buckets, error) {
	v, err := i.query(ctx, i.sum("le", "istio_request_duration_milliseconds_bucket", fresh))
	if err != nil {
		return nil, err
	}
	b := buckets{}
	for _, one := range v {
		if le, err := strconv.ParseFloat(string(one.Metric["le"]), 64); err == nil {
			b[le] += float64(one.Value)
		}
	}
	return b, nil
}

// bound is the smallest bound of a bucket in which the usual share of requests are, and how many are above it.
func (b buckets) bound(requests float64) (bound, slow float64, ok bool) {
	all := b[math.Inf(1)]
	for _, le := range slices.Sorted(maps.Keys(b)) {
		if all > 0 && !math.IsInf(le, 1) && b[le] >= usual*all {
			return le, b.above(le, requests), true
		}
	}
	return 0, 0, false
}

// above is how many of the requests took longer.
func (b buckets) above(bound, requests float64) float64 {
	all := b[math.Inf(1)]
	if all <= 0 {
		return 0
	}
	return math.Round(requests * max(0, all-b[bound]) / all)
}
