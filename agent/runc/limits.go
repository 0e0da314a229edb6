package runc

import (
	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/stowage/stowage/agent/executor"
)

const (
	// cpuPeriod is the period over which a hard CPU limit is counted, in microseconds: the kernel's default.
	cpuPeriod = 100_000
	// minQuota is the least quota the kernel takes, in microseconds.
	minQuota = 1_000
	// minShares is the least weight the kernel takes on cgroup v1.
	minShares = 2
	// minWeight and maxWeight bound what it takes on v2.
	minWeight = 1
	maxWeight = 10_000
)

// limits translates a spec to what the cgroup library writes: the same numbers for v1 and v2, which it converts where the files
// differ (soft limit to memory.low).
//
// Memory: the hard limit is memory_max if set, else memory. If both are set, memory is what the kernel tries to leave to the
// container when the node gets short (v1: soft limit, v2: memory.low, see protect.go). Swap counts as memory, so a limit is a limit.
func limits(spec *executor.Spec, v2, swapCounted bool) *cgroups.Resources {
	r := &cgroups.Resources{Devices: deviceRules(), CpuShares: shares(spec.CPUMillis)}
	if v2 {
		r.CpuWeight = weight(spec.CPUMillis)
	}
	if spec.CPUMaxMillis > 0 {
		r.CpuPeriod = cpuPeriod
		r.CpuQuota = max(spec.CPUMaxMillis*cpuPeriod/1000, minQuota)
	}
	if limit := spec.MemoryLimit(); limit > 0 {
		r.Memory = limit
		if v2 {
			// A container killed for memory is killed whole, rather than left without one of its processes.
			r.Unified = map[string]string{"memory.oom.group": "1"}
		}
		if swapCounted {
			r.MemorySwap = limit + spec.SwapBytes
		}
		if spec.MemoryMaxBytes > 0 {
			r.MemoryReservation = spec.MemoryBytes
		}
	}
	pids := spec.PidsMax
	if pids == 0 {
		pids = executor.DefaultPidsMax
	}
	r.PidsLimit = &pids
	return r
}

// limits are those of a spec as far as there are controllers for them. As root all that a task always has are there, or its start fails; without
// root it has what was handed on, and the executor tells what was not.
func (r *Runtime) limits(spec *executor.Spec) *cgroups.Resources {
	all := limits(spec, r.cgroup == 2, r.swapCounted)
	if !r.rootless {
		return all
	}
	if !r.hasController("cpu") {
		all.CpuShares, all.CpuWeight = 0, 0
	}
	if !r.hasController("memory") {
		all.Memory, all.MemorySwap, all.MemoryReservation, all.Unified = 0, 0, 0, nil
	}
	if !r.hasController("pids") {
		all.PidsLimit = nil
	}
	return all
}

// weight is what v2 has in the place of shares: 100 for a core, the kernel's default. The library's own conversion bends the scale so that
// both defaults meet, and half a core would be worth 59; here it is worth half of what a whole one is, as on v1.
func weight(millis int64) uint64 { return uint64(min(max((millis+5)/10, minWeight), maxWeight)) }

// shares are relative weights: 1024 for a core.
func shares(millis int64) uint64 { return uint64(max(millis*1024/1000, minShares)) }

// deviceRules deny every device but the harmless ones of /dev and terminals. Making device nodes is not allowed either.
func deviceRules() []*devices.Rule {
	rules := []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}}
	for _, d := range deviceNodes {
		rules = append(rules, charDevice(int64(d.major), int64(d.minor)))
	}
	return append(rules,
		charDevice(5, 1),                  // console
		charDevice(5, 2),                  // ptmx
		charDevice(136, devices.Wildcard)) // terminals
}

func charDevice(major, minor int64) *devices.Rule {
	return &devices.Rule{Type: devices.CharDevice, Major: major, Minor: minor, Permissions: "rw", Allow: true}
}
