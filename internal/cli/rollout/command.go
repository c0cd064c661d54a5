// Package rollout is the command "meshlift rollout" ("asm-controller bfg rollout"): move data planes to the new revision, or
// back. The rollout is an object that the agent works on; this command makes it, shows it and takes decisions, and can leave
// and come back at any time.
package rollout

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
)

type options struct {
	env         *env.Env
	format      printer.Format
	upgrade     string
	namespaces  []string
	parallelism int32
	pace        paceFlags
	filename    string
	dryRun      bool
	policy      string
	timeout     time.Duration
	back        bool
	noPrompt    bool
	detach      bool
	attach      string
	waitTimeout time.Duration

	// play runs a terminal interface; tests replace it.
	play func(tea.Model) (tea.Model, error)
}

const long = `Move data planes (sidecars and gateways) to the new revision, in batch: each by a rolling update of its workload, rehearsed
first, a few at a time.

On a terminal it shows what would move by namespace with every warning, lets you choose, asks, and then shows the progress.
When a move fails it shows the events of the pods and offers to try again, to skip it, to move it back, or to stop.
Ctrl-C leaves; the rollout goes on, and the same command comes back to it.

With --no-prompt, or without a terminal, it does the same in plain lines, without asking.

TARGETS are NAMESPACE, NAMESPACE/NAME or NAMESPACE/KIND/NAME; without targets it is every data plane of the cluster.

With --dry-run it shows the plan and changes nothing. Waves with soak, maintenance windows and freezes are written into a
DataPlaneRollout, which --filename reads (docs/rollout.md). Moves back are never held by windows and freezes.

`

const example = `  # Everything, interactively
  {} rollout

  # Everything, in a script
  {} rollout --no-prompt

  # One workload of a namespace, its neighbours stay
  {} rollout bookinfo/reviews-v1

  # Two namespaces, one workload at a time, go on when one fails
  {} rollout -n bookinfo -n shop --parallelism 1 --failure-policy Continue

  # At most 10% of the pods and two workloads of a namespace at a time; show the plan first
  {} rollout --parallelism 0 --max-pods 10% --parallelism-per-namespace 2 --dry-run

  # Waves, windows and freezes from a file
  {} rollout -f rollout.yaml --dry-run
  {} rollout -f rollout.yaml

  # Back to the old revision
  {} rollout --back bookinfo

  # Start and leave, come back later
  {} rollout --no-prompt --detach
  {} rollout

  # Try what failed again
  {} rollout retry`

// NewCommand returns the command with its subcommands.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	o.play = o.terminal
	return newCommand(e, o)
}

func newCommand(e *env.Env, o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "rollout [TARGETS...]",
		Short:             "Move data planes to the new revision, or back (step 4)",
		Long:              long + exit.Help,
		Example:           strings.ReplaceAll(example, "{}", e.Program),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: e.CompleteNamespaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkFile(cmd, args); err != nil {
				return err
			}
			return o.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.upgrade, "upgrade", "", "Name of the ClusterUpgrade (default: the one that runs)")
	f.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "Namespaces to move (can be given several times)")
	f.Int32Var(&o.parallelism, "parallelism", v1alpha1.DefaultParallelism, "How many workloads move at the same time (0 = no limit)")
	o.pace.add(f)
	f.StringVarP(&o.filename, "filename", "f", "", "Read the rollout from this file instead of flags (\"-\" is standard input): a DataPlaneRollout, for waves, windows and freezes")
	f.BoolVar(&o.dryRun, "dry-run", false, "Show the plan: waves, order, budgets, windows, warnings; change nothing")
	f.StringVar(&o.policy, "failure-policy", string(v1alpha1.FailureStop), "When a move fails: Stop (start nothing new until you decide), Continue, MoveBack (move it back, then as Stop) or MoveBackAndContinue")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "Time for one workload to become ready (0 = for ever)")
	f.BoolVar(&o.back, "back", false, "Move back to the old revision")
	f.BoolVar(&o.noPrompt, "no-prompt", false, "Do not ask; print plain lines")
	f.BoolVar(&o.detach, "detach", false, "Start the rollout and leave at once")
	f.StringVar(&o.attach, "attach", "", "Show this DataPlaneRollout; start nothing")
	f.DurationVar(&o.waitTimeout, "wait-timeout", 0, "Leave after this time; the rollout goes on (0 = never)")
	o.format.AddFlag(cmd)
	env.CompleteFlag(cmd, "upgrade", e.CompleteUpgrades)
	env.CompleteFlag(cmd, "namespace", e.CompleteNamespaces)
	env.CompleteFlag(cmd, "attach", e.CompleteRollouts)
	env.CompleteFlag(cmd, "gateways", cobra.FixedCompletions(gatewayOrders(), cobra.ShellCompDirectiveNoFileComp))
	env.CompleteFlag(cmd, "namespace-order", e.CompleteNamespaces)
	env.CompleteFlag(cmd, "failure-policy", cobra.FixedCompletions(policies(), cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(subcommands(e)...)
	return cmd
}

func policies() []string {
	return []string{string(v1alpha1.FailureStop), string(v1alpha1.FailureContinue), string(v1alpha1.FailureMoveBack), string(v1alpha1.FailureMoveBackAndContinue)}
}

// check refuses wrong flags before anything is read.
func (o *options) check() error {
	if err := o.format.Check(); err != nil {
		return err
	}
	known := false
	for _, p := range policies() {
		if strings.EqualFold(p, o.policy) {
			o.policy, known = p, true
		}
	}
	switch {
	case !known:
		return exit.Usagef("unknown failure policy %q: use %s", o.policy, strings.Join(policies(), ", "))
	case o.parallelism < 0:
		return exit.Usagef("--parallelism must not be negative; 0 means no limit")
	case o.timeout < 0:
		return exit.Usagef("--timeout must not be negative; 0 means never")
	case o.attach != "" && (o.back || o.detach || o.dryRun || o.filename != ""):
		return exit.Usagef("--attach shows a rollout that exists: leave --back, --detach, --dry-run and --filename out")
	}
	return o.pace.check()
}
