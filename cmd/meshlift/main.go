// Command meshlift upgrades Istio by canary. The same binary is the kubectl plugin (kubectl-meshlift) and, in the image of
// the agent, /app/asm-controller.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/internal/cli"
)

// version of the build, set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	flags := cli.Flags()
	env := cli.NewEnv(os.Args[0], version, flags)
	return cli.Run(ctx, cli.New(env, flags, operate()...), os.Args[1:], os.Stderr)
}

// operate are the commands that run or install Meshlift itself.
//
// HOOK: add agent.NewCommand() of internal/agent and install.NewCommand(...) of internal/cli/install here.
func operate() []*cobra.Command { return nil }
