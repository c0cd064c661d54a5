package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/view"
)

// manager holds the subcommands that act on a rollout that runs.
type manager struct {
	env    *env.Env
	attach string
}

func subcommands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{
		newList(e),
		newEdit(e, "stop", "End the running rollout: moves in flight finish, nothing new starts", editor.stop),
		newEdit(e, "pause", "Start no new move until it is resumed; moves in flight finish", func(x editor, ctx context.Context) error { return x.pause(ctx, true) }),
		newEdit(e, "resume", "Let a paused rollout go on", func(x editor, ctx context.Context) error { return x.pause(ctx, false) }),
		newDecide(e, "retry", "Try failed data planes again (Re-upgrade)", v1alpha1.Retry),
		newDecide(e, "skip", "Leave failed data planes as they are and go on", v1alpha1.Skip),
		newDecide(e, "move-back", "Move failed data planes back where they came from", v1alpha1.MoveBack),
	}
}

func (m *manager) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.attach, "attach", "", "Name of the DataPlaneRollout (default: the one that runs)")
	env.CompleteFlag(cmd, "attach", m.env.CompleteRollouts)
}

// running returns the rollout that is named, else the one that runs.
func (m *manager) running(ctx context.Context, c client.Client) (*v1alpha1.DataPlaneRollout, error) {
	return find(ctx, m.env, c, m.attach)
}

func find(ctx context.Context, e *env.Env, c client.Client, name string) (*v1alpha1.DataPlaneRollout, error) {
	all, err := e.Rollouts(ctx, c)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if n := slices.IndexFunc(all, func(r v1alpha1.DataPlaneRollout) bool { return r.Name == name }); n >= 0 {
			return &all[n], nil
		}
		return nil, fmt.Errorf("there is no rollout %q: see %q", name, e.Program+" rollout list")
	}
	for n := range all {
		if r := view.Running(all, all[n].Spec.Upgrade); r != nil {
			return r, nil
		}
	}
	return nil, exit.Refusedf("no rollout runs: start one with %q", e.Program+" rollout")
}

func newEdit(e *env.Env, verb, short string, edit func(editor, context.Context) error) *cobra.Command {
	m := &manager{env: e}
	cmd := &cobra.Command{
		Use: verb, Short: short, Long: short + ".\n\n" + exit.Help, Example: "  " + e.Program + " rollout " + verb,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.Client()
			if err != nil {
				return err
			}
			r, err := m.running(cmd.Context(), c)
			if err != nil {
				return err
			}
			if err := edit(editor{e, c, r.Name}, cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.Out, "DataPlaneRollout %s: %s asked for\n", r.Name, verb)
			return err
		},
	}
	m.addFlags(cmd)
	return cmd
}

func newDecide(e *env.Env, verb, short string, action v1alpha1.Decision) *cobra.Command {
	m := &manager{env: e}
	cmd := &cobra.Command{
		Use: verb + " [NAMESPACE/KIND/NAME...]", Short: short,
		Long:    short + ". Without names it is every failed data plane of the running rollout that waits for a decision.\n\n" + exit.Help,
		Example: strings.ReplaceAll("  {} rollout "+verb+"\n  {} rollout "+verb+" bookinfo/Deployment/reviews-v1", "{}", e.Program),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := parseTargets(args, nil)
			if err != nil {
				return err
			}
			return m.decide(cmd.Context(), targets, action)
		},
		ValidArgsFunction: m.completeFailures,
	}
	m.addFlags(cmd)
	return cmd
}

func (m *manager) decide(ctx context.Context, targets []target, action v1alpha1.Decision) error {
	c, err := m.env.Client()
	if err != nil {
		return err
	}
	r, err := m.running(ctx, c)
	if err != nil {
		return err
	}
	failures, err := pickFailures(r, targets)
	if err != nil {
		return err
	}
	if len(failures) == 0 {
		_, err := fmt.Fprintf(m.env.Out, "No failed data plane of DataPlaneRollout %s waits for a decision.\n", r.Name)
		return err
	}
	if err := (editor{m.env, c, r.Name}).decide(ctx, failures, action); err != nil {
		return err
	}
	for n := range failures {
		if _, err := fmt.Fprintln(m.env.Out, decisionText(action, failures[n:n+1])); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(m.env.Out, "Watch it with: %s rollout --attach %s\n", m.env.Program, r.Name)
	return err
}

func (m *manager) completeFailures(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := m.env.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	r, err := m.running(cmd.Context(), c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, f := range r.Status.Failures {
		if name := view.Name(f.WorkloadReference); !slices.Contains(args, name) {
			out = append(out, name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func newList(e *env.Env) *cobra.Command {
	var format printer.Format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the rollouts of this cluster",
		Long: "List the rollouts of this cluster, complete ones too.\n\n" + exit.Help, Example: "  " + e.Program + " rollout list",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := format.Check(); err != nil {
				return err
			}
			c, err := e.Client()
			if err != nil {
				return err
			}
			all, err := e.Rollouts(cmd.Context(), c)
			if err != nil {
				return err
			}
			if format != printer.Text {
				items := make([]*v1alpha1.DataPlaneRollout, 0, len(all))
				for n := range all {
					items = append(items, &all[n])
				}
				return printer.WriteList(format, e.Out, items, v1alpha1.GroupVersion.WithKind("DataPlaneRollout"))
			}
			_, err = fmt.Fprint(e.Out, view.RolloutsText(all, e.Now(), e.Terminal.View()))
			return err
		},
	}
	format.AddFlag(cmd)
	return cmd
}
