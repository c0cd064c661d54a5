// Package check is the command "meshlift check": what would go wrong in an upgrade, before it starts (step 0).
package check

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
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
)

// JUnit is the format of continuous integration: one test case for each check.
const JUnit = "junit"

type options struct {
	env      *env.Env
	format   string
	wish     proposal.Wish
	severity string
	ignored  []string
	list     bool
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find what would go wrong in an upgrade, before it starts (step 0)",
		Long: `Find what would go wrong in an upgrade, before it starts: in the control plane, in admission, in certificates, in every workload and in
the configuration of the mesh. Each finding says what is the case, what follows, and what to do.

It reads the cluster with your credentials and stores nothing; some questions are put to the API server as dry runs. What you may
not read is shown as unknown, never as fine. Without --to it checks the upgrade that runs, or the one to the newest version that
is supported from here. "upgrade start" makes the same checks and refuses while there are errors.

` + exit.Help,
		Example: strings.ReplaceAll(`  # Before an upgrade
  {} check --to 1.31

  # Only what keeps it from starting
  {} check --to 1.31 --severity error

  # For a pipeline: the exit code is 3 when there are errors
  {} check --to 1.31 -o junit > check.xml

  # Which checks there are
  {} check --list`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	plan.AddWishFlags(cmd, e, &o.wish)
	f := cmd.Flags()
	f.StringVarP(&o.format, "output", "o", "", "Output format: json, yaml or junit")
	env.CompleteFlag(cmd, "output", cobra.FixedCompletions([]string{"json", "yaml", JUnit}, cobra.ShellCompDirectiveNoFileComp))
	f.StringVar(&o.severity, "severity", string(preflight.Info), "Show findings from this severity on: info, unknown, warning or error")
	env.CompleteFlag(cmd, "severity", cobra.FixedCompletions([]string{"info", "unknown", "warning", "error"}, cobra.ShellCompDirectiveNoFileComp))
	f.BoolVar(&o.list, "list", false, "Only list the checks that there are")
	AddIgnoreFlag(cmd, &o.ignored)
	return cmd
}

// AddIgnoreFlag adds --ignore-check.
func AddIgnoreFlag(cmd *cobra.Command, ignored *[]string) {
	cmd.Flags().StringSliceVar(ignored, "ignore-check", nil, "Go on although this check has errors (can be given several times)")
	var ids []string
	for _, c := range preflight.All() {
		ids = append(ids, c.ID)
	}
	env.CompleteFlag(cmd, "ignore-check", cobra.FixedCompletions(ids, cobra.ShellCompDirectiveNoFileComp))
}

func (o *options) check() error {
	if o.format != JUnit {
		if err := printer.Format(o.format).Check(); err != nil {
			return exit.Usagef("unknown output format %q: use json, yaml or junit", o.format)
		}
	}
	if !slices.Contains(preflight.Severities, preflight.Severity(o.severity)) {
		return exit.Usagef("unknown severity %q: use info, unknown, warning or error", o.severity)
	}
	return nil
}

func (o *options) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.list {
		_, err := fmt.Fprint(o.env.Out, view.CheckList(preflight.All(), o.env.Terminal.View()))
		return err
	}
	p, err := propose.Look(ctx, o.env, o.wish)
	if err != nil {
		return err
	}
	r, _, err := propose.Check(ctx, o.env, p, o.ignored)
	if err != nil {
		return err
	}
	if err := o.write(r, p); err != nil {
		return err
	}
	if !r.Passed {
		return exit.Silent(exit.Refused)
	}
	return nil
}

func (o *options) write(r preflight.Report, p *proposal.Proposal) error {
	from := preflight.Severity(o.severity)
	switch {
	case o.format == JUnit:
		return writeJUnit(o.env.Out, r, from)
	case o.format != "":
		return printer.Format(o.format).Write(o.env.Out, above(r, from))
	}
	_, err := fmt.Fprint(o.env.Out, view.CheckText(r, from, o.next(r, p), o.env.Terminal.View()))
	return err
}

// above leaves out the findings below a severity; every check stays.
func above(r preflight.Report, from preflight.Severity) preflight.Report {
	r.Checks = slices.Clone(r.Checks)
	for n := range r.Checks {
		r.Checks[n].Findings = slices.DeleteFunc(slices.Clone(r.Checks[n].Findings), func(f preflight.Finding) bool { return f.Severity.Compare(from) < 0 })
	}
	return r
}

func (o *options) next(r preflight.Report, p *proposal.Proposal) []view.Next {
	switch {
	case !r.Passed:
		return []view.Next{{Why: "mend the errors, or start with --ignore-check, which is recorded"}}
	case p.Running:
		return nil
	}
	return []view.Next{{Why: "nothing keeps the upgrade from starting; see what it would do", Command: o.env.Program + " plan --to " + p.Upgrade.Spec.Version}}
}
