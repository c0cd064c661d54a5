// Package plan is the command "meshlift plan": what an upgrade would do, before anything happens.
package plan

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/cli/propose"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
)

type options struct {
	env        *env.Env
	format     printer.Format
	wish       proposal.Wish
	namespaces []string
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what an upgrade would do, before anything happens",
		Long: strings.ReplaceAll(`Show what an upgrade would do: whether the path and this Kubernetes are supported, what each of the five steps will do,
which data planes would move, by namespace, with every warning, and which EnvoyFilters have to be acknowledged.

The checks of "{} check" are summed up, and each EnvoyFilter is judged for the new version.

It reads the cluster with your credentials and changes nothing. Without --to it shows the upgrade that runs, or the one to
the newest version that is supported from here.

`, "{}", e.Program) + exit.Help,
		Example: strings.ReplaceAll(`  # To the newest version that is supported from here
  {} plan

  # To a version
  {} plan --to 1.31

  # Can this cluster go to 1.31? The exit code is 0 for yes and 3 for no (a check with errors included)
  {} plan --to 1.31 >/dev/null`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.format.AddFlag(cmd)
	AddWishFlags(cmd, e, &o.wish)
	cmd.Flags().StringSliceVarP(&o.namespaces, "namespace", "n", nil, "Show only these namespaces")
	env.CompleteFlag(cmd, "namespace", e.CompleteNamespaces)
	return cmd
}

// AddWishFlags adds the flags that say which upgrade is meant.
func AddWishFlags(cmd *cobra.Command, e *env.Env, w *proposal.Wish) {
	cmd.Flags().StringVar(&w.Version, "to", "", "Istio version to upgrade to, for example 1.31 or 1.31.0")
	cmd.Flags().StringVar(&w.Revision, "revision", "", "Name of the new revision (default: the version with a dash, 1-31)")
	cmd.Flags().StringVar(&w.From, "from-revision", "", "Revision to leave (default: the only one in use)")
	cmd.Flags().StringVar(&w.From, "from", "", "The same as --from-revision")
	_ = cmd.Flags().MarkHidden("from") // The flag exists.
	env.CompleteFlag(cmd, "to", e.CompleteVersions)
	env.CompleteFlag(cmd, "from-revision", e.CompleteRevisions)
}

func (o *options) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	p, err := propose.Look(ctx, o.env, o.wish)
	if err != nil {
		return err
	}
	plan := o.plan(p)
	if plan.Supported && !p.Running {
		if err := o.check(ctx, p, &plan); err != nil {
			return err
		}
	}
	if o.format != printer.Text {
		err = o.format.Write(o.env.Out, plan)
	} else if plan.From == "" {
		_, err = fmt.Fprintln(o.env.Out, plan.Refusal)
	} else {
		_, err = fmt.Fprint(o.env.Out, plan.Render(o.env.Terminal.View()))
	}
	if err == nil && (!plan.Supported || plan.Checks != nil && !plan.Checks.Passed) {
		return exit.Silent(exit.Refused)
	}
	return err
}

func (o *options) plan(p *proposal.Proposal) view.Plan {
	out := p.Plan(o.namespaces...)
	switch {
	case !out.Supported:
	case p.Running:
		out.Next = []view.Next{{Why: "this upgrade runs; see how far it is", Command: o.env.Program + " status"}}
	default:
		out.Next = []view.Next{{Why: "nothing was changed; start the upgrade", Command: o.start(p)}}
	}
	return out
}

// check makes the checks of step 0, and says what each EnvoyFilter is worth with the new version.
func (o *options) check(ctx context.Context, p *proposal.Proposal, out *view.Plan) error {
	r, facts, err := propose.Check(ctx, o.env, p, nil)
	if err != nil {
		return err
	}
	command := o.env.Program + " check --to " + p.Upgrade.Spec.Version
	out.Checks = &view.PlanChecks{Passed: r.Passed, Summary: r.Summary, Text: r.Words(), Command: command}
	for _, f := range preflight.Filters(facts) {
		for n := range out.EnvoyFilters {
			if e := &out.EnvoyFilters[n]; e.Namespace == f.Namespace && e.Name == f.Name {
				e.Verdict, e.Why = string(f.Outcome), f.Explain()
			}
		}
	}
	if !r.Passed {
		out.Next = []view.Next{{Why: "mend the errors first, or start with --ignore-check", Command: command + " --severity error"}}
	}
	return nil
}

// start is the exact command that does what the plan shows.
func (o *options) start(p *proposal.Proposal) string {
	s := o.env.Program + " upgrade start --to " + p.Upgrade.Spec.Version
	if o.wish.Revision != "" {
		s += " --revision " + o.wish.Revision
	}
	if o.wish.From != "" {
		s += " --from-revision " + o.wish.From
	}
	return s
}
