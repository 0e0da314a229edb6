package hcl

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var isolationTable = &table[spec.Isolation]{
	doc: "In what the task's isolation from its node differs from the default: namespaces of its own, few capabilities, a filter of system calls, no new privileges, no device of the node. What makes it weaker needs an allowance.",
	args: []argument[spec.Isolation]{
		arg("privileged", flag, func(i *spec.Isolation) *bool { return &i.Privileged }, "Leaves its namespaces and limits, and takes the rest of the isolation away: all capabilities and devices of the node, no filter, nothing masked. Needs an allowance"),
		{name: "seccomp", kind: "text", doc: "The filter of system calls: default, none, or the path of a profile in the repository, in the JSON of Docker or OCI. All but default need an allowance",
			set: func(i *spec.Isolation, v cty.Value) error {
				s, err := text[string]().read(v)
				if s == "default" {
					s = ""
				}
				i.Seccomp = s
				return err
			},
			show: func(*spec.Isolation) string { return `"default"` }},
		arg("cap_add", capabilities, func(i *spec.Isolation) *[]string { return &i.CapAdd }, "Capabilities beyond the default ones ("+strings.Join(spec.DefaultCapabilities, ", ")+"), such as NET_RAW, or ALL. Those beyond the default ones need an allowance"),
		arg("cap_drop", capabilities, func(i *spec.Isolation) *[]string { return &i.CapDrop }, "Default capabilities that it does not get; ALL drops every one that cap_add does not name"),
		{name: "no_new_privileges", kind: flag.name, doc: "Programs gain nothing from their files (setuid bits, capabilities of files). false needs an allowance",
			set: func(i *spec.Isolation, v cty.Value) error {
				on, err := flag.read(v)
				i.NewPrivileges = err == nil && !on
				return err
			},
			show: func(i *spec.Isolation) string { return strconv.FormatBool(!i.NewPrivileges) }},
		arg("read_only_root", flag, func(i *spec.Isolation) *bool { return &i.ReadOnlyRoot }, "Nothing can be written but into /tmp, /dev/shm and what is mounted"),
		arg("masked_paths", targets, func(i *spec.Isolation) *[]string { return &i.Masked }, "Paths that are empty in it, beside the default ones"),
		arg("read_only_paths", targets, func(i *spec.Isolation) *[]string { return &i.ReadOnly }, "Paths that it cannot change, beside the default ones"),
		arg("unmasked_paths", unmasked, func(i *spec.Isolation) *[]string { return &i.Unmasked }, "Paths of the default ones that it sees, and may write to, after all. Needs an allowance"),
		arg("sysctls", textMap, func(i *spec.Isolation) *map[string]string { return &i.Sysctls }, "Kernel settings of its own namespaces, such as { \"kernel.shmmax\" = \"1073741824\" }; those of net only where it has a network of its own"),
	},
	blocks: []nested[spec.Isolation]{
		several("host_device", "path", hostDeviceTable, addHostDevice, "A device file of the node, by its path and shared with whoever uses it. Needs an allowance. For GPUs and the like there is device."),
	},
	check: checkIsolation,
}

var hostDeviceTable = &table[spec.HostDevice]{
	doc: "A device file of the node, such as host_device \"/dev/fuse\" {}. Nodes without it cannot start the task: add a constraint on an attribute of those that have it.",
	args: []argument[spec.HostDevice]{
		arg("read_only", flag, func(h *spec.HostDevice) *bool { return &h.ReadOnly }, "It may be read and not written"),
	},
}

var ulimitTable = &table[ulimit]{
	doc: "A limit on each process of the task, as setrlimit(2) has it: " + list(spec.Ulimits) + ". Sizes are in bytes, or written with their unit as \"64MiB\".",
	args: []argument[ulimit]{
		arg("soft", ulimitValue, func(u *ulimit) **uint64 { return &u.soft }, "Where it begins. Without it: as hard"),
		arg("hard", ulimitValue, func(u *ulimit) **uint64 { return &u.hard }, "What it can be raised to. Without it: as soft"),
	},
}

