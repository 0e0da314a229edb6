package agent

import (
	"slices"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
)

// isolate translates what a task says about its isolation and its limits.
func (f folders) isolate(c *executor.Spec, a *spec.Allocation, t *spec.Task, lookup func(string) (string, bool)) {
	i := &t.Isolation
	if t.Hostname != "" {
		c.Hostname = spec.Expand(t.Hostname, lookup)
	}
	if i.ReadOnlyRoot {
		c.Root.Writable = ""
	}
	c.Groups, c.CPUMaxMillis = t.Groups, int64(t.CPUMax)
	if i.Privileged || len(i.CapAdd)+len(i.CapDrop) > 0 {
		c.Capabilities = []string{}
		for _, name := range i.CapabilitySet() {
			c.Capabilities = append(c.Capabilities, "CAP_"+name)
		}
	}
	c.Isolation = executor.Isolation{
		Privileged: i.Privileged, Unconfined: i.Privileged || i.Seccomp == spec.SeccompNone, Seccomp: i.Profile,
		NewPrivileges: i.Privileged || i.NewPrivileges, Masked: i.Masked, ReadOnly: i.ReadOnly, Unmasked: i.Unmasked, Sysctls: i.Sysctls,
		HostDevices: i.HostDevices, Ulimits: t.Ulimits, Tmpfs: slices.Clone(t.Tmpfs), ShmBytes: int64(t.ShmSize), SwapBytes: int64(t.Swap), IO: t.IO,
	}
	if t.IO != (spec.IO{}) {
		c.IOPath = f.allocation(a.ID)
	}
}
