package spec

import (
	"path"
	"slices"
	"strings"
)

// SeccompNone is the seccomp of a task without a filter; "" is the default filter, everything else the path of a profile.
const SeccompNone = "none"

// AllCapabilities stands for every capability.
const AllCapabilities = "ALL"

// DefaultCapabilities let root of a container act as root on its own files and users, and bind low ports. Names as in
// capabilities(7), without CAP_.
var DefaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// Capabilities are all that Linux has, without CAP_.
var Capabilities = []string{
	"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
	"DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
	"MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
	"SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
}

// DefaultMasked are empty in every task: they tell about the node, or reach into its kernel.
var DefaultMasked = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
}

// DefaultReadOnly cannot be changed by any task: they change the node.
var DefaultReadOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// Isolation says in what a task's isolation from its node differs from the default. The default is: namespaces of its own, the
// default capabilities and filter, no new privileges, kernel settings masked or read-only, no device of the node.
type Isolation struct {
	// Privileged leaves the namespaces and the limits, and nothing else: all capabilities and devices, no filter, no masks.
	Privileged bool `json:"privileged,omitempty"`
	// Seccomp is "", SeccompNone, or the path of a profile in the repository, which is then in Profile.
	Seccomp string          `json:"seccomp,omitempty"`
	Profile *SeccompProfile `json:"profile,omitempty"`
	// CapAdd and CapDrop change DefaultCapabilities; sorted, without CAP_, or AllCapabilities alone. What is added stays if all are
	// dropped.
	CapAdd  []string `json:"cap_add,omitempty"`
	CapDrop []string `json:"cap_drop,omitempty"`
	// NewPrivileges lets programs gain what their files give them (setuid, capabilities of files).
	NewPrivileges bool     `json:"new_privileges,omitempty"`
	ReadOnlyRoot  bool     `json:"read_only_root,omitempty"`
	Masked        []string `json:"masked,omitempty"`    // hidden beside the default ones: absolute paths
	ReadOnly      []string `json:"read_only,omitempty"` // beside the default ones: absolute paths
	Unmasked      []string `json:"unmasked,omitempty"`  // neither hidden nor read-only though they are by default
	// Sysctls are kernel settings of the task's own namespaces; see CheckSysctl.
	Sysctls     map[string]string `json:"sysctls,omitempty"`
	HostDevices []HostDevice      `json:"host_devices,omitempty"` // sorted by path
}

// HostDevice is a device file of the node, given to a task by its path and shared with whoever uses it.
type HostDevice struct {
	Path     string `json:"path"` // below /dev, the same on the node and in the task
	ReadOnly bool   `json:"read_only,omitempty"`
}

// CapabilitySet returns the capabilities that a task has, sorted, without CAP_.
func (i *Isolation) CapabilitySet() []string {
	if i.Privileged {
		return slices.Clone(Capabilities)
	}
	set := map[string]bool{}
	put := func(names []string, there bool) {
		for _, n := range names {
			set[n] = there
		}
	}
	all := func(names []string) []string {
		if slices.Contains(names, AllCapabilities) {
			return Capabilities
		}
		return names
	}
	put(DefaultCapabilities, true)
	put(all(i.CapDrop), false)
	if slices.Contains(i.CapAdd, AllCapabilities) {
		// All but those that are dropped by name.
		put(Capabilities, true)
		if !slices.Contains(i.CapDrop, AllCapabilities) {
			put(i.CapDrop, false)
		}
	} else {
		put(i.CapAdd, true)
	}
	return slices.DeleteFunc(slices.Clone(Capabilities), func(n string) bool { return !set[n] })
}

// Ulimit is a limit of setrlimit(2) on each process of a task.
type Ulimit struct {
	Name string `json:"name"` // of Ulimits
	Soft uint64 `json:"soft"` // where it begins; the task may raise it up to Hard
	Hard uint64 `json:"hard"` // UlimitNone: no limit
}

// UlimitNone is no limit, as RLIM_INFINITY.
const UlimitNone = ^uint64(0)

// Ulimits are the limits that can be set, as ulimit and setrlimit call them. Those of the scheduler (nice, rtprio) are not among them:
// with them a task could starve the others of its node.
var Ulimits = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nofile", "nproc", "rss", "sigpending", "stack"}

// Tmpfs is a file system in memory, mounted in a task. What it holds counts as the task's memory, and is gone with it.
type Tmpfs struct {
	Target string `json:"target"`
	Size   Bytes  `json:"size"`
	Mode   uint32 `json:"mode,omitempty"` // of its folder; 0: 1777
	Exec   bool   `json:"exec,omitempty"` // programs in it may be executed
}

// IO bounds what a task reads and writes on the disk of its node's data. 0: no bound.
type IO struct {
	Weight    int   `json:"weight,omitempty"`     // 10 to 1000, relative to others; 0: the kernel's default, 100
	ReadBPS   Bytes `json:"read_bps,omitempty"`   // a second
	WriteBPS  Bytes `json:"write_bps,omitempty"`  // a second
	ReadIOPS  int   `json:"read_iops,omitempty"`  // a second
	WriteIOPS int   `json:"write_iops,omitempty"` // a second
}

// ipcSysctls are the kernel settings that an IPC namespace has for itself, beside those below fs.mqueue.
var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm_rmid_forced", "kernel.shmall", "kernel.shmmax", "kernel.shmmni"}

// CheckSysctl returns why a kernel setting cannot be a task's own, or "". hostNetwork says that the task shares the network of its node.
func CheckSysctl(name string, hostNetwork bool) string {
	switch {
	case strings.ContainsAny(name, "/ \x00") || strings.Contains(name, ".."):
		return "that is no name of a setting: write it with dots, as sysctl prints it"
	case name == "kernel.hostname":
		return "the argument hostname of the task sets it"
	case name == "kernel.domainname", strings.HasPrefix(name, "fs.mqueue."), slices.Contains(ipcSysctls, name):
		return ""
	case strings.HasPrefix(name, "net.") && hostNetwork:
		return "the app shares the network of its node, so it would hold for all of the node: give the app another network mode, or set it on the node"
	case strings.HasPrefix(name, "net."):
		return ""
	}
	return "it holds for the whole node: set it there. A task's own are " + strings.Join(ipcSysctls, ", ") + ", kernel.domainname, fs.mqueue.*, and net.* in a network of its own"
}

// CleanTarget reports whether a path can be mounted on or masked inside a task: absolute, below /, without dots.
func CleanTarget(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && !strings.ContainsRune(p, 0)
}
