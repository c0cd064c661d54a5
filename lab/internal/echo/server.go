package echo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/xds"
)

// Names of the answer's headers.
const (
	headerPod      = "served-by"
	headerAuth     = "auth"
	headerVersion  = "served-version"
	headerRevision = "served-revision"
)

// Values of the header auth and of the client's counts.
const (
	authTLS       = "tls"
	authPlaintext = "plaintext"
)

// serverOptions are the flags of the server.
type serverOptions struct {
	listen string // gRPC
	http   string // readiness
	drain  drain
	grace  time.Duration // time for calls in flight to end after the drain
}

func parseServer(args []string) (serverOptions, error) {
	var o serverOptions
	f := flag.NewFlagSet("echo server", flag.ContinueOnError)
	f.StringVar(&o.listen, "listen", ":7070", "address of the gRPC service")
	f.StringVar(&o.http, "http", ":8080", "address of /ready")
	f.DurationVar(&o.drain.min, "drain", 3*time.Second, "keep serving for so long after SIGTERM")
	f.DurationVar(&o.drain.max, "drain-max", 20*time.Second, "and until no client is connected, at most so long")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "then wait for calls in flight, at most so long")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, nil
}

// echoServer answers every health check with its name.
type echoServer struct {
	healthpb.UnimplementedHealthServer
	id Identity
}

// Check answers SERVING, with headers that say who answered and how the caller was authenticated.
func (s *echoServer) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	auth := authPlaintext
	if p, ok := peer.FromContext(ctx); ok && p.AuthInfo != nil && p.AuthInfo.AuthType() == authTLS {
		auth = authTLS
	}
	header := metadata.Pairs(headerPod, s.id.Pod, headerAuth, auth, headerVersion, s.id.Version, headerRevision, s.id.Revision)
	if err := grpc.SetHeader(ctx, header); err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// grpcServer is what an ordinary and an xDS server have in common.
type grpcServer interface {
	grpc.ServiceRegistrar
	Serve(net.Listener) error
	GracefulStop()
	Stop()
}

// newServer makes a server whose configuration and certificates come from the mesh, or a plain one. serving is kept
// true while the server accepts connections.
func newServer(mesh bool, serving *atomic.Bool, clients *connections, log *slog.Logger) (grpcServer, error) {
	if !mesh {
		serving.Store(true)
		return grpc.NewServer(grpc.StatsHandler(clients)), nil
	}
	creds, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		return nil, fmt.Errorf("xDS credentials: %w", err)
	}
	changed := func(a net.Addr, m xds.ServingModeChangeArgs) {
		log.Info("serving mode", "address", a.String(), "mode", m.Mode.String(), "error", m.Err)
		serving.Store(m.Mode == connectivity.ServingModeServing)
	}
	s, err := xds.NewGRPCServer(grpc.Creds(creds), grpc.StatsHandler(clients), xds.ServingModeCallback(changed))
	if err != nil {
		return nil, fmt.Errorf("xDS server: %w", err)
	}
	return s, nil
}

// runServer serves until ctx ends, then drains.
func runServer(ctx context.Context, args []string) error {
	o, err := parseServer(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	id, err := identify(ctx)
	if err != nil {
		return err
	}
	var serving, draining atomic.Bool
	var clients connections
	s, err := newServer(id.Mesh, &serving, &clients, log)
	if err != nil {
		return err
	}
	healthpb.RegisterHealthServer(s, &echoServer{id: id})
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	failed := make(chan error, 2)
	probes := serveHTTP(o.http, func(mux *http.ServeMux) {
		handleReady(mux, func() bool { return serving.Load() && !draining.Load() })
	}, failed)
	defer func() { _ = probes.Close() }()
	go func() {
		if err := s.Serve(l); err != nil {
			failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	log.Info("server started", "pod", id.Pod, "revision", id.Revision, "listen", o.listen, "mesh", id.Mesh)
	select {
	case err := <-failed:
		s.Stop()
		return err
	case <-ctx.Done():
	}
	draining.Store(true)
	log.Info("draining", "connections", clients.open.Load())
	took := o.drain.wait(&clients)
	log.Info("drained", "took", took, "connections", clients.open.Load())
	stopServer(s, o.grace, log)
	return nil
}

// stopServer ends the server when its calls have ended, at the latest after grace.
func stopServer(s grpcServer, grace time.Duration, log *slog.Logger) {
	hard := time.AfterFunc(grace, func() {
		log.Warn("calls in flight were cut off", "after", grace)
		s.Stop()
	})
	defer hard.Stop()
	s.GracefulStop()
	log.Info("server stopped")
}

// serveHTTP serves probes and counts; a failure to do so goes to failed.
func serveHTTP(address string, routes func(*http.ServeMux), failed chan<- error) *http.Server {
	mux := http.NewServeMux()
	routes(mux)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("probes: %w", err)
		}
	}()
	return server
}

// handleReady answers /ready with 200 or 503.
func handleReady(mux *http.ServeMux, ready func() bool) {
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
}
