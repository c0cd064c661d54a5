// Package envoyfilters is the command "meshlift envoyfilters": which EnvoyFilters have to be checked for the target version,
// and the record that they were.
package envoyfilters

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// NewCommand returns the command with its subcommands.
func NewCommand(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "envoyfilters",
		Aliases: []string{"envoyfilter", "ef"},
		Short:   "List and acknowledge the EnvoyFilters of the mesh (step 3)",
		Long: `An EnvoyFilter patches the configuration that one version of istiod makes; another version may make it differently.
Meshlift moves no data plane before somebody has checked every EnvoyFilter for the target version with its owner and said
so here. An acknowledgement is for the present content: when the EnvoyFilter changes, it has to be checked again.`,
		Args: exit.NoSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newList(e), newCheck(e), newAck(e), newUnack(e))
	return cmd
}

type listOptions struct {
	env     *env.Env
	format  printer.Format
	upgrade string
}

func newList(e *env.Env) *cobra.Command {
	o := &listOptions{env: e}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the EnvoyFilters of the cluster and who acknowledged them",
		Long:  "List the EnvoyFilters of the cluster with their owners, and who has checked them for the target version.\n\n" + exit.Help,
		Example: strings.ReplaceAll(`  {} envoyfilters list

  # Those that still wait, for a script
  {} envoyfilters list -o json | jq -r '.[] | select(.acknowledged | not) | "\(.namespace)/\(.name)"'`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.format.AddFlag(cmd)
	addUpgrade(cmd, e, &o.upgrade)
	return cmd
}

func addUpgrade(cmd *cobra.Command, e *env.Env, name *string) {
	cmd.Flags().StringVar(name, "upgrade", "", "Name of the ClusterUpgrade (default: the one that runs)")
	env.CompleteFlag(cmd, "upgrade", e.CompleteUpgrades)
}

func (o *listOptions) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	u, err := o.env.Upgrade(ctx, c, o.upgrade)
	if err != nil {
		return err
	}
	filters := view.EnvoyFilters(u)
	if o.format != printer.Text {
		return o.format.Write(o.env.Out, filters)
	}
	_, err = fmt.Fprint(o.env.Out, view.EnvoyFiltersText(o.env.Program, u, filters, o.env.Terminal.View()))
	return err
}

type ackOptions struct {
	env     *env.Env
	upgrade string
	all     bool
	note    string
}

func newAck(e *env.Env) *cobra.Command {
	o := &ackOptions{env: e}
	cmd := &cobra.Command{
		Use:   "ack NAMESPACE/NAME... | --all",
		Short: "Record that EnvoyFilters were checked for the target version",
		Long: `Record that EnvoyFilters were checked for the target version: who, when, and which content. The content is that of the last
look of the agent; an EnvoyFilter that changed since is not acknowledged.

` + exit.Help,
		Example: strings.ReplaceAll(`  # One, with what was done
  {} envoyfilters ack bookinfo/add-header --note "checked with team reviews, no change needed"

  # All that wait
  {} envoyfilters ack --all`, "{}", e.Program),
		ValidArgsFunction: e.CompleteEnvoyFilters(false),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "Acknowledge every EnvoyFilter that waits")
	cmd.Flags().StringVar(&o.note, "note", "", "What was checked or changed (at most 1024 characters)")
	addUpgrade(cmd, e, &o.upgrade)
	return cmd
}

// parse turns arguments into namespaces and names.
func parse(args []string, all bool) ([]key, error) {
	switch {
	case all && len(args) > 0:
		return nil, exit.Usagef("name EnvoyFilters or use --all, not both")
	case !all && len(args) == 0:
		return nil, exit.Usagef("name EnvoyFilters as NAMESPACE/NAME, or use --all")
	}
	var out []key
	for _, a := range args {
		ns, name, ok := strings.Cut(a, "/")
		if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
			return nil, exit.Usagef("%q is not an EnvoyFilter: write NAMESPACE/NAME", a)
		}
		out = append(out, key{ns, name})
	}
	return out, nil
}

type key struct{ namespace, name string }

func (k key) String() string { return k.namespace + "/" + k.name }

