// Package status is the command "meshlift status": everything about the cluster on one page.
package status

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/view"
)

type options struct {
	env      *env.Env
	format   printer.Format
	watch    bool
	interval time.Duration
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show Istio, Kubernetes, the running upgrade and what to do next",
		Long: `Show on one page: the versions of Kubernetes and Istio, which revisions run, who uses them and why, what they can be
upgraded to, the five steps of the running upgrade, and the command to type next.

In the checklist ✓ is done, ● is at work or waits for you, ○ comes later and ✗ needs a repair.

` + exit.Help,
		Example: strings.ReplaceAll(`  # One page
  {} status

  # The same, kept up to date
  {} status --watch

  # The first thing to do, for a script
  {} status -o json | jq -r '.next[0].command'`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.format.AddFlag(cmd)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Show the page again whenever it changes, until Ctrl-C")
	cmd.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "How often to look with --watch")
	return cmd
}

func (o *options) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	if o.watch && o.format != printer.Text {
		return exit.Usagef("--watch shows text: leave --output out")
	}
	if o.interval <= 0 {
		return exit.Usagef("--interval must be longer than zero")
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	if !o.watch {
		s, err := o.look(ctx, c)
		if err != nil {
			return err
		}
		if o.format != printer.Text {
			return o.format.Write(o.env.Out, s)
		}
		_, err = fmt.Fprint(o.env.Out, s.Render(o.env.Terminal.View()))
		return err
	}
	return o.follow(ctx, c)
}

// look reads three small kinds and makes the page.
func (o *options) look(ctx context.Context, c client.Client) (view.Status, error) {
	f := view.Facts{Program: o.env.Program, Cluster: o.env.Cluster()}
	var err error
	if f.ControlPlane, err = o.env.ControlPlane(ctx, c); err != nil {
		return view.Status{}, err
	}
	if f.Upgrades, err = o.env.Upgrades(ctx, c); err != nil {
		return view.Status{}, err
	}
	if f.Rollouts, err = o.env.Rollouts(ctx, c); err != nil {
		return view.Status{}, err
	}
	f.AgentDown = agentDown(ctx, c)
	s := view.NewStatus(f)
	if s.Kubernetes == "" {
		s.Kubernetes, _ = o.env.Kubernetes() // The page is useful without it.
	}
	return s, nil
}

// agentDown says that the agent does not run. A user who may not read Deployments is told nothing about it.
func agentDown(ctx context.Context, c client.Client) string {
	list := &appsv1.DeploymentList{}
	if err := c.List(ctx, list, client.MatchingLabels{"app.kubernetes.io/name": "meshlift", "app.kubernetes.io/component": "agent"}); err != nil || len(list.Items) == 0 {
		return ""
	}
	d := &list.Items[0]
	if d.Status.ReadyReplicas > 0 {
		return ""
	}
	return fmt.Sprintf("the agent does not run (Deployment %s/%s has no ready replica): nothing goes on, and this page may be old; look at its pods", d.Namespace, d.Name)
}

// follow shows the page whenever it changes. A cluster that does not answer is shown, not an end.
func (o *options) follow(ctx context.Context, c client.Client) error {
	ticker := time.NewTicker(o.interval)
	defer ticker.Stop()
	last := ""
	for {
		s, err := o.look(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		text := s.Render(o.env.Terminal.View())
		if err != nil {
			text = exit.Message(err) + "; trying again\n"
		}
		if text != last {
			if err := o.show(text, last == ""); err != nil {
				return err
			}
			last = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// show clears a real terminal; elsewhere the pages follow each other, with the time between them.
func (o *options) show(text string, first bool) error {
	t := o.env.Terminal
	switch {
	case t.Out && !t.Dumb:
		text = "\x1b[2J\x1b[H" + text
	case !first:
		text = "\n" + o.env.Now().Format(time.TimeOnly) + "\n" + text
	}
	_, err := fmt.Fprint(o.env.Out, text)
	return err
}
