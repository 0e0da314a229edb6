package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// isolate carries out in what a container differs from the default.
func (r *Runtime) isolate(c *configs.Config, s *executor.Spec) {
	if s.Privileged {
		c.MaskPaths, c.ReadonlyPaths = nil, nil
		// All that there is: what the executor lacks itself it cannot give.
		caps := slices.DeleteFunc(slices.Clone(capabilitiesOf(s)), func(n string) bool { return capabilityMask([]string{n})&^r.own != 0 })
		c.Capabilities = &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps}
		c.Cgroups.Devices = []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}}
	}
	if len(s.Unmasked) > 0 {
		kept := func(p string) bool { return slices.Contains(s.Unmasked, p) }
		c.MaskPaths = slices.DeleteFunc(slices.Clone(c.MaskPaths), kept)
		c.ReadonlyPaths = slices.DeleteFunc(slices.Clone(c.ReadonlyPaths), kept)
	}
	if len(s.Masked) > 0 {
		c.MaskPaths = slices.Concat(c.MaskPaths, s.Masked)
	}
	if len(s.ReadOnly) > 0 {
		c.ReadonlyPaths = slices.Concat(c.ReadonlyPaths, s.ReadOnly)
	}
	c.Sysctl = s.Sysctls
	for _, u := range s.Ulimits {
		limit := configs.Rlimit{Type: rlimit(u.Name), Soft: u.Soft, Hard: u.Hard}
		if i := slices.IndexFunc(c.Rlimits, func(o configs.Rlimit) bool { return o.Type == limit.Type }); i >= 0 {
			c.Rlimits[i] = limit
		} else {
			c.Rlimits = append(c.Rlimits, limit)
		}
	}
}

// rlimit is the limit of a name of spec.Ulimits.
func rlimit(name string) int {
	switch name {
	case "as":
		return unix.RLIMIT_AS
	case "core":
		return unix.RLIMIT_CORE
	case "cpu":
		return unix.RLIMIT_CPU
	case "data":
		return unix.RLIMIT_DATA
	case "fsize":
		return unix.RLIMIT_FSIZE
	case "locks":
		return unix.RLIMIT_LOCKS
	case "memlock":
		return unix.RLIMIT_MEMLOCK
	case "msgqueue":
		return unix.RLIMIT_MSGQUEUE
	case "nofile":
		return unix.RLIMIT_NOFILE
	case "nproc":
		return unix.RLIMIT_NPROC
	case "rss":
		return unix.RLIMIT_RSS
	case "sigpending":
		return unix.RLIMIT_SIGPENDING
	case "stack":
		return unix.RLIMIT_STACK
	}
	return -1
}

// ownDev reports whether a container has a /dev of its own: the one that the others share has no place for more devices.
func ownDev(s *executor.Spec) bool { return s.Privileged || len(s.Devices)+len(s.HostDevices) > 0 }

// mounted reports whether a spec mounts something itself at a path.
func mounted(s *executor.Spec, path string) bool {
	return slices.ContainsFunc(s.Tmpfs, func(t spec.Tmpfs) bool { return t.Target == path })
}

func memoryMount(t spec.Tmpfs) *configs.Mount {
	m := &configs.Mount{Device: "tmpfs", Source: "tmpfs", Destination: t.Target, Flags: unix.MS_NOSUID | unix.MS_NODEV}
	if !t.Exec {
		m.Flags |= unix.MS_NOEXEC
	}
	mode := t.Mode
	if mode == 0 {
		mode = 0o1777
	}
	m.Data = fmt.Sprintf("mode=%o,size=%d", mode, int64(t.Size))
	return m
}

func shmSize(s *executor.Spec) string {
	if s.ShmBytes == 0 {
		return defaultShm
	}
	return "size=" + strconv.FormatInt(s.ShmBytes, 10)
}

// defaultShm is spec.DefaultShmSize as an option of mount.
var defaultShm = "size=" + strconv.FormatInt(int64(spec.DefaultShmSize), 10)

