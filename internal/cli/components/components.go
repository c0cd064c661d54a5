// Package components is the command "meshlift components": what clusters have besides Istio, and upgrades of it. It talks to the
// cluster of the hub.
package components

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/view"
)

type listOptions struct {
	env     *env.Env
	format  printer.Format
	cluster string
}

// NewCommand returns the command with its subcommand.
func NewCommand(e *env.Env) *cobra.Command {
	o := &listOptions{env: e}
	cmd := &cobra.Command{
		Use:     "components",
		Aliases: []string{"component"},
		Short:   "List and upgrade what clusters have besides Istio (step 1; in the cluster of the hub)",
		Long: `List the components of every cluster, or of one: which version runs, which is offered, and how it was installed. They are found
whoever installed them: as Helm releases by the names of their charts, and as subscriptions of OLM by their packages. Istio and
Kubernetes are shown too; they are upgraded elsewhere.

` + exit.Help,
		Example: strings.ReplaceAll(`  {} components

  # What is behind in one cluster, for a script
  {} components --cluster east -o json | jq -r '.[] | select(.phase == "Upgradeable") | .name'`, "{}", e.Program),
		Args:              exit.NoSubcommand,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.cluster, "cluster", "", "Only this cluster")
	env.CompleteFlag(cmd, "cluster", clusters(e))
	o.format.AddFlag(cmd)
	cmd.AddCommand(newUpgrade(e))
	return cmd
}

func (o *listOptions) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	var list hub.MemberClusterList
	if o.cluster != "" {
		m, err := cluster(ctx, o.env, c, o.cluster)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, *m)
	} else if err := c.List(ctx, &list); err != nil {
		return o.env.API(err)
	}
	rows := view.Components(list.Items)
	if o.format != printer.Text {
		return o.format.Write(o.env.Out, rows)
	}
	_, err = fmt.Fprint(o.env.Out, view.ComponentsText(o.env.Program, rows, o.env.Terminal.View()))
	return err
}

// cluster reads one MemberCluster.
func cluster(ctx context.Context, e *env.Env, c client.Client, name string) (*hub.MemberCluster, error) {
	m := &hub.MemberCluster{}
	err := c.Get(ctx, client.ObjectKey{Name: name}, m)
	if client.IgnoreNotFound(err) != nil {
		return nil, e.API(err)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %q is not registered in this hub: see %q", name, e.Program+" cluster list")
	}
	return m, nil
}

// clusters completes the names of clusters.
func clusters(e *env.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
		defer cancel()
		c, err := e.Connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var list hub.MemberClusterList
		if err := c.List(ctx, &list); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, m := range list.Items {
			out = append(out, m.Name)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// row finds a component of a cluster.
func row(m *hub.MemberCluster, name string) *hub.ComponentStatus {
	n := slices.IndexFunc(m.Status.Components, func(r hub.ComponentStatus) bool { return r.Name == name })
	if n < 0 {
		return nil
	}
	return &m.Status.Components[n]
}
