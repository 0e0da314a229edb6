// Package facts finds out what a node has: its capacity for tasks, its address, and the attributes that constraints speak of.
//
// What the kernel says is taken with the limits that the agent itself lives under: a node in a container or with an
// affinity mask offers what it may use, not what the machine has. Parsing works on an [fs.FS], so that it is tested with
// the files of other machines.
package facts

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stowage/stowage/spec"
)

// The attributes that every node has, as far as the machine tells them. Their names belong to Stowage: a person cannot set them.
const (
	KernelName    = "kernel.name"    // "linux"
	KernelVersion = "kernel.version" // the numbers only, "6.1.0", so that it compares as a version
	KernelRelease = "kernel.release" // as uname -r prints it, "6.1.0-18-amd64"
	CPUArch       = "cpu.arch"       // as Go names it: "amd64", "arm64"
	CPUModel      = "cpu.model"      // "AMD EPYC"; absent where the kernel does not say
	CPUCores      = "cpu.cores"      // processors that the agent may use
	OSName        = "os.name"        // ID of os-release: "debian"
	OSVersion     = "os.version"     // VERSION_ID of os-release: "12"; absent for rolling distributions
	Hostname      = "hostname"
	CgroupVersion = "cgroup.version" // "1", "2" or "hybrid"
	CPUExclusive  = "cpu.exclusive"  // "yes", or "no" and why tasks cannot have cores for themselves here
)

// Options say what cannot be found out.
type Options struct {
	DataDir    string                // its file system's room is the node's disk
	DiskHeld   spec.Bytes            // how much of that room the node's own allocations and images hold already
	Reserved   spec.Resources        // kept for the machine itself and taken off the capacity
	Named      map[string]spec.Milli // named resources of the node, such as license
	Devices    []spec.Device         // see ParseDevice
	DeviceFile string                // JSON, a list of more devices; read each time
	Cores      []int                 // only these may be given to one task alone; empty: all that the agent may use
	NoCores    bool                  // none may
	Address    string                // IP address or host name; empty: the first IPv4 address of the interface with the default route
	Attributes map[string]string     // a person's own, such as rack
	// AttributeFile has more of them, each on a line as NAME=VALUE; read each time.
	AttributeFile string
	NoWeak        bool          // no task runs here that is isolated less than by default
	Pool          spec.PoolName // that the node is in; empty: the default one
}

// Read returns the node's description without its ID and agent version. It is an error if nothing is left of cpu or memory, or
// if an attribute or the pool of the options is not allowed.
func Read(o Options) (spec.Node, error) {
	node, err := read(os.DirFS("/"), o)
	if err != nil {
		return spec.Node{}, fmt.Errorf("read facts of the node: %w", err)
	}
	return node, nil
}

