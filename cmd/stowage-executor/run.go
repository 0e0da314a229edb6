package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/runc"
)

// version is set by the linker.
var version = "development"

// hardToKill is the executor's own preference of the kernel when memory is short: tasks go first.
const hardToKill = "-900"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("stowage-executor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	stateDir := flags.String("state-dir", "/var/lib/stowage/executor", "folder for state; one executor at a time uses it")
	socket := flags.String("socket", "/run/stowage/executor.sock", "unix socket to listen on")
	parent := flags.String("cgroup-parent", "stowage", "cgroup of all containers")
	stages := flags.Bool("stages", false, "for each start, write to stderr how long its stages took")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	if *showVersion {
		_, err := fmt.Fprintf(stdout, "stowage-executor %s, protocol %d\n", version, executor.Version)
		return err
	}
	var measure io.Writer
	if *stages {
		measure = stderr
	}
	return serve(ctx, *stateDir, *socket, *parent, measure)
}

// serve runs an executor. Where measure is not nil, it is told the stages of each start.
func serve(ctx context.Context, stateDir, socket, parent string, measure io.Writer) (err error) {
	if err := runc.Seal(); err != nil {
		return err
	}
	syscall.Umask(0o022)
	if os.Geteuid() == 0 {
		// Without it the executor works just as well, until memory is short.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte(hardToKill), 0)
	}
	if stateDir, err = filepath.Abs(stateDir); err != nil {
		return err
	}
	lock, err := executor.LockState(stateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	rt, err := runc.New(filepath.Join(stateDir, "runtime"), parent, version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	if measure != nil {
		rt.Measure(measure)
	}
	server, err := executor.Open(lock, rt, rt.Features())
	if err != nil {
		return err
	}
	return server.Run(ctx, socket)
}