// ulimit is a spec.Ulimit as it is written.
type ulimit struct{ soft, hard *uint64 }

var ulimitValue = kind[*uint64]{
	name: `whole number, size, or "unlimited"`,
	read: func(v cty.Value) (*uint64, error) {
		n := spec.UlimitNone
		switch {
		case v.Type() == cty.String && v.AsString() == "unlimited":
		case v.Type() == cty.String:
			b, err := spec.ParseBytes(shorten(v.AsString(), 60))
			if err != nil {
				return nil, mustBe(`a whole number, a size such as "64MiB", or "unlimited"`, v)
			}
			n = uint64(b)
		default:
			i, err := whole(0, 1<<53).read(v)
			if err != nil {
				return nil, mustBe(`a whole number, a size such as "64MiB", or "unlimited"`, v)
			}
			n = uint64(i)
		}
		return &n, nil
	},
	show: func(*uint64) string { return "" },
}

var tmpfsTable = &table[spec.Tmpfs]{
	doc:      "A file system in memory. What it holds counts as memory of the task, and is gone with the container.",
	defaults: func() spec.Tmpfs { return spec.Tmpfs{Size: spec.DefaultShmSize} },
	args: []argument[spec.Tmpfs]{
		arg("size", size, func(t *spec.Tmpfs) *spec.Bytes { return &t.Size }, "The most that it holds"),
		arg("mode", fileMode, func(t *spec.Tmpfs) *uint32 { return &t.Mode }, "Permissions of its folder, in octal"),
		arg("exec", flag, func(t *spec.Tmpfs) *bool { return &t.Exec }, "Programs in it may be executed"),
	},
}

var fileMode = kind[uint32]{
	name: "permissions in octal",
	read: func(v cty.Value) (uint32, error) {
		if v.Type() == cty.String {
			if n, err := strconv.ParseUint(v.AsString(), 8, 12); err == nil && n != 0 {
				return uint32(n), nil
			}
		}
		return 0, mustBe(`permissions in octal such as "0755"`, v)
	},
	show: func(m uint32) string {
		if m == 0 {
			m = 0o1777
		}
		return fmt.Sprintf("\"%04o\"", m)
	},
}

var ioTable = &table[spec.IO]{
	doc: "What the task reads and writes on the disk that holds its files. On nodes with cgroup v1 the limits hold for what bypasses the page cache, and for reads of what is not in it.",
	args: []argument[spec.IO]{
		arg("weight", whole(10, 1000), func(o *spec.IO) *int { return &o.Weight }, "Its part when the disk is busy, relative to the others' 100"),
		arg("read_bps", size, func(o *spec.IO) *spec.Bytes { return &o.ReadBPS }, "The most it reads in a second"),
		arg("write_bps", size, func(o *spec.IO) *spec.Bytes { return &o.WriteBPS }, "The most it writes in a second"),
		arg("read_iops", whole(1, 100_000_000), func(o *spec.IO) *int { return &o.ReadIOPS }, "The most reads in a second"),
		arg("write_iops", whole(1, 100_000_000), func(o *spec.IO) *int { return &o.WriteIOPS }, "The most writes in a second"),
	},
}

// shmSize shows what holds when nothing is written.
var shmSize = kind[spec.Bytes]{name: size.name, read: size.read, show: func(b spec.Bytes) string {
	if b == 0 {
		b = spec.DefaultShmSize
	}
	return size.show(b)
}}

