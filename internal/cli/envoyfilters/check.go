package envoyfilters

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/plan"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/cli/propose"
	"meshlift.dev/meshlift/internal/envoyfilter"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
)

type checkOptions struct {
	env    *env.Env
	format printer.Format
	wish   proposal.Wish
}

func newCheck(e *env.Env) *cobra.Command {
	o := &checkOptions{env: e}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Judge every EnvoyFilter for the target version",
		Long: `Judge every EnvoyFilter for the target version: does it apply at all (proxyVersion), does the new Envoy have the types and fields that it
sets, is what it points at still there; and what does the new istiod say, once it runs (a dry run of a copy; nothing is stored).

  fine      the same with both versions, as far as can be seen
  changes   it stops or begins to apply, or uses what is deprecated from the new version on
  unknown   it cannot be judged
  breaks    the new version does not have what it needs, or refuses it

Without --to it takes the upgrade that runs. The exit code is 3 when one of them breaks.

` + exit.Help,
		Example:           strings.ReplaceAll("  {} envoyfilters check --to 1.31", "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.format.AddFlag(cmd)
	plan.AddWishFlags(cmd, e, &o.wish)
	return cmd
}

func (o *checkOptions) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	p, err := propose.Look(ctx, o.env, o.wish)
	if err != nil {
		return err
	}
	r, facts, err := propose.Check(ctx, o.env, p, nil)
	if err != nil {
		return err
	}
	if why, unknown := facts.Unknown[preflight.Config]; unknown {
		return fmt.Errorf("the EnvoyFilters cannot be read: %s", why)
	}
	filters := preflight.Filters(facts)
	if o.format != printer.Text {
		err = o.format.Write(o.env.Out, filters)
	} else {
		_, err = fmt.Fprint(o.env.Out, view.FiltersText(r, filters, o.next(p), o.env.Terminal.View()))
	}
	if err == nil && slices.ContainsFunc(filters, func(f preflight.Filter) bool { return f.Outcome == envoyfilter.Breaks }) {
		return exit.Silent(exit.Refused)
	}
	return err
}

func (o *checkOptions) next(p *proposal.Proposal) []view.Next {
	if !p.Running {
		return nil
	}
	return []view.Next{{Why: "check each with its owner, then record it", Command: o.env.Program + " envoyfilters ack NAMESPACE/NAME --note \"...\""}}
}
