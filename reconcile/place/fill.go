package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Fill places a batch one allocation after another, each on the node that then scores best; ties go to the first node
// by name. Nodes that share all their groups form a cell with a heap of its own: a placement changes the score of its
// node, which is the top of its heap, and the cost of its groups, which is the same for all nodes of a cell.
func Fill(b *Batch, s Scoring) []Pick {
	f := newFill(b, s)
	picks := make([]Pick, 0, b.Count)
	parts := make([]spec.ScorePart, 0, b.Count*(1+len(b.Terms)+len(b.Groups)))
	for len(picks) < b.Count {
		c := f.bestCell()
		if c < 0 {
			break
		}
		node := f.cells[c].heap[0]
		first := len(parts)
		parts = f.parts(parts, node, c)
		score := spec.Score{Parts: parts[first:len(parts):len(parts)], Feasible: f.feasible + b.elsewhere}
		for _, p := range score.Parts {
			score.Total += p.Value
		}
		f.runnerUp(&score, node, c)
		picks = append(picks, Pick{Node: int(node), Score: score})
		f.place(node, c)
	}
	return picks
}

type fill struct {
	b        *Batch
	s        Scoring
	free     []int64
	room     []int32
	placed   []int32
	base     []spec.Milli // the terms of each node
	own      []spec.Milli // what the policy says of each node
	key      []spec.Milli // base + own, less the cost of groups that only this node is in
	groups   []Group      // with counts of our own; those of single nodes are folded into key and room
	lone     []Group
	cells    []cell
	cellOf   []int32
	feasible int
	k        *sheet
	node     Node // what the scoring function sees, used again for each call
}

// sheet is the memory of a fill, a row or an entry for each node of the batch. A fleet uses it again for the next batch.
type sheet struct {
	free           []int64
	room, placed   []int32
	cellOf, heaps  []int32
	base, own, key []spec.Milli
}

// zeros returns n zeros, in the memory given when there is enough of it.
func zeros[T int32 | spec.Milli](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	v = v[:n]
	clear(v)
	return v
}

// cell is the nodes that share all groups.
type cell struct {
	heap   []int32
	groups []int32 // of each of fill.groups
	cost   spec.Milli
	full   bool
}

func newFill(b *Batch, s Scoring) *fill {
	n := len(b.Nodes)
	k := b.sheet
	if k == nil {
		k = &sheet{}
	}
	f := &fill{b: b, s: s, k: k}
	k.free, k.room = append(k.free[:0], b.Free...), append(k.room[:0], b.Room...)
	k.placed, k.cellOf = zeros(k.placed, n), zeros(k.cellOf, n)
	k.own, k.key, k.base = zeros(k.own, n), zeros(k.key, n), zeros(k.base, n)
	f.free, f.room, f.placed, f.own, f.key, f.base, f.cellOf = k.free, k.room, k.placed, k.own, k.key, k.base, k.cellOf
	for _, t := range b.Terms {
		for i, v := range t.Value {
			f.base[i] += v
		}
	}
	for _, g := range b.Groups {
		g.Have = slices.Clone(g.Have)
		if single(g, n) {
			f.lone = append(f.lone, g)
		} else {
			f.groups = append(f.groups, g)
		}
	}
	for _, g := range f.lone {
		for i := range f.room {
			if g.Cap != nil {
				v := g.Of[i]
				f.room[i] = min(f.room[i], g.Cap[v]-g.Have[v])
			}
		}
	}
	for i := range n {
		f.score(int32(i))
	}
	f.makeCells()
	return f
}

