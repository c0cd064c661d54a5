package main

import (
	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// defaultLab is the name of the lab when there is only one.
const defaultLab = "default"

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Real Kubernetes clusters with Istio on one machine, without containers and without root",
		Example: `  lab build                                   # once: everything from Go modules
  lab up --workloads bookinfo,grpc,gateway
  lab kubectl get pods -A
  lab istioctl proxy-status --xds-address istiod-1-30.istio-system.svc:15012
  lab down`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	c.AddCommand(buildCommand(), upCommand(), downCommand(), statusCommand(), execCommand(), kubectlCommand(), istioctlCommand(), trafficCommand(), faultCommand())
	c.AddCommand(superviseCommand(), echoCommand(), oidcCommand())
	return c
}

// nameFlag adds the flag that chooses a lab.
func nameFlag(c *cobra.Command) *string {
	return c.Flags().String("name", defaultLab, "name of the lab")
}

// withDir calls f with the .lab directory.
func withDir(f func(c *cobra.Command, args []string, dir layout.Dir) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		dir, err := layout.Find()
		if err != nil {
			return err
		}
		return f(c, args, dir)
	}
}
