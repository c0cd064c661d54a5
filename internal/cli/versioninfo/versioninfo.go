// Package versioninfo is the command "meshlift version".
package versioninfo

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/printer"
)

// Info is what the command prints.
type Info struct {
	Meshlift string `json:"meshlift"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Kubernetes and Istio of the cluster; "" when it does not answer.
	Kubernetes string   `json:"kubernetes,omitempty"`
	Istio      []string `json:"istio,omitempty"`
}

// patience is how long a cluster may take to answer.
const patience = 5 * time.Second

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	var format printer.Format
	client := false
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of Meshlift, Kubernetes and Istio",
		Long:    "Show the versions of this command, and of the Kubernetes and Istio of the cluster when it answers.",
		Example: "  " + e.Program + " version\n  " + e.Program + " version --client",
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := format.Check(); err != nil {
				return err
			}
			info := Info{Meshlift: e.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if !client {
				cluster(cmd.Context(), e, &info)
			}
			if format != printer.Text {
				return format.Write(e.Out, info)
			}
			return text(e, info)
		},
	}
	format.AddFlag(cmd)
	cmd.Flags().BoolVar(&client, "client", false, "Do not ask the cluster")
	return cmd
}

// cluster fills in what the cluster tells; that it does not answer is no error of this command.
func cluster(ctx context.Context, e *env.Env, info *Info) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := e.Connect()
	if err != nil {
		return
	}
	cp, err := e.ControlPlane(ctx, c)
	if err != nil {
		return
	}
	info.Kubernetes, _ = e.Kubernetes()
	if cp == nil {
		return
	}
	for _, r := range cp.Status.Revisions {
		info.Istio = append(info.Istio, r.Version+" (revision "+r.Name+")")
	}
}

func text(e *env.Env, info Info) error {
	lines := []string{"Meshlift    " + info.Meshlift + " (" + info.Go + ", " + info.Platform + ")"}
	if info.Kubernetes != "" {
		lines = append(lines, "Kubernetes  "+strings.TrimPrefix(info.Kubernetes, "v"))
	}
	for _, i := range info.Istio {
		lines = append(lines, "Istio       "+i)
	}
	_, err := fmt.Fprintln(e.Out, strings.Join(lines, "\n"))
	return err
}