func read(root fs.FS, o Options) (spec.Node, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return spec.Node{}, fmt.Errorf("ask the kernel its name: %w", err)
	}
	var affinity unix.CPUSet
	if err := unix.SchedGetaffinity(0, &affinity); err != nil {
		return spec.Node{}, fmt.Errorf("ask for the cpu affinity: %w", err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(o.DataDir, &disk); err != nil {
		return spec.Node{}, fmt.Errorf("ask for the room on the disk of %s: %w", o.DataDir, err)
	}
	groups, err := readCgroups(root)
	if err != nil {
		return spec.Node{}, err
	}
	memory, err := readMemory(root)
	if err != nil {
		return spec.Node{}, err
	}
	devices, err := readDevices(&o)
	if err != nil {
		return spec.Node{}, err
	}
	cores, privileged := affinity.Count(), os.Geteuid() == 0
	capacity := spec.Resources{
		CPU:    min(spec.MilliCPU(cores)*1000, groups.cpu()),
		Memory: min(memory, groups.memory()),
		Disk:   spec.Bytes(disk.Bavail)*spec.Bytes(disk.Bsize) + o.DiskHeld,
		Named:  maps.Clone(o.Named),
	}
	if capacity, err = less(capacity, o.Reserved); err != nil {
		return spec.Node{}, err
	}
	attributes := map[string]string{
		KernelName:    strings.ToLower(unix.ByteSliceToString(uname.Sysname[:])),
		KernelRelease: unix.ByteSliceToString(uname.Release[:]),
		KernelVersion: numbers(unix.ByteSliceToString(uname.Release[:])),
		Hostname:      unix.ByteSliceToString(uname.Nodename[:]),
		CPUArch:       runtime.GOARCH,
		CPUCores:      strconv.Itoa(cores),
		CgroupVersion: groups.version(),
		CPUModel:      cpuModel(root),
		CPUExclusive:  exclusive(&o, &groups, privileged),
	}
	attributes[OSName], attributes[OSVersion] = osRelease(root)
	if o.NoWeak {
		attributes[spec.AttributeWeak] = spec.WeakNo
	}
	maps.DeleteFunc(attributes, func(_, value string) bool { return value == "" })
	own, err := readAttributes(&o)
	if err != nil {
		return spec.Node{}, err
	}
	if err := addOwn(attributes, own); err != nil {
		return spec.Node{}, err
	}
	if err := spec.CheckPool(o.Pool); err != nil {
		return spec.Node{}, err
	}
	address := o.Address
	if address == "" {
		if address, err = ownAddress(root); err != nil {
			return spec.Node{}, err
		}
	}
	node := spec.Node{Address: address, Pool: o.Pool, Attributes: attributes, Capacity: capacity, Devices: devices, Reserved: o.Reserved,
		Cores: readCores(root, &o, &groups, &affinity, privileged)}
	node.Tidy()
	return node, nil
}

// less takes what is reserved off the capacity.
func less(capacity, reserved spec.Resources) (spec.Resources, error) {
	rest := spec.Resources{
		CPU: capacity.CPU - reserved.CPU, Memory: capacity.Memory - reserved.Memory, Disk: max(0, capacity.Disk-reserved.Disk),
		Named: capacity.Named,
	}
	if rest.CPU <= 0 || rest.Memory <= 0 {
		return rest, fmt.Errorf("nothing is left for tasks: the node has %s cpu and %s of memory, and %s and %s are reserved: reserve less",
			capacity.CPU, capacity.Memory, reserved.CPU, reserved.Memory)
	}
	return rest, nil
}

// numbers returns the version at the start of a kernel release: "6.1.0" of "6.1.0-18-amd64".
func numbers(release string) string {
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(release)
	}
	return strings.TrimRight(release[:end], ".")
}

// readMemory returns MemTotal.
func readMemory(root fs.FS) (spec.Bytes, error) {
	data, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil || kib <= 0 || kib > spec.MaxBytes/1024 {
			return 0, fmt.Errorf("read /proc/meminfo: %q is no amount of memory", strings.TrimSpace(line))
		}
		return spec.Bytes(kib) * spec.KiB, nil
	}
	return 0, fmt.Errorf("read /proc/meminfo: there is no MemTotal")
}

// cpuModel returns the name of the first processor, or nothing.
func cpuModel(root fs.FS) string {
	data, err := fs.ReadFile(root, "proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name", "Model", "cpu model", "uarch": // x86; some ARM boards; MIPS; RISC-V
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// osRelease returns ID and VERSION_ID, as os-release(5) has them.
func osRelease(root fs.FS) (name, version string) {
	data, err := fs.ReadFile(root, "etc/os-release")
	if err != nil {
		if data, err = fs.ReadFile(root, "usr/lib/os-release"); err != nil {
			return "", ""
		}
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ID":
			name = unquote(value)
		case "VERSION_ID":
			version = unquote(value)
		}
	}
	return name, version
}

// unquote undoes the shell quoting that os-release(5) allows.
func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		out.WriteByte(value[i])
	}
	return out.String()
}

// ownAddress returns an IPv4 address of the interface that has the default route, else that of the first interface that is up.
// A machine without a network is reached on the loopback.
func ownAddress(root fs.FS) (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list network interfaces: %w", err)
	}
	preferred := defaultRoute(root)
	best := ""
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it went away just now
		}
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || !prefix.Addr().Is4() || prefix.Addr().IsLinkLocalUnicast() {
				continue
			}
			if i.Name == preferred {
				return prefix.Addr().String(), nil
			}
			if best == "" {
				best = prefix.Addr().String()
			}
		}
	}
	if best == "" {
		best = "127.0.0.1"
	}
	return best, nil
}

// defaultRoute returns the interface of the default route with the lowest metric, or nothing.
func defaultRoute(root fs.FS) string {
	data, err := fs.ReadFile(root, "proc/net/route")
	if err != nil {
		return ""
	}
	best, lowest := "", -1
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		metric, err := strconv.Atoi(f[6])
		if err == nil && (lowest < 0 || metric < lowest) {
			best, lowest = f[0], metric
		}
	}
	return best
}
