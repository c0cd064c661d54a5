// Command lab builds and runs real Kubernetes clusters with Istio on one Linux machine, without containers and without
// root: the demo's default, the developers' cluster and the test environment of Meshlift.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"meshlift.dev/meshlift/lab/internal/container"
)

// exitError ends the program with a code that a command chose, silently.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	if container.Main() { // this process is to become a container
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	var exit exitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}
