// Package report is the command "meshlift report": the record of a whole upgrade, for those who were not there.
package report

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
	"meshlift.dev/meshlift/internal/report"
	"meshlift.dev/meshlift/internal/view"
)

// Formats besides those of package printer.
const (
	markdown = "markdown"
	html     = "html"
)

type options struct {
	env    *env.Env
	format string
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "report [UPGRADE]",
		Short: "Write the record of an upgrade: who decided what, what moved, what failed, the proof of the end",
		Long: `Write one document about an upgrade, while it runs or afterwards: who decided what and when, the five steps, how each EnvoyFilter was
handled, every rollout with its pace, failures and their evidence, and by what proof the old istiod was removed. It is made from the
ClusterUpgrade and its DataPlaneRollouts, so keep it before you delete them. Nothing is changed.

` + exit.Help,
		Example: strings.ReplaceAll(`  # The upgrade that runs, else the newest one
  {} report > upgrade.md

  # A page for people, and a file for machines
  {} report 1-30-to-1-31 -o html > upgrade.html
  {} report 1-30-to-1-31 -o json > upgrade.json`, "{}", e.Program),
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.CompleteUpgrade,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return o.run(cmd.Context(), name)
		},
	}
	formats := []string{markdown, html, string(printer.JSON), string(printer.YAML)}
	cmd.Flags().StringVarP(&o.format, "output", "o", markdown, "Output format: "+strings.Join(formats, ", "))
	// The flag exists, so this cannot fail.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *options) run(ctx context.Context, name string) error {
	if o.format != markdown && o.format != html {
		if err := printer.Format(o.format).Check(); err != nil || o.format == "" {
			return exit.Usagef("unknown output format %q: use %s, %s, json or yaml", o.format, markdown, html)
		}
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	r, err := o.look(ctx, c, name)
	if err != nil {
		return err
	}
	text := ""
	switch o.format {
	case markdown:
		text = r.Markdown()
	case html:
		if text, err = r.HTML(); err != nil {
			return err
		}
	default:
		return printer.Format(o.format).Write(o.env.Out, r)
	}
	_, err = fmt.Fprint(o.env.Out, text)
	return err
}

func (o *options) look(ctx context.Context, c client.Client, name string) (report.Report, error) {
	f := report.Facts{Cluster: o.env.Cluster(), At: o.env.Now()}
	var err error
	if f.Upgrade, err = o.upgrade(ctx, c, name); err != nil {
		return report.Report{}, err
	}
	if f.Rollouts, err = o.env.Rollouts(ctx, c); err != nil {
		return report.Report{}, err
	}
	if cp, err := o.env.ControlPlane(ctx, c); err == nil {
		f.Kubernetes = cp.Status.KubernetesVersion // the report is useful without it
	}
	return report.New(f), nil
}

// upgrade is the named one, else the one that runs, else the newest.
func (o *options) upgrade(ctx context.Context, c client.Client, name string) (*v1alpha1.ClusterUpgrade, error) {
	if name != "" {
		return o.env.Upgrade(ctx, c, name)
	}
	all, err := o.env.Upgrades(ctx, c)
	if err != nil {
		return nil, err
	}
	u := view.Latest(all)
	if u == nil {
		return nil, exit.Refusedf("there is no upgrade to report about: start one with %q", o.env.Program+" upgrade start --to VERSION")
	}
	return u, nil
}
