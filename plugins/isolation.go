package plugins

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// isolation checks what a driver says about a task's isolation and limits. Whether the cluster allows it is judged where that is known.
func (c *checker) isolation(t *spec.Task, hostNetwork bool) {
	i := &t.Isolation
	c.that((i.Seccomp == "" || i.Seccomp == spec.SeccompNone) == (i.Profile == nil), "task %q needs a profile for its seccomp %q", t.Name, i.Seccomp)
	c.that(!i.Privileged || i.Seccomp == "" && len(i.CapAdd)+len(i.CapDrop) == 0, "task %q is privileged, and says more about its isolation", t.Name)
	for _, names := range [][]string{i.CapAdd, i.CapDrop} {
		c.within("the capabilities of a task", len(names), 0, spec.MaxPoints)
		for _, n := range names {
			c.that(n == spec.AllCapabilities || slices.Contains(spec.Capabilities, n), "%q is no capability", n)
		}
	}
	paths := slices.Concat(i.Masked, i.ReadOnly, i.Unmasked)
	c.within("the paths of a task's isolation", len(paths), 0, 3*spec.MaxPoints)
	for _, p := range paths {
		c.that(spec.CleanTarget(p), "%q is no path that can be masked or protected", p)
	}
	for name := range i.Sysctls { // any order: the first complaint does not matter
		c.that(spec.CheckSysctl(name, hostNetwork) == "", "%q cannot be set for a task", name)
	}
	c.within("the devices of a task", len(i.HostDevices), 0, spec.MaxPoints)
	for _, u := range t.Ulimits {
		c.that(slices.Contains(spec.Ulimits, u.Name) && u.Soft <= u.Hard, "the ulimit %q cannot be set", u.Name)
	}
	for _, m := range t.Tmpfs {
		c.that(spec.CleanTarget(m.Target) && m.Size > 0 && m.Mode <= 0o7777, "the tmpfs at %q cannot be mounted", m.Target)
	}
	c.within("the artifacts of a task", len(t.Artifacts), 0, spec.MaxArtifacts)
	for i := range t.Artifacts {
		err := t.Artifacts[i].Check()
		c.that(err == nil, "task %q: %v", t.Name, err)
	}
	c.that(t.CPUMax == 0 || t.CPUMax >= t.CPU && t.CPUMax <= spec.MaxCPU, "cpu_max of task %q is below cpu or too large", t.Name)
	c.within("swap", int64(t.Swap), 0, spec.MaxBytes)
	c.within("shm_size", int64(t.ShmSize), 0, spec.MaxBytes)
	c.that(t.IO.Weight == 0 || t.IO.Weight >= 10 && t.IO.Weight <= 1000, "the io weight of task %q is not from 10 to 1000", t.Name)
	c.that(t.IO.ReadBPS >= 0 && t.IO.WriteBPS >= 0 && t.IO.ReadIOPS >= 0 && t.IO.WriteIOPS >= 0, "an io limit of task %q is negative", t.Name)
}
