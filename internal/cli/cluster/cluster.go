// Package cluster is the command "meshlift cluster": it registers clusters with the hub, lists them, gives the hub new credentials
// for one, and takes one away.
package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/install"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/view"
)

// Member is how commands reach the cluster that is registered, which is not the one that the flags of kubectl name.
type Member struct {
	// Connect returns a client.
	Connect func(*rest.Config) (client.WithWatch, error)
	// Releases connects Helm.
	Releases func(*rest.Config) (install.Releases, error)
	// Check returns why the hub would not take a kubeconfig.
	Check func(kubeconfig []byte) error
	// HubKubeconfig and HubContext choose the hub where --kubeconfig and --context choose the member.
	HubKubeconfig, HubContext *string
}

// NewCommand returns the command with its subcommands.
func NewCommand(e *env.Env, m Member) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Aliases: []string{"clusters", "mc"}, Short: "Register clusters with the hub, list, rotate and remove them",
		Long: `The hub knows a cluster by an object (MemberCluster) and a Secret with a kubeconfig. It connects to the cluster, never the
other way round; the cluster goes on when the hub is gone.`,
		Args: exit.NoSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAdd(e, m), newList(e), newRotate(e, m), newRemove(e))
	return cmd
}

// hubError is an error of the hub's API server for people.
func hubError(e *env.Env, err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("there is no hub in cluster %s: install the chart meshlift there, or choose the hub with the flags of kubectl", e.Cluster())
	}
	return e.API(err)
}

// read returns a MemberCluster, nil when there is none.
func read(ctx context.Context, e *env.Env, c client.Client, name string) (*hub.MemberCluster, error) {
	m := &hub.MemberCluster{}
	err := c.Get(ctx, client.ObjectKey{Name: name}, m)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, hubError(e, fmt.Errorf("read MemberCluster %q: %w", name, err))
	}
	return m, nil
}

// registered returns a MemberCluster that has to exist.
func registered(ctx context.Context, e *env.Env, c client.Client, name string) (*hub.MemberCluster, error) {
	m, err := read(ctx, e, c, name)
	if err == nil && m == nil {
		err = exit.Refusedf("there is no cluster %q in this hub: see %q", name, e.Program+" cluster list")
	}
	return m, err
}

func all(ctx context.Context, e *env.Env, c client.Client) ([]hub.MemberCluster, error) {
	var list hub.MemberClusterList
	if err := c.List(ctx, &list); err != nil {
		return nil, hubError(e, fmt.Errorf("list MemberClusters: %w", err))
	}
	slices.SortFunc(list.Items, func(a, b hub.MemberCluster) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

func newList(e *env.Env) *cobra.Command {
	var format printer.Format
	mesh := ""
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the clusters of the hub",
		Long: "List the clusters of the hub: whether they answer, what they run, and what needs attention.\n\n" + exit.Help,
		Example: strings.ReplaceAll(`  {} cluster list

  # Those that do not answer, for a script
  {} cluster list -o json | jq -r '.items[] | select(.status.conditions[]? | .type=="Connected" and .status!="True") | .metadata.name'`, "{}", e.Program),
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return list(cmd.Context(), e, format, mesh) },
	}
	format.AddFlag(cmd)
	cmd.Flags().StringVar(&mesh, "mesh", "", "Only the clusters of this mesh")
	return cmd
}

func list(ctx context.Context, e *env.Env, format printer.Format, mesh string) error {
	if err := format.Check(); err != nil {
		return err
	}
	c, err := e.Client()
	if err != nil {
		return err
	}
	clusters, err := all(ctx, e, c)
	if err != nil {
		return err
	}
	if mesh != "" {
		clusters = slices.DeleteFunc(clusters, func(m hub.MemberCluster) bool { return m.Spec.Mesh != mesh })
	}
	if format != printer.Text {
		items := make([]*hub.MemberCluster, 0, len(clusters))
		for n := range clusters {
			items = append(items, &clusters[n])
		}
		return printer.WriteList(format, e.Out, items, hub.GroupVersion.WithKind("MemberCluster"))
	}
	_, err = fmt.Fprint(e.Out, view.ClustersText(e.Program, clusters, e.Terminal.View()))
	return err
}
