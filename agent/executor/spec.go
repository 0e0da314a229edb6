package executor

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Limits of a Spec.
const (
	// MaxIDLength keeps every path made of an ID well below the limits of file names.
	MaxIDLength = 200
	// DefaultPidsMax is the limit of processes and threads where a spec names none: plenty for a server, and a fork bomb
	// cannot take the node with it.
	DefaultPidsMax = 4096
	// DefaultLogBytes is the size of a log file where a spec names none, in bytes.
	DefaultLogBytes = 10 << 20
	// DefaultLogFiles is the number of log files of each stream where a spec names none.
	DefaultLogFiles = 3
)

// RootKind says what a container sees as its root.
type RootKind string

const (
	// RootHost shows the programs of the node, read-only, and nothing else of it.
	RootHost RootKind = "host"
	// RootLayers stacks read-only directories (the layers of an image).
	RootLayers RootKind = "layers"
)

// Root describes the root file system of a container.
type Root struct {
	Kind RootKind `json:"kind"`
	// Layers are absolute paths of read-only directories, the lowest first. For RootHost they lie over the node's root, but for the folders
	// with its programs.
	Layers []string `json:"layers,omitempty"`
	// UserXattr says that the layers mark what they hide with the attributes user.overlay.*, as those do that were unpacked
	// without root.
	UserXattr bool `json:"user_xattr,omitempty"`
	// Writable is the absolute path of a directory that receives what the task writes outside of mounts; it belongs to one
	// container at a time. Empty: the root is read-only, but for a private /tmp in memory.
	Writable string `json:"writable,omitempty"`
	// Kept holds a writable root ready, so that a container on the same one can be prepared while this one runs; see Client.PrepareNext.
	Kept bool `json:"kept,omitempty"`
}

// FirstMappedID is the user and group of the node that root of a container with Spec.UserNamespace is; those above follow.
const FirstMappedID = 0x7000_0000

// Mount shows a file or a directory of the node inside the container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Networks that Spec.Network may name, besides the absolute path of a network namespace.
const (
	// NetworkHost shares the network of the node.
	NetworkHost = "host"
	// NetworkNone gives a network of its own with nothing but a loopback.
	NetworkNone = "none"
)

// Log says where the output of a container goes.
type Log struct {
	// Dir is the absolute path of an existing directory; empty: output is read and thrown away.
	Dir string `json:"dir,omitempty"`
	// Task is the prefix of the file names.
	Task string `json:"task,omitempty"`
	// MaxBytes limits one file, in bytes; 0: DefaultLogBytes.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// MaxFiles limits the files of one stream; 0: DefaultLogFiles.
	MaxFiles int `json:"max_files,omitempty"`
}

// Spec asks for one container.
type Spec struct {
	// ID is unique on the node: [a-z0-9.-]+, at most MaxIDLength.
	ID       string `json:"id"`
	Hostname string `json:"hostname,omitempty"`
	// Command is the program, looked up in the PATH of Env inside the container, and its arguments.
	Command []string `json:"command"`
	// Env holds NAME=value pairs. Without a PATH the usual system folders are searched.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory inside the container; empty: /.
	Dir string `json:"dir,omitempty"`
	// User is a name or number, with an optional group after a colon; empty: root of the container.
	User    string  `json:"user,omitempty"`
	Root    Root    `json:"root"`
	Mounts  []Mount `json:"mounts,omitempty"`
	Network string  `json:"network,omitempty"`
	// Groups are names or numbers of groups that the processes are in beside those of User.
	Groups []string `json:"groups,omitempty"`
	// UserNamespace maps the container's users to others of the node, so that its root is nobody outside.
	UserNamespace bool `json:"user_namespace,omitempty"`
	// Devices are files below /dev that the container may use, as the node has them.
	Devices []string `json:"devices,omitempty"`
	// Cores are those that the container runs on, by the kernel's numbers; empty: those that nobody has reserved. See Client.Reserve.
	Cores []int `json:"cores,omitempty"`
	// CPUMillis is the guaranteed share of CPU in thousandths of a core; spare CPU may be used beyond it. 0: the least share.
	CPUMillis int64 `json:"cpu_millis,omitempty"`
	// CPUMaxMillis is the most CPU in thousandths of a core; 0: no limit.
	CPUMaxMillis int64 `json:"cpu_max_millis,omitempty"`
	// MemoryBytes is what is set aside, and the limit if MemoryMaxBytes is 0. 0: no limit.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// MemoryMaxBytes is the limit if it is not 0; MemoryBytes is then what the kernel tries to leave to the container.
	MemoryMaxBytes int64 `json:"memory_max_bytes,omitempty"`
	// PidsMax limits processes and threads; 0: DefaultPidsMax.
	PidsMax int64 `json:"pids_max,omitempty"`
	Isolation
	// Capabilities are kept; nil: a small default set; empty: none. Names as in capabilities(7), CAP_ included.
	Capabilities []string `json:"capabilities,omitzero"`
	// CgroupParent is below the executor's parent cgroup; empty: directly below it.
	CgroupParent string            `json:"cgroup_parent,omitempty"`
	Log          Log               `json:"log,omitzero"`
	Labels       map[string]string `json:"labels,omitempty"`
}

// MemoryLimit is the hard limit in bytes; 0: none.
func (s *Spec) MemoryLimit() int64 {
	if s.MemoryMaxBytes > 0 {
		return s.MemoryMaxBytes
	}
	return s.MemoryBytes
}

