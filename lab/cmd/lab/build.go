package main

import (
	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/builder"
	"meshlift.dev/meshlift/lab/internal/layout"
)

func buildCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "build [NAME...]",
		Short: "Build everything that the lab runs, from Go modules, into .lab",
		Long: "Builds the Kubernetes control plane, two versions of Istio with their charts, istioctl and the lab itself.\n" +
			"The first time takes a quarter of an hour on two cores; what is up to date is skipped. Safe to interrupt.",
		Example: "  lab build\n  lab build kube istio-1.31",
	}
	force := c.Flags().Bool("force", false, "build what is up to date too")
	c.RunE = withDir(func(c *cobra.Command, names []string, dir layout.Dir) error {
		source, err := dir.Source()
		if err != nil {
			return err
		}
		b := builder.Builder{Dir: dir, Source: source, Out: c.OutOrStdout(), Force: *force, Only: names}
		return b.Build(c.Context())
	})
	return c
}
