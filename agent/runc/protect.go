package runc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stowage/stowage/agent/executor"
)

// What the kernel leaves to a container when memory gets short, memory.low, counts on v2 only as far as every cgroup above has it as well. So
// each cgroup between the root and a container is given the sum of those in it. It is added up from what is there rather than kept: containers
// of earlier executors count too.

// unifiedRoot is where the kernel shows cgroup v2.
const unifiedRoot = "/sys/fs/cgroup"

// protects reports whether a container has memory that it is left when it gets short.
func protects(spec *executor.Spec) bool { return spec.MemoryBytes > 0 && spec.MemoryMaxBytes > 0 }

// protectParents brings the cgroups above a container up to date after it came or went. What cannot be written is left: the limits hold without it.
func (r *Runtime) protectParents(spec *executor.Spec) {
	if r.cgroup != 2 || !protects(spec) {
		return
	}
	r.protect.Lock()
	defer r.protect.Unlock()
	top := filepath.Join(unifiedRoot, r.parent)
	for dir := filepath.Dir(filepath.Join(unifiedRoot, r.cgroupPath(spec))); strings.HasPrefix(dir, top); dir = filepath.Dir(dir) {
		_ = os.WriteFile(filepath.Join(dir, "memory.low"), strconv.AppendUint(nil, sumLow(dir), 10), 0)
	}
}

// sumLow adds up memory.low of the cgroups in one.
func sumLow(dir string) (sum uint64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			low, _ := readNumber(filepath.Join(dir, e.Name()), "memory.low")
			sum += low
		}
	}
	return sum
}
