package executor

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Isolation is the part of a Spec that few containers have: in what their isolation and their limits differ from the default. Its zero
// value is the default, and costs a start nothing.
type Isolation struct {
	// Privileged gives all devices of the node, and /sys to write to, and masks nothing. Capabilities and the filter are said apart.
	Privileged bool `json:"privileged,omitempty"`
	// Unconfined leaves out the seccomp filter.
	Unconfined bool `json:"unconfined,omitempty"`
	// Seccomp takes the place of the filter that containers have by default.
	Seccomp *spec.SeccompProfile `json:"seccomp,omitempty"`
	// NewPrivileges lets programs gain what their files give them.
	NewPrivileges bool `json:"new_privileges,omitempty"`
	// Masked and ReadOnly are absolute paths, beside the default ones; Unmasked are those of the default ones that are left as they are.
	Masked   []string `json:"masked,omitempty"`
	ReadOnly []string `json:"read_only,omitempty"`
	Unmasked []string `json:"unmasked,omitempty"`
	// Sysctls are settings of the container's own namespaces; see spec.CheckSysctl.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// HostDevices are files below /dev that the container shares with the node.
	HostDevices []spec.HostDevice `json:"host_devices,omitempty"`
	Ulimits     []spec.Ulimit     `json:"ulimits,omitempty"`
	// Tmpfs are mounted in order, below Mounts.
	Tmpfs []spec.Tmpfs `json:"tmpfs,omitempty"`
	// ShmBytes limits /dev/shm; 0: spec.DefaultShmSize.
	ShmBytes int64 `json:"shm_bytes,omitempty"`
	// SwapBytes may be swapped out beyond the limit of memory; 0: nothing.
	SwapBytes int64 `json:"swap_bytes,omitempty"`
	// IO bounds what is read and written on the disk that holds IOPath, an absolute path.
	IO     spec.IO `json:"io,omitzero"`
	IOPath string  `json:"io_path,omitempty"`
}

// Weak says what of it isolates less than the default, for a node that does not let that be; "": nothing.
func (i *Isolation) Weak(capabilities []string) string {
	switch {
	case i.Privileged:
		return "privileged"
	case i.Unconfined:
		return "seccomp = \"none\""
	case i.Seccomp != nil:
		return "a seccomp profile of its own"
	case i.NewPrivileges:
		return "no_new_privileges = false"
	case len(i.Unmasked) > 0:
		return "unmasked_paths"
	case len(i.HostDevices) > 0:
		return "host_device " + i.HostDevices[0].Path
	}
	for _, c := range capabilities {
		if name := strings.TrimPrefix(c, "CAP_"); !slices.Contains(spec.DefaultCapabilities, name) {
			return "cap_add " + name
		}
	}
	return ""
}

func (i *Isolation) faults() []error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if i.Unconfined && i.Seccomp != nil {
		fault("unconfined has no seccomp profile")
	}
	for _, p := range slices.Concat(i.Masked, i.ReadOnly, i.Unmasked) {
		if !spec.CleanTarget(p) {
			fault("path %q: use an absolute path below /, without dots", p)
		}
	}
	for _, d := range i.HostDevices {
		if path.Clean(d.Path) != d.Path || !strings.HasPrefix(d.Path, "/dev/") || strings.ContainsRune(d.Path, 0) {
			fault("device %q: use the path of a file below /dev", d.Path)
		}
	}
	for _, u := range i.Ulimits {
		if !slices.Contains(spec.Ulimits, u.Name) {
			fault("ulimit %q: use one of %s", u.Name, strings.Join(spec.Ulimits, ", "))
		}
		if u.Soft > u.Hard {
			fault("ulimit %s: the soft limit is above the hard one", u.Name)
		}
	}
	for _, t := range i.Tmpfs {
		m := Mount{Source: "/", Target: t.Target}
		errs = append(errs, m.faults()...)
		if t.Size <= 0 || t.Mode > 0o7777 {
			fault("tmpfs %s: its size or mode cannot be", t.Target)
		}
	}
	if i.ShmBytes < 0 || i.SwapBytes < 0 || i.IO.ReadBPS < 0 || i.IO.WriteBPS < 0 || i.IO.ReadIOPS < 0 || i.IO.WriteIOPS < 0 {
		fault("a limit is negative")
	}
	if w := i.IO.Weight; w != 0 && (w < 10 || w > 1000) {
		fault("io weight %d: use 10 to 1000", w)
	}
	if i.IO != (spec.IO{}) && !path.IsAbs(i.IOPath) {
		fault("io path %q: use an absolute path", i.IOPath)
	}
	return errs
}
