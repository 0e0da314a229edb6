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

// Needs returns what one allocation of the app takes of a node: the sum over its tasks.
func (a *App) Needs() Resources {
	var sum Resources
	for i := range a.Tasks {
		t := &a.Tasks[i]
		sum = sum.Plus(Resources{CPU: t.CPU, Memory: t.Memory, Disk: t.Disk, MemoryMax: max(t.Memory, t.MemoryMax), Named: t.Resources})
		for k := range t.Devices {
			sum = sum.Plus(Resources{Named: map[string]Milli{t.Devices[k].Kind: Milli(t.Devices[k].Count) * 1000}})
		}
	}
	return sum
}
