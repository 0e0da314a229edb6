package runc

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// hostDevices looks at the device files of a spec: containers get nodes of the same numbers, owner and mode.
func hostDevices(spec *executor.Spec) ([]*devices.Device, error) {
	paths, readOnly, err := wantedDevices(spec)
	if err != nil {
		return nil, err
	}
	var all []*devices.Device
	for _, path := range paths {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			return nil, executor.Errorf(executor.CodeInvalid, "device %s: %v", path, err)
		}
		kind := devices.CharDevice
		switch stat.Mode & unix.S_IFMT {
		case unix.S_IFCHR:
		case unix.S_IFBLK:
			kind = devices.BlockDevice
		default:
			return nil, executor.Errorf(executor.CodeInvalid, "device %s is no device file", path)
		}
		all = append(all, &devices.Device{
			Path: path, FileMode: os.FileMode(stat.Mode & 0o777), Uid: stat.Uid, Gid: stat.Gid,
			Rule: devices.Rule{Type: kind, Major: int64(unix.Major(stat.Rdev)), Minor: int64(unix.Minor(stat.Rdev)), Permissions: access(readOnly[path]), Allow: true},
		})
	}
	return all, nil
}

func access(readOnly bool) devices.Permissions {
	if readOnly {
		return "r"
	}
	return "rw"
}

// coreList prints cores as the files cpuset.cpus take them.
func coreList(cores []int) string {
	words := make([]string, len(cores))
	for i, c := range cores {
		words[i] = strconv.Itoa(c)
	}
	return strings.Join(words, ",")
}

// SetCores implements executor.Runtime.
func (r *Runtime) SetCores(spec *executor.Spec, cores []int) error {
	m, err := r.manager(r.cgroupPath(spec))
	if err != nil {
		return err
	}
	dir := m.Path("cpuset")
	if r.cgroup == 2 {
		dir = m.Path("")
	}
	return setCores(dir, cores)
}

// setCores writes the cores of a cgroup, which has the same file in both versions. A hierarchy of version 1 that was mounted with
// the option noprefix calls it cpus.
func setCores(dir string, cores []int) error {
	if dir == "" {
		return executor.Errorf(executor.CodeUnsupported, "cores cannot be chosen: the cgroup controller cpuset is not available")
	}
	name := "cpuset.cpus"
	if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "cpus")); err == nil {
			name = "cpus"
		}
	}
	return cgroups.WriteFile(dir, name, coreList(cores))
}
