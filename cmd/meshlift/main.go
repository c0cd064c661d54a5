// Command meshlift upgrades Istio by canary. The same binary is the kubectl plugin (kubectl-meshlift) and, in the image of
// the agent, /app/asm-controller.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the time zones of maintenance windows, where the image or the machine has none

	"meshlift.dev/meshlift/internal/agent"
	"meshlift.dev/meshlift/internal/cli"
	"meshlift.dev/meshlift/internal/cli/install"
	"meshlift.dev/meshlift/internal/hub"
)

// version of the build, set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	flags := cli.Flags()
	env := cli.NewEnv(os.Args[0], version, flags)
	releases := func() (install.Releases, error) { return cli.Releases(flags) }
	root := cli.New(env, flags, agent.NewCommand(), hub.NewCommand(version), install.NewCommand(env, releases), install.NewUninstallCommand(env, releases), cli.Cluster(env, flags), cli.Bundle(env))
	return cli.Run(ctx, root, cli.Arguments(os.Args), os.Stderr)
}
