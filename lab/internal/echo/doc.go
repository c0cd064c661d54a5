// Package echo is the lab's real workload: a gRPC server and a client without a proxy beside them ("proxyless"), which
// take their configuration, certificates and identity from the mesh by xDS. The client calls all the time and counts
// every call, so that a lost request during an upgrade is a number and not an opinion.
//
// A call is made once and counted once. gRPC's configurable retries are switched off; what remains are its transparent
// retries, which the specification demands for calls that no server application has seen (gRFC A6), and picking another
// connection before a call is sent.
//
// Outside a mesh (no GRPC_XDS_BOOTSTRAP) both speak plain gRPC.
package echo

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main runs `server` or `client`, named by the first argument, and returns the exit code.
func Main(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "server":
			return ServerMain(args[1:])
		case "client":
			return ClientMain(args[1:])
		}
	}
	fmt.Fprintln(os.Stderr, "usage: echo server|client [flags]")
	return 2
}

// ServerMain runs the server until SIGTERM or SIGINT and returns the exit code.
func ServerMain(args []string) int {
	return supervise("server", func(ctx context.Context) error { return runServer(ctx, args) })
}

// ClientMain runs the client until SIGTERM or SIGINT and returns the exit code.
func ClientMain(args []string) int {
	return supervise("client", func(ctx context.Context) error { return runClient(ctx, args) })
}

// supervise runs f under a context that ends with the termination signal.
func supervise(role string, f func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := f(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "echo %s: %v\n", role, err)
		return 1
	}
	return 0
}
