package runc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// detect finds out what this node can do, and says what it cannot.
func (r *Runtime) detect(version string) {
	f := executor.Features{Version: version, Rootless: r.rootless, Overlay: !r.rootless, Network: !r.rootless}
	missing := func(format string, args ...any) { f.Missing = append(f.Missing, fmt.Sprintf(format, args...)) }
	switch {
	case r.rootless:
		missing("images and networks of their own: the executor does not run as root")
		missing("privileged tasks, new privileges, groups and devices: the executor does not run as root")
		given, controllers, err := delegated()
		if err != nil {
			missing("limits of CPU, memory and processes: the executor does not run as root, and %v", err)
			break
		}
		r.cgroup, r.controllers, r.given, r.parent = 2, controllers, given, filepath.Join(given, r.parent)[1:]
	case cgroups.IsCgroup2UnifiedMode():
		r.cgroup = 2
		data, _ := os.ReadFile(filepath.Join(unifiedRoot, "cgroup.controllers"))
		r.controllers = strings.Fields(string(data))
	default:
		r.cgroup = 1
		_, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
		if r.swapCounted = err == nil; !r.swapCounted {
			missing("swap is not counted as memory: the kernel runs without swapaccount")
		}
	}
	r.swapCounted = r.swapCounted || r.cgroup == 2
	r.own = ownCapabilities()
	if r.cgroup != 0 {
		for _, name := range []string{"cpu", "memory", "pids"} {
			if !r.hasController(name) {
				missing("limit of %s: the cgroup controller is not available", name)
			}
		}
	}
	if f.Cores = r.hasController("cpuset"); r.cgroup != 0 && !f.Cores {
		missing("cores for one task alone: the cgroup controller cpuset is not available")
	}
	if f.Seccomp = hasSeccomp(); !f.Seccomp {
		missing("seccomp: the kernel is built without filters; specs must say unconfined")
	}
	if f.UserNamespace = hasUserNamespaces(); !f.UserNamespace {
		missing("user namespaces: the kernel does not allow them (user.max_user_namespaces)")
	}
	if f.Overlay && !hasFilesystem("overlay") {
		f.Overlay = false
		missing("overlay: the kernel has no such file system, and no module of it; writable roots and images do not work")
	}
	f.Cgroup = r.cgroup
	r.features = f
}

// hasController reports whether containers can have a controller.
func (r *Runtime) hasController(name string) bool {
	switch r.cgroup {
	case 0:
		return false
	case 2:
		return slices.Contains(r.controllers, name)
	}
	_, err := os.Stat(filepath.Join("/sys/fs/cgroup", name, "cgroup.procs"))
	return err == nil
}

// hasSeccomp asks for the state of a filter that is not there: EFAULT is the answer of a kernel that has them.
func hasSeccomp() bool {
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0) == unix.EFAULT
}

func hasUserNamespaces() bool {
	for _, file := range []string{"/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(string(bytes.TrimSpace(data))); err == nil && n == 0 && (file[10] == 'u' || os.Geteuid() != 0) {
			return false
		}
	}
	_, err := os.Stat("/proc/self/ns/user")
	return err == nil
}

// hasFilesystem asks for a file system, which loads its module if nobody has mounted one since the machine started.
func hasFilesystem(name string) bool {
	if fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC); err == nil {
		unix.Close(fd)
		return true
	}
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return false
	}
	for _, field := range bytes.Fields(data) {
		if string(field) == name {
			return true
		}
	}
	return false
}

// supports refuses what this node cannot give: a task is never isolated less than its spec says.
func (r *Runtime) supports(spec *executor.Spec) error {
	f := r.features
	no := func(what string) error {
		return executor.Errorf(executor.CodeUnsupported, "container %q: this node has no %s", spec.ID, what)
	}
	switch {
	case !spec.Unconfined && !f.Seccomp:
		return no("seccomp")
	case (spec.UserNamespace || r.rootless) && !f.UserNamespace:
		return no("user namespaces")
	case !f.Overlay && spec.Root.Kind == executor.RootLayers:
		return no("overlay mounts, which images need")
	case !f.Overlay && !r.rootless && (spec.Root.Writable != "" || len(spec.Mounts) > 0):
		return no("overlay mounts, which writable roots need")
	case r.rootless && filepath.IsAbs(spec.Network):
		return no("networks of its own without root")
	}
	if what := r.lacks(spec); what != "" {
		return no(what)
	}
	return nil
}
