package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlift.dev/meshlift/lab/internal/builder"
	"meshlift.dev/meshlift/lab/internal/chartrepo"
	"meshlift.dev/meshlift/lab/internal/container"
	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/layout"
)

// chartsPort is where the chart repository listens, on the gateway address of the first cluster.
const chartsPort = 8879

// stopTimeout is how long the parts of a lab may take to end.
const stopTimeout = 15 * time.Second

// supervisor is the process that all others of a lab descend from.
type supervisor struct {
	dir     layout.Dir
	run     string
	options Options
	lab     string // the lab binary
	images  []container.Image
	charts  *chartrepo.Repository
	state   State
	reports *reporter
	victims sync.Map // name of a cluster → *victim
	log     *slog.Logger

	background sync.WaitGroup // everything that ends when the lab's context does
	cancel     context.CancelCauseFunc
}

// Supervise is the main function of the supervisor. It returns when the lab was stopped.
func Supervise(run string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	slog.SetDefault(log)
	s := &supervisor{run: run, log: log, reports: newReporter(os.NewFile(reportFD, "reports"))}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, s.cancel = context.WithCancelCause(ctx)
	err := s.start(ctx)
	if err != nil {
		s.reports.send(report{Error: err.Error()})
	} else {
		s.reports.send(report{Ready: true})
	}
	s.reports.close()
	if err == nil {
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}
	s.cancel(err)
	s.stop()
	return err
}

// start brings everything up.
func (s *supervisor) start(ctx context.Context) error {
	started := time.Now()
	if err := s.prepare(started); err != nil {
		return err
	}
	listeners, err := inherited(len(s.options.Clusters))
	if err != nil {
		return err
	}
	if err := s.serveExec(ctx); err != nil {
		return err
	}
	if err := s.serveFaults(ctx); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	first := make(chan struct{}) // closed when the address of the chart repository exists
	s.describe(listeners)
	for i, name := range s.options.Clusters {
		group.Go(func() error {
			c := &cluster{supervisor: s, index: i, name: name, relay: listeners[i+1]}
			if i == 0 {
				c.networkReady = sync.OnceFunc(func() { close(first) })
			}
			return c.start(ctx, groupCtx)
		})
	}
	group.Go(func() error {
		select {
		case <-first:
			return s.serveCharts(ctx, listeners[0])
		case <-groupCtx.Done():
			return nil
		}
	})
	if err := group.Wait(); err != nil {
		return err
	}
	s.state.ReadyIn = time.Since(started).Seconds()
	return s.state.save()
}

// prepare reads the options and makes the namespaces usable.
func (s *supervisor) prepare(started time.Time) error {
	dir, err := layout.Find()
	if err != nil {
		return err
	}
	s.dir = dir
	b, err := os.ReadFile(filepath.Join(s.run, optionsFile))
	if err != nil {
		return fmt.Errorf("options: %w", err)
	}
	if err := json.Unmarshal(b, &s.options); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	if s.lab, err = os.Executable(); err != nil {
		return fmt.Errorf("find the lab binary: %w", err)
	}
	if s.images, err = s.options.images(s.lab); err != nil {
		return err
	}
	if err := s.linkTools(); err != nil {
		return err
	}
	s.charts = chartrepo.New(s.options.Istio, filepath.Join(s.run, "charts"))
	born, err := birth(os.Getpid())
	if err != nil {
		return err
	}
	s.state = State{
		Name: s.options.Name, Dir: s.run, PID: os.Getpid(), Born: born, Started: started,
		Install: s.options.Install, Istio: slices.Sorted(maps.Keys(s.options.Istio)),
	}
	if err := s.state.save(); err != nil { // from now on `lab down` finds us
		return err
	}
	return isolate(s.run, controlplane.AddressesOf(0).DNS())
}

// linkTools puts the tools that users expect into the directory that `lab exec` has on its PATH.
func (s *supervisor) linkTools() error {
	bin := filepath.Join(s.run, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("tools: %w", err)
	}
	for name, target := range map[string]string{
		"kubectl": s.dir.Bin("kube"), "istioctl": s.dir.Bin("istio-" + builder.NewerIstio + "-istioctl"), "lab": s.lab,
	} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("tools: %w", err)
		}
	}
	return nil
}

// inherited returns the listeners of the host: of the chart repository, then of each cluster.
func inherited(clusters int) ([]net.Listener, error) {
	var listeners []net.Listener
	for fd := chartsFD; fd < clustersFD+clusters; fd++ {
		f := os.NewFile(uintptr(fd), "listener "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("inherited listener %d: %w", fd, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// describe fills in what is known of the lab before it runs.
func (s *supervisor) describe(listeners []net.Listener) {
	gateway := controlplane.AddressesOf(0).Gateway
	s.state.Charts = "http://" + listeners[0].Addr().String() + "/charts"
	s.state.ChartsIn = fmt.Sprintf("http://%s:%d/charts", gateway, chartsPort)
	for i, name := range s.options.Clusters {
		mesh, _ := s.options.mesh(name)
		s.state.Clusters = append(s.state.Clusters, Cluster{
			Name: name, Server: "https://" + listeners[i+1].Addr().String(), Bare: mesh.Version == "",
			Kubeconfig: filepath.Join(s.run, name+".kubeconfig"),
			Inside:     filepath.Join(s.run, name+".inside.kubeconfig"),
		})
	}
}

// serveCharts serves the chart repository within the lab and to the host.
func (s *supervisor) serveCharts(ctx context.Context, host net.Listener) error {
	address := fmt.Sprintf("%s:%d", controlplane.AddressesOf(0).Gateway, chartsPort)
	inside, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("chart repository: %w", err)
	}
	server := &http.Server{Handler: s.charts, ReadHeaderTimeout: 10 * time.Second}
	for _, l := range []net.Listener{inside, host} {
		s.keep(ctx, "chart repository", func(context.Context) error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

// keep runs a part of the lab until ctx ends. When the part ends before, the lab has failed.
func (s *supervisor) keep(ctx context.Context, what string, part func(context.Context) error) {
	s.background.Go(func() {
		err := part(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		s.log.Error("part of the lab failed", "part", what, "error", err)
		s.cancel(fmt.Errorf("%s: %w", what, err))
	})
}

// stop waits until the parts have ended and then ends whatever process is left.
func (s *supervisor) stop() {
	done := make(chan struct{})
	go func() { s.background.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		s.log.Warn("parts of the lab do not end; killing their processes")
	}
	reap()
}
