// Command stowage-executor owns the containers of a node. The agent starts it and talks to it over a unix socket; it outlives the
// agent, and its containers outlive it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/stowage/stowage/agent/runc"
)

func main() {
	runc.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The agent's end of stderr, and its terminal, may go before the executor does. A handler, unlike ignoring, is not inherited by tasks.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
	err := run(ctx, os.Args, os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintf(os.Stderr, "stowage-executor: %v\n", err)
		os.Exit(1)
	}
}
