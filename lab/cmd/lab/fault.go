package main

import (
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/layout"
)

// faultCommand breaks something in a lab for a while.
func faultCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Break something in a lab for a while",
		Long: `Breaks something in a lab. The command returns when the fault is over; interrupted or killed, it ends the fault. So
nothing has to be repaired afterwards, and nothing outlives the lab.

A COMPONENT is one of ` + strings.Join(controlplane.Components(), ", ") + `.
Pods are those that run as processes: istiod, pilot-agent, the gRPC echo, and images given to "lab up".`,
		Example: `  lab fault restart kube-apiserver
  lab fault slow etcd --for 10s
  lab fault freeze istio-system/istiod-1-31-6d5f9c8b7-x2x4q --for 5s    # it hangs, and so does its webhook
  lab fault cut cpaas-system/asm-controller-7c9d8f6b5-abcde --for 30s   # no packet in or out
  lab fault kill istio-system/istiod-1-31-6d5f9c8b7-x2x4q`,
	}
	for _, f := range []struct{ kind, target, short string }{
		{box.FaultRestart, "COMPONENT", "Kill a component by SIGKILL and start it again; returns when it is healthy"},
		{box.FaultFreeze, "COMPONENT|NAMESPACE/POD", "Stop processes by SIGSTOP, then let them go on"},
		{box.FaultSlow, "COMPONENT|NAMESPACE/POD", "Stop processes four fifths of the time"},
		{box.FaultCut, "NAMESPACE/POD", "Take a pod off the network, then put it back"},
		{box.FaultKill, "NAMESPACE/POD", "Kill the processes of a pod by SIGKILL; they are started again as in any cluster"},
	} {
		c.AddCommand(oneFault(f.kind, f.target, f.short))
	}
	return c
}

func oneFault(kind, target, short string) *cobra.Command {
	c := &cobra.Command{Use: kind + " " + target, Short: short, Args: cobra.ExactArgs(1)}
	name := nameFlag(c)
	f := box.Fault{Kind: kind}
	c.Flags().StringVar(&f.Cluster, "cluster", "", "cluster of the target (default: the first one)")
	if kind != box.FaultRestart && kind != box.FaultKill {
		c.Flags().DurationVar(&f.For, "for", 5*time.Second, "how long; 0 until this command is interrupted")
	}
	c.RunE = withDir(func(c *cobra.Command, args []string, dir layout.Dir) error {
		s, err := box.Load(dir, *name)
		if err != nil {
			return err
		}
		f.Target = args[0]
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return s.Inflict(ctx, f)
	})
	return c
}
