package components

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

type upgradeOptions struct {
	env     *env.Env
	cluster string
	all     bool
	detach  bool
	timeout time.Duration
}

func newUpgrade(e *env.Env) *cobra.Command {
	o := &upgradeOptions{env: e}
	cmd := &cobra.Command{
		Use:   "upgrade NAME... | --all",
		Short: "Upgrade components of a cluster to the versions that are offered",
		Long: `Upgrade components of a cluster to the versions that are offered, one, several or all, and wait for the end. The values of a Helm
release stay; of a subscription of OLM the install plan is approved. What fails keeps its old version, and the reason is shown; the same
command tries again. Ctrl-C leaves, and the upgrade goes on.

` + exit.Help,
		Example: strings.ReplaceAll(`  {} components upgrade jaeger-operator --cluster east

  # Everything that is behind, asm (the agent) among it
  {} components upgrade --all --cluster east`, "{}", e.Program),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.cluster, "cluster", "", "Cluster, as it is called in the hub (needed)")
	f.BoolVar(&o.all, "all", false, "Every component that can be upgraded")
	f.BoolVar(&o.detach, "detach", false, "Ask and do not wait")
	f.DurationVar(&o.timeout, "timeout", 0, "Give up waiting after this time; the upgrade goes on (0 = never)")
	env.CompleteFlag(cmd, "cluster", clusters(e))
	return cmd
}

func (o *upgradeOptions) check(args []string) error {
	switch {
	case o.cluster == "":
		return exit.Usagef("say which cluster with --cluster")
	case o.all && len(args) > 0:
		return exit.Usagef("name components or use --all, not both")
	case !o.all && len(args) == 0:
		return exit.Usagef("name components, or use --all")
	case slices.Contains(args, "istio"):
		return exit.Usagef("Istio is upgraded by %q", o.env.Program+" upgrade start")
	case slices.Contains(args, "kubernetes"):
		return exit.Usagef("Kubernetes is upgraded by your platform")
	case o.timeout < 0:
		return exit.Usagef("--timeout cannot be negative")
	}
	return nil
}

func (o *upgradeOptions) run(ctx context.Context, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	m, err := cluster(ctx, o.env, c, o.cluster)
	if err != nil {
		return err
	}
	by, at := o.env.User(ctx, c), metav1.NewTime(o.env.Now().UTC().Truncate(time.Second))
	var asked map[string]metav1.Time
	err = env.Edit(ctx, c, m, func(m *hub.MemberCluster) (bool, error) {
		var rows []hub.ComponentStatus
		if rows, err = o.choose(m, args); err != nil {
			return false, err
		}
		asked = intent.Request(m, rows, by, at)
		return len(asked) > 0, nil
	})
	if err != nil {
		return o.env.API(err)
	}
	if len(asked) == 0 {
		o.say("Nothing to upgrade in cluster %s.", m.Name)
		return nil
	}
	if o.detach {
		o.say("Asked for %s in cluster %s.", strings.Join(names(asked), ", "), m.Name)
		return nil
	}
	return o.wait(ctx, m, asked)
}

// choose returns the components that are meant and are behind.
func (o *upgradeOptions) choose(m *hub.MemberCluster, args []string) ([]hub.ComponentStatus, error) {
	if len(m.Status.Components) == 0 {
		return nil, fmt.Errorf("the components of cluster %q are not known yet: see %q", m.Name, o.env.Program+" cluster list")
	}
	var out []hub.ComponentStatus
	if o.all {
		for _, r := range m.Status.Components {
			if r.Name != "istio" && r.Name != "kubernetes" && intent.Upgradeable(r.Phase) {
				out = append(out, r)
			}
		}
		return out, nil
	}
	for _, name := range args {
		r := row(m, name)
		switch {
		case r == nil:
			return nil, fmt.Errorf("the catalog has no component %q: see %q", name, o.env.Program+" components")
		case r.Phase == hub.ComponentCurrent:
			o.say("%s is at version %s already.", title(r), r.Running)
		case r.Phase == hub.ComponentNotInstalled:
			return nil, exit.Refusedf("%s is not installed in cluster %s: install it as you install other software first", title(r), m.Name)
		case r.Phase == hub.ComponentUnknown:
			return nil, exit.Refusedf("%s in cluster %s is not known: %s", title(r), m.Name, r.Message)
		default:
			out = append(out, *r)
		}
	}
	return out, nil
}

func title(r *hub.ComponentStatus) string {
	if r.Title != "" {
		return r.Title
	}
	return r.Name
}

func names(asked map[string]metav1.Time) []string {
	var out []string
	for name := range asked {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (o *upgradeOptions) say(format string, args ...any) {
	_, _ = fmt.Fprintln(o.env.Out, o.env.Terminal.View().Theme.Clean(fmt.Sprintf(format, args...)))
}

// wait shows progress until every request is answered.
func (o *upgradeOptions) wait(ctx context.Context, m *hub.MemberCluster, asked map[string]metav1.Time) error {
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	ctx, cancel := env.Deadline(ctx, o.timeout)
	defer cancel()
	said := map[string]string{}
	var open []string
	for u := range follow.Object(ctx, c, m, &hub.MemberClusterList{}, o.env.Resync) {
		switch {
		case u.Gone:
			return fmt.Errorf("cluster %q was removed from the hub", m.Name)
		case u.Fatal:
			return o.env.API(u.Err)
		case u.Err != nil:
			o.say("the hub does not answer, this goes on: %v", u.Err)
			continue
		}
		var failures []string
		open = nil
		for _, name := range names(asked) {
			end, failure := o.progress(u.Object, name, asked[name], said)
			if !end {
				open = append(open, name)
			}
			if failure != "" {
				failures = append(failures, failure)
			}
		}
		if len(open) > 0 {
			continue
		}
		if len(failures) > 0 {
			return errors.New(strings.Join(failures, "; "))
		}
		return nil
	}
	return exit.Unfinishedf("the upgrade of %s goes on without this command: see %s components --cluster %s", strings.Join(open, ", "), o.env.Program, m.Name)
}

// progress says what is new about one component; end is true when its request is answered.
func (o *upgradeOptions) progress(m *hub.MemberCluster, name string, at metav1.Time, said map[string]string) (end bool, failure string) {
	r := row(m, name)
	if r == nil || r.RequestedAt == nil || r.RequestedAt.Unix() < at.Unix() {
		return false, ""
	}
	text := fmt.Sprintf("%s %s: ", view.ComponentGlyph(o.env.Terminal.View().Theme, r.Phase), title(r))
	switch {
	case r.RequestedAt.Unix() > at.Unix():
		end, failure = true, fmt.Sprintf("somebody else asked for %s meanwhile", name)
		text += failure
	case r.Phase == hub.ComponentCurrent:
		end = true
		text += "version " + r.Running + " runs"
	case r.Phase == hub.ComponentUpgrading, r.Phase == hub.ComponentUnknown:
		text += r.Message
	default:
		end, failure = true, fmt.Sprintf("%s was not upgraded in cluster %s", name, m.Name)
		text += r.Message
	}
	if said[name] != text {
		said[name] = text
		o.say("%s  %s", o.env.Now().Format(time.TimeOnly), text)
	}
	return end, failure
}
