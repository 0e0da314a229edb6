package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stowage/stowage/agent/disk"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// limitDisk keeps the folders of tasks within the disk that they asked for. A folder has the writable layer, and what the kernel needs beside
// it. Logs are bounded by what a task says of its logs.
func (a *agent) limitDisk(allocation *spec.Allocation, app *spec.App) error {
	for i := range app.Tasks {
		t := &app.Tasks[i]
		if t.Disk == 0 {
			continue
		}
		if err := a.disk.Set(a.folders.task(allocation.ID, t.Name), int64(t.Disk), bound(&t.Isolation)); err != nil {
			return err
		}
	}
	return nil
}

// bound reports whether quotas of projects hold a task: only with the filter of system calls, which keeps it from setting the project of a
// file, and without the capabilities that open the filter for that, reach the quotas, or go beyond them.
func bound(i *spec.Isolation) bool {
	return !i.Privileged && i.Seccomp == "" && !slices.ContainsFunc(i.CapabilitySet(), func(name string) bool {
		return name == "LINUX_IMMUTABLE" || name == "SYS_ADMIN" || name == "SYS_RESOURCE"
	})
}

// limitRemembered sets the limits of what an earlier agent left.
func (a *agent) limitRemembered(records []node.Record) {
	for i := range records {
		r := &records[i]
		if _, err := os.Stat(a.folders.allocation(r.Decided.ID)); err != nil || r.App == nil {
			continue
		}
		if err := a.limitDisk(&r.Decided, r.App); err != nil {
			a.log.Error("the disk of an allocation is not limited", "allocation", string(r.Decided.ID), "error", err)
		}
	}
}

// full remembers which runs were ended because their task held too much disk, until they are removed.
type full struct {
	mu   sync.Mutex
	runs map[string]disk.Over
}

func (f *full) put(run string, o disk.Over) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runs == nil {
		f.runs = map[string]disk.Over{}
	}
	f.runs[run] = o
}

func (f *full) drop(run string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.runs, run)
}

// explain says of the end of a run that it was for its disk, if it was.
func (f *full) explain(run node.Run, e spec.Exit) spec.Exit {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o, ok := f.runs[run.String()]; ok && e.Signal == "SIGKILL" && !e.OOM {
		if e.DiskLimit = spec.Bytes(o.Limit.Bytes); o.Used.Bytes > o.Limit.Bytes {
			e.DiskUsed = spec.Bytes(o.Used.Bytes)
		} else {
			e.FilesLimit = o.Limit.Files
		}
	}
	return e
}

// explained adds to what is told of ends what only the agent knows.
func (f *full) explained(ev node.Event) node.Event {
	switch e := ev.(type) {
	case node.Exited:
		e.Exit = f.explain(e.Run, e.Exit)
		return e
	case node.Inventory:
		for i := range e.Containers {
			if c := &e.Containers[i]; c.Exit != nil {
				*c.Exit = f.explain(c.Run, *c.Exit)
			}
		}
	}
	return ev
}

// overDisk ends the run of a task that holds too much.
func (a *agent) overDisk(ctx context.Context, o disk.Over) {
	r, ok := a.catalogue.record(spec.AllocationID(filepath.Base(filepath.Dir(o.Folder))))
	i := slices.IndexFunc(r.Status.Tasks, func(t spec.TaskStatus) bool { return string(t.Name) == filepath.Base(o.Folder) })
	if !ok || i < 0 || i >= len(r.Tasks) {
		return
	}
	run := node.Run{ID: r.Decided.ID, Task: r.Status.Tasks[i].Name, Attempt: r.Tasks[i].Attempt}.String()
	c, err := a.keeper.client.Get(ctx, run)
	if err != nil || c.State != executor.StateRunning {
		return // the next look finds it again
	}
	if !a.disk.Full(o.Folder) {
		return // emptied meanwhile: what runs now is another
	}
	a.log.Warn("a task holds more disk than it asked for, and is ended", "run", run, "used", spec.Bytes(o.Used.Bytes), "limit", spec.Bytes(o.Limit.Bytes),
		"files", o.Used.Files, "may", o.Limit.Files)
	a.full.put(run, o)
	if err := a.keeper.client.Kill(ctx, run); err != nil {
		a.log.Error("cannot end a task that holds too much disk", "run", run, "error", fmt.Sprint(err))
	}
}

// freshLayer gives a task that starts again an empty writable layer if there is nothing left of its disk: on the full one it would fail as the run
// before did. While a container of the task runs, or the one to start has, which an agent before has started, it stays as it is. What is parked on
// the layer, and the run before if it is not removed yet, go first.
func (a *agent) freshLayer(ctx context.Context, run node.Run) error {
	folder := a.folders.task(run.ID, run.Task)
	if run.Attempt == 0 || !a.disk.Full(folder) {
		return nil
	}
	list, err := a.keeper.client.List(ctx)
	if err != nil {
		return unlessRefused(err)
	}
	list = slices.DeleteFunc(list, func(c executor.Container) bool {
		return c.Labels["allocation"] != string(run.ID) || c.Labels["task"] != string(run.Task)
	})
	if slices.ContainsFunc(list, func(c executor.Container) bool {
		return c.State == executor.StateRunning || c.ID == run.String() && !c.Started.IsZero()
	}) {
		return nil
	}
	for i := range list {
		if err := a.keeper.client.Delete(ctx, list[i].ID); err != nil && !errors.Is(err, executor.ErrNotFound) {
			return unlessRefused(err)
		}
	}
	a.log.Warn("a task has used up its disk, and starts again with an empty one", "run", run.String())
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
	}
	if err == nil {
		err = os.Mkdir(a.folders.root(run.ID, run.Task), 0o755)
	}
	if err != nil {
		return fmt.Errorf("empty the disk of the task: %w", err)
	}
	a.disk.Emptied(folder)
	return nil
}
