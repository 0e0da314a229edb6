package executor

import (
	"fmt"
	"time"

	"github.com/stowage/stowage/spec"
)

// State is where a container is in its life. See the package comment for the diagram.
type State string

const (
	// StateCreated is isolated and limited, and parked before its command.
	StateCreated State = "created"
	// StateRunning executes its command.
	StateRunning State = "running"
	// StateExited has no process left; Exit says how it ended.
	StateExited State = "exited"
)

// Exit says how a container, or a process inside it, ended.
type Exit struct {
	// Code is the exit code, or 128 + Signal as shells count. -1 when Unknown.
	Code int `json:"code"`
	// Signal ended the process, if not 0.
	Signal int `json:"signal,omitempty"`
	// OOM says that the kernel killed it for memory.
	OOM bool `json:"oom,omitempty"`
	// MemoryLimit is the limit it had, in bytes; 0: none.
	MemoryLimit int64 `json:"memory_limit,omitempty"`
	// Unknown says that nobody was there to see it end: only that it ended is known.
	Unknown bool `json:"unknown,omitempty"`
	// Rebooted says that it ended with the machine, which has started anew since; Unknown is set too.
	Rebooted bool `json:"rebooted,omitempty"`
}

// Success reports whether the command ended by itself with code 0.
func (e Exit) Success() bool { return !e.Unknown && e.Code == 0 && e.Signal == 0 }

// String says it in words.
func (e Exit) String() string {
	switch {
	case e.Rebooted:
		return "ended when the node restarted"
	case e.Unknown:
		return "exited, code unknown: it ended while no executor was running"
	case e.OOM && e.MemoryLimit > 0:
		return "killed for memory at " + formatBytes(e.MemoryLimit)
	case e.OOM:
		return "killed for memory"
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d", e.Signal)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

func formatBytes(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d %s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Container is what the executor knows of a container.
type Container struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Pid is the first process, as the node counts. With PidStart it is an identity; alone it is none.
	Pid int `json:"pid,omitempty"`
	// PidStart is when that process started, in clock ticks since Boot.
	PidStart uint64 `json:"pid_start,omitempty"`
	// Boot is the node's boot that pids and ticks belong to.
	Boot     string            `json:"boot,omitempty"`
	Created  time.Time         `json:"created"`
	Started  time.Time         `json:"started,omitzero"`
	Finished time.Time         `json:"finished,omitzero"`
	Exit     *Exit             `json:"exit,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// DroppedBytes of output could not be written to its log.
	DroppedBytes int64 `json:"dropped_bytes,omitempty"`
}

// Stats is what a container uses.
type Stats struct {
	// CPUNanos is the CPU time used since the start, in nanoseconds.
	CPUNanos uint64 `json:"cpu_nanos"`
	// ThrottledNanos is the time it had to wait because of CPUMaxMillis, in nanoseconds.
	ThrottledNanos uint64 `json:"throttled_nanos,omitempty"`
	// MemoryBytes is the memory in use without the page cache that can be dropped at once.
	MemoryBytes uint64 `json:"memory_bytes"`
	// MemoryPeak is the most there was, with the page cache, in bytes; 0: not counted on this node.
	MemoryPeak uint64 `json:"memory_peak,omitempty"`
	// MemoryLimit in bytes; 0: none.
	MemoryLimit uint64 `json:"memory_limit,omitempty"`
	// Pids counts processes and threads.
	Pids uint64 `json:"pids"`
	// OOMKills counts processes that the kernel killed for memory.
	OOMKills uint64 `json:"oom_kills,omitempty"`
	// ReadBytes and WrittenBytes went from and to disks.
	ReadBytes    uint64 `json:"read_bytes,omitempty"`
	WrittenBytes uint64 `json:"written_bytes,omitempty"`
	// Pressure is zero where the kernel does not count it.
	Pressure spec.Pressure `json:"pressure,omitzero"`
}

// Features says what this executor can do on this node, and what it cannot and why.
type Features struct {
	// Version of the executor.
	Version string `json:"version"`
	// Protocol is the version spoken; see Version.
	Protocol int `json:"protocol"`
	// Pid of the executor.
	Pid int `json:"pid"`
	// Cgroup is 1 or 2, or 0 without limits.
	Cgroup int `json:"cgroup"`
	// Rootless says that it does not run as root.
	Rootless bool `json:"rootless,omitempty"`
	// Seccomp, UserNamespace: whether containers can have them. Overlay: images, and a root that is written to in layers. Network: one
	// that the agent names by its path.
	Seccomp       bool `json:"seccomp"`
	UserNamespace bool `json:"user_namespace"`
	Overlay       bool `json:"overlay"`
	Network       bool `json:"network"`
	// Cores: whether a container can have cores that others are kept off.
	Cores bool `json:"cores"`
	// Missing holds one sentence for each thing that is not there.
	Missing []string `json:"missing,omitempty"`
}