// CheckID says whether an ID can name a container.
func CheckID(id string) error {
	switch {
	case strings.ContainsFunc(id, notInID) || strings.Trim(id, ".") == "":
		return fmt.Errorf("container id %q: use the characters a-z, 0-9, dot and dash", id)
	case len(id) > MaxIDLength:
		return fmt.Errorf("container id of %d characters: use at most %d", len(id), MaxIDLength)
	}
	return nil
}

func notInID(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-'
}

// Validate returns every fault of the spec, joined.
func (s *Spec) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := CheckID(s.ID); err != nil {
		errs = append(errs, err)
	}
	if len(s.Command) == 0 || s.Command[0] == "" {
		fault("command is empty: name a program")
	}
	for _, arg := range s.Command {
		if strings.ContainsRune(arg, 0) {
			fault("command argument %q holds a zero byte", arg)
		}
	}
	errs = append(errs, checkEnv(s.Env)...)
	if s.Dir != "" && !path.IsAbs(s.Dir) {
		fault("dir %q: use an absolute path", s.Dir)
	}
	errs = append(errs, s.Root.faults()...)
	for _, m := range s.Mounts {
		errs = append(errs, m.faults()...)
	}
	for _, d := range s.Devices {
		if path.Clean(d) != d || !strings.HasPrefix(d, "/dev/") || strings.ContainsRune(d, 0) {
			fault("device %q: use the path of a file below /dev", d)
		}
	}
	for _, c := range s.Cores {
		if c < 0 {
			fault("core %d: use the numbers that the kernel gives to processors", c)
		}
	}
	switch s.Network {
	case "", NetworkHost, NetworkNone:
	default:
		if !filepath.IsAbs(s.Network) {
			fault("network %q: use host, none, or the absolute path of a network namespace", s.Network)
		}
	}
	if s.CPUMillis < 0 || s.CPUMaxMillis < 0 || s.MemoryBytes < 0 || s.MemoryMaxBytes < 0 || s.PidsMax < 0 {
		fault("a limit is negative")
	}
	if s.MemoryMaxBytes > 0 && s.MemoryMaxBytes < s.MemoryBytes {
		fault("memory_max %d is below memory %d", s.MemoryMaxBytes, s.MemoryBytes)
	}
	if !filepath.IsLocal(s.CgroupParent) && s.CgroupParent != "" {
		fault("cgroup parent %q: use a relative path without dots", s.CgroupParent)
	}
	errs = append(errs, s.Isolation.faults()...)
	for name := range s.Sysctls {
		if why := spec.CheckSysctl(name, s.Network == "" || s.Network == NetworkHost); why != "" {
			fault("setting %q: %s", name, why)
		}
	}
	errs = append(errs, s.Log.faults()...)
	return errors.Join(errs...)
}

// checkEnv refuses what could not be an environment, and the names by which the container library finds its own pipes.
func checkEnv(env []string) []error {
	var errs []error
	for _, e := range env {
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "" || strings.ContainsRune(e, 0):
			errs = append(errs, fmt.Errorf("environment %q: use NAME=value", e))
		case strings.HasPrefix(name, "_LIBCONTAINER_"):
			errs = append(errs, fmt.Errorf("environment %s: names that begin with _LIBCONTAINER_ are reserved", name))
		}
	}
	return errs
}

func (r *Root) faults() []error {
	var errs []error
	switch r.Kind {
	case RootHost:
		if len(r.Layers) == 0 && r.UserXattr {
			errs = append(errs, errors.New("root host: there are no layers that could have attributes"))
		}
	case RootLayers:
		if len(r.Layers) == 0 {
			errs = append(errs, errors.New("root layers: name at least one layer"))
		}
	default:
		errs = append(errs, fmt.Errorf("root kind %q: use host or layers", r.Kind))
	}
	for _, dir := range append([]string{r.Writable}, r.Layers...) {
		if dir != "" && !filepath.IsAbs(dir) {
			errs = append(errs, fmt.Errorf("root directory %q: use an absolute path", dir))
		}
		if strings.ContainsAny(dir, ":,\\\x00") {
			errs = append(errs, fmt.Errorf("root directory %q: colon, comma and backslash cannot be used", dir))
		}
	}
	return errs
}

func (m *Mount) faults() []error {
	var errs []error
	if !filepath.IsAbs(m.Source) {
		errs = append(errs, fmt.Errorf("mount source %q: use an absolute path", m.Source))
	}
	clean := path.Clean(m.Target)
	if !path.IsAbs(m.Target) || clean == "/" {
		errs = append(errs, fmt.Errorf("mount target %q: use an absolute path below /", m.Target))
	}
	for _, taken := range []string{"/proc", "/sys", "/dev"} {
		if clean == taken || strings.HasPrefix(clean, taken+"/") {
			errs = append(errs, fmt.Errorf("mount target %q: %s belongs to the container itself", m.Target, taken))
		}
	}
	return errs
}

func (l *Log) faults() []error {
	var errs []error
	if l.Dir == "" {
		return nil
	}
	if !filepath.IsAbs(l.Dir) {
		errs = append(errs, fmt.Errorf("log directory %q: use an absolute path", l.Dir))
	}
	if l.Task == "" || l.Task == "." || l.Task == ".." || strings.ContainsAny(l.Task, "/\x00") {
		errs = append(errs, fmt.Errorf("log task %q: use a file name", l.Task))
	}
	if l.MaxBytes < 0 || l.MaxFiles < 0 {
		errs = append(errs, errors.New("a log limit is negative"))
	}
	return errs
}
