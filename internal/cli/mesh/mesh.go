// Package mesh is the command "meshlift mesh": meshes of several clusters, and their upgrades wave by wave. It talks to the cluster of
// the hub.
package mesh

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/view"
)

// NewCommand returns the command with its subcommands.
func NewCommand(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mesh", Aliases: []string{"meshes"}, Short: "Show and upgrade meshes of several clusters (in the cluster of the hub)",
		Args: exit.NoSubcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []struct {
		*cobra.Command
		example string
	}{
		{newCreate(e), "create prod"},
		{newList(e), "list"},
		{newStatus(e), "status prod"},
		{newUpgrade(e), ""},
		{newApprove(e), "approve prod --wave rest"},
		{newPause(e, true), "pause prod"},
		{newPause(e, false), "resume prod"},
		{newDecommission(e), "decommission prod --yes"},
	} {
		if c.Long == "" {
			c.Long = c.Short + ".\n\n" + exit.Help
		}
		if c.Example == "" {
			c.Example = "  " + e.Program + " mesh " + c.example
		}
		cmd.AddCommand(c.Command)
	}
	return cmd
}

func newCreate(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "create MESH", Short: "Create a mesh, to which clusters are added with \"cluster add --mesh\"", Args: cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.Client()
			if err != nil {
				return err
			}
			err = c.Create(cmd.Context(), &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: args[0]}})
			if apierrors.IsAlreadyExists(err) {
				_, err = fmt.Fprintf(e.Out, "Mesh %s exists already.\n", args[0])
				return err
			}
			if err != nil {
				return e.API(fmt.Errorf("create Mesh %q: %w", args[0], err))
			}
			_, err = fmt.Fprintf(e.Out, "Mesh %s is created; add clusters with: %s cluster add NAME --mesh %s\n", args[0], e.Program, args[0])
			return err
		},
	}
}

func newList(e *env.Env) *cobra.Command {
	var format printer.Format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the meshes", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := format.Check(); err != nil {
				return err
			}
			c, err := e.Client()
			if err != nil {
				return err
			}
			all, err := meshes(cmd.Context(), e, c)
			if err != nil {
				return err
			}
			if format != printer.Text {
				return format.Write(e.Out, all)
			}
			_, err = fmt.Fprint(e.Out, view.MeshesText(all, e.Terminal.View()))
			return err
		},
	}
	format.AddFlag(cmd)
	return cmd
}

func newStatus(e *env.Env) *cobra.Command {
	var format printer.Format
	cmd := &cobra.Command{
		Use: "status [MESH]", Short: "Show a mesh: its clusters, what is frozen, and its upgrade", Args: cobra.MaximumNArgs(1),
		Long:              "Show one mesh on one page: its clusters with their versions, what is frozen and why, whose turn it is to decommission, and the\nupgrade by waves. Without a name, the only mesh.\n\n" + exit.Help,
		ValidArgsFunction: completeMesh(e),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := format.Check(); err != nil {
				return err
			}
			c, err := e.Client()
			if err != nil {
				return err
			}
			m, err := choose(cmd.Context(), e, c, args)
			if err != nil {
				return err
			}
			page, err := look(cmd.Context(), e, c, m)
			if err != nil {
				return err
			}
			if format != printer.Text {
				return format.Write(e.Out, page)
			}
			_, err = fmt.Fprint(e.Out, page.Render(e.Program, e.Terminal.View()))
			return err
		},
	}
	format.AddFlag(cmd)
	return cmd
}

func look(ctx context.Context, e *env.Env, c client.Client, m *hub.Mesh) (view.Mesh, error) {
	out := view.Mesh{Mesh: m}
	clusters := &hub.MemberClusterList{}
	if err := c.List(ctx, clusters); err != nil {
		return out, e.API(fmt.Errorf("list MemberClusters: %w", err))
	}
	for _, mc := range clusters.Items {
		if mc.Spec.Mesh == m.Name {
			out.Clusters = append(out.Clusters, mc)
		}
	}
	slices.SortFunc(out.Clusters, func(a, b hub.MemberCluster) int { return strings.Compare(a.Name, b.Name) })
	all, err := upgrades(ctx, e, c)
	if err != nil {
		return out, err
	}
	out.Upgrade = view.CurrentMesh(all, m.Name)
	return out, nil
}

func meshes(ctx context.Context, e *env.Env, c client.Client) ([]hub.Mesh, error) {
	list := &hub.MeshList{}
	if err := c.List(ctx, list); err != nil {
		return nil, e.API(fmt.Errorf("list Meshes: %w", err))
	}
	slices.SortFunc(list.Items, func(a, b hub.Mesh) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// choose returns the mesh that is named, or the only one.
func choose(ctx context.Context, e *env.Env, c client.Client, args []string) (*hub.Mesh, error) {
	all, err := meshes(ctx, e, c)
	if err != nil {
		return nil, err
	}
	var names []string
	for n := range all {
		names = append(names, all[n].Name)
		if len(args) > 0 && all[n].Name == args[0] {
			return &all[n], nil
		}
	}
	switch {
	case len(args) > 0:
		return nil, exit.Refusedf("there is no mesh %q; the meshes are: %s", args[0], orNone(names))
	case len(all) == 1:
		return &all[0], nil
	}
	return nil, exit.Usagef("say which mesh: %s", orNone(names))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func upgrades(ctx context.Context, e *env.Env, c client.Client) ([]hub.MeshUpgrade, error) {
	list := &hub.MeshUpgradeList{}
	if err := c.List(ctx, list); err != nil {
		return nil, e.API(fmt.Errorf("list MeshUpgrades: %w", err))
	}
	return list.Items, nil
}

// find returns the upgrade with that name, or the one that runs in the mesh with that name.
func find(ctx context.Context, e *env.Env, c client.Client, name string) (*hub.MeshUpgrade, error) {
	all, err := upgrades(ctx, e, c)
	if err != nil {
		return nil, err
	}
	for n := range all {
		if all[n].Name == name {
			return &all[n], nil
		}
	}
	if u := view.CurrentMesh(all, name); u != nil && !view.FinishedMesh(u) {
		return u, nil
	}
	return nil, exit.Refusedf("there is no upgrade %q, and none runs in a mesh of that name: start one with %q", name, e.Program+" mesh upgrade MESH --to VERSION")
}

func completeMesh(e *env.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := e.Client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := meshes(cmd.Context(), e, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, m := range all {
			out = append(out, m.Name)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
