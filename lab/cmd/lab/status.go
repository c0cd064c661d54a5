package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/layout"
)

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show the running labs",
		Example: "  lab status\n  lab status -o json",
		Args:    cobra.NoArgs,
	}
	output := c.Flags().StringP("output", "o", "", "json for machines")
	c.RunE = withDir(func(c *cobra.Command, _ []string, dir layout.Dir) error {
		all, err := box.Statuses(c.Context(), dir)
		if err != nil {
			return err
		}
		switch *output {
		case "json":
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(all)
		case "":
			return printStatus(c.OutOrStdout(), all)
		default:
			return fmt.Errorf("unknown output format %q: only json", *output)
		}
	})
	return c
}

func printStatus(out io.Writer, all []box.Status) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "No lab is running. Start one: lab up")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LAB\tCLUSTER\tKUBERNETES\tNODES\tPODS READY\tISTIOD\tKUBECONFIG")
	for i := range all {
		s := &all[i]
		if !s.Running {
			fmt.Fprintf(w, "%s\t-\tnot running\t\t\t\tlogs in %s\n", s.Name, s.Dir)
			continue
		}
		for j, h := range s.Health {
			if h.Error != "" {
				fmt.Fprintf(w, "%s\t%s\tunreachable: %s\n", s.Name, h.Cluster, h.Error)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d/%d\t%s\t%s\n", s.Name, h.Cluster, h.Version, h.Nodes, h.Ready, h.Pods, strings.Join(h.Istiod, " "), s.Clusters[j].Kubeconfig)
		}
	}
	return w.Flush()
}
