// Command stowage is the cluster manager: the command line for people, and the master and agent daemons.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/stowage/stowage/agent/artifact"
	"github.com/stowage/stowage/cmd/stowage/cli"
)

// version is set by the linker.
var version = "unknown"

func main() {
	artifact.Serve()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.World{
		Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	})
	stop()
	os.Exit(code)
}
