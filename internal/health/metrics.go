package health

import (
	"fmt"
	"math"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// GateMetrics looks at what Prometheus has scraped from the proxies.
const GateMetrics = "Metrics"

// falseStops bounds how often a workload that is as good as before is stopped by one comparison, however often it is looked at.
const falseStops = 0.001

// Question is what Prometheus is asked about one workload.
type Question struct {
	Key
	// Gateway tells that the workload reports its requests as the one who sends them on.
	Gateway bool
	// Pods are the new ones.
	Pods []string
	// Started is when the move began.
	Started time.Time
}

// Counts of requests.
type Counts struct{ Requests, Errors, Slow float64 }

// Sample is what Prometheus said of one workload.
type Sample struct {
	// At is when it was asked; zero when it was not.
	At time.Time
	// New and Old are the requests to the new pods since they live, and to the old ones from some minutes before the move on.
	New, Old Counts
	// Bound is the duration above which a request is slow, in milliseconds; 0 when it is not known.
	Bound float64
	// Fired are the own queries that returned something, with what.
	Fired []string
	// Unknown says why Prometheus did not answer; "" when it did.
	Unknown string
}

// Metrics judges a workload whose pods are ready by its requests. settled is when they were first seen ready.
//
// Shares are compared by confidence sequences: [between] holds the true share at every look, so looking often does not stop what is
// as good as before. A workload is stopped as soon as even the best that the new share can be is worse than the worst that the old one
// can be, plus the margin. When the time is over it passes; without a warning only when the opposite is shown.
func Metrics(s Subject, m Sample, settled, now time.Time, spec *v1alpha1.Metrics) Verdict {
	v := Verdict{Key: s.Key, State: Wait, Gate: GateMetrics, At: now}
	over := settled.Add(spec.For())
	switch {
	case !s.Settled:
		return v
	case len(s.Pods) == 0:
		v.State = Pass
		return v
	case m.Unknown != "":
		v.Message = m.Unknown
		return v
	case m.At.Before(settled):
		v.Message = "Prometheus is asked about its requests"
		return v
	}
	v.At = m.At
	failing, slow := spec.Margins()
	errors := compare("fail", m.New.Errors, m.New.Requests, m.Old.Errors, m.Old.Requests, failing)
	slower := compare(fmt.Sprintf("take longer than %g ms", m.Bound), m.New.Slow, m.New.Requests, m.Old.Slow, m.Old.Requests, slow)
	v.Seen = append([]string{errors.line}, m.Fired...)
	if m.Bound > 0 {
		v.Seen = append(v.Seen, slower.line)
	}
	v.Seen = v.Seen[:min(maxSeen, len(v.Seen))]
	stop := func(reason, format string, args ...any) Verdict {
		v.State, v.Reason, v.Message = Fail, reason, fmt.Sprintf(format, args...)
		return v
	}
	switch unsure := errors.unsure || m.Bound > 0 && slower.unsure; {
	case len(m.Fired) > 0:
		return stop(v1alpha1.FailureQuery, "a query says that %s is not well: %s", s.Ref, m.Fired[0])
	case errors.worse:
		return stop(v1alpha1.FailureErrors, "requests to %s fail more often than before: %s", s.Ref, errors.line)
	case m.Bound > 0 && slower.worse:
		return stop(v1alpha1.FailureSlow, "requests to %s are slower than before: %s", s.Ref, slower.line)
	case m.At.Before(over):
		v.Message = fmt.Sprintf("its requests are watched until %s: %s", over.UTC().Format(time.TimeOnly), errors.line)
	case unsure && spec.OnInconclusive == v1alpha1.InconclusiveStop:
		return stop(v1alpha1.FailureInconclusive, "whether requests to %s are as good as before cannot be told after %s: %s", s.Ref, spec.For(), errors.line)
	default:
		v.State, v.Unproved = Pass, unsure
	}
	return v
}

type comparison struct {
	line string
	// worse: the new share is larger by more than the margin. unsure: neither that nor its opposite is shown.
	worse, unsure bool
}

func compare(what string, bad, all, oldBad, oldAll, margin float64) comparison {
	low, high := between(bad, all)
	oldLow, oldHigh := between(oldBad, oldAll)
	return comparison{
		line: fmt.Sprintf("%s of %.0f requests to new pods and %s of %.0f to old ones %s, %.3g points more are allowed", percent(bad, all), all, percent(oldBad, oldAll), oldAll, what, 100*margin),
		// Nothing is known of an old pod that got no request: then no new share is worse.
		worse:  all > 0 && oldAll > 0 && low > oldHigh+margin,
		unsure: all == 0 || oldAll == 0 || high > oldLow+margin,
	}
}

func percent(part, all float64) string {
	if all == 0 {
		return "none"
	}
	return fmt.Sprintf("%.3g %%", 100*part/all)
}

// between returns bounds of the true share of which bad of all were seen. They hold at all times together, except with a probability
// of half of [falseStops]: the likelihood ratio of a uniform mixture to one share is a martingale when that share is the true one,
// and by Ville's inequality it exceeds 1/a with a probability of a at most, ever (H. Robbins, Statistical Methods Related to the Law
// of the Iterated Logarithm, 1970; S. R. Howard et al., Time-uniform, nonparametric, nonasymptotic confidence sequences, 2021).
func between(bad, all float64) (low, high float64) {
	bad = min(max(0, bad), all)
	if all <= 0 || math.IsNaN(all) || math.IsNaN(bad) || math.IsInf(all, 0) {
		return 0, 1
	}
	good := all - bad
	lnBeta := lgamma(1+bad) + lgamma(1+good) - lgamma(2+all)
	limit := math.Log(2 / falseStops)
	excluded := func(p float64) bool {
		return lnBeta-times(bad, math.Log(p))-times(good, math.Log1p(-p)) >= limit
	}
	seen := bad / all
	return edge(excluded, 0, seen), edge(excluded, 1, seen)
}

// edge is where between an end that may be excluded and a share that is not exclusion begins.
func edge(excluded func(float64) bool, end, in float64) float64 {
	if !excluded(end) {
		return end
	}
	for range 60 {
		if mid := (end + in) / 2; excluded(mid) {
			end = mid
		} else {
			in = mid
		}
	}
	return end
}

// times is 0 for no observation, whatever its logarithm.
func times(n, ln float64) float64 {
	if n == 0 {
		return 0
	}
	return n * ln
}

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}
