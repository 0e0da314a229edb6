package runc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

const (
	// firstMappedID and mappedIDs are the users of the node that containers with a user namespace run as. They lie above what
	// distributions give to people and to other container systems.
	firstMappedID = executor.FirstMappedID
	mappedIDs     = 65536
	// openFiles are the soft and hard limits of descriptors, as systemd sets them: programs that use select(2), or close every
	// possible descriptor, work, and servers raise the soft one.
	openFilesSoft = 1024
	openFilesHard = 524288
	// tmpBytes limits the /tmp of a read-only root.
	tmpBytes = "size=65536k"
	// defaultPath is searched where a spec sets no PATH.
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// defaultCapabilities are those of package spec, as libcontainer calls them.
var defaultCapabilities = func() []string {
	all := make([]string, len(spec.DefaultCapabilities))
	for i, c := range spec.DefaultCapabilities {
		all[i] = "CAP_" + c
	}
	return all
}()

// onNode keeps the paths that this kernel has; each that it lacks costs a start some calls.
func onNode(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		_, err := os.Lstat(p)
		return err != nil
	})
}

// config translates a spec for libcontainer.
func (r *Runtime) config(spec *executor.Spec, rt root, cores []int, extra []*devices.Device, resources *cgroups.Resources) *configs.Config {
	caps := capabilitiesOf(spec)
	c := &configs.Config{
		Version:         "1.2.0",
		Rootfs:          rt.path,
		Readonlyfs:      !rt.writable,
		Hostname:        spec.Hostname,
		Namespaces:      r.namespaces(spec),
		Mounts:          r.mounts(spec, rt),
		MaskPaths:       r.masked,
		ReadonlyPaths:   r.readonly,
		NoNewPrivileges: !spec.NewPrivileges,
		Capabilities:    &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
		Rlimits:         []configs.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: min(openFilesSoft, r.maxFiles), Hard: min(openFilesHard, r.maxFiles)}},
		Cgroups:         &cgroups.Cgroup{Path: r.cgroupPath(spec), Resources: resources},
		RootlessEUID:    r.rootless,
		RootlessCgroups: r.rootless && r.cgroup == 0,
	}
	c.Cgroups.CpusetCpus = coreList(cores)
	if len(extra) > 0 {
		// The shared /dev has no place for them: this container gets one of its own.
		c.Devices = append(plainDevices(), extra...)
		for _, d := range extra {
			c.Cgroups.Devices = append(c.Cgroups.Devices, &d.Rule)
		}
	}
	r.isolate(c, spec)
	if c.Hostname == "" {
		c.Hostname = spec.ID[:min(len(spec.ID), 63)]
	}
	if spec.Network == executor.NetworkNone {
		c.Networks = []*configs.Network{{Type: "loopback"}}
	}
	if r.rootless {
		// Rules of devices are left out: nobody makes devices in a user namespace, and those of the node are as the node's files allow.
		if c.Cgroups.Rootless = true; r.cgroup == 0 {
			// Only for a cgroup without a path the library takes it that there are no rights.
			c.Cgroups = &cgroups.Cgroup{Name: spec.ID, Rootless: true, Resources: &cgroups.Resources{Devices: deviceRules()}}
		}
		c.UIDMappings = []configs.IDMap{{HostID: int64(os.Geteuid()), Size: 1}}
		c.GIDMappings = []configs.IDMap{{HostID: int64(os.Getegid()), Size: 1}}
		c.Devices = append(plainDevices(), extra...)
	} else {
		// The executor is hard to kill for lack of memory; its containers are not.
		zero := 0
		c.OomScoreAdj = &zero
	}
	if spec.UserNamespace && !r.rootless {
		c.UIDMappings = []configs.IDMap{{HostID: firstMappedID, Size: mappedIDs}}
		c.GIDMappings = c.UIDMappings
	}
	return c
}

func capabilitiesOf(spec *executor.Spec) []string {
	if spec.Capabilities != nil {
		return spec.Capabilities
	}
	return defaultCapabilities
}

