package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Resources is an amount of each thing a node has and a task needs. Ports are counted apart, by number.
type Resources struct {
	CPU    MilliCPU `json:"cpu"`
	Memory Bytes    `json:"memory"`
	Disk   Bytes    `json:"disk,omitempty"`
	// MemoryMax is what tasks may burst to: counted only where the cluster bounds overcommitment. Of a node it is that bound.
	MemoryMax Bytes            `json:"memory_max,omitempty"`
	Named     map[string]Milli `json:"named,omitempty"` // gpu and others of one's own, in thousandths
}

// resourceForm is what a named resource may be called.
var resourceForm = regexp.MustCompile(`^[a-z][a-z0-9_./-]{0,99}$`)

// CheckResource reports what is wrong with the name of a named resource, or nil.
func CheckResource(name string) error {
	switch name {
	case "cpu", "memory", "disk", "cores", "memory_max":
		return fmt.Errorf("%q is no resource of one's own", name)
	}
	if !resourceForm.MatchString(name) {
		return fmt.Errorf("%q is no name of a resource: use lower-case letters, digits, \"_\", \".\", \"/\" and \"-\"", name)
	}
	return nil
}

// Names returns the names of the named resources in order.
func (r Resources) Names() []string { return slices.Sorted(maps.Keys(r.Named)) }

// Plus returns the sum; neither operand is changed.
func (r Resources) Plus(o Resources) Resources { return r.combine(o, 1) }

// Minus returns the difference; neither operand is changed.
func (r Resources) Minus(o Resources) Resources { return r.combine(o, -1) }

func (r Resources) combine(o Resources, sign int64) Resources {
	r.CPU += MilliCPU(sign) * o.CPU
	r.Memory += Bytes(sign) * o.Memory
	r.Disk += Bytes(sign) * o.Disk
	r.MemoryMax += Bytes(sign) * o.MemoryMax
	if len(o.Named) > 0 {
		named := make(map[string]Milli, len(r.Named)+len(o.Named))
		for _, n := range r.Names() {
			named[n] = r.Named[n]
		}
		for _, n := range o.Names() {
			named[n] += Milli(sign) * o.Named[n]
		}
		r.Named = named
	}
	return r
}

// Most returns the larger amount of each; neither operand is changed.
func (r Resources) Most(o Resources) Resources {
	most := Resources{CPU: max(r.CPU, o.CPU), Memory: max(r.Memory, o.Memory), Disk: max(r.Disk, o.Disk), MemoryMax: max(r.MemoryMax, o.MemoryMax), Named: r.Named}
	if len(o.Named) > 0 {
		most.Named = maps.Clone(o.Named)
		for _, n := range r.Names() {
			most.Named[n] = max(r.Named[n], o.Named[n])
		}
	}
	return most
}

// Needs returns what one allocation of the app takes of a node: the most that it has at any time. Prestart tasks run one after the other before all
// others, and poststop tasks one after the other beside the sidecars, when all others have ended. Disk, devices and cores of its own a task has as long
// as the allocation is there.
func (a *App) Needs() Resources {
	var kept, before, beside, during, after Resources
	for i := range a.Tasks {
		t := &a.Tasks[i]
		kept = kept.Plus(t.keeps())
		runs := Resources{CPU: t.CPU, Memory: t.Memory, MemoryMax: max(t.Memory, t.MemoryMax), Named: t.Resources}
		if t.Cores > 0 {
			runs.CPU = 0
		}
		switch t.Lifecycle {
		case LifecyclePrestart:
			before = before.Most(runs)
		case LifecyclePoststop:
			after = after.Most(runs)
		case LifecycleSidecar:
			beside, during = beside.Plus(runs), during.Plus(runs)
		default:
			during = during.Plus(runs)
		}
	}
	return kept.Plus(before.Most(during).Most(beside.Plus(after)))
}

// keeps is what a task has of a node whether it runs or not.
func (t *Task) keeps() Resources {
	r := Resources{Disk: t.Disk}
	if t.Cores > 0 {
		r.CPU = t.CPU
	}
	for i := range t.Devices {
		r = r.Plus(Resources{Named: map[string]Milli{t.Devices[i].Kind: Milli(t.Devices[i].Count) * 1000}})
	}
	return r
}
