package runc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// killTime bounds how long processes may take to die after SIGKILL: one in an uninterruptible wait (a dead network file system)
// must not hold a call for ever.
const killTime = 10 * time.Second

func (r *Runtime) manager(path string) (cgroups.Manager, error) {
	m, err := manager.NewWithPaths(&cgroups.Cgroup{Path: path, Rootless: r.rootless, Resources: &cgroups.Resources{}}, r.pathsOf(path))
	if err != nil {
		return nil, fmt.Errorf("find cgroup %s: %w", path, err)
	}
	return m, nil
}

// removeCgroup kills everything in a cgroup and removes it, and parents of it that are empty then.
func (r *Runtime) removeCgroup(path string) error {
	if r.cgroup == 0 {
		return nil
	}
	m, err := r.manager(path)
	if err != nil {
		return err
	}
	// A process that is being started in it may come after the last look.
	for deadline := time.Now().Add(killTime); ; {
		if m.Exists() {
			if err := killAll(m); err != nil {
				return fmt.Errorf("kill cgroup %s: %w", path, err)
			}
		}
		err := m.Destroy()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s: %w", path, err)
		}
	}
	if parent := filepath.Dir(path); parent != filepath.Join("/", r.parent) {
		r.removeParents(parent)
	}
	return nil
}

// killAll kills until nobody is left. With cgroup v2 the kernel does it at once; with v1 a pid namespace dies with its first process, so
// that the list is short and the second look finds it empty.
func killAll(m cgroups.Manager) error {
	deadline := time.Now().Add(killTime)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		pids, err := m.GetAllPids()
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		left := len(pids)
		if kill := m.Path(""); cgroups.IsCgroup2UnifiedMode() && os.WriteFile(filepath.Join(kill, "cgroup.kill"), []byte("1"), 0) == nil {
			pids = nil
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes do not die within %v", left, killTime)
		}
		time.Sleep(pause)
	}
}

// removeParents removes a cgroup and those above it up to the executor's parent, as far as they are empty.
func (r *Runtime) removeParents(path string) {
	if !r.prune.TryLock() {
		// A container is being created, perhaps right there; the last one to go removes it.
		return
	}
	defer r.prune.Unlock()
	for ; strings.HasPrefix(path, filepath.Join("/", r.parent)); path = filepath.Dir(path) {
		m, err := r.manager(path)
		if err != nil {
			return
		}
		for _, dir := range m.GetPaths() {
			if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
				return
			}
		}
	}
}

// Stats implements executor.Runtime.
func (r *Runtime) Stats(spec *executor.Spec) (executor.Stats, error) {
	if r.cgroup == 0 {
		return executor.Stats{}, executor.Errorf(executor.CodeUnsupported, "usage is not counted without cgroups")
	}
	m, err := r.manager(r.cgroupPath(spec))
	if err != nil {
		return executor.Stats{}, err
	}
	var s executor.Stats
	if r.cgroup == 2 {
		s, err = readV2(m.Path(""))
	} else if s, err = readV1(m.Path("cpuacct"), m.Path("cpu"), m.Path("memory"), m.Path("pids")); err == nil {
		s.ReadBytes, s.WrittenBytes = readBlkio(m.Path("blkio"))
	}
	if unified := m.Path(""); unified != "" { // with v1 too, where the tree of v2 is mounted beside it
		s.Pressure = executor.ReadPressure(unified, ".pressure")
	}
	return s, err
}

// readBlkio reads lines such as "8:0 Read 4096", one for each disk and kind, and sums them up.
func readBlkio(dir string) (read, written uint64) {
	data, err := os.ReadFile(filepath.Join(dir, "blkio.throttle.io_service_bytes"))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		n, _ := strconv.ParseUint(fields[2], 10, 64)
		switch fields[1] {
		case "Read":
			read += n
		case "Write":
			written += n
		}
	}
	return read, written
}

// readIOStat reads lines such as "8:0 rbytes=4096 wbytes=0 …", one for each disk, and sums them up.
func readIOStat(dir string) (read, written uint64) {
	data, err := os.ReadFile(filepath.Join(dir, "io.stat"))
	if err != nil {
		return 0, 0
	}
	for _, field := range strings.Fields(string(data)) {
		name, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "rbytes":
			read += n
		case "wbytes":
			written += n
		}
	}
	return read, written
}

// unlimited is what v1 shows for no limit, rounded to pages, and everything above.
const unlimited = 1 << 62

func readV1(cpuacct, cpu, memory, pids string) (executor.Stats, error) {
	var s executor.Stats
	var errs [4]error
	s.CPUNanos, errs[0] = readNumber(cpuacct, "cpuacct.usage")
	throttled, err := readTable(cpu, "cpu.stat")
	errs[1] = err
	s.ThrottledNanos = throttled["throttled_time"]
	usage, err := readNumber(memory, "memory.usage_in_bytes")
	errs[2] = err
	detail, _ := readTable(memory, "memory.stat")
	s.MemoryBytes = usage - min(usage, detail["total_inactive_file"])
	s.MemoryPeak, _ = readNumber(memory, "memory.max_usage_in_bytes")
	if limit, err := readNumber(memory, "memory.limit_in_bytes"); err == nil && limit < unlimited {
		s.MemoryLimit = limit
	}
	oom, _ := readTable(memory, "memory.oom_control")
	s.OOMKills = oom["oom_kill"]
	s.Pids, errs[3] = readNumber(pids, "pids.current")
	return s, errors.Join(errs[:]...)
}

func readV2(dir string) (executor.Stats, error) {
	var s executor.Stats
	cpu, err := readTable(dir, "cpu.stat")
	if err != nil {
		return s, err
	}
	s.CPUNanos, s.ThrottledNanos = cpu["usage_usec"]*1000, cpu["throttled_usec"]*1000
	// Controllers may be missing: what is not counted is 0.
	usage, _ := readNumber(dir, "memory.current")
	detail, _ := readTable(dir, "memory.stat")
	s.MemoryBytes = usage - min(usage, detail["inactive_file"])
	s.MemoryLimit, _ = readNumber(dir, "memory.max")
	events, _ := readTable(dir, "memory.events")
	s.OOMKills = events["oom_kill"]
	s.Pids, _ = readNumber(dir, "pids.current")
	s.MemoryPeak, _ = readNumber(dir, "memory.peak") // since Linux 5.19
	s.ReadBytes, s.WrittenBytes = readIOStat(dir)
	return s, nil
}

// readNumber reads a file that holds one number; "max" is 0.
func readNumber(dir, name string) (uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	text := string(bytes.TrimSpace(data))
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// readTable reads lines of a name and a number.
func readTable(dir, name string) (map[string]uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	table := map[string]uint64{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			table[key] = n
		}
	}
	return table, lines.Err()
}