// single reports whether no two nodes share a group.
func single(g Group, nodes int) bool {
	if len(g.Have) < nodes {
		return false
	}
	seen := make([]bool, len(g.Have))
	for _, v := range g.Of {
		if seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}

func (f *fill) makeCells() {
	n := len(f.b.Nodes)
	cells := int32(1)
	for k, g := range f.groups {
		width := int32(len(g.Have))
		known := map[int64]int32{}
		next := int32(0)
		for i := range f.cellOf {
			pair := int64(f.cellOf[i])*int64(width) + int64(g.Of[i])
			if k == 0 {
				pair = int64(g.Of[i])
			}
			c, ok := known[pair]
			if !ok {
				c = next
				known[pair] = c
				next++
			}
			f.cellOf[i] = c
		}
		cells = next
	}
	sizes := make([]int32, cells)
	for i, c := range f.cellOf {
		if f.open(int32(i)) {
			sizes[c]++
			f.feasible++
		}
	}
	f.cells = make([]cell, cells)
	f.k.heaps = zeros(f.k.heaps, f.feasible)
	all := f.k.heaps
	at := int32(0)
	for c := range f.cells {
		f.cells[c].heap = all[at : at : at+sizes[c]]
		f.cells[c].groups = make([]int32, len(f.groups))
		at += sizes[c]
	}
	for i := range n {
		c := &f.cells[f.cellOf[i]]
		for k := range f.groups {
			c.groups[k] = f.groups[k].Of[i]
		}
		if f.open(int32(i)) {
			c.heap = append(c.heap, int32(i))
		}
	}
	for c := range f.cells {
		heap := f.cells[c].heap
		for i := len(heap)/2 - 1; i >= 0; i-- {
			f.down(heap, i)
		}
	}
	f.costCells()
}

// costCells brings the cells up to date with what their groups have.
func (f *fill) costCells() {
	for c := range f.cells {
		cell := &f.cells[c]
		cell.cost, cell.full = 0, len(cell.heap) == 0
		for k := range f.groups {
			g, v := &f.groups[k], cell.groups[k]
			if g.Cost != nil {
				cell.cost += g.Cost[v] * spec.Milli(g.Have[v]+1)
			}
			if g.Cap != nil && g.Have[v] >= g.Cap[v] {
				cell.full = true
			}
		}
	}
}

// open reports whether the node takes one more.
func (f *fill) open(i int32) bool {
	if f.placed[i] >= f.room[i] {
		return false
	}
	need := f.b.Need
	free := f.free[int(i)*len(need):]
	for d, ask := range need {
		if ask > free[d] && ask > 0 {
			return false
		}
	}
	return true
}

func (f *fill) score(i int32) {
	d := len(f.b.Need)
	at := int(i) * d
	f.node = Node{
		ID: f.b.Nodes[i], Capacity: f.b.Capacity[at : at+d : at+d], Free: f.free[at : at+d : at+d],
		Own: int(f.b.Own[i] + f.placed[i]), Load: int(f.b.Load[i] + f.placed[i]),
	}
	f.own[i] = f.s.Score(f.b.Need, &f.node)
	f.key[i] = f.base[i] + f.own[i]
	for k := range f.lone {
		if g := &f.lone[k]; g.Cost != nil {
			v := g.Of[i]
			f.key[i] -= g.Cost[v] * spec.Milli(g.Have[v]+1)
		}
	}
}

func (f *fill) better(a, b int32) bool {
	if f.key[a] != f.key[b] {
		return f.key[a] > f.key[b]
	}
	return a < b
}

func (f *fill) down(heap []int32, i int) {
	for {
		best := i
		if l := 2*i + 1; l < len(heap) && f.better(heap[l], heap[best]) {
			best = l
		}
		if r := 2*i + 2; r < len(heap) && f.better(heap[r], heap[best]) {
			best = r
		}
		if best == i {
			return
		}
		heap[i], heap[best] = heap[best], heap[i]
		i = best
	}
}

// bestCell returns the cell whose top is the best node of all, or -1.
func (f *fill) bestCell() int {
	best := -1
	for c := range f.cells {
		if f.cells[c].full {
			continue
		}
		if best < 0 || f.ahead(c, f.cells[c].heap[0], best, f.cells[best].heap[0]) {
			best = c
		}
	}
	return best
}

func (f *fill) ahead(c int, a int32, d int, b int32) bool {
	x, y := f.key[a]-f.cells[c].cost, f.key[b]-f.cells[d].cost
	if x != y {
		return x > y
	}
	return a < b
}

// place puts one allocation on the top of the cell's heap.
func (f *fill) place(i int32, c int) {
	need := f.b.Need
	at := int(i) * len(need)
	for d, ask := range need {
		f.free[at+d] -= ask
	}
	f.placed[i]++
	for k := range f.lone {
		f.lone[k].Have[f.lone[k].Of[i]]++
	}
	for k := range f.groups {
		f.groups[k].Have[f.groups[k].Of[i]]++
	}
	cell := &f.cells[c]
	if f.open(i) {
		f.score(i)
	} else {
		last := len(cell.heap) - 1
		cell.heap[0] = cell.heap[last]
		cell.heap = cell.heap[:last]
		f.feasible--
	}
	if len(cell.heap) > 0 {
		f.down(cell.heap, 0)
	}
	if len(f.groups) > 0 || len(cell.heap) == 0 {
		f.costCells()
	}
}