func (o *ackOptions) run(ctx context.Context, args []string) error {
	keys, err := parse(args, o.all)
	if err != nil {
		return err
	}
	if len(o.note) > 1024 {
		return exit.Usagef("the note has %d characters: at most 1024 are kept", len(o.note))
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	u, err := o.env.Upgrade(ctx, c, o.upgrade)
	if err != nil {
		return err
	}
	by, at := o.env.User(ctx, c), metav1.NewTime(o.env.Now().UTC().Truncate(time.Second))
	var done []string
	err = env.Edit(ctx, c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		var chosen []v1alpha1.EnvoyFilterStatus
		if chosen, err = choose(u, keys, o.all); err != nil {
			return false, err
		}
		done = nil
		for _, f := range chosen {
			if intent.Acknowledge(u, f, by, at, o.note) {
				done = append(done, f.Namespace+"/"+f.Name)
			}
		}
		return len(done) > 0, nil
	})
	if err != nil {
		return o.env.API(err)
	}
	seen(ctx, o.env, c, u)
	return report(o.env, u, "acknowledged", done)
}

// patience is how long a command waits for the agent to look at what it has written.
const patience = 10 * time.Second

// seen waits until the agent has looked at the edit, so that the next command finds the step done. An agent that does not
// answer is no failure of the edit.
func seen(ctx context.Context, e *env.Env, c client.WithWatch, u *v1alpha1.ClusterUpgrade) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for update := range follow.Object(ctx, c, u, &v1alpha1.ClusterUpgradeList{}, e.Resync) {
		if update.Gone || update.Fatal || update.Object != nil && update.Object.Status.ObservedGeneration >= u.Generation {
			return
		}
	}
}

// choose returns the EnvoyFilters that are meant, as the agent saw them last.
func choose(u *v1alpha1.ClusterUpgrade, keys []key, all bool) ([]v1alpha1.EnvoyFilterStatus, error) {
	if all {
		return slices.DeleteFunc(slices.Clone(u.Status.EnvoyFilters), func(f v1alpha1.EnvoyFilterStatus) bool { return f.Acknowledged }), nil
	}
	var out []v1alpha1.EnvoyFilterStatus
	for _, k := range keys {
		n := slices.IndexFunc(u.Status.EnvoyFilters, func(f v1alpha1.EnvoyFilterStatus) bool { return f.Namespace == k.namespace && f.Name == k.name })
		if n < 0 {
			return nil, fmt.Errorf("ClusterUpgrade %q knows no EnvoyFilter %s: see \"envoyfilters list\"", u.Name, k)
		}
		out = append(out, u.Status.EnvoyFilters[n])
	}
	return out, nil
}

func newUnack(e *env.Env) *cobra.Command {
	o := &ackOptions{env: e}
	cmd := &cobra.Command{
		Use:               "unack NAMESPACE/NAME... | --all",
		Short:             "Take acknowledgements back",
		Long:              "Take acknowledgements back. No further data plane moves until they are given again.\n\n" + exit.Help,
		Example:           "  " + e.Program + " envoyfilters unack bookinfo/add-header",
		ValidArgsFunction: e.CompleteEnvoyFilters(true),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.unack(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "Take all acknowledgements back")
	addUpgrade(cmd, e, &o.upgrade)
	return cmd
}

func (o *ackOptions) unack(ctx context.Context, args []string) error {
	keys, err := parse(args, o.all)
	if err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	u, err := o.env.Upgrade(ctx, c, o.upgrade)
	if err != nil {
		return err
	}
	var done []string
	err = env.Edit(ctx, c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		done = nil
		u.Spec.EnvoyFilters = slices.DeleteFunc(u.Spec.EnvoyFilters, func(a v1alpha1.EnvoyFilterAcknowledgement) bool {
			take := o.all || slices.Contains(keys, key{a.Namespace, a.Name})
			if take {
				done = append(done, a.Namespace+"/"+a.Name)
			}
			return take
		})
		return len(done) > 0, nil
	})
	if err != nil {
		return o.env.API(err)
	}
	return report(o.env, u, "no longer acknowledged", done)
}

func report(e *env.Env, u *v1alpha1.ClusterUpgrade, what string, done []string) error {
	if len(done) == 0 {
		_, err := fmt.Fprintln(e.Out, "Nothing to change.")
		return err
	}
	for _, name := range done {
		if _, err := fmt.Fprintf(e.Out, "EnvoyFilter %s %s for Istio %s\n", name, what, target(u)); err != nil {
			return err
		}
	}
	return nil
}

func target(u *v1alpha1.ClusterUpgrade) string {
	if u.Status.To != nil {
		return u.Status.To.Version
	}
	return u.Spec.Version
}