// targets are the places that a spec's mounts need, with something of the same kind as what will be there.
func targets(s *executor.Spec) []executor.Mount {
	all := slices.Clone(s.Mounts)
	for _, t := range s.Tmpfs {
		all = append(all, executor.Mount{Source: "/", Target: t.Target})
	}
	return all
}

// skippedDevices are in every container, or have no meaning there.
var skippedDevices = []string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/core", "/dev/ptmx", "/dev/console", "/dev/.udev", "/dev/.lxc"}

// allDevices are the device files of the node, by path.
func allDevices() ([]string, error) {
	var paths []string
	err := filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // they come and go
			return nil
		case err != nil:
			return err
		case slices.Contains(skippedDevices, path):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeDevice != 0 && !slices.ContainsFunc(deviceNodes, func(n device) bool { return "/dev/"+n.name == path }):
			paths = append(paths, path)
		}
		return nil
	})
	return paths, err
}

// wantedDevices are the device files that a container gets beside those that all have, and which of them only to read.
func wantedDevices(s *executor.Spec) (paths []string, readOnly map[string]bool, err error) {
	paths = s.Devices
	if s.Privileged {
		if paths, err = allDevices(); err != nil {
			return nil, nil, fmt.Errorf("look for devices: %w", err)
		}
		return paths, nil, nil
	}
	readOnly = map[string]bool{}
	for _, d := range s.HostDevices {
		if slices.Contains(paths, d.Path) {
			continue // given to it anyhow
		}
		paths = append(slices.Clip(paths), d.Path)
		readOnly[d.Path] = d.ReadOnly
	}
	return paths, readOnly, nil
}

// throttles translates the limits of reading and writing.
func throttles(r *cgroups.Resources, s *executor.Spec) error {
	r.BlkioWeight = uint16(s.IO.Weight)
	if s.IO.ReadBPS == 0 && s.IO.WriteBPS == 0 && s.IO.ReadIOPS == 0 && s.IO.WriteIOPS == 0 {
		return nil
	}
	major, minor, err := diskOf(s.IOPath)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		rate uint64
		into *[]*cgroups.ThrottleDevice
	}{
		{uint64(s.IO.ReadBPS), &r.BlkioThrottleReadBpsDevice}, {uint64(s.IO.WriteBPS), &r.BlkioThrottleWriteBpsDevice},
		{uint64(s.IO.ReadIOPS), &r.BlkioThrottleReadIOPSDevice}, {uint64(s.IO.WriteIOPS), &r.BlkioThrottleWriteIOPSDevice},
	} {
		if l.rate > 0 {
			*l.into = append(*l.into, cgroups.NewThrottleDevice(major, minor, l.rate))
		}
	}
	return nil
}

// diskOf finds the disk that a path lies on: limits are for whole disks.
func diskOf(path string) (major, minor int64, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, 0, fmt.Errorf("find disk of %s: %w", path, err)
	}
	major, minor = int64(unix.Major(stat.Dev)), int64(unix.Minor(stat.Dev))
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		return 0, 0, executor.Errorf(executor.CodeUnsupported, "limits of reading and writing: %s lies on a file system without a disk of its own, such as btrfs, zfs or an overlay: put the data directory on ext4 or xfs, or take the limits out", path)
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev"))
		if err != nil {
			return 0, 0, fmt.Errorf("find disk of %s: %w", path, err)
		}
		if _, err := fmt.Sscanf(strings.TrimSpace(string(text)), "%d:%d", &major, &minor); err != nil {
			return 0, 0, fmt.Errorf("find disk of %s: %q: %w", path, text, err)
		}
	}
	return major, minor, nil
}

