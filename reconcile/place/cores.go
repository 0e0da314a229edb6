package place

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// openCore is a core that can be had, and how gladly.
type openCore struct{ group, core, rank int }

func (f *Layout) coresOf(node int) []spec.CoreGroup {
	if f.cores == nil {
		return nil
	}
	return f.cores[node]
}

// countCores returns how many cores the node could give if nobody had any.
func (f *Layout) countCores(node int) int {
	n := 0
	for _, g := range f.coresOf(node) {
		n += len(g.Cores)
	}
	return n
}

// openCores lists the cores that the request can have on the node.
func (f *Fleet) openCores(node int, r *Request) []openCore {
	var open []openCore
	for i, g := range f.coresOf(node) {
		for _, c := range g.Cores {
			if rank := f.rank(node, firstCore+held(c), r); rank >= 0 {
				open = append(open, openCore{i, c, rank})
			}
		}
	}
	return open
}

// giveCores chooses the cores of one allocation: all near the same memory if one NUMA node has enough, the one where
// least is left over; else from as few as possible.
func (f *Fleet) giveCores(node int, r *Request) []spec.CoreGrant {
	open, need := f.openCores(node, r), r.Match.cores
	if len(open) < need {
		return nil
	}
	count, preferred := make([]int, len(f.coresOf(node))), make([]int, len(f.coresOf(node)))
	for _, c := range open {
		count[c.group]++
		if c.rank == 0 {
			preferred[c.group]++
		}
	}
	order := func(g int) (enough, mine, left int) {
		if count[g] >= need {
			return 0, -min(preferred[g], need), count[g]
		}
		return 1, -preferred[g], -count[g]
	}
	slices.SortFunc(open, func(a, b openCore) int {
		e1, m1, l1 := order(a.group)
		e2, m2, l2 := order(b.group)
		return cmp.Or(cmp.Compare(e1, e2), cmp.Compare(m1, m2), cmp.Compare(l1, l2), cmp.Compare(a.group, b.group), cmp.Compare(a.rank, b.rank), cmp.Compare(a.core, b.core))
	})
	var grants []spec.CoreGrant
	for i := range r.Match.App.Tasks {
		t := &r.Match.App.Tasks[i]
		if t.Cores == 0 {
			continue
		}
		g := spec.CoreGrant{Task: t.Name, Cores: make([]int, t.Cores)}
		for k := range g.Cores {
			g.Cores[k] = open[k].core
		}
		open = open[t.Cores:]
		slices.Sort(g.Cores)
		grants = append(grants, g)
	}
	return grants
}
