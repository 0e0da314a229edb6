package check

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// maxOrders bounds for how many different waits on one node every order of endings is tried; beyond it only each by
// itself and all together.
const maxOrders = 10

// load is what a node has: some of it runs, some of it waits for others to end.
type load struct {
	runs  []tenant
	waits []tenant
}

type tenant struct {
	id    spec.AllocationID // "" for one that the plan starts
	need  spec.Resources
	after []spec.AllocationID // of those that have not ended
}

// capacity looks at every node that the plan starts something on, in every order in which those that leave may end.
func (c *checker) capacity() {
	loads := map[spec.NodeID]*load{}
	at := func(id spec.NodeID) *load {
		if loads[id] == nil {
			loads[id] = &load{}
		}
		return loads[id]
	}
	add := func(l *load, t tenant) {
		t.after = slices.DeleteFunc(slices.Clone(t.after), func(id spec.AllocationID) bool {
			old := c.byID[id]
			return old == nil || old.State.Terminal()
		})
		if len(t.after) > 0 {
			l.waits = append(l.waits, t)
		} else {
			l.runs = append(l.runs, t)
		}
	}
	touched := c.touched()
	for i := range c.in.Current {
		if a := &c.in.Current[i]; touched[a.Node] && !a.State.Terminal() {
			add(at(a.Node), tenant{a.ID, c.need(a.Version), a.After})
		}
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Now && starts(ch) {
			add(at(ch.Node), tenant{"", c.need(ch.Version), ch.Takeover})
		}
	})
	for i := range c.in.Nodes {
		n := &c.in.Nodes[i]
		if l := loads[n.ID]; l != nil {
			capacity := n.Capacity
			capacity.MemoryMax = c.in.Desired.Overcommit.Of(capacity.Memory)
			if over := l.over(capacity); over != "" {
				c.report("capacity", string(n.ID), "%s", over)
			}
		}
	}
}

// over tells how the node can come to hold more than it has, or "".
func (l *load) over(capacity spec.Resources) string {
	sets := [][]spec.AllocationID{nil}
	if len(l.waits) <= maxOrders {
		for _, t := range l.waits {
			for _, s := range sets {
				sets = append(sets, union(s, t.after))
			}
		}
	} else {
		var all []spec.AllocationID
		for _, t := range l.waits {
			sets, all = append(sets, t.after), union(all, t.after)
		}
		sets = append(sets, all)
	}
	for _, ended := range sets {
		var sum spec.Resources
		for _, t := range l.runs {
			if t.id == "" || !slices.Contains(ended, t.id) {
				sum = sum.Plus(t.need)
			}
		}
		for _, t := range l.waits {
			if !slices.Contains(ended, t.id) && len(union(ended, t.after)) == len(ended) {
				sum = sum.Plus(t.need)
			}
		}
		if r := exceeds(sum, capacity); r != "" {
			return fmt.Sprintf("%s is exceeded when %v have ended: %+v of %+v", r, ended, sum, capacity)
		}
	}
	return ""
}

func union(a, b []spec.AllocationID) []spec.AllocationID {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

func exceeds(used, capacity spec.Resources) string {
	switch {
	case used.CPU > capacity.CPU:
		return "cpu"
	case used.Memory > capacity.Memory:
		return "memory"
	case used.Disk > capacity.Disk:
		return "disk"
	case capacity.MemoryMax > 0 && used.MemoryMax > capacity.MemoryMax:
		return "memory_max"
	}
	for _, n := range used.Names() {
		if used.Named[n] > capacity.Named[n] {
			return n
		}
	}
	return ""
}
