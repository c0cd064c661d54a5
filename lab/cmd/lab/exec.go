package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/builder"
	"meshlift.dev/meshlift/lab/internal/layout"
)

// inside completes a command that runs a program inside a lab; prefix comes before the user's arguments.
func inside(c *cobra.Command, prefix func(layout.Dir) []string) *cobra.Command {
	name := nameFlag(c)
	cluster := c.Flags().String("cluster", "", "cluster that KUBECONFIG names (default: the first one)")
	c.Flags().SetInterspersed(false) // what follows the first argument belongs to the program
	c.RunE = withDir(func(_ *cobra.Command, args []string, dir layout.Dir) error {
		s, err := box.Load(dir, *name)
		if err != nil {
			return err
		}
		code, err := s.Exec(*cluster, append(prefix(dir), args...))
		if err != nil && code != 0 {
			fmt.Fprintln(os.Stderr, "lab:", err)
			err = nil
		}
		if err == nil && code != 0 {
			err = exitError(code)
		}
		return err
	})
	return c
}

func execCommand() *cobra.Command {
	return inside(&cobra.Command{
		Use:   "exec [--name LAB] [--cluster CLUSTER] -- COMMAND [ARGUMENT...]",
		Short: "Run a command inside a lab, where Services, pods and API servers can be reached",
		Example: `  lab exec -- kubectl get pods -A
  lab exec -- curl -s http://istiod-1-30.istio-system.svc:15014/version
  lab exec -- bash`,
		Args: cobra.MinimumNArgs(1),
	}, func(layout.Dir) []string { return nil })
}

func kubectlCommand() *cobra.Command {
	return inside(&cobra.Command{
		Use:     "kubectl [--name LAB] [--cluster CLUSTER] ARGUMENT...",
		Short:   "Run kubectl inside a lab",
		Example: "  lab kubectl get pods -A\n  lab kubectl --cluster east get nodes",
	}, func(dir layout.Dir) []string { return []string{dir.Bin("kube"), "kubectl"} })
}

func istioctlCommand() *cobra.Command {
	return inside(&cobra.Command{
		Use:     "istioctl [--name LAB] [--cluster CLUSTER] ARGUMENT...",
		Short:   "Run istioctl inside a lab",
		Example: "  lab istioctl version\n  lab istioctl proxy-status --xds-address istiod-1-30.istio-system.svc:15012",
	}, func(dir layout.Dir) []string { return []string{dir.Bin("istio-" + builder.NewerIstio + "-istioctl")} })
}
