package facts

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/spec"
)

func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

const (
	mountsV2     = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsV1     = "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	mountsDocker = "600 599 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)

func TestCgroupLimits(t *testing.T) {
	for name, c := range map[string]struct {
		files   fstest.MapFS
		version string
		cpu     spec.MilliCPU
		memory  spec.Bytes
	}{
		"v2, the parent is the tightest": {
			files("proc/self/mountinfo", mountsV2, "proc/self/cgroup", "0::/system.slice/stowage.service\n",
				"sys/fs/cgroup/system.slice/stowage.service/cpu.max", "300000 100000\n",
				"sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n",
				"sys/fs/cgroup/system.slice/stowage.service/memory.max", "max\n",
				"sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
			"2", 1500, spec.GiB,
		},
		"v2 without limits": {
			files("proc/self/mountinfo", mountsV2, "proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/cpu.max", "max 100000\n"),
			"2", unlimited, unlimited,
		},
		"v1": {
			files("proc/self/mountinfo", mountsV1, "proc/self/cgroup", "4:memory:/a/b\n1:cpu,cpuacct:/a\n",
				"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n",
				"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n",
				"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n",
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "536870912\n"),
			"1", 500, 512 * spec.MiB,
		},
		"hybrid": {
			files("proc/self/mountinfo", mountsV1+"36 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
				"proc/self/cgroup", "4:memory:/\n1:cpu,cpuacct:/\n0::/\n"),
			"hybrid", unlimited, unlimited,
		},
		"mounted from a folder, as in a container": {
			files("proc/self/mountinfo", mountsDocker, "proc/self/cgroup", "4:memory:/docker/abc\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
			"1", unlimited, 256 * spec.MiB,
		},
		"a group outside of what is mounted": {
			files("proc/self/mountinfo", mountsDocker, "proc/self/cgroup", "4:memory:/../other\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
			"1", unlimited, 256 * spec.MiB,
		},
		"rubbish": {
			files("proc/self/mountinfo", "x - \n\n- - -\n"+mountsV2, "proc/self/cgroup", "x\n0::/\n",
				"sys/fs/cgroup/cpu.max", "1 0\n", "sys/fs/cgroup/memory.max", "-7\n"),
			"2", unlimited, unlimited,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := readCgroups(c.files)
			if err != nil {
				t.Fatal(err)
			}
			if g.version() != c.version || g.cpu() != c.cpu || g.memory() != c.memory {
				t.Errorf("version %s, cpu %v, memory %v; want %s, %v, %v", g.version(), g.cpu(), g.memory(), c.version, c.cpu, c.memory)
			}
		})
	}
}

func TestOSRelease(t *testing.T) {
	for text, want := range map[string][2]string{
		"ID=debian\nVERSION_ID=\"12\"\n":                {"debian", "12"},
		"NAME=x\nID=\"opensuse-leap\"\nVERSION_ID='15'": {"opensuse-leap", "15"},
		"ID=arch\nBUILD_ID=rolling\n":                   {"arch", ""},
		"ID=a\\$b\nVERSION_ID=\"\n":                     {"a$b", "\""},
		"":                                              {"", ""},
	} {
		if name, version := osRelease(files("etc/os-release", text)); name != want[0] || version != want[1] {
			t.Errorf("%q gives %q, %q; want %q", text, name, version, want)
		}
	}
	if name, _ := osRelease(files("usr/lib/os-release", "ID=nixos\n")); name != "nixos" {
		t.Errorf("the file in /usr/lib is not read: %q", name)
	}
}

func TestMemory(t *testing.T) {
	if got, err := readMemory(files("proc/meminfo", "MemFree: 1 kB\nMemTotal:       24684084 kB\n")); got != 24684084*spec.KiB || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{"", "MemTotal: x kB\n", "MemTotal: -1 kB\n", "MemTotal: 99999999999999999999 kB\n"} {
		if got, err := readMemory(files("proc/meminfo", text)); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

func TestCPUModel(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 9B14\n": "AMD EPYC 9B14",
		"processor : 0\nBogoMIPS : 108\nModel : Raspberry Pi 4\n":       "Raspberry Pi 4",
		"processor : 0\nCPU part : 0xd0c\n":                             "",
	} {
		if got := cpuModel(files("proc/cpuinfo", text)); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

func TestKernelNumbers(t *testing.T) {
	for release, want := range map[string]string{"6.1.0-18-amd64": "6.1.0", "5.10": "5.10", "6.18.44-fc-v669": "6.18.44", "4.19.": "4.19", "x": ""} {
		if got := numbers(release); got != want {
			t.Errorf("%q gives %q, want %q", release, got, want)
		}
	}
}

func TestDefaultRoute(t *testing.T) {
	routes := "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n" +
		"wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\n" +
		"eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\n" +
		"docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n"
	if got := defaultRoute(files("proc/net/route", routes)); got != "eth0" {
		t.Errorf("got %q", got)
	}
	if got := defaultRoute(files()); got != "" {
		t.Errorf("without routes: %q", got)
	}
}

func TestParseAttribute(t *testing.T) {
	if key, value, err := ParseAttribute("disk.type=ssd=fast"); key != "disk.type" || value != "ssd=fast" || err != nil {
		t.Errorf("got %q, %q, %v", key, value, err)
	}
	for text, want := range map[string]string{
		"rack": "NAME=VALUE", "=x": "a name has", "Rack=1": "a name has", "1a=b": "a name has", "rack=": "a value has",
		"rack=a\nb": "a value has", "kernel.version=9": "found out", strings.Repeat("a", 64) + "=1": "a name has",
		"rack=" + strings.Repeat("a", 256): "a value has",
	} {
		if _, _, err := ParseAttribute(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want an error with %q", text, err, want)
		}
	}
}

func TestReadAttributes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "attributes")
	for text, want := range map[string]string{
		"":                                       "map[rack:r1]",
		"# of the rack\n\n zone = a":             "error: line 3: read attribute",
		"# of the rack\n\nzone=a\ndisk.type=ssd": "map[disk.type:ssd rack:r1 zone:a]",
		"zone=a\nrack=r2":                        "error: line 2: rack is given twice",
		"zone=a\nzone=a":                         "error: line 2: zone is given twice",
		"kernel.name=x":                          "error: line 1: read attribute \"kernel.name=x\": kernel.name is found out",
		strings.Repeat("#", fileLimit+1):         "error: it has more than 1048576 bytes",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := map[string]string{"rack": "r1"}
		all, err := readAttributes(&Options{Attributes: flags, AttributeFile: file})
		got := fmt.Sprint(all)
		if err != nil {
			got = "error: " + err.Error()
		}
		if bad, isErr := strings.CutPrefix(want, "error: "); isErr && !strings.Contains(got, bad) || !isErr && got != want || len(flags) != 1 {
			t.Errorf("%.40q: %s, want %s; flags %v", text, got, want, flags)
		}
	}
	if _, err := readAttributes(&Options{AttributeFile: file + ".none"}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// TestRead asks the real machine.
func TestRead(t *testing.T) {
	all, err := Read(Options{DataDir: t.TempDir(), Attributes: map[string]string{"rack": "r1"}, Named: map[string]spec.Milli{"gpu": 2000}})
	if err != nil {
		t.Fatal(err)
	}
	c := all.Capacity
	if c.CPU <= 0 || c.CPU > spec.MilliCPU(runtime.NumCPU())*1000 || c.Memory < 16*spec.MiB || c.Disk <= 0 || c.Named["gpu"] != 2000 {
		t.Errorf("capacity %+v is not believable", c)
	}
	host, _ := os.Hostname()
	for key, want := range map[string]string{
		"kernel.name": "linux", "cpu.arch": runtime.GOARCH, "hostname": host, "rack": "r1", "cpu.cores": strconv.Itoa(runtime.NumCPU()),
	} {
		if all.Attributes[key] != want {
			t.Errorf("%s is %q, want %q", key, all.Attributes[key], want)
		}
	}
	if !strings.HasPrefix(all.Attributes[KernelRelease], all.Attributes[KernelVersion]) || all.Attributes[KernelVersion] == "" {
		t.Errorf("kernel %q, release %q", all.Attributes[KernelVersion], all.Attributes[KernelRelease])
	}
	if _, err := netip.ParseAddr(all.Address); err != nil {
		t.Errorf("address: %v", err)
	}

	reserved := spec.Resources{CPU: 100, Memory: spec.MiB}
	rest, err := Read(Options{DataDir: t.TempDir(), Reserved: reserved, Address: "node1.example"})
	if err != nil || rest.Capacity.CPU != c.CPU-100 || rest.Capacity.Memory != c.Memory-spec.MiB || rest.Address != "node1.example" {
		t.Errorf("with a reserve: %+v, %v", rest, err)
	}
	if _, err := Read(Options{DataDir: t.TempDir(), Reserved: spec.Resources{Memory: c.Memory}}); err == nil {
		t.Error("a node without memory was accepted")
	}
	for _, pool := range []spec.PoolName{"all", "Gpu", "a/b", "a.b"} {
		if _, err := Read(Options{DataDir: t.TempDir(), Address: "n", Pool: pool}); err == nil {
			t.Errorf("the pool %q was accepted", pool)
		}
	}
	if n, err := Read(Options{DataDir: t.TempDir(), Address: "n", Pool: "gpu"}); err != nil || n.Pool != "gpu" {
		t.Errorf("the pool gpu: %+v, %v", n, err)
	}
	if _, err := Read(Options{DataDir: t.TempDir(), Attributes: map[string]string{"hostname": "x"}}); err == nil {
		t.Error("an attribute that the agent finds out was accepted")
	}
	if _, err := Read(Options{DataDir: "/does/not/exist"}); err == nil {
		t.Error("a data folder that is not there was accepted")
	}
}
