package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/builder"
	"meshlift.dev/meshlift/lab/internal/layout"
	"meshlift.dev/meshlift/lab/internal/workloads"
)

// upFlags are the flags of `lab up` that need parsing.
type upFlags struct {
	workloads, istio, images, bare []string
}

func upCommand() *cobra.Command {
	var o box.Options
	var flags upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a lab and wait until it is ready",
		Example: `  lab up
  lab up --workloads bookinfo,grpc,gateway,scale=4
  lab up --name fleet --clusters hub,east,west --workloads bookinfo
  lab up --install 1.31.0 --revision default
  lab up --istio 1.28.3=/opt/istio-1.28.3 --install 1.28.3
  lab up --image example.com/meshlift=bin/meshlift@/app/asm-controller`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&o.Name, "name", defaultLab, "name of the lab; several can run at once")
	f.StringSliceVar(&o.Clusters, "clusters", []string{"main"}, "names of the clusters")
	f.StringSliceVar(&flags.bare, "bare", nil, "clusters that get neither Istio nor workloads (default: the one called hub, among several)")
	f.IntVar(&o.Nodes, "nodes", 3, "simulated nodes of each cluster")
	f.StringSliceVar(&flags.workloads, "workloads", nil, "what runs in each cluster: bookinfo, grpc, gateway, egress, rollouts (the controller of Argo Rollouts), scale=N (N namespaces of 50 Deployments)")
	f.StringArrayVar(&flags.istio, "istio", nil, "add a version of Istio: VERSION=DIR, where DIR holds pilot-discovery, charts/ and, for real traffic, pilot-agent")
	f.StringVar(&o.Install, "install", builder.OlderIstio, `version of Istio to install by Helm; "" for none`)
	f.StringVar(&o.Revision, "revision", box.AutoRevision, `revision of the installed Istio: auto (1-30 for 1.30.0), "default" for un-revisioned, or a name`)
	f.StringSliceVar(&o.Tags, "tag", nil, "revision tags that the istiod chart makes")
	f.StringArrayVar(&flags.images, "image", nil, "run an image as a process: REPOSITORY[:TAG]=HOSTBINARY@/path/in/container")
	f.StringVar(&o.Audit, "audit", "", "keep in audit.log of each cluster what the service accounts of this namespace ask for")
	c.RunE = withDir(func(c *cobra.Command, _ []string, dir layout.Dir) error {
		if err := flags.parse(c, &o); err != nil {
			return err
		}
		s, err := box.Up(c.Context(), dir, o, c.OutOrStdout())
		if err != nil {
			return err
		}
		return printUp(c.OutOrStdout(), s)
	})
	return c
}

func (f *upFlags) parse(c *cobra.Command, o *box.Options) error {
	var err error
	if o.Workloads, err = workloads.Parse(f.workloads); err != nil {
		return err
	}
	if o.Istio, err = box.ParseIstio(f.istio); err != nil {
		return err
	}
	if o.Images, err = box.ParseImages(f.images); err != nil {
		return err
	}
	o.Bare = f.bare
	if !c.Flags().Changed("bare") && len(o.Clusters) > 1 {
		for _, name := range o.Clusters {
			if name == "hub" {
				o.Bare = []string{name}
			}
		}
	}
	return nil
}

func printUp(out io.Writer, s *box.State) error {
	text := fmt.Sprintf("\nThe lab %s is ready after %.1f s.\n\n", s.Name, s.ReadyIn)
	for _, c := range s.Clusters {
		text += fmt.Sprintf("  %-10s export KUBECONFIG=%s\n", c.Name, c.Kubeconfig)
	}
	text += fmt.Sprintf("  %-10s %s (in the lab and its pods: %s)\n", "charts", s.Charts, s.ChartsIn)
	text += fmt.Sprintf("\nInside, where Services and pods can be reached: lab exec%s -- CMD\nStop it: lab down%s\n", nameArgument(s.Name), nameArgument(s.Name))
	_, err := io.WriteString(out, text)
	return err
}

func nameArgument(name string) string {
	if name == defaultLab {
		return ""
	}
	return " --name " + name
}

func superviseCommand() *cobra.Command {
	return &cobra.Command{
		Use: box.SuperviseCommand, Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return box.Supervise(args[0]) },
	}
}