// lacks says what of the options of a spec this node cannot give, and why; "": nothing. A task is never isolated less than it says.
func (r *Runtime) lacks(s *executor.Spec) string {
	i := &s.Isolation
	rates := s.IO
	rates.Weight = 0
	if r.rootless {
		for _, o := range []struct {
			used bool
			what string
		}{
			{s.Privileged, "privileged"}, {s.NewPrivileges, "no_new_privileges = false"}, {len(s.Groups) > 0, "groups"},
			{len(i.HostDevices)+len(s.Devices) > 0, "devices of the node"}, {s.SwapBytes > 0 && !r.hasController("memory"), "swap"},
			{s.CPUMaxMillis > 0 && !r.hasController("cpu"), "cpu_max"}, {s.IO != (spec.IO{}) && !r.hasController("io"), "io"},
		} {
			if o.used {
				return o.what + ": the executor does not run as root"
			}
		}
	} else if missing := capabilityMask(s.Capabilities) &^ r.own; missing != 0 && !s.Privileged {
		for i, name := range capabilityNumbers() {
			if missing>>i&1 == 1 {
				return "capability " + name + ": the executor does not have it itself"
			}
		}
	}
	if what := r.lacksLimit(s); what != "" {
		return what
	}
	switch {
	case s.SwapBytes > 0 && !r.swapCounted:
		return "limit of swap: the kernel runs without swapaccount=1"
	case s.SwapBytes > 0 && s.MemoryLimit() == 0:
		return "limit of swap without one of memory"
	case rates != spec.IO{} && !r.hasIORates():
		return "limits of reading and writing: the cgroup controller " + map[int]string{1: "blkio", 2: "io"}[r.cgroup] + " is not available"
	case s.IO.Weight > 0 && !r.hasIOWeight():
		return "io weight: the kernel has neither the scheduler BFQ nor io.cost for it; load bfq, or take the weight out"
	}
	return ""
}

// lacksLimit tells of a ulimit that is above the executor's own, if it may not raise that.
func (r *Runtime) lacksLimit(s *executor.Spec) string {
	const raise = 1 << unix.CAP_SYS_RESOURCE
	if len(s.Ulimits) == 0 || r.own&raise != 0 && !r.rootless {
		return ""
	}
	for _, u := range s.Ulimits {
		var own unix.Rlimit
		if unix.Getrlimit(rlimit(u.Name), &own) == nil && u.Hard > own.Max {
			return fmt.Sprintf("ulimit %s above %d: the executor has no more itself, and lacks the capability SYS_RESOURCE to raise it", u.Name, own.Max)
		}
	}
	return ""
}

// ownCapabilities is the bounding set of this program.
func ownCapabilities() uint64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ^uint64(0)
	}
	for entry := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(entry, "CapBnd:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64); err == nil {
				return n
			}
		}
	}
	return ^uint64(0)
}

// hasIORates reports whether reading and writing can be limited.
func (r *Runtime) hasIORates() bool {
	if r.cgroup == 2 {
		return r.hasController("io")
	}
	return r.cgroup == 1 && existsAny("/sys/fs/cgroup/blkio/", []string{"blkio.throttle.read_bps_device"})
}

// hasIOWeight reports whether there is a scheduler that heeds weights; its module may be loaded at any time.
func (r *Runtime) hasIOWeight() bool {
	if r.cgroup == 1 {
		return existsAny("/sys/fs/cgroup/blkio/", []string{"blkio.bfq.weight", "blkio.weight"})
	}
	if !r.hasIORates() {
		return false
	}
	// The root of the hierarchy has no weight, and nothing else may be there yet: a cgroup of a moment shows it.
	top := filepath.Join(unifiedRoot, r.given)
	_ = os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte("+io"), 0)
	dir, err := os.MkdirTemp(top, "stowage-look-")
	if err != nil {
		return false
	}
	defer func() { _ = unix.Rmdir(dir) }()
	return existsAny(dir, []string{"io.bfq.weight", "io.weight"})
}

func existsAny(dir string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		_, err := os.Stat(filepath.Join(dir, n))
		return err == nil
	})
}
