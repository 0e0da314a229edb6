package facts

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// cgroups is where the agent stands in the control group trees: for each controller the folders from its own group up to
// the root of what is mounted. Version 2 is the controller "".
type cgroups struct {
	root    fs.FS
	unified bool
	legacy  bool
	cpuset  bool // there is a controller for cores
	folders map[string][]string
}

// readCgroups joins /proc/self/mountinfo (where the trees are) and /proc/self/cgroup (where we are in them).
func readCgroups(root fs.FS) (cgroups, error) {
	g := cgroups{root: root, folders: map[string][]string{}}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return g, err
	}
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return g, err
	}
	positions := parsePositions(string(own))
	for line := range strings.Lines(string(mounts)) {
		m, ok := parseMount(line)
		switch {
		case !ok:
			continue
		case m.kind == "cgroup2":
			g.unified = true
			g.add("", m, positions)
			if data, err := fs.ReadFile(root, strings.TrimPrefix(path.Join(m.point, "cgroup.controllers"), "/")); err == nil {
				g.cpuset = g.cpuset || slices.Contains(strings.Fields(string(data)), "cpuset")
			}
		case m.kind == "cgroup":
			g.legacy = true
			g.cpuset = g.cpuset || slices.Contains(m.options, "cpuset")
			for _, controller := range []string{"cpu", "memory"} {
				if slices.Contains(m.options, controller) {
					g.add(controller, m, positions)
				}
			}
		}
	}
	return g, nil
}

// add notes the folders of a controller, own group first.
func (g *cgroups) add(controller string, m mount, positions map[string]string) {
	position, ok := positions[controller]
	if !ok || g.folders[controller] != nil {
		return
	}
	// In a container the tree may be mounted from a folder below its root, which is then the top of what can be seen.
	inside, ok := strings.CutPrefix(position, strings.TrimSuffix(m.root, "/"))
	if !ok || strings.Contains(position, "..") {
		inside = "/"
	}
	for dir := path.Join("/", inside); ; dir = path.Dir(dir) {
		g.folders[controller] = append(g.folders[controller], strings.TrimPrefix(path.Join(m.point, dir), "/"))
		if dir == "/" {
			return
		}
	}
}

// parsePositions reads /proc/self/cgroup: controller → group.
func parsePositions(text string) map[string]string {
	positions := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			positions[controller] = f[2]
		}
	}
	return positions
}

type mount struct {
	root, point, kind string
	options           []string // of the file system
}

// parseMount reads a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
func parseMount(line string) (mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 3 {
		return mount{}, false
	}
	return mount{root: unescape(l[3]), point: unescape(l[4]), kind: r[0], options: strings.Split(r[2], ",")}, true
}

// unescape undoes the octal escapes of mountinfo.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// version is "1", "2", or "hybrid" where both kinds are mounted.
func (g cgroups) version() string {
	switch {
	case g.unified && g.legacy:
		return "hybrid"
	case g.unified:
		return "2"
	case g.legacy:
		return "1"
	}
	return ""
}

// unlimited is what a missing limit counts as.
const unlimited = spec.MaxBytes

// cpu returns the lowest quota on the way up, in thousandths of a core.
func (g cgroups) cpu() spec.MilliCPU {
	lowest := spec.MilliCPU(unlimited)
	for _, dir := range g.folders[""] {
		if quota, period, ok := strings.Cut(g.read(dir, "cpu.max"), " "); ok {
			lowest = min(lowest, share(quota, period))
		}
	}
	for _, dir := range g.folders["cpu"] {
		lowest = min(lowest, share(g.read(dir, "cpu.cfs_quota_us"), g.read(dir, "cpu.cfs_period_us")))
	}
	return lowest
}

// share turns quota and period, in microseconds, into thousandths of a core. "max" and -1 are no limit.
func share(quota, period string) spec.MilliCPU {
	q, err := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 || q > unlimited/1000 {
		return unlimited
	}
	return spec.MilliCPU(q * 1000 / p)
}

// memory returns the lowest limit on the way up.
func (g cgroups) memory() spec.Bytes {
	lowest := spec.Bytes(unlimited)
	for controller, file := range map[string]string{"": "memory.max", "memory": "memory.limit_in_bytes"} {
		for _, dir := range g.folders[controller] {
			if n, err := strconv.ParseInt(g.read(dir, file), 10, 64); err == nil && n > 0 {
				lowest = min(lowest, spec.Bytes(n))
			}
		}
	}
	return lowest
}

// read returns the content of a small file, or nothing: the root group has no limits, and a controller may be switched off.
func (g cgroups) read(dir, file string) string {
	data, err := fs.ReadFile(g.root, path.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
