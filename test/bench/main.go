// Command bench measures Meshlift on the lab against what people do today and against what the API server can do at all,
// in one run, and writes docs/benchmarks.md. Run it with "make bench", or "make bench BENCH=small".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// options of one run.
type options struct {
	name string
	// namespaces of 50 Deployments with 2 pods.
	namespaces  int
	parallelism int
	// many is how many pods the agent's memory is measured with at the end; 0 leaves it out.
	many int
	// rest is how long the agent is watched while nothing happens.
	rest time.Duration
	out  string
	keep bool
	loop bool
	// plain measures the labels without Meshlift too.
	plain bool
}

func main() {
	ctrllog.SetLogger(logr.Discard())
	o := options{}
	flag.StringVar(&o.name, "name", "bench", "name of the lab")
	flag.IntVar(&o.namespaces, "namespaces", 20, "namespaces of 50 Deployments with 2 pods")
	flag.IntVar(&o.parallelism, "parallelism", 50, "workloads that move at the same time in the bounded run")
	flag.IntVar(&o.many, "many", 10_000, "pods that the agent's memory is measured with at the end; 0 leaves it out")
	flag.DurationVar(&o.rest, "rest", 30*time.Second, "how long the agent is watched while nothing happens")
	flag.StringVar(&o.out, "out", "", "file to write the page to (default: only the table on the terminal)")
	flag.BoolVar(&o.loop, "loop", true, "measure the shell loop too")
	flag.BoolVar(&o.plain, "plain", true, "measure the change of all labels without Meshlift too")
	flag.BoolVar(&o.keep, "keep", false, "leave the lab running")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	progress("starting a lab with %d Deployments", o.namespaces*50)
	l, err := labtest.Up(o.name, "--workloads", fmt.Sprintf("scale=%d", o.namespaces))
	if l != nil && !o.keep {
		defer func() { _ = l.Down() }()
	}
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, l)
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.report.table(os.Stdout)
	if o.out == "" {
		return nil
	}
	f, err := os.Create(filepath.Clean(o.out))
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	b.report.page(f)
	return f.Close()
}

// progress tells on the terminal what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
