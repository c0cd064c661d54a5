// Command fleet measures the hub with many members: a real hub process at the real API server of a lab, with members that are simulated
// (see sim.go). It is the end of "make bench".
package main

import (
	"context"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// options of one run.
type options struct {
	name            string
	members, meshes int
	requests        int
	services        int
	address         string
}

func main() {
	ctrllog.SetLogger(logr.Discard())
	o := options{}
	flag.StringVar(&o.name, "name", "benchfleet", "name of the lab")
	flag.IntVar(&o.members, "members", 100, "simulated members")
	flag.IntVar(&o.meshes, "meshes", 5, "meshes that they are spread over")
	flag.IntVar(&o.requests, "requests", 300, "requests for each page")
	flag.IntVar(&o.services, "services", 10_000, "services of the last member, whose list is measured in a browser; 0 for none")
	flag.StringVar(&o.address, "address", "127.0.0.1:18790", "address of the API of the hub")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	l, err := labtest.Up(o.name, "--clusters", "hub", "--install", "", "--workloads", "")
	if l != nil {
		defer func() { _ = l.Down() }()
	}
	if err != nil {
		return err
	}
	f := &fleet{options: o, lab: l}
	defer f.stop()
	for n := range o.members {
		s, err := newSim(n)
		if err != nil {
			return err
		}
		f.sims = append(f.sims, s)
	}
	if o.services > 0 {
		if err := f.sims[len(f.sims)-1].services(o.services); err != nil {
			return err
		}
	}
	if err := f.register(ctx); err != nil {
		return err
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	fmt.Printf("%d members in %d meshes are connected after %.1f s\n", o.members, o.meshes, f.connected.Seconds())
	if err := f.table(ctx, "all members answer"); err != nil {
		return err
	}
	if o.services > 0 {
		if err := f.pages(ctx); err != nil {
			return err
		}
	}
	close(f.sims[0].hang)
	if err := f.table(ctx, "the first member of mesh-0 accepts requests and never answers"); err != nil {
		return err
	}
	time.Sleep(15 * time.Second)
	if err := f.table(ctx, "the same, 15 s later, when the hub knows it"); err != nil {
		return err
	}
	rss, peak := f.memory()
	fmt.Printf("memory of the hub (RSS): %d MiB, at most %d MiB\n", rss>>20, peak>>20)
	return nil
}

func authority(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
