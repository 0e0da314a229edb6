package agent

import (
	"context"
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
		e.DiskUsed, e.DiskLimit = spec.Bytes(o.Used), spec.Bytes(o.Limit)
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

// overDisk ends the run of a task that holds too much. As its folder stays, so does the reason: the next attempt ends too, until the allocation
// has failed and gets another folder.
func (a *agent) overDisk(ctx context.Context, o disk.Over) {
	id, task := filepath.Base(filepath.Dir(o.Folder)), filepath.Base(o.Folder)
	list, err := a.keeper.client.List(ctx)
	if err != nil {
		return // the next look finds it again
	}
	for i := range list {
		c := &list[i]
		if c.Labels["allocation"] != id || c.Labels["task"] != task || c.State != executor.StateRunning {
			continue
		}
		a.log.Warn("a task holds more disk than it asked for, and is ended", "run", c.ID, "used", spec.Bytes(o.Used), "limit", spec.Bytes(o.Limit))
		a.full.put(c.ID, o)
		if err := a.keeper.client.Kill(ctx, c.ID); err != nil {
			a.log.Error("cannot end a task that holds too much disk", "run", c.ID, "error", fmt.Sprint(err))
		}
	}
}