var capabilities = kind[[]string]{
	name: "list of capabilities",
	read: func(v cty.Value) ([]string, error) {
		names, err := texts.read(v)
		if err != nil {
			return nil, err
		}
		var out []string
		for _, n := range names {
			c, err := spec.CapabilityName(n)
			if err != nil {
				return nil, wrong("must have names of capabilities such as \"NET_RAW\", but " + err.Error())
			}
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
		slices.Sort(out)
		if slices.Contains(out, spec.AllCapabilities) && len(out) > 1 {
			return nil, wrong("must be [\"ALL\"] alone, or names: ALL has the others in it")
		}
		return out, nil
	},
	show: texts.show,
}

// targets are paths inside the container, sorted.
var targets = kind[[]string]{
	name: "list of paths",
	read: func(v cty.Value) ([]string, error) {
		paths, err := texts.read(v)
		if err != nil {
			return nil, err
		}
		if len(paths) > spec.MaxPoints {
			return nil, wrong(fmt.Sprintf("must have at most %d paths, but here are %d", spec.MaxPoints, len(paths)))
		}
		for i, p := range paths {
			if p = path.Clean(p); !spec.CleanTarget(p) {
				return nil, wrong(fmt.Sprintf("must have absolute paths below \"/\", but here is %q", shorten(paths[i], 60)))
			}
			paths[i] = p
		}
		slices.Sort(paths)
		return slices.Compact(paths), nil
	},
	show: texts.show,
}

var unmasked = kind[[]string]{
	name: targets.name,
	read: func(v cty.Value) ([]string, error) {
		paths, err := targets.read(v)
		for _, p := range paths {
			if !slices.Contains(spec.DefaultMasked, p) && !slices.Contains(spec.DefaultReadOnly, p) {
				return nil, wrong(fmt.Sprintf("must have paths that are masked or read-only by default, but here is %q. They are %s", shorten(p, 60), list(slices.Concat(spec.DefaultMasked, spec.DefaultReadOnly))))
			}
		}
		return paths, err
	},
	show: texts.show,
}

func addHostDevice(d *decoder, b *block, i *spec.Isolation, h spec.HostDevice) {
	h.Path = b.label(0)
	switch {
	case path.Clean(h.Path) != h.Path || !strings.HasPrefix(h.Path, "/dev/") || strings.ContainsRune(h.Path, 0):
		d.at(b.place(), b.env.context, "Wrong path", fmt.Sprintf("A device file of the node lies below /dev, but here it is %q.", shorten(h.Path, 60)))
		return
	case slices.Contains([]string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/ptmx", "/dev/console"}, h.Path):
		d.at(b.place(), b.env.context, "Wrong path", fmt.Sprintf("Every task has a %s of its own. Remove the block.", h.Path))
		return
	case slices.ContainsFunc(i.HostDevices, func(o spec.HostDevice) bool { return o.Path == h.Path }):
		d.at(b.place(), b.env.context, "Duplicate device", fmt.Sprintf("The task has %s already. Remove one of the blocks.", shorten(h.Path, 60)))
		return
	case len(i.HostDevices) == spec.MaxPoints:
		d.at(b.place(), b.env.context, "Too many devices", fmt.Sprintf("A task has at most %d devices of its node.", spec.MaxPoints))
		return
	}
	i.HostDevices = append(i.HostDevices, h)
	slices.SortFunc(i.HostDevices, func(x, y spec.HostDevice) int { return strings.Compare(x.Path, y.Path) })
}

func addUlimit(d *decoder, b *block, t *spec.Task, u ulimit) {
	name := b.label(0)
	switch {
	case name == "nice" || name == "rtprio" || name == "rttime":
		d.at(b.place(), b.env.context, "Unknown ulimit", fmt.Sprintf("With %s a task could starve the others of its node. Give it cores of its own instead: cores = 1.", name))
		return
	case !slices.Contains(spec.Ulimits, name):
		hint := didYouMean(name, spec.Ulimits)
		if hint == "" {
			hint = fmt.Sprintf(" There are %s.", list(spec.Ulimits))
		}
		d.at(b.place(), b.env.context, "Unknown ulimit", fmt.Sprintf("There is no limit named %q.%s", shorten(name, 60), hint))
		return
	case slices.ContainsFunc(t.Ulimits, func(o spec.Ulimit) bool { return o.Name == name }):
		d.at(b.place(), b.env.context, "Duplicate ulimit", fmt.Sprintf("The task has a ulimit %q already. Merge the two.", name))
		return
	case !b.sound("soft", "hard"):
		return
	case u.soft == nil && u.hard == nil:
		d.at(b.place(), b.env.context, "Missing argument", fmt.Sprintf("A ulimit needs the argument soft or hard, such as ulimit %q { soft = 1024 }.", name))
		return
	case u.soft == nil:
		u.soft = u.hard
	case u.hard == nil:
		u.hard = u.soft
	case *u.soft > *u.hard:
		d.at(b.placeOf("soft"), b.env.context, "Wrong value for soft", "soft is more than hard, which is what it can be raised to. Exchange them.")
		return
	}
	t.Ulimits = append(t.Ulimits, spec.Ulimit{Name: name, Soft: *u.soft, Hard: *u.hard})
	slices.SortFunc(t.Ulimits, func(x, y spec.Ulimit) int { return strings.Compare(x.Name, y.Name) })
}

func addTmpfs(d *decoder, b *block, t *spec.Task, m spec.Tmpfs) {
	m.Target = path.Clean(b.label(0))
	taken := func(p string) bool { return m.Target == p || strings.HasPrefix(m.Target, p+"/") }
	switch {
	case !spec.CleanTarget(m.Target):
		d.at(b.place(), b.env.context, "Wrong path", fmt.Sprintf("A tmpfs is mounted at an absolute path below \"/\", but here it is %q.", shorten(b.label(0), 60)))
		return
	case m.Target == "/dev/shm":
		d.at(b.place(), b.env.context, "Wrong path", "Every task has a /dev/shm. Remove the block, and say how large it is with shm_size.")
		return
	case taken("/proc") || taken("/sys") || taken("/dev"):
		d.at(b.place(), b.env.context, "Wrong path", fmt.Sprintf("/proc, /sys and /dev belong to the container itself, so nothing can be mounted at %s. Choose another path.", shorten(m.Target, 60)))
		return
	case slices.ContainsFunc(t.Tmpfs, func(o spec.Tmpfs) bool { return o.Target == m.Target }):
		d.at(b.place(), b.env.context, "Duplicate tmpfs", fmt.Sprintf("The task has a tmpfs at %s already. Remove one of them.", shorten(m.Target, 60)))
		return
	case len(t.Tmpfs) == spec.MaxPoints:
		d.at(b.place(), b.env.context, "Too many mounts", fmt.Sprintf("A task has at most %d tmpfs blocks.", spec.MaxPoints))
		return
	}
	t.Tmpfs = append(t.Tmpfs, m)
	slices.SortFunc(t.Tmpfs, func(x, y spec.Tmpfs) int { return strings.Compare(x.Target, y.Target) })
}

// checkIsolation checks what a block says by itself, and reads the profile that it names.
func checkIsolation(d *decoder, b *block, i *spec.Isolation) {
	if i.Privileged {
		for _, n := range []string{"seccomp", "cap_add", "cap_drop", "no_new_privileges", "masked_paths", "read_only_paths", "unmasked_paths"} {
			if b.has(n) {
				d.at(b.placeOf(n), b.env.context, "Argument without effect", fmt.Sprintf("A privileged task has everything, so %s changes nothing. Remove one of the two.", n))
			}
		}
		return
	}
	for _, c := range i.CapAdd {
		if c != spec.AllCapabilities && slices.Contains(i.CapDrop, c) {
			d.at(b.placeOf("cap_drop"), b.env.context, "Added and dropped", fmt.Sprintf("%s is in cap_add and in cap_drop. Remove one of the two.", c))
		}
	}
	if i.Seccomp != "" && i.Seccomp != spec.SeccompNone && b.sound("seccomp") {
		d.readProfile(b, i)
	}
}

// readProfile reads a seccomp profile of the repository. From here on its path counts from the repository's root.
func (d *decoder) readProfile(b *block, i *spec.Isolation) {
	named := i.Seccomp
	refuse := func(detail string) {
		i.Seccomp = "" // told: nobody need complain again
		d.at(b.placeOf("seccomp"), b.env.context, "Wrong value for seccomp", sentence(detail))
	}
	from := b.env.file.name
	content, err := repositoryFile(d.loader.fsys, from, named)
	if err != nil {
		if slices.Contains([]string{"unconfined", "None", "off", "runtime/default"}, named) {
			err = fmt.Errorf("%q is called %q here", named, map[bool]string{true: "default", false: "none"}[named == "runtime/default"])
		}
		refuse(fmt.Sprintf("seccomp is \"default\", \"none\" or the path of a profile in the repository: %v", err))
		return
	}
	if !d.loader.meter.charge(len(content), 1+len(content)>>10) {
		d.loader.overdrawn(b.placeOf("seccomp"), b.env)
		return
	}
	profile, unknown, err := spec.ParseSeccomp(content)
	if err != nil {
		refuse(fmt.Sprintf("The profile %q cannot be used: %v", shorten(named, 100), err))
		return
	}
	i.Seccomp, _ = repositoryPath(from, named)
	i.Profile = profile
	if len(unknown) > 0 {
		detail := fmt.Sprintf("The profile allows calls that Linux does not have: %s. Programs that make them get the default answer of the profile. Look for slips.", list(unknown[:min(len(unknown), 10)]))
		d.add(spec.Diagnostic{Severity: spec.SeverityWarning, Summary: "Unknown system calls", Detail: detail, Pos: position(b.placeOf("seccomp")), Context: b.env.context})
	}
}

var hostnameForm = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?$`)

// checkIsolated checks what a task says about its isolation and its limits, and later whether the cluster allows it.
func (d *decoder) checkIsolated(b *block, a *spec.App, t *spec.Task) {
	if t.Cores > 0 && b.has("cpu_max") {
		d.at(b.placeOf("cpu_max"), b.env.context, "Argument without effect", "A task with cores of its own has these and no others. Remove cpu_max.")
	}
	if t.CPUMax != 0 && t.CPUMax < t.CPU && b.sound("cpu", "cpu_max") {
		d.at(b.placeOf("cpu_max"), b.env.context, "Wrong value for cpu_max", fmt.Sprintf("cpu_max is %s, which is less than cpu, %s. It is the most the task gets: make it at least that.", t.CPUMax, t.CPU))
	}
	if t.Hostname != "" && !strings.Contains(t.Hostname, "${") && !hostnameForm.MatchString(t.Hostname) {
		d.at(b.placeOf("hostname"), b.env.context, "Wrong value for hostname", fmt.Sprintf("%q is no host name. Use letters, digits, \"-\" and \".\", at most 64.", shorten(t.Hostname, 60)))
	}
	if len(t.Groups) > spec.MaxPoints {
		d.at(b.placeOf("groups"), b.env.context, "Wrong value for groups", fmt.Sprintf("A task has at most %d groups, but here are %d.", spec.MaxPoints, len(t.Groups)))
	}
	for _, g := range t.Groups {
		if !groupForm.MatchString(g) {
			d.at(b.placeOf("groups"), b.env.context, "Wrong value for groups", fmt.Sprintf("%q is no group. Write names or numbers, such as [\"audio\", \"1000\"].", shorten(g, 60)))
		}
	}
	inner := b.inner("isolation")
	if inner == nil {
		inner = b
	}
	if t.Isolation.ReadOnlyRoot && t.Disk > 0 {
		d.at(b.placeOf("disk"), b.env.context, "Argument without effect", "With read_only_root there is no writable layer that disk could be for. Remove one of the two.")
	}
	d.later = append(d.later, func() {
		var wrong []string
		for _, name := range sortedKeys(t.Isolation.Sysctls) {
			if why := spec.CheckSysctl(name, a.Network.Mode == spec.NetworkHost); why != "" {
				wrong = append(wrong, fmt.Sprintf("%q cannot be set for a task: %s.", shorten(name, 60), why))
			}
		}
		if len(wrong) > 0 {
			d.at(inner.placeOf("sysctls"), b.env.context, "Not a task's setting", strings.Join(wrong, " "))
		}
		d.loader.checkAllowed(b, inner, a, t)
		a.AvoidStrictNodes()
	})
}

var groupForm = regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$`)
