package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/reconcile/node"
)

const (
	// executorStart bounds how long a new executor may take to answer: one that does not is killed, so it is long, for the slowest of machines.
	executorStart = 30 * time.Second
	// executorRetry is between two attempts to start one that does not come up.
	executorRetry = time.Second
	// maxExecutorLog bounds what executors leave in their log, in bytes; it is checked when one starts.
	maxExecutorLog = 1 << 20
	// maxSocketPath is the kernel's limit on the path of a socket, in bytes, without the closing zero.
	maxSocketPath = 107
)

// keeper keeps one stowage-executor running and tells what its containers do. The executor outlives the agent: a new
// agent finds the old one by its socket.
type keeper struct {
	binary       string
	stateDir     string
	socket       string
	cgroupParent string
	settings     string // file
	version      string
	client       *executor.Client
	log          *slog.Logger
	folders      folders                     // where tasks leave their output
	arrived      func(context.Context) error // called each time an executor is reached, before anything is asked of it
}

// executorSettings is how the executor of a data directory was started last, so that it can be started again to end what it left.
type executorSettings struct {
	Binary       string `json:"binary"`
	CgroupParent string `json:"cgroup_parent"`
}

// keeperOf returns the keeper of a data directory that an agent used, or nil if none ever started an executor there.
func keeperOf(dataDir string) (*keeper, error) {
	var was executorSettings
	err := readJSON(filepath.Join(dataDir, "executor.json"), &was)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return newKeeper(&Config{DataDir: dataDir, Executor: was.Binary, CgroupParent: was.CgroupParent, Log: slog.New(slog.DiscardHandler)})
}

func newKeeper(cfg *Config) (*keeper, error) {
	k := &keeper{
		binary: cfg.Executor, version: cfg.Version, log: cfg.Log,
		stateDir: filepath.Join(cfg.DataDir, "executor"), socket: filepath.Join(cfg.DataDir, "executor.sock"),
		cgroupParent: cfg.CgroupParent, settings: filepath.Join(cfg.DataDir, "executor.json"),
	}
	if len(k.socket) > maxSocketPath {
		return nil, fmt.Errorf("open executor: the path %s is %d bytes long, a socket may have %d: choose a shorter data directory", k.socket, len(k.socket), maxSocketPath)
	}
	k.client = executor.NewClient(k.socket)
	return k, nil
}

// run calls tell with an Inventory each time the executor is reached, with every exit, and with ExecutorLost when it goes.
func (k *keeper) run(ctx context.Context, tell func(node.Event)) error {
	for failures := 0; ; {
		if err := k.reach(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if failures++; failures&(failures-1) == 0 { // the 1st, 2nd, 4th, 8th … time
				k.log.Error("the executor does not come up; tasks run on, trying again", "error", err, "attempts", failures)
			}
			if !pause(ctx, executorRetry) {
				return nil
			}
			continue
		}
		failures = 0
		err := k.follow(ctx, tell)
		if ctx.Err() != nil {
			return nil
		}
		k.log.Warn("the executor went away; its tasks run on, starting another", "error", err)
		tell(node.ExecutorLost{})
	}
}

func (k *keeper) follow(ctx context.Context, tell func(node.Event)) error {
	if k.arrived != nil {
		if err := k.arrived(ctx); err != nil {
			k.log.Error("cores cannot be reserved", "error", err)
		}
	}
	list, err := k.client.List(ctx)
	if err != nil {
		return err
	}
	tell(k.folders.inventory(list))
	return k.client.Exits(ctx, executor.Cursor{}, func(e executor.ExitEvent) error {
		if e.Container.Started.IsZero() {
			return nil // it was parked and has not run: the Start of that run finds that
		}
		if run, err := node.ParseRun(e.Container.ID); err == nil && e.Container.Exit != nil {
			tell(k.folders.exited(run, &e.Container))
		}
		return nil
	})
}

// reach returns once an executor of this version answers.
func (k *keeper) reach(ctx context.Context) error {
	features, err := k.client.Ping(ctx)
	if err == nil && k.version != "" && features.Version != k.version {
		k.log.Info("replacing the executor by this agent's version; its tasks run on", "old", features.Version, "new", k.version)
		if err := k.client.Shutdown(ctx); err != nil {
			return fmt.Errorf("replace executor: %w", err)
		}
		k.version = "" // a binary that reports another version is replaced once, not for ever
		err = errReplaced
	}
	if err == nil {
		return nil
	}
	return k.start(ctx)
}

var errReplaced = fmt.Errorf("the old executor was shut down")

// start runs a new executor in a session of its own and waits until it answers.
func (k *keeper) start(ctx context.Context) error {
	output, err := os.OpenFile(k.stateDir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start executor: %w", err)
	}
	defer output.Close()
	if info, err := output.Stat(); err == nil && info.Size() > maxExecutorLog {
		_ = output.Truncate(0)
	}
	var was executorSettings
	if now := (executorSettings{Binary: k.binary, CgroupParent: k.cgroupParent}); readJSON(k.settings, &was) != nil || was != now {
		if err := writeJSON(k.settings, now, false); err != nil {
			return fmt.Errorf("start executor: remember how: %w", err)
		}
	}
	cmd := exec.Command(k.binary, "--state-dir", k.stateDir, "--socket", k.socket, "--cgroup-parent", k.cgroupParent)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start executor: %w: --executor names the stowage-executor binary", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.NewTimer(executorStart)
	defer deadline.Stop()
	for {
		if features, err := k.client.Ping(ctx); err == nil {
			for _, what := range features.Missing {
				k.log.Warn("not on this node: " + what)
			}
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("start executor: it ended at once (%v): %s", err, lastLine(k.stateDir+".log"))
		case <-deadline.C:
			_ = cmd.Process.Kill()
			return fmt.Errorf("start executor: no answer within %s: %s", executorStart, lastLine(k.stateDir+".log"))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// lastLine returns the end of a log, for an error.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 500 {
		_, _ = f.Seek(-500, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// pause waits and reports whether the context still stands.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
