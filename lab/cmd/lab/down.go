package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/layout"
)

func downCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "down",
		Short:   "Stop a lab and remove its state",
		Example: "  lab down\n  lab down --all",
		Args:    cobra.NoArgs,
	}
	name := nameFlag(c)
	all := c.Flags().Bool("all", false, "stop every lab")
	c.RunE = withDir(func(c *cobra.Command, _ []string, dir layout.Dir) error {
		names := []string{*name}
		if *all {
			var err error
			if names, err = dir.Labs(); err != nil {
				return err
			}
		}
		for _, n := range names {
			err := box.Down(c.Context(), dir, n)
			switch {
			case errors.Is(err, box.ErrNotRunning):
				fmt.Fprintf(c.OutOrStdout(), "The lab %s is not running.\n", n)
			case err != nil:
				return err
			default:
				fmt.Fprintf(c.OutOrStdout(), "The lab %s is stopped.\n", n)
			}
		}
		return nil
	})
	return c
}
