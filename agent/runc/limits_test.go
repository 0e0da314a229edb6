package runc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/stowage/stowage/agent/executor"
)

// written lets the cgroup library write limits for v2 into a folder, and reads them back.
func written(t *testing.T, spec *executor.Spec) map[string]string {
	t.Helper()
	cgroups.TestMode = true
	t.Cleanup(func() { cgroups.TestMode = false })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpu memory pids"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := limits(spec, true, true)
	r.SkipDevices = true // device rules are programs, not files
	m, err := fs2.NewManager(&cgroups.Cgroup{Path: "/test", Resources: r}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Set(r); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = strings.TrimSpace(string(data))
	}
	return got
}

func TestLimitsOnV2(t *testing.T) {
	got := written(t, &executor.Spec{CPUMillis: 1000, CPUMaxMillis: 2500, MemoryBytes: 32 << 20, MemoryMaxBytes: 48 << 20, PidsMax: 77})
	want := map[string]string{
		"cpu.max": "250000 100000", "memory.max": "50331648", "memory.low": "33554432", "memory.swap.max": "0", "pids.max": "77",
		"memory.oom.group": "1", "cpu.weight": "100",
	}
	for file, value := range want {
		if got[file] != value {
			t.Errorf("%s is %q, want %q", file, got[file], value)
		}
	}
	plain := written(t, &executor.Spec{MemoryBytes: 32 << 20})
	if plain["memory.max"] != "33554432" || plain["memory.low"] != "" || plain["cpu.max"] != "" || plain["pids.max"] != "4096" {
		t.Errorf("without a memory_max: %v", plain)
	}
}

// Weights are in the proportion of what is asked for.
func TestWeightsOnV2(t *testing.T) {
	for millis, want := range map[int64]uint64{0: 1, 1: 1, 100: 10, 500: 50, 1000: 100, 2000: 200, 100_000: 10_000, 900_000: 10_000} {
		if got := limits(&executor.Spec{CPUMillis: millis}, true, true).CpuWeight; got != want {
			t.Errorf("%d thousandths of a core weigh %d, want %d", millis, got, want)
		}
	}
}

func TestLimitsOnV1(t *testing.T) {
	for _, test := range []struct {
		name              string
		spec              executor.Spec
		memory, low, swap int64
		shares            uint64
		quota             int64
	}{
		{"nothing", executor.Spec{}, 0, 0, 0, 2, 0},
		{"memory", executor.Spec{MemoryBytes: 100}, 100, 0, 100, 2, 0},
		{"memory_max", executor.Spec{MemoryBytes: 100, MemoryMaxBytes: 300}, 300, 100, 300, 2, 0},
		{"only memory_max", executor.Spec{MemoryMaxBytes: 300}, 300, 0, 300, 2, 0},
		{"a core", executor.Spec{CPUMillis: 1000}, 0, 0, 0, 1024, 0},
		{"half a core, at most two", executor.Spec{CPUMillis: 500, CPUMaxMillis: 2000}, 0, 0, 0, 512, 200_000},
		{"next to nothing", executor.Spec{CPUMillis: 1, CPUMaxMillis: 1}, 0, 0, 0, 2, minQuota},
	} {
		r := limits(&test.spec, false, true)
		if r.Memory != test.memory || r.MemoryReservation != test.low || r.MemorySwap != test.swap || r.CpuShares != test.shares || r.CpuQuota != test.quota {
			t.Errorf("%s: %+v", test.name, r)
		}
	}
	if r := limits(&executor.Spec{MemoryBytes: 100}, false, false); r.MemorySwap != 0 {
		t.Errorf("swap limit where it is not counted: %d", r.MemorySwap)
	}
}

func TestStatsOfV2(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cpu.stat": "usage_usec 1500\nuser_usec 1000\nthrottled_usec 7\n", "memory.current": "1000\n", "memory.stat": "anon 1\ninactive_file 300\n",
		"memory.max": "max\n", "memory.events": "low 0\noom 2\noom_kill 1\n", "pids.current": "3\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readV2(dir)
	want := executor.Stats{CPUNanos: 1_500_000, ThrottledNanos: 7000, MemoryBytes: 700, Pids: 3, OOMKills: 1}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestRootShared(t *testing.T) {
	for line, want := range map[string]bool{
		"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw":               true,
		"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw":                        false,
		"27 1 254:0 / / rw,relatime master:1 - ext4 /dev/vda rw":               false,
		"28 1 254:0 / /x rw,relatime shared:1 - ext4 /dev/vda rw":              false,
		"27 1 0:1 / / rw shared:1 - rootfs r rw\n30 27 8:0 / / rw - ext4 d rw": false,
	} {
		if got := rootShared(line + "\n"); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestSystemEntriesHidePeople(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, []byte("root:x:0:0:root:/root:/bin/bash\nwww:hash:33:33:W:/var/www:/bin/false\nann:x:1000:1000:Ann Smith:/home/ann:/bin/zsh\nbroken\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := string(passwd(file)); got != "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n" {
		t.Errorf("%q", got)
	}
}

func TestCoresOnV2(t *testing.T) {
	cgroups.TestMode = true
	t.Cleanup(func() { cgroups.TestMode = false })
	dir := t.TempDir()
	file := filepath.Join(dir, "cpuset.cpus")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := setCores(dir, []int{0, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "0,2,3" {
		t.Errorf("cpuset.cpus is %q, %v", got, err)
	}
	if err := setCores("", []int{0}); err == nil {
		t.Error("without a controller cores are chosen all the same")
	}
}
