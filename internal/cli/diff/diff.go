// Package diff is the command "meshlift diff": what the new istiod sends to proxies, compared with the old one.
package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/cli/propose"
	"meshlift.dev/meshlift/internal/cli/rollout"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

// attempts to get answers between which nothing has changed.
const attempts = 3

type options struct {
	env    *env.Env
	format printer.Format
	wish   wish
	all    bool
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "diff [NAMESPACE | NAMESPACE/NAME | NAMESPACE/KIND/NAME]...",
		Short: "Show what the new istiod sends to proxies, compared with the old one",
		Long: `Show what the new istiod sends to proxies, compared with the old one, while both run: clusters, listeners, routes and extensions, field by
field. Proxies that differ in nothing that matters are one class, and each class is asked for once: at the old istiod as its proxies are,
and at the new one in the old and in the new version. For each EnvoyFilter it shows where its values are seen in both answers.

Changes that are known to be harmless are counted and shown with --all. Nothing is changed, and no proxy notices: istiods are asked through
pods/portforward in the place of a pod. Contents of secrets are never asked for.

` + exit.HelpDiff,
		Example: strings.ReplaceAll(`  # Everything
  {} diff

  # One namespace, or one workload
  {} diff bookinfo
  {} diff bookinfo/Deployment/reviews-v1

  # Two revisions that are no upgrade of Meshlift
  {} diff --from-revision 1-30 --revision canary`, "{}", e.Program),
		ValidArgsFunction: e.CompleteNamespaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := o.run(cmd.Context(), args)
			var coded *exit.Error
			if err != nil && !errors.As(err, &coded) {
				return &exit.Error{Code: exit.NotCompared, Err: err}
			}
			return err
		},
	}
	o.format.AddFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.wish.version, "to", "", "Istio version of the new istiod (default: that of the upgrade that runs, else the newer one)")
	f.StringVar(&o.wish.to, "revision", "", "Revision of the new istiod")
	f.StringVar(&o.wish.from, "from-revision", "", "Revision of the old istiod")
	f.BoolVar(&o.all, "all", false, "Show harmless changes too, and all names")
	env.CompleteFlag(cmd, "to", e.CompleteVersions)
	env.CompleteFlag(cmd, "revision", e.CompleteRevisions)
	env.CompleteFlag(cmd, "from-revision", e.CompleteRevisions)
	return cmd
}

func (o *options) run(ctx context.Context, args []string) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	named, err := rollout.Named(args)
	if err != nil {
		return err
	}
	p, err := propose.Look(ctx, o.env, proposal.Wish{})
	if err != nil {
		return err
	}
	from, to, err := o.wish.pair(p)
	if err != nil {
		return err
	}
	facts, err := o.env.DataPlanes(ctx, p.Inventory)
	if err != nil {
		return o.env.API(fmt.Errorf("read the data planes: %w", err))
	}
	facts.Usual = []string{from.Version, to.Version}
	if facts.Proxies, err = pick(facts.Proxies, []string{from.Name, to.Name}, args, named); err != nil {
		return err
	}
	r, err := o.compare(ctx, facts, from, to)
	if err != nil {
		return err
	}
	if o.format != printer.Text {
		err = o.format.Write(o.env.Out, r)
	} else {
		_, err = fmt.Fprint(o.env.Out, view.DiffText(r, o.all, o.next(r), o.env.Terminal.View()))
	}
	if err == nil && r.Differences+r.Lost > 0 {
		return exit.Silent(exit.Different)
	}
	return err
}

// pick keeps the proxies of both revisions that the arguments name; none name all.
func pick(proxies []xdsdiff.Proxy, revisions, args []string, named []func(mesh.Ref) bool) ([]xdsdiff.Proxy, error) {
	for n, means := range named {
		if !slices.ContainsFunc(proxies, func(p xdsdiff.Proxy) bool { return means(p.Workload) }) {
			return nil, exit.Usagef("%q is no data plane of this cluster that runs", args[n])
		}
	}
	return slices.DeleteFunc(proxies, func(p xdsdiff.Proxy) bool {
		return !slices.Contains(revisions, p.Revision) || len(named) > 0 && !slices.ContainsFunc(named, func(means func(mesh.Ref) bool) bool { return means(p.Workload) })
	}), nil
}

func (o *options) compare(ctx context.Context, f *xdsdiff.Facts, from, to mesh.Revision) (*xdsdiff.Report, error) {
	istiods, err := o.env.Istiods(f.RootNamespace)
	if err != nil {
		return nil, err
	}
	defer istiods.Close()
	r := &xdsdiff.Report{
		From: xdsdiff.Revision{Name: from.Name, Version: from.Version}, To: xdsdiff.Revision{Name: to.Name, Version: to.Version},
		Classes: []xdsdiff.ClassReport{}, Left: xdsdiff.LeftOut(f),
	}
	for _, c := range xdsdiff.Classes(f) {
		report, err := o.class(ctx, istiods, c, from, to, xdsdiff.Filters(f, c))
		if err != nil {
			return nil, err
		}
		r.Classes = append(r.Classes, report)
	}
	r.Count()
	return r, nil
}

// class compares one class. When the old istiod says something else afterwards, something has changed meanwhile, and all are asked again.
func (o *options) class(ctx context.Context, istiods env.Istiods, c xdsdiff.Class, from, to mesh.Revision, filters []xdsdiff.Object) (xdsdiff.ClassReport, error) {
	version := c.Ask.Version
	if c.Ask.Revision != from.Name {
		version = from.Version
	}
	var r xdsdiff.ClassReport
	for range attempts {
		var a xdsdiff.Answers
		group, asking := errgroup.WithContext(ctx)
		ask := func(into *xdsdiff.Answer, rev mesh.Revision, version string) {
			group.Go(func() (err error) {
				*into, err = istiods.Ask(asking, rev, c.Ask, version)
				return err
			})
		}
		ask(&a.Old, from, version)
		ask(&a.NewOldProxy, to, version)
		ask(&a.New, to, to.Version)
		if err := group.Wait(); err != nil {
			return r, err
		}
		r = xdsdiff.Compare(c, a, xdsdiff.Revision{Name: from.Name, Version: from.Version}, xdsdiff.Revision{Name: to.Name, Version: to.Version}, filters)
		if len(r.Changes) == 0 {
			return r, nil
		}
		again, err := istiods.Ask(ctx, from, c.Ask, version)
		if err != nil || xdsdiff.Same(a.Old, again) {
			return r, err
		}
		r.Unsettled = true
	}
	return r, nil
}

func (o *options) next(r *xdsdiff.Report) []view.Next {
	switch {
	case r.Differences+r.Lost > 0:
		return []view.Next{{Why: "look at each difference with the owner of its workloads before they move; see all of it with", Command: o.env.Program + " diff --all"}}
	case len(r.Classes) == 0:
		return nil
	}
	return []view.Next{{Why: "nothing that matters differs; move the data planes", Command: o.env.Program + " rollout"}}
}
