package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stowage/stowage/spec"
)

// fileLimit bounds a file that says what the node has, in bytes.
const fileLimit = 1 << 20

// readFile reads what a person or a program of theirs has written about the node.
func readFile(name, what string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, fileLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", what, name, err)
	}
	if len(data) > fileLimit {
		return nil, fmt.Errorf("read %s of %s: it has more than %d bytes", what, name, fileLimit)
	}
	return data, nil
}

// ParseDevice reads a device as a person writes it: KIND[/VENDOR[/MODEL]]:ID[=FILE,…], as in
// gpu/nvidia/a100:GPU-1=/dev/nvidia0.
func ParseDevice(text string) (spec.Device, error) {
	wrong := func(why string) error {
		return fmt.Errorf("read device %q: %s: write it as gpu/nvidia/a100:GPU-1=/dev/nvidia0", text, why)
	}
	head, files, _ := strings.Cut(text, "=")
	what, id, ok := strings.Cut(head, ":")
	parts := strings.SplitN(what, "/", 3)
	if !ok {
		return spec.Device{}, wrong("it has no ID")
	}
	d := spec.Device{Kind: parts[0], ID: id}
	if len(parts) > 1 {
		d.Vendor = parts[1]
	}
	if len(parts) > 2 {
		d.Model = parts[2]
	}
	if files != "" {
		d.Files = strings.Split(files, ",")
	}
	if err := checkDevice(&d); err != nil {
		return d, wrong(err.Error())
	}
	return d, nil
}

func checkDevice(d *spec.Device) error {
	if err := spec.CheckDeviceKind(d.Kind); err != nil {
		return err
	}
	odd := func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }
	if d.ID == "" || len(d.ID) > maxValueBytes || strings.ContainsFunc(d.ID, odd) {
		return fmt.Errorf("the ID is not a word of at most %d bytes without commas", maxValueBytes)
	}
	if len(d.Attributes) > maxAttributes {
		return fmt.Errorf("it has more than %d attributes", maxAttributes)
	}
	for _, f := range d.Files {
		if path.Clean(f) != f || !strings.HasPrefix(f, "/dev/") {
			return fmt.Errorf("%q is no file below /dev", f)
		}
	}
	return nil
}

// readDevices joins those of the flags with those of the file, sorted. No two of a kind may have one ID.
func readDevices(o *Options) ([]spec.Device, error) {
	all := slices.Clone(o.Devices)
	if o.DeviceFile != "" {
		data, err := readFile(o.DeviceFile, "devices")
		if err != nil {
			return nil, err
		}
		var list []spec.Device
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&list); err != nil {
			return nil, fmt.Errorf(`read devices of %s: %w: write a list such as [{"kind": "gpu", "id": "GPU-1", "files": ["/dev/nvidia0"]}]`, o.DeviceFile, err)
		}
		for i := range list {
			if err := checkDevice(&list[i]); err != nil {
				return nil, fmt.Errorf("read devices of %s: device %d: %w", o.DeviceFile, i+1, err)
			}
		}
		all = append(all, list...)
	}
	slices.SortStableFunc(all, spec.CompareDevices)
	for i := range all {
		if i > 0 && spec.CompareDevices(all[i-1], all[i]) == 0 {
			return nil, fmt.Errorf("read devices: %s stands there twice: give each its own ID", &all[i])
		}
		if _, twice := o.Named[all[i].Kind]; twice {
			return nil, fmt.Errorf("read devices: %q is given as a named resource too: devices are counted by themselves, leave --resource %s out", all[i].Kind, all[i].Kind)
		}
	}
	if len(all) > spec.MaxDevices {
		return nil, fmt.Errorf("read devices: %d are more than the %d that a node may have", len(all), spec.MaxDevices)
	}
	return all, nil
}

// readCores groups the processors that tasks may have for themselves by the memory that they are near to, as sysfs tells it. There
// are none without root or without a cgroup controller for them.
func readCores(root fs.FS, o *Options, groups *cgroups, mine *unix.CPUSet, privileged bool) []spec.CoreGroup {
	if !privileged || !groups.cpuset || o.NoCores {
		return nil
	}
	near := map[int]int{} // core → NUMA node
	nodes, _ := fs.Glob(root, "sys/devices/system/node/node[0-9]*")
	for _, dir := range nodes {
		var numa int
		if _, err := fmt.Sscanf(path.Base(dir), "node%d", &numa); err != nil {
			continue
		}
		text, err := fs.ReadFile(root, path.Join(dir, "cpulist"))
		if err != nil {
			continue
		}
		cores, err := spec.ParseCoreList(string(text))
		if err != nil {
			continue
		}
		for _, c := range cores {
			near[c] = numa
		}
	}
	byNode := map[int]*spec.CoreGroup{}
	var numbers []int
	for c := range spec.MaxCores {
		if !mine.IsSet(c) || len(o.Cores) > 0 && !slices.Contains(o.Cores, c) {
			continue
		}
		numa := near[c]
		if byNode[numa] == nil {
			byNode[numa] = &spec.CoreGroup{NUMA: numa}
			numbers = append(numbers, numa)
		}
		byNode[numa].Cores = append(byNode[numa].Cores, c)
	}
	slices.Sort(numbers)
	var out []spec.CoreGroup
	for _, n := range numbers {
		out = append(out, *byNode[n])
	}
	return out
}

// exclusive says in the attribute CPUExclusive whether tasks can have cores for themselves.
func exclusive(o *Options, groups *cgroups, privileged bool) string {
	switch {
	case !privileged:
		return "no: not root"
	case !groups.cpuset:
		return "no: no cpuset cgroups"
	case o.NoCores:
		return "no: not wanted"
	}
	return "yes"
}