func (r *Runtime) namespaces(spec *executor.Spec) configs.Namespaces {
	all := configs.Namespaces{{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC}, {Type: configs.NEWUTS}}
	if configs.IsNamespaceSupported(configs.NEWCGROUP) {
		all = append(all, configs.Namespace{Type: configs.NEWCGROUP})
	}
	switch spec.Network {
	case "", executor.NetworkHost:
	case executor.NetworkNone:
		all = append(all, configs.Namespace{Type: configs.NEWNET})
	default:
		all = append(all, configs.Namespace{Type: configs.NEWNET, Path: spec.Network})
	}
	if spec.UserNamespace || r.rootless {
		all = append(all, configs.Namespace{Type: configs.NEWUSER})
	}
	return all
}

// mounts lists everything that is mounted in a container, in order.
func (r *Runtime) mounts(spec *executor.Spec, rt root) []*configs.Mount {
	const quiet = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	all := slices.Clone(rt.mounts)
	all = append(all, &configs.Mount{Device: "proc", Source: "proc", Destination: "/proc", Flags: quiet})
	if r.dev != "" && !ownDev(spec) {
		all = append(all, &configs.Mount{Device: "bind", Source: r.dev, Destination: "/dev", Flags: unix.MS_BIND | unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_RDONLY})
	} else {
		all = append(all, &configs.Mount{Device: "tmpfs", Source: "tmpfs", Destination: "/dev", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=64k"})
		if ownDev(spec) {
			all[len(all)-1].Flags |= unix.MS_RDONLY | unix.MS_NOEXEC // once it is furnished
		}
	}
	pts := "newinstance,ptmxmode=0666,mode=0620"
	if !r.rootless {
		pts += ",gid=5"
	}
	all = append(all,
		&configs.Mount{Device: "devpts", Source: "devpts", Destination: "/dev/pts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: pts},
		&configs.Mount{Device: "tmpfs", Source: "shm", Destination: "/dev/shm", Flags: quiet, Data: "mode=1777," + shmSize(spec)},
		&configs.Mount{Device: "mqueue", Source: "mqueue", Destination: "/dev/mqueue", Flags: quiet},
		r.sysMount(spec, quiet),
	)
	if r.cgroup == 2 {
		all = append(all, &configs.Mount{Device: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Flags: quiet | unix.MS_RDONLY})
	}
	if !rt.writable && !mounted(spec, "/tmp") {
		all = append(all, &configs.Mount{Device: "tmpfs", Source: "tmp", Destination: "/tmp", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777," + tmpBytes})
	}
	for _, m := range spec.Mounts {
		flags := unix.MS_BIND | unix.MS_REC | unix.MS_NOSUID | unix.MS_NODEV
		if m.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		all = append(all, &configs.Mount{Device: "bind", Source: m.Source, Destination: m.Target, Flags: flags})
	}
	for _, t := range spec.Tmpfs {
		all = append(all, memoryMount(t))
	}
	return all
}

// sysMount shows /sys. A user namespace may mount it only together with a network namespace, so without one the node's is shown.
func (r *Runtime) sysMount(spec *executor.Spec, flags int) *configs.Mount {
	hostNet := spec.Network == "" || spec.Network == executor.NetworkHost
	if (spec.UserNamespace || r.rootless) && hostNet {
		return &configs.Mount{Device: "bind", Source: "/sys", Destination: "/sys", Flags: flags | unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY}
	}
	if !spec.Privileged {
		flags |= unix.MS_RDONLY
	}
	return &configs.Mount{Device: "sysfs", Source: "sysfs", Destination: "/sys", Flags: flags}
}

// environment adds a PATH where there is none.
func environment(env ...[]string) []string {
	all := slices.Concat(env...)
	if !slices.ContainsFunc(all, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		all = append(all, defaultPath)
	}
	return all
}

// cgroupPath is where a container's limits are, below the root of every hierarchy.
func (r *Runtime) cgroupPath(spec *executor.Spec) string {
	return filepath.Join("/", r.parent, spec.CgroupParent, spec.ID)
}
