package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

// usageFresh is how long a look at what is used serves others who ask: many may watch, and it costs the node one look.
const usageFresh = 500 * time.Millisecond

// usageWithin bounds a look, should the executor not answer.
const usageWithin = 5 * time.Second

// usage is the last look at what the node uses. Nothing is counted while nobody asks.
type usage struct {
	look  func() spec.NodeUsage // no asker's own: others get its answer too, also when he has left
	looks sync.WaitGroup

	mu      sync.Mutex
	looking chan struct{} // is closed when the present look is over; nil: there is none
	last    spec.NodeUsage
	when    time.Time
}

// ask returns a fresh look, or fails when ctx ends before there is one.
func (u *usage) ask(ctx context.Context) (spec.NodeUsage, error) {
	u.mu.Lock()
	if u.looking == nil && time.Since(u.when) > usageFresh {
		u.looking = make(chan struct{})
		u.looks.Go(func() {
			last := u.look()
			u.mu.Lock()
			defer u.mu.Unlock()
			close(u.looking)
			u.last, u.when, u.looking = last, time.Now(), nil
		})
	}
	looking, last := u.looking, u.last
	u.mu.Unlock()
	if looking == nil {
		return last, nil
	}
	select {
	case <-looking:
	case <-ctx.Done():
		return spec.NodeUsage{}, ctx.Err()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last, nil
}

// serveUsage writes what the node, or one of its allocations, uses as JSON.
func (a *agent) serveUsage(ctx context.Context, o *wire.Open, out io.Writer) error {
	u, err := a.usage.ask(ctx)
	if err != nil {
		return err
	}
	if o.ID != "" {
		u.Allocations = slices.DeleteFunc(slices.Clone(u.Allocations), func(one spec.AllocationUsage) bool { return one.ID != o.ID })
	}
	return json.NewEncoder(out).Encode(u)
}

// look counts what is used now.
func (a *agent) look(ctx context.Context) spec.NodeUsage {
	u := spec.NodeUsage{Node: a.cfg.Node, At: spec.TimeOf(time.Now()), CPUs: runtime.NumCPU(), CPUNanos: busyNanos(), Pressure: executor.ReadPressure("/proc/pressure", ""),
		Allocations: []spec.AllocationUsage{}}
	u.Memory, u.Total = memoryInUse()
	for _, r := range a.catalogue.all() {
		if r.Status.State.Terminal() || r.App == nil {
			continue
		}
		asked := r.App.Needs()
		one := spec.AllocationUsage{ID: r.Decided.ID, Slot: r.Decided.Slot, CPUAsked: asked.CPU, MemoryAsked: asked.Memory, Tasks: []spec.TaskUsage{}}
		for i := range r.Status.Tasks {
			if r.Status.Tasks[i].State == spec.StateRunning && i < len(r.Tasks) && i < len(r.App.Tasks) {
				one.Tasks = append(one.Tasks, a.taskUsage(ctx, &r, i))
			}
		}
		u.Allocations = append(u.Allocations, one)
	}
	slices.SortFunc(u.Allocations, func(x, y spec.AllocationUsage) int { return strings.Compare(string(x.ID), string(y.ID)) })
	return u
}

func (a *agent) taskUsage(ctx context.Context, r *node.Record, i int) spec.TaskUsage {
	t := &r.App.Tasks[i]
	u := spec.TaskUsage{Task: t.Name, Started: r.Status.Tasks[i].Started, CPUAsked: t.CPU, MemoryAsked: t.Memory, MemoryMax: t.MemoryMax, PidsMax: t.Pids}
	s, err := a.keeper.client.Stats(ctx, node.Run{ID: r.Decided.ID, Task: t.Name, Attempt: r.Tasks[i].Attempt}.String())
	if err != nil {
		u.Error = err.Error()
		return u
	}
	u.CPUNanos, u.ThrottledNanos, u.Memory, u.MemoryPeak = s.CPUNanos, s.ThrottledNanos, spec.Bytes(s.MemoryBytes), spec.Bytes(s.MemoryPeak)
	u.Pids, u.OOMKills, u.ReadBytes, u.WrittenBytes, u.Pressure = int(s.Pids), int(s.OOMKills), s.ReadBytes, s.WrittenBytes, s.Pressure
	return u
}

// tick is the unit of times in /proc/stat, in nanoseconds, on every architecture that there is an agent for.
const tick = 10_000_000

// busyNanos is how long all processors together did something since the boot, as proc_stat(5) tells it.
func busyNanos() uint64 {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(data)
}

func parseBusy(data []byte) (sum uint64) {
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	fields := strings.Fields(string(line))
	for i, f := range fields {
		// user, nice, system, idle, iowait, irq, softirq, steal; what guests use is part of user
		if i < 1 || i > 8 || i == 4 || i == 5 {
			continue
		}
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0
		}
		sum += n * tick
	}
	return sum
}

// memoryInUse is what of the machine's memory is not available, and all of it, as proc_meminfo(5) tells it.
func memoryInUse() (used, total spec.Bytes) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	var available spec.Bytes
	for line := range strings.Lines(string(data)) {
		var n spec.Bytes
		name, value, _ := strings.Cut(line, ":")
		if _, err := fmt.Sscanf(value, "%d kB", &n); err != nil {
			continue
		}
		switch name {
		case "MemTotal":
			total = n * spec.KiB
		case "MemAvailable":
			available = n * spec.KiB
		}
	}
	return total - available, total
}
