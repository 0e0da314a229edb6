package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/logs"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

// endedPoll is how often a follower of logs looks whether the task is gone.
const endedPoll = 200 * time.Millisecond

// find returns what is remembered of an allocation, and which of its tasks is meant.
func (a *agent) find(id spec.AllocationID, asked spec.TaskName) (node.Record, int, error) {
	r, ok := a.catalogue.record(id)
	if !ok {
		return r, 0, fmt.Errorf("%s is not on node %s any more", id, a.cfg.Node)
	}
	only, mains := 0, 0
	for i := range r.App.Tasks {
		t := &r.App.Tasks[i]
		if t.Name == asked {
			return r, i, nil
		}
		if t.Lifecycle.Main() {
			only, mains = i, mains+1
		}
	}
	if asked == "" && mains == 1 {
		return r, only, nil
	}
	return r, 0, errNoTask(id, r.App, asked)
}

// serve answers one window, and returns the exit code of a command.
func (a *agent) serve(ctx context.Context, o *wire.Open, s executor.Streams) (int, error) {
	switch {
	case o.Logs != nil:
		return 0, a.serveLogs(ctx, o, s.Stdout, s.Stderr)
	case o.Usage != nil:
		return 0, a.serveUsage(ctx, o, s.Stdout)
	case o.Files != nil:
		return 0, a.serveFiles(ctx, o, s)
	case o.Exec != nil:
		e, err := a.serveExec(ctx, o, s)
		return e.Code, err
	}
	return 0, errors.New("this agent is too old for what was asked: upgrade it")
}

// serveLogs writes a task's output, and goes on until the task is gone if asked to follow.
func (a *agent) serveLogs(ctx context.Context, o *wire.Open, stdout, stderr io.Writer) error {
	r, i, err := a.find(o.ID, o.Task)
	if err != nil {
		return err
	}
	streams := []logs.Stream{logs.Stdout, logs.Stderr}
	if o.Logs.Stream > 0 && o.Logs.Stream <= len(streams) {
		streams = streams[o.Logs.Stream-1 : o.Logs.Stream]
	}
	l, err := logs.Open(a.folders.logs(o.ID), string(r.App.Tasks[i].Name), streams...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has not come so far as to print
	}
	if err != nil {
		return err
	}
	if o.Logs.Age > 0 {
		l.Since(time.Now().Add(-time.Duration(o.Logs.Age)))
	}
	emit := func(s logs.Stream, data []byte) error {
		w := stdout
		if s == logs.Stderr {
			w = stderr
		}
		_, err := w.Write(data)
		return err
	}
	lines := o.Logs.Tail
	if lines < 0 {
		lines = logs.All
	}
	if !o.Logs.Follow {
		return l.Tail(ctx, lines, emit)
	}
	ended := make(chan struct{})
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(endedPoll)
		defer tick.Stop()
		for {
			if r, ok := a.catalogue.record(o.ID); !ok || r.Status.State.Terminal() {
				close(ended)
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return l.Follow(ctx, lines, ended, emit)
}

// serveExec runs a command inside the present run of a task.
func (a *agent) serveExec(ctx context.Context, o *wire.Open, s executor.Streams) (executor.Exit, error) {
	r, i, err := a.find(o.ID, o.Task)
	if err != nil {
		return executor.Exit{}, err
	}
	name := r.App.Tasks[i].Name
	if i >= len(r.Tasks) || i >= len(r.Status.Tasks) || r.Status.Tasks[i].State != spec.StateRunning {
		return executor.Exit{}, fmt.Errorf("task %s of %s is not running", name, o.ID)
	}
	run := node.Run{ID: o.ID, Task: name, Attempt: r.Tasks[i].Attempt}
	command := executor.ExecSpec{Command: o.Exec.Command, Terminal: o.Exec.Terminal,
		Size: executor.Size{Width: uint16(o.Exec.Columns), Height: uint16(o.Exec.Rows)}}
	if o.Exec.Terminal && o.Exec.Term != "" {
		command.Env = []string{"TERM=" + o.Exec.Term}
	}
	if !o.Exec.Stdin {
		s.Stdin = nil
	}
	return a.keeper.client.Exec(ctx, run.String(), command, s)
}
