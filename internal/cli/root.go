// Package cli puts the commands of Meshlift together: "meshlift", "kubectl meshlift" and "/app/asm-controller" are the same
// binary. Every command is an edit or a read of the objects of the API; nothing depends on the process of a command.
package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"meshlift.dev/meshlift/internal/cli/check"
	"meshlift.dev/meshlift/internal/cli/components"
	"meshlift.dev/meshlift/internal/cli/decommission"
	"meshlift.dev/meshlift/internal/cli/diff"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/envoyfilters"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/mesh"
	"meshlift.dev/meshlift/internal/cli/plan"
	"meshlift.dev/meshlift/internal/cli/platform"
	"meshlift.dev/meshlift/internal/cli/report"
	"meshlift.dev/meshlift/internal/cli/rollout"
	"meshlift.dev/meshlift/internal/cli/status"
	"meshlift.dev/meshlift/internal/cli/upgrade"
	"meshlift.dev/meshlift/internal/cli/versioninfo"
	"meshlift.dev/meshlift/internal/view"
)

const long = `Meshlift moves the Istio of a cluster from one version to the next by canary: the new istiod is installed beside the old one,
every data plane is moved over in controlled steps, and only then is the old istiod removed.

The five steps: 1 non-Istio components, 2 new istiod, 3 EnvoyFilters, 4 data planes, 5 decommission.
`

// New returns the root command. Flags may be nil in tests; more are commands that are made elsewhere.
func New(e *env.Env, flags *genericclioptions.ConfigFlags, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use: "meshlift", Short: "Upgrade Istio by canary, cluster by cluster", Long: long,
		Example: strings.ReplaceAll(`  {} status                      one page: where this cluster is, and what to do next
  {} check --to 1.31             what would go wrong in an upgrade
  {} plan --to 1.31              what an upgrade would do
  {} diff                        what the new istiod sends to proxies, compared with the old one
  {} upgrade start --to 1.31     install the new istiod beside the old one
  {} envoyfilters list           what has to be checked with its owner
  {} rollout                     move the data planes
  {} decommission                remove the old istiod`, "{}", e.Program),
		Annotations:  map[string]string{cobra.CommandDisplayNameAnnotation: e.Program},
		SilenceUsage: true, SilenceErrors: true, Version: e.Version,
		Args: exit.NoSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.ErrOut)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddGroup(&cobra.Group{ID: "see", Title: "See:"}, &cobra.Group{ID: "do", Title: "Upgrade:"})
	for _, c := range []*cobra.Command{status.NewCommand(e), check.NewCommand(e), plan.NewCommand(e), diff.NewCommand(e), report.NewCommand(e)} {
		add(root, "see", c)
	}
	for _, c := range []*cobra.Command{upgrade.NewCommand(e), envoyfilters.NewCommand(e), rollout.NewCommand(e), decommission.NewCommand(e)} {
		add(root, "do", c)
	}
	for _, c := range []*cobra.Command{mesh.NewCommand(e), components.NewCommand(e), platform.NewCommand(e)} {
		add(root, "hub", c)
	}
	root.AddGroup(&cobra.Group{ID: "hub", Title: "Several clusters (in the cluster of the hub):"})
	for _, c := range more {
		add(root, "run", c)
	}
	if len(more) > 0 {
		root.AddGroup(&cobra.Group{ID: "run", Title: "Operate:"})
	}
	root.AddCommand(versioninfo.NewCommand(e), bfg(e))
	if flags != nil {
		flags.AddFlags(root.PersistentFlags())
		root.AddCommand(globalFlags(root))
		root.SetUsageTemplate(usage)
	}
	return root
}

func add(root *cobra.Command, group string, c *cobra.Command) {
	c.GroupID = group
	root.AddCommand(c)
}

// bfg is the group under which earlier products had "rollout"; the command is the same.
func bfg(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bfg", Hidden: true, Short: "The same as the commands without bfg",
		Args: exit.NoSubcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(rollout.NewCommand(e))
	return cmd
}

// usage is cobra's template without the flags that every command has; "options" lists those.
const usage = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}

Other:{{range $cmds}}{{if (and (eq .GroupID "") .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{if and .HasParent .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Use "{{.Root.DisplayName}} options" for the flags that every command has (cluster, user, ...).
`

func globalFlags(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "options", Short: "List the flags that every command has", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), "Every command has these flags:\n\n", root.PersistentFlags().FlagUsages())
			return err
		},
	}
}

// Arguments are what the user typed. Kubectl calls kubectl_complete-meshlift to complete the arguments of its plugin
// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/); a link of that name to the same binary is enough.
func Arguments(argv []string) []string {
	if strings.HasPrefix(filepath.Base(argv[0]), "kubectl_complete-") {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}

// Run executes the command, prints an error if there is one, and returns the exit code.
func Run(ctx context.Context, root *cobra.Command, args []string, errOut io.Writer) int {
	root.SetArgs(args)
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !started && exit.Code(err) == exit.Failure {
		// Cobra found fault with flags or arguments before any command ran.
		err = exit.Usagef("%w", err)
	}
	if message := exit.Message(err); message != "" {
		_, _ = fmt.Fprintln(errOut, view.Theme{}.Clean(message))
	}
	return exit.Code(err)
}
