package echo

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// serve starts a plain server and returns its address and a graceful stop.
func serve(t *testing.T, id Identity, address string) (string, func()) {
	t.Helper()
	var serving atomic.Bool
	s, err := newServer(false, &serving, &connections{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if !serving.Load() {
		t.Error("a plain server serves at once")
	}
	healthpb.RegisterHealthServer(s, &echoServer{id: id})
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String(), func() { stopServer(s, time.Second, quiet) }
}

func TestClientCountsEveryCallOnce(t *testing.T) {
	dir := t.TempDir()
	address, stop := serve(t, Identity{Pod: "server-1", Version: "v1", Revision: "1-31"}, "127.0.0.1:0")
	count, err := newCounter(Identity{Pod: "client-1"}, address, dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient("passthrough:///"+address, count)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.conn.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.run(ctx, 2*time.Millisecond, quiet) }()
	until(t, func() bool { return c.snapshot().OK >= 20 })
	stop()
	until(t, func() bool { return c.snapshot().Failed >= 3 })
	cancel()
	<-done
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	s, err := ReadStats(filepath.Join(dir, "client-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Calls != s.OK+s.Failed || !s.Ended || s.ServedBy["server-1"] != s.OK || s.Revisions["1-31"] != s.OK || s.Auth[authPlaintext] != s.OK {
		t.Errorf("counts do not add up: %+v", s)
	}
	for reason := range s.Reasons {
		if !strings.HasPrefix(reason, "Unavailable: ") {
			t.Errorf("reason %q", reason)
		}
	}
}

func (c *client) snapshot() Stats {
	c.count.mu.Lock()
	defer c.count.mu.Unlock()
	return c.count.stats
}

func until(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
	}
}

func TestDrainWaitsForClients(t *testing.T) {
	d := drain{min: 20 * time.Millisecond, max: 500 * time.Millisecond}
	var c connections
	if took := d.wait(&c); took < d.min || took >= d.max {
		t.Errorf("without clients: %v", took)
	}
	c.HandleConn(t.Context(), &stats.ConnBegin{})
	time.AfterFunc(100*time.Millisecond, func() { c.HandleConn(context.Background(), &stats.ConnEnd{}) })
	if took := d.wait(&c); took < 100*time.Millisecond || took >= d.max {
		t.Errorf("with a client that leaves: %v", took)
	}
	c.HandleConn(t.Context(), &stats.ConnBegin{})
	if took := d.wait(&c); took < d.max {
		t.Errorf("with a client that stays: %v", took)
	}
}

func TestCountsContinueInTheSamePod(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for range 2 {
		c, err := newCounter(Identity{Pod: "p"}, "target", dir, now)
		if err != nil {
			t.Fatal(err)
		}
		c.wait()
		c.add(answer{server: "a", auth: authTLS, first: true, took: time.Second}, now)
		c.add(answer{server: "a", auth: authTLS, took: time.Millisecond}, now)
		c.add(answer{reason: "Unavailable: gone"}, now)
		c.end()
		if err := c.save(now); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ReadStats(filepath.Join(dir, "p.json"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Containers != 2 || s.Calls != 6 || s.OK != 4 || s.First != 1000 || s.MaxMillis != 1 || s.Failed != 2 || s.Waited != 2 || s.Reasons["Unavailable: gone"] != 2 || len(s.Failures) != 2 {
		t.Errorf("got %+v", s)
	}
	if !s.Started.Equal(now) {
		t.Errorf("started %v, want the first container's start %v", s.Started, now)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	c, err := newCounter(Identity{Pod: "p"}, "target", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxFailures {
		c.add(answer{reason: "x"}, time.Now())
	}
	if len(c.stats.Failures) != maxFailures || c.stats.Failed != 3*maxFailures {
		t.Errorf("%d kept of %d", len(c.stats.Failures), c.stats.Failed)
	}
}

func TestIdentityFromBootstrap(t *testing.T) {
	t.Setenv("POD_NAME", "from-env")
	full := `{"node":{"id":"sidecar~10.0.0.1~echo-1.grpc~grpc.svc.cluster.local","metadata":{"NAME":"echo-1","NAMESPACE":"grpc",
		"ISTIO_VERSION":"1.31.0","LABELS":{"app":"echo","version":"v2"},"ANNOTATIONS":{"istio.io/rev":"1-31"}}},
		"certificate_providers":{"default":{"plugin_name":"file_watcher","config":{"certificate_file":"CERT"}}}}`
	want := Identity{Pod: "echo-1", Namespace: "grpc", App: "echo", Version: "v2", Revision: "1-31", Proxy: "1.31.0", Mesh: true}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	full = strings.ReplaceAll(full, "CERT", path+".cert")
	t.Setenv(bootstrapEnv, path)
	go func() { // the agent is late
		time.Sleep(2 * bootstrapPoll)
		_ = os.WriteFile(path+".new", []byte(full), 0o644)
		_ = os.Rename(path+".new", path)
		time.Sleep(2 * bootstrapPoll)
		_ = os.WriteFile(path+".cert", []byte("certificate"), 0o644)
	}()
	got, err := identify(t.Context())
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := os.Stat(path + ".cert"); err != nil {
		t.Errorf("did not wait for the certificate: %v", err)
	}
	var b bootstrap
	b.Node.ID = "sidecar~10.0.0.1~echo-1.grpc~grpc.svc.cluster.local"
	if got := b.identity(); got.Pod != "echo-1" || got.Namespace != "grpc" {
		t.Errorf("from the node id: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv(bootstrapEnv, path+".never")
	if _, err := identify(ctx); err == nil {
		t.Error("no error when stopped while waiting")
	}
}

func TestReasonOf(t *testing.T) {
	if got := reasonOf(status.Error(codes.Unavailable, "connection\nrefused")); got != "Unavailable: connection refused" {
		t.Errorf("got %q", got)
	}
	if got := reasonOf(status.Error(codes.Internal, strings.Repeat("é", 200))); len(got) > maxReason+len("…") || !strings.HasSuffix(got, "…") {
		t.Errorf("got %q", got)
	}
}

func TestHTTP(t *testing.T) {
	var ready atomic.Bool
	count, err := newCounter(Identity{Pod: "p"}, "target", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	handleReady(mux, ready.Load)
	mux.HandleFunc("GET /stats", (&client{count: count}).serveStats)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if got := get("/ready").Code; got != http.StatusServiceUnavailable {
		t.Errorf("not ready: %d", got)
	}
	ready.Store(true)
	if got := get("/ready").Code; got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}
	var s Stats
	if err := json.Unmarshal(get("/stats").Body.Bytes(), &s); err != nil || s.Pod != "p" {
		t.Errorf("stats %+v, %v", s, err)
	}
}

func TestMainRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{nil, {"other"}, {"server", "--nonsense"}, {"client", "--interval=0s"}} {
		if code := Main(args); code == 0 {
			t.Errorf("Main(%v) succeeded", args)
		}
	}
}
