package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meshlift.dev/meshlift/lab/internal/layout"
	"meshlift.dev/meshlift/lab/internal/traffic"
)

// watchEvery is how often `lab traffic --watch` prints.
const watchEvery = 2 * time.Second

// clearScreen moves to the top left corner and clears everything below.
const clearScreen = "\x1b[H\x1b[J"

// trafficCommand shows what the gRPC clients have counted.
func trafficCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "traffic",
		Short: "Show how many calls the gRPC clients made and lost",
		Long: `Shows the counts of every client pod of the workload grpc, of those too that have ended: calls, good and failed
ones, who served them and how many with mutual TLS. Every call is made once and counted once.`,
		Example: `  lab traffic
  lab traffic --watch
  lab traffic -o json
  lab traffic --fail-on-errors   # exit code 1 when any call was lost`,
		Args: cobra.NoArgs,
	}
	name := nameFlag(c)
	var filter traffic.Filter
	c.Flags().StringVar(&filter.Cluster, "cluster", "", "only clients in this cluster")
	c.Flags().StringVarP(&filter.Namespace, "namespace", "n", "", "only clients in this namespace")
	c.Flags().StringVar(&filter.Name, "client", "", "only clients whose pod name begins like this, or with this label app")
	output := c.Flags().StringP("output", "o", "", "json for machines")
	watch := c.Flags().BoolP("watch", "w", false, "print again every two seconds")
	strict := c.Flags().Bool("fail-on-errors", false, "exit with code 1 when a call has failed")
	c.RunE = withDir(func(c *cobra.Command, _ []string, dir layout.Dir) error {
		if *output != "" && *output != "json" {
			return fmt.Errorf("unknown output format %q: only json", *output)
		}
		show := func() (traffic.Report, error) {
			return showTraffic(c.OutOrStdout(), dir.Run(*name), filter, *output == "json", *watch)
		}
		report, err := show()
		for err == nil && *watch && pause(c.Context(), watchEvery) {
			report, err = show()
		}
		if err == nil && *strict && report.Total.Failed > 0 {
			return exitError(1)
		}
		return err
	})
	return c
}

// showTraffic prints one report.
func showTraffic(out io.Writer, run string, filter traffic.Filter, asJSON, watched bool) (traffic.Report, error) {
	if _, err := os.Stat(run); err != nil {
		return traffic.Report{}, fmt.Errorf("no such lab: %w", err)
	}
	dirs, err := traffic.Directories(run)
	if err != nil {
		return traffic.Report{}, err
	}
	report, err := traffic.Collect(dirs, filter)
	if err != nil {
		return report, err
	}
	if asJSON {
		e := json.NewEncoder(out)
		if !watched { // then one line per report
			e.SetIndent("", "  ")
		}
		return report, e.Encode(report)
	}
	if watched && term.IsTerminal(int(os.Stdout.Fd())) {
		fmt.Fprint(out, clearScreen)
	}
	return report, report.Table(out)
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
