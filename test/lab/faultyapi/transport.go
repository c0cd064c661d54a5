// Package faultyapi is a bad connection to a Kubernetes API server: an http.RoundTripper that refuses, loses, delays and
// breaks requests when it is told to. It sits below client-go, so retries, caches and watches of the agent see what they
// would see in reality.
package faultyapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Transport is the connection, over which several clients may speak. It is safe for concurrent use.
type Transport struct {
	// Led is called when the lease of a leader election was written over this connection; may be nil.
	Led func()

	mu      sync.Mutex
	rules   []*rule
	watches map[*stream]bool
	// silent: until then watches deliver nothing; dark: until then nothing comes through at all.
	silent, dark time.Time
}

// rule answers the next requests that it is for.
type rule struct {
	left  int
	is    func(*http.Request) bool
	reply reply
}

// reply is what a rule does with a request; next would carry it out.
type reply func(next http.RoundTripper, r *http.Request) (*http.Response, error)

// New returns a good connection.
func New() *Transport {
	return &Transport{watches: map[*stream]bool{}}
}

// Wrap has requests of next go over the connection; see WrapTransport of rest.Config.
func (t *Transport) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return t.roundTrip(next, r) })
}

type roundTripper func(r *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Conflict has the next n updates and patches answered 409.
func (t *Transport) Conflict(n int) {
	t.add(n, changes, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified (injected)"), nil
	})
}

// Throttle has the next n requests answered 429, to be tried again after a second.
func (t *Transport) Throttle(n int) {
	t.add(n, anything, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		a := answer(r, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests (injected)")
		a.Header.Set("Retry-After", "1")
		return a, nil
	})
}

// Error has the next n requests answered 500.
func (t *Transport) Error(n int) {
	t.add(n, anything, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: leader changed (injected)"), nil
	})
}

// Timeout has the next n writes end without effect: some by 504, some by a broken connection.
func (t *Transport) Timeout(n int) {
	t.add(n, writes, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		return broken(r, n)
	})
}

// Lose has the next n writes take effect and their answers lost: some by 504, some by a broken connection.
func (t *Transport) Lose(n int) {
	t.add(n, writes, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		a, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		return broken(r, n)
	})
}

// CutWatches breaks every watch.
func (t *Transport) CutWatches() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watches {
		w.cut()
	}
}

// ExpireWatches breaks every watch and has the next watch of each answered 410, so that the client lists again.
func (t *Transport) ExpireWatches() {
	t.mu.Lock()
	n := len(t.watches)
	t.mu.Unlock()
	t.add(n, isWatch, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusGone, metav1.StatusReasonExpired, "too old resource version (injected)"), nil
	})
	t.CutWatches()
}

// Stale has watches deliver nothing for so long, then everything.
func (t *Transport) Stale(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent = time.Now().Add(d)
}

// Partition lets nothing through for so long, as if packets were dropped; then connections turn out to be broken.
func (t *Transport) Partition(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dark = time.Now().Add(d)
	time.AfterFunc(d, t.CutWatches)
}

func (t *Transport) add(n int, is func(*http.Request) bool, reply reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = append(t.rules, &rule{left: n, is: is, reply: reply})
}

func (t *Transport) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if wait := t.until(&t.dark); wait > 0 {
		return nil, hang(r, wait)
	}
	if reply := t.rule(r); reply != nil {
		return reply(next, r)
	}
	a, err := next.RoundTrip(r)
	if err == nil && t.Led != nil && a.StatusCode < 300 && writes(r) && strings.Contains(r.URL.Path, "/leases") {
		t.Led()
	}
	if err != nil || !isWatch(r) || a.StatusCode != http.StatusOK {
		return a, err
	}
	w := &stream{ReadCloser: a.Body, of: t}
	t.mu.Lock()
	t.watches[w] = true
	t.mu.Unlock()
	a.Body = w
	return a, nil
}

// until is how much of a disturbance is left.
func (t *Transport) until(end *time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(*end)
}

// rule takes the first rule that is for the request.
func (t *Transport) rule(r *http.Request) reply {
	if spared(r) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, rule := range t.rules {
		if !rule.is(r) {
			continue
		}
		if rule.left--; rule.left <= 0 {
			t.rules = append(t.rules[:n:n], t.rules[n+1:]...)
		}
		return rule.reply
	}
	return nil
}

// spared are requests that come all the time and would use the faults up: leader election and events.
func spared(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/leases") || strings.Contains(r.URL.Path, "/events")
}

func anything(r *http.Request) bool { return !isWatch(r) }

func isWatch(r *http.Request) bool {
	return r.Method == http.MethodGet && (r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1")
}

func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}

// changes are writes that the API server can answer by a conflict.
func changes(r *http.Request) bool {
	return r.Method == http.MethodPut || r.Method == http.MethodPatch || r.Method == http.MethodDelete
}

// hang waits as a request does whose packets are dropped.
func hang(r *http.Request, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return r.Context().Err()
	case <-timer.C:
		return fmt.Errorf("injected: %w", syscall.ECONNRESET)
	}
}

// broken is how a request ends whose answer does not come: the gateway says so, or the connection breaks.
func broken(r *http.Request, n int) (*http.Response, error) {
	if n%2 == 0 {
		return answer(r, http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "request did not complete within requested timeout (injected)"), nil
	}
	return nil, fmt.Errorf("injected: %w", syscall.ECONNRESET)
}

// answer is what an API server says about a request that it does not carry out.
func answer(r *http.Request, code int32, reason metav1.StatusReason, message string) *http.Response {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	body, _ := json.Marshal(metav1.Status{ // strings and numbers cannot fail
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	})
	return &http.Response{
		StatusCode: int(code), Status: http.StatusText(int(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
