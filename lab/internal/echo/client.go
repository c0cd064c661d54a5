package echo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	callDeadline = 5 * time.Second
	saveEvery    = time.Second
	printEvery   = 5 * time.Second
)

// clientOptions are the flags of the client.
type clientOptions struct {
	target   string
	interval time.Duration
	http     string
}

func parseClient(args []string) (clientOptions, error) {
	var o clientOptions
	f := flag.NewFlagSet("echo client", flag.ContinueOnError)
	f.StringVar(&o.target, "target", "xds:///echo.grpc.svc.cluster.local:7070", "gRPC target of the server")
	f.DurationVar(&o.interval, "interval", 50*time.Millisecond, "time between the starts of two calls")
	f.StringVar(&o.http, "http", ":8080", "address of /ready and /stats")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.interval <= 0 {
		return o, errors.New("--interval must be positive")
	}
	return o, nil
}

// client calls one target, one call at a time.
type client struct {
	conn    *grpc.ClientConn
	count   *counter
	started atomic.Bool // the first call was answered
}

// newClient prepares the connection; retries by configuration are off, so that every lost call is seen.
func newClient(target string, count *counter) (*client, error) {
	var creds credentials.TransportCredentials = insecure.NewCredentials()
	if strings.HasPrefix(target, "xds:") {
		var err error
		if creds, err = xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: creds}); err != nil {
			return nil, fmt.Errorf("xDS credentials: %w", err)
		}
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithDisableRetry(), grpc.WithNoProxy(), grpc.WithIdleTimeout(0))
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", target, err)
	}
	return &client{conn: conn, count: count}, nil
}

// call makes one call. Until the first answer it waits for a connection; later it fails when there is none.
func (c *client) call(ctx context.Context) answer {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	var header metadata.MD
	var from peer.Peer
	begin := time.Now()
	_, err := healthpb.NewHealthClient(c.conn).Check(ctx, &healthpb.HealthCheckRequest{},
		grpc.Header(&header), grpc.Peer(&from), grpc.WaitForReady(!c.started.Load()))
	a := answer{took: time.Since(begin)}
	if err != nil {
		a.reason = reasonOf(err)
		return a
	}
	a.server, a.version, a.revision = first(header, headerPod), first(header, headerVersion), first(header, headerRevision)
	a.auth = authPlaintext
	if from.AuthInfo != nil && from.AuthInfo.AuthType() == authTLS && first(header, headerAuth) == authTLS {
		a.auth = authTLS // both sides say so
	}
	return a
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// maxReason bounds the length of a reason.
const maxReason = 160

// reasonOf is the status code with the message, without line breaks.
func reasonOf(err error) string {
	s := status.Convert(err)
	reason := strings.Join(strings.Fields(s.Code().String()+": "+s.Message()), " ")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return reason
}

// run calls at every tick until ctx ends. The call in flight at that moment is finished and counted.
func (c *client) run(ctx context.Context, interval time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if !c.started.Load() {
			c.start(ctx, log)
		} else {
			a := c.call(context.WithoutCancel(ctx))
			c.count.add(a, time.Now())
			if a.reason != "" {
				log.Error("call failed", "reason", a.reason, "took", a.took)
				c.save(log)
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// start makes the first call. An attempt without an answer is not a lost call: nobody has been served yet, and the
// client is not ready. It is counted apart.
func (c *client) start(ctx context.Context, log *slog.Logger) {
	a := c.call(ctx)
	switch {
	case ctx.Err() != nil && a.reason != "":
	case a.reason != "":
		c.count.wait()
		log.Warn("no answer yet", "reason", a.reason)
	default:
		a.first = true
		c.count.add(a, time.Now())
		c.save(log)
		c.started.Store(true)
		log.Info("first answer", "took", a.took, "server", a.server, "auth", a.auth)
	}
}

// save keeps the counts; a failure to do so is only logged, calls go on.
func (c *client) save(log *slog.Logger) {
	if err := c.count.save(time.Now()); err != nil {
		log.Error("counts not saved", "error", err)
	}
}

// runClient calls until ctx ends, then leaves its final counts.
func runClient(ctx context.Context, args []string) error {
	o, err := parseClient(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	id, err := identify(ctx)
	if err != nil {
		return err
	}
	count, err := newCounter(id, o.target, os.Getenv(StatsDirEnv), time.Now())
	if err != nil {
		return err
	}
	c, err := newClient(o.target, count)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }()
	failed := make(chan error, 1)
	probes := serveHTTP(o.http, func(mux *http.ServeMux) {
		handleReady(mux, c.started.Load)
		mux.HandleFunc("GET /stats", c.serveStats)
	}, failed)
	defer func() { _ = probes.Close() }()
	log.Info("client started", "pod", id.Pod, "revision", id.Revision, "target", o.target, "mesh", id.Mesh)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		select {
		case err := <-failed:
			ended <- err
		case <-ctx.Done():
			ended <- nil
		}
	}()
	kept := make(chan struct{})
	go func() { defer close(kept); c.keep(ctx, log) }()
	c.run(ctx, o.interval, log)
	<-kept
	return errors.Join(<-ended, c.finish())
}

// finish leaves the final counts in the file, or on standard output when there is none.
func (c *client) finish() error {
	c.count.end()
	if err := c.count.save(time.Now()); err != nil {
		return err
	}
	b, err := c.count.encode(time.Now())
	if err != nil {
		return err
	}
	fmt.Printf("final %s\n", b)
	return nil
}

// keep saves and prints the counts regularly until ctx ends.
func (c *client) keep(ctx context.Context, log *slog.Logger) {
	save, show := time.NewTicker(saveEvery), time.NewTicker(printEvery)
	defer save.Stop()
	defer show.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			c.save(log)
		case <-show.C:
			fmt.Println(c.count.line())
		}
	}
}

// serveStats answers /stats with the counts as JSON.
func (c *client) serveStats(w http.ResponseWriter, _ *http.Request) {
	b, err := c.count.encode(time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}
