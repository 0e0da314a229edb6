package place

import "github.com/stowage/stowage/spec"

// parts appends the terms of a node's score. The cost of groups is shown against the cheapest cell, so that a node in
// the emptiest group shows none.
func (f *fill) parts(to []spec.ScorePart, i int32, c int) []spec.ScorePart {
	to = append(to, spec.ScorePart{Name: f.s.Name, Value: f.own[i]})
	for _, t := range f.b.Terms {
		if t.Value[i] != 0 {
			to = append(to, spec.ScorePart{Name: t.Name, Value: t.Value[i]})
		}
	}
	for k := range f.groups {
		if g := &f.groups[k]; g.Cost != nil {
			if v := f.cheapest(k) - f.groupCost(k, c); v != 0 {
				to = append(to, spec.ScorePart{Name: g.Name, Value: v})
			}
		}
	}
	for k := range f.lone {
		if g := &f.lone[k]; g.Cost != nil && g.Have[g.Of[i]] > 0 {
			to = append(to, spec.ScorePart{Name: g.Name, Value: -g.Cost[g.Of[i]] * spec.Milli(g.Have[g.Of[i]])})
		}
	}
	return to
}

func (f *fill) groupCost(k, c int) spec.Milli {
	g, v := &f.groups[k], f.cells[c].groups[k]
	return g.Cost[v] * spec.Milli(g.Have[v]+1)
}

// cheapest returns the lowest cost of the group among the cells that are not full.
func (f *fill) cheapest(k int) spec.Milli {
	low := spec.Milli(-1)
	for c := range f.cells {
		if !f.cells[c].full {
			if cost := f.groupCost(k, c); low < 0 || cost < low {
				low = cost
			}
		}
	}
	return low
}

// runnerUp names the second best node and what made it so.
func (f *fill) runnerUp(score *spec.Score, first int32, c int) {
	next, of := int32(-1), -1
	try := func(i int32, d int) {
		if next < 0 || f.ahead(d, i, of, next) {
			next, of = i, d
		}
	}
	heap := f.cells[c].heap
	for k := 1; k <= 2 && k < len(heap); k++ {
		try(heap[k], c)
	}
	for d := range f.cells {
		if d != c && !f.cells[d].full {
			try(f.cells[d].heap[0], d)
		}
	}
	if next < 0 {
		return
	}
	gap := (f.key[first] - f.cells[c].cost) - (f.key[next] - f.cells[of].cost)
	score.Next, score.NextAt = f.b.Nodes[next], score.Total-gap
	score.NextWhy = f.why(first, c, next, of, gap)
}

// Why a runner-up is one, when no single part of its score tells.
const (
	whyEqual = "equal, but later by name"
)

// why names the part in which the runner-up is furthest behind.
func (f *fill) why(first int32, c int, next int32, of int, gap spec.Milli) string {
	if gap == 0 {
		return whyEqual
	}
	text, most := f.s.Lower, f.own[first]-f.own[next]
	see := func(name string, behind spec.Milli) {
		if behind > most {
			text, most = name, behind
		}
	}
	for _, t := range f.b.Terms {
		if t.Value[first] != t.Value[next] {
			see(t.Name, t.Value[first]-t.Value[next])
		}
	}
	for k := range f.groups {
		if f.groups[k].Cost != nil {
			see(f.groups[k].Name, f.groupCost(k, of)-f.groupCost(k, c))
		}
	}
	for k := range f.lone {
		if g := &f.lone[k]; g.Cost != nil {
			see(g.Name, g.Cost[g.Of[next]]*spec.Milli(g.Have[g.Of[next]])-g.Cost[g.Of[first]]*spec.Milli(g.Have[g.Of[first]]))
		}
	}
	return text
}
