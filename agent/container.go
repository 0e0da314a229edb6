package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// folders are where an allocation's files lie: DIR/allocations/ID/logs, and DIR/allocations/ID/TASK/root, the writable
// layer above the task's root file system.
type folders struct{ dir string }

func (f folders) allocation(id spec.AllocationID) string {
	return filepath.Join(f.dir, "allocations", string(id))
}

func (f folders) logs(id spec.AllocationID) string { return filepath.Join(f.allocation(id), "logs") }

func (f folders) task(id spec.AllocationID, task spec.TaskName) string {
	return filepath.Join(f.allocation(id), string(task))
}

// tasks are the folders in that of an allocation.
func (f folders) tasks(id spec.AllocationID) []string {
	entries, _ := os.ReadDir(f.allocation(id))
	var all []string
	for _, e := range entries {
		all = append(all, filepath.Join(f.allocation(id), e.Name()))
	}
	return all
}

func (f folders) root(id spec.AllocationID, task spec.TaskName) string {
	return filepath.Join(f.allocation(id), string(task), "root")
}

// reference looks up what a spec may refer to as ${NAME} and only the node knows.
func reference(a *spec.Allocation, n *spec.Node) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "node.id":
			return string(a.Node), true
		case "node.address":
			return n.Address, true
		case "app":
			return string(a.App), true
		case "slot":
			return strconv.Itoa(a.Index), true
		case "allocation":
			return string(a.ID), true
		}
		if port, ok := strings.CutPrefix(name, "port."); ok {
			for _, p := range a.Ports {
				if p.Name == port {
					return strconv.Itoa(p.Number), true
				}
			}
		}
		return "", false
	}
}

func expandAll(texts []string, lookup func(string) (string, bool)) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = spec.Expand(t, lookup)
	}
	return out
}

// environment joins the image's, the node's and the task's variables; later ones win.
func environment(base []string, a *spec.Allocation, n *spec.Node, t *spec.Task) []string {
	values := map[string]string{}
	for _, e := range base {
		if name, value, ok := strings.Cut(e, "="); ok {
			values[name] = value
		}
	}
	values["STOWAGE_ALLOCATION"] = string(a.ID)
	values["STOWAGE_APP"] = string(a.App)
	values["STOWAGE_SLOT"] = strconv.Itoa(a.Index)
	values["STOWAGE_NODE"] = string(a.Node)
	values["STOWAGE_ADDRESS"] = n.Address
	for _, p := range a.Ports {
		values["STOWAGE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))] = strconv.Itoa(p.Number)
	}
	namedVariables(values, a, t)
	lookup := reference(a, n)
	for name, value := range t.Env {
		values[name] = spec.Expand(value, lookup)
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	sort.Strings(env)
	return env
}

// container describes one run of a task to the executor. img is nil for tasks on the host's root.
func (f folders) container(run node.Run, a *spec.Allocation, app *spec.App, t *spec.Task, n *spec.Node, img *image.Image) executor.Spec {
	lookup := reference(a, n)
	c := executor.Spec{
		ID:             run.String(),
		Hostname:       hostname(a),
		Command:        expandAll(t.Command, lookup),
		Dir:            spec.Expand(t.Dir, lookup),
		User:           t.User,
		Root:           executor.Root{Kind: executor.RootHost, Writable: f.root(a.ID, t.Name), Kept: node.Instant(app, t)},
		Network:        string(app.Network.Mode),
		UserNamespace:  t.UserNS,
		CPUMillis:      int64(t.CPU),
		MemoryBytes:    int64(t.Memory),
		MemoryMaxBytes: int64(t.MemoryMax),
		PidsMax:        int64(t.Pids),
		Cores:          taskCores(a, t),
		Log: executor.Log{Dir: f.logs(a.ID), Task: string(t.Name), MaxBytes: int64(t.Logs.MaxSize),
			MaxFiles: t.Logs.MaxFiles},
		Labels: map[string]string{"allocation": string(a.ID), "task": string(t.Name), "attempt": strconv.Itoa(run.Attempt)},
	}
	f.isolate(&c, a, t, lookup)
	var base []string
	if img != nil {
		base = img.Config.Env
		c.Root.Kind, c.Root.UserXattr = executor.RootLayers, img.UserXattr
		c.Root.Layers = slices.Clone(img.Layers)
		slices.Reverse(c.Root.Layers) // the store lists the top first, the executor the bottom
		if len(c.Command) == 0 {
			c.Command = slices.Concat(img.Config.Entrypoint, img.Config.Command)
		}
		if c.Dir == "" {
			c.Dir = img.Config.WorkDir
		}
		if c.User == "" {
			c.User = img.Config.User
		}
	}
	c.Env = environment(base, a, n, t)
	return c
}

// hostname makes a host name of the slot: shop-web-3.
func hostname(a *spec.Allocation) string {
	name := strings.ReplaceAll(string(a.App), "/", "-")
	index := "-" + strconv.Itoa(a.Index)
	return name[:min(len(name), maxHostname-len(index))] + index
}

// maxHostname is the kernel's limit on host names, in bytes.
const maxHostname = 64

// makeFolders makes the folders of an allocation. Those that are there stay as they are.
func (f folders) makeFolders(a *spec.Allocation, app *spec.App) error {
	for i := range app.Tasks {
		if err := os.MkdirAll(f.root(a.ID, app.Tasks[i].Name), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := os.MkdirAll(f.logs(a.ID), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return nil
}

// exit turns the executor's words into the cluster's.
func exit(e *executor.Exit) spec.Exit {
	out := spec.Exit{Code: e.Code, OOM: e.OOM, Unknown: e.Unknown, Rebooted: e.Rebooted}
	if e.OOM {
		out.MemoryLimit = spec.Bytes(e.MemoryLimit)
	}
	if e.Signal != 0 {
		out.Signal = unix.SignalName(unix.Signal(e.Signal))
		if out.Signal == "" {
			out.Signal = "signal " + strconv.Itoa(e.Signal)
		}
	}
	return out
}

// signalNumber reads a signal's name; unknown ones end the task all the same.
func signalNumber(name string) int {
	if n := unix.SignalNum(name); n != 0 {
		return int(n)
	}
	return int(unix.SIGTERM)
}

// inventory turns the executor's list into an event. Containers whose name is not a run are somebody else's.
func (f folders) inventory(list []executor.Container) node.Inventory {
	var inv node.Inventory
	for i := range list {
		c := &list[i]
		run, err := node.ParseRun(c.ID)
		if err != nil {
			continue
		}
		one := node.Container{Run: run, Running: c.State != executor.StateExited, Pid: c.Pid, Started: moment(c.Started)}
		if c.Started.IsZero() {
			inv.Containers = append(inv.Containers, node.Container{Run: run, Parked: true})
			continue
		}
		if !one.Running {
			one.Pid = 0
			one.Ended = moment(c.Finished)
			e := spec.Exit{Unknown: true}
			if c.Exit != nil {
				e = exit(c.Exit)
			}
			one.Exit, one.Output = &e, f.output(run, c)
		}
		inv.Containers = append(inv.Containers, one)
	}
	return inv
}

func moment(t time.Time) spec.Time {
	if t.IsZero() {
		return 0
	}
	return spec.TimeOf(t)
}
