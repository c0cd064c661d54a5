// Package upgrade is the command "meshlift upgrade": start, look at, pause and delete upgrades of Istio.
package upgrade

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// NewCommand returns the command with its subcommands.
func NewCommand(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "upgrade",
		Aliases: []string{"upgrades", "cu"},
		Short:   "Start an upgrade of Istio, look at it, pause, resume or delete it",
		Long:    "An upgrade is an object (ClusterUpgrade) that the agent works on; it goes on without this command.",
		Args:    exit.NoSubcommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStart(e), newList(e), newShow(e), newPause(e, true), newPause(e, false), newDelete(e))
	return cmd
}

func newList(e *env.Env) *cobra.Command {
	var format printer.Format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the upgrades of this cluster",
		Long: "List the upgrades of this cluster, finished ones too.\n\n" + exit.Help, Example: "  " + e.Program + " upgrade list",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return list(cmd.Context(), e, format) },
	}
	format.AddFlag(cmd)
	return cmd
}

func list(ctx context.Context, e *env.Env, format printer.Format) error {
	if err := format.Check(); err != nil {
		return err
	}
	c, err := e.Client()
	if err != nil {
		return err
	}
	all, err := e.Upgrades(ctx, c)
	if err != nil {
		return err
	}
	if format != printer.Text {
		items := make([]*v1alpha1.ClusterUpgrade, 0, len(all))
		for n := range all {
			items = append(items, &all[n])
		}
		return printer.WriteList(format, e.Out, items, v1alpha1.GroupVersion.WithKind("ClusterUpgrade"))
	}
	_, err = fmt.Fprint(e.Out, view.UpgradesText(all, e.Now(), e.Terminal.View()))
	return err
}

func newShow(e *env.Env) *cobra.Command {
	var format printer.Format
	cmd := &cobra.Command{
		Use: "show [NAME]", Aliases: []string{"get"}, Short: "Show one upgrade with its steps, values report and history",
		Long:    "Show one upgrade with its steps, what became of its Helm values, and its history. Without a name it is the one that runs.\n\n" + exit.Help,
		Example: strings.ReplaceAll("  {} upgrade show\n  {} upgrade show 1-30-to-1-31 -o yaml", "{}", e.Program),
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: e.CompleteUpgrade,
		RunE: func(cmd *cobra.Command, args []string) error { return show(cmd.Context(), e, first(args), format) },
	}
	format.AddFlag(cmd)
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func show(ctx context.Context, e *env.Env, name string, format printer.Format) error {
	if err := format.Check(); err != nil {
		return err
	}
	c, err := e.Client()
	if err != nil {
		return err
	}
	u, err := e.Upgrade(ctx, c, name)
	if err != nil {
		return err
	}
	if format != printer.Text {
		return format.WriteObject(e.Out, u, env.Scheme())
	}
	rollouts, err := e.Rollouts(ctx, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(e.Out, view.UpgradeText(e.Program, u, view.Running(rollouts, u.Name), e.Terminal.View()))
	return err
}

func newPause(e *env.Env, pause bool) *cobra.Command {
	verb, short := "resume", "Let a paused upgrade go on"
	if pause {
		verb, short = "pause", "Start nothing new; what is in place stays"
	}
	return &cobra.Command{
		Use: verb + " [NAME]", Short: short,
		Long:    short + ". Without a name it is the upgrade that runs.\n\n" + exit.Help,
		Example: "  " + e.Program + " upgrade " + verb,
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: e.CompleteUpgrade,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.Client()
			if err != nil {
				return err
			}
			u, err := e.Upgrade(cmd.Context(), c, first(args))
			if err != nil {
				return err
			}
			changed := false
			err = env.Edit(cmd.Context(), c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
				changed = intent.Set(&u.Spec.Paused, pause)
				return changed, nil
			})
			if err != nil {
				return e.API(err)
			}
			word := "resumed"
			if pause {
				word = "paused"
			}
			if !changed {
				word = "is " + map[bool]string{true: "paused already", false: "not paused"}[pause]
			}
			_, err = fmt.Fprintf(e.Out, "ClusterUpgrade %s %s\n", u.Name, word)
			return err
		},
	}
}

func newDelete(e *env.Env) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Take an upgrade back before anything moved, or forget a finished one",
		Long: `Delete an upgrade. While nothing has moved, the new istiod is removed again and all is as before. It is refused while data
planes run on the new revision: move them back first. A finished upgrade is only forgotten.

` + exit.Help,
		Example: "  " + e.Program + " upgrade delete 1-30-to-1-31",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.CompleteUpgrade,
		RunE: func(cmd *cobra.Command, args []string) error { return remove(cmd.Context(), e, args[0], yes) },
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask")
	return cmd
}

func remove(ctx context.Context, e *env.Env, name string, yes bool) error {
	c, err := e.Client()
	if err != nil {
		return err
	}
	u, err := e.Upgrade(ctx, c, name)
	if err != nil {
		return err
	}
	if !yes {
		if !e.Terminal.CanAsk() {
			return exit.Usagef("nobody can be asked here: add --yes")
		}
		question := "Take upgrade " + name + " back and remove its new istiod?"
		if view.Finished(u) {
			question = "Forget the finished upgrade " + name + "?"
		}
		ok, err := e.Confirm(question)
		if err != nil {
			return err
		}
		if !ok {
			return exit.Refusedf("Nothing was changed.")
		}
	}
	if err := client.IgnoreNotFound(c.Delete(ctx, u)); err != nil {
		return e.API(fmt.Errorf("delete ClusterUpgrade %q: %w", name, err))
	}
	_, err = fmt.Fprintf(e.Out, "ClusterUpgrade %s deleted\n", name)
	return err
}
