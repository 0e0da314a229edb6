package place

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// order is the nodes of a reach with those that are alike next to one another, and a tree over them: first by the cells
// of some columns, then, within a cell, halved again and again where the halves differ most in what is free. It says
// nothing of what is free now, and so serves one plan after another: the more a fleet differs from the one by which it was
// sorted, the more nodes a search looks at, and never does it find others.
type order struct {
	columns []*column
	nodes   []int32
	parts   []part
	roots   []int32 // the part that is all of a cell, of each
	leaf    []int32 // of each node of the fleet the smallest part that it is in, or none
	asked   int     // searches that could have used it before it was made
	looks   int     // nodes that searches have looked at since
}

// part is nodes[from:to] of an order: halved into two more, or, if they are few, to be looked at one by one.
type part struct {
	from, to    int32
	above       int32 // the part that it is half of, or none
	left, right int32 // none: it is a leaf
	first       int32 // the lowest of its nodes
}

const (
	// leafNodes is the most for a part that is not halved.
	leafNodes = 16
	// askedBefore is after how many searches that looked at every node sorting pays.
	askedBefore = 8
	// sortedLooks is how often a search may have looked at each node, on average, before they are sorted anew: then that
	// costs little beside them.
	sortedLooks = 64
)

// orderBy returns the nodes of a reach by the cells of the columns, or nil as long as too few have asked.
func (f *Fleet) orderBy(r *reach, columns []*column) *order {
	var key []byte
	for _, c := range columns {
		key = append(binary.AppendUvarint(key, uint64(len(c.name))), c.name...)
	}
	o := r.orders[string(key)]
	if o == nil {
		o = &order{columns: columns}
		r.orders[string(key)] = o
	}
	switch {
	case o.asked < askedBefore:
		o.asked++
		return nil
	case o.parts == nil || o.looks > sortedLooks*len(o.nodes):
		o = f.sort(r.nodes, columns) // another one: fleets may still use the old one
		r.orders[string(key)] = o
	}
	return o
}

// sort makes an order by what is free now.
func (f *Fleet) sort(nodes []int32, columns []*column) *order {
	o := &order{columns: columns, nodes: slices.Clone(nodes), leaf: make([]int32, len(f.ids)), asked: askedBefore}
	for i := range o.leaf {
		o.leaf[i] = none
	}
	if len(o.columns) > 0 {
		slices.SortFunc(o.nodes, func(a, b int32) int { return cmp.Or(o.compare(a, b), cmp.Compare(a, b)) })
	}
	h := halver{f, o}
	for from := 0; from < len(o.nodes); {
		to := from + 1
		for to < len(o.nodes) && o.compare(o.nodes[from], o.nodes[to]) == 0 {
			to++
		}
		o.roots = append(o.roots, h.halve(int32(from), int32(to), none))
		from = to
	}
	return o
}

// compare orders nodes by their cells.
func (o *order) compare(a, b int32) int {
	for _, c := range o.columns {
		if x := cmp.Compare(c.group(a), c.group(b)); x != 0 {
			return x
		}
	}
	return 0
}

// halver makes the parts of an order.
type halver struct {
	f *Fleet
	o *order
}

// halve makes a part of the nodes, and those below it.
func (h halver) halve(from, to, above int32) int32 {
	o, id := h.o, int32(len(h.o.parts))
	nodes := o.nodes[from:to]
	o.parts = append(o.parts, part{from: from, to: to, above: above, left: none, right: none, first: slices.Min(nodes)})
	if len(nodes) <= leafNodes {
		slices.Sort(nodes)
		for _, n := range nodes {
			o.leaf[n] = id
		}
		return id
	}
	middle := int32(len(nodes) / 2)
	h.choose(nodes, h.widest(nodes), middle)
	left := h.halve(from, from+middle, id)
	right := h.halve(from+middle, to, id)
	o.parts[id].left, o.parts[id].right = left, right
	return id
}

// of returns a number by which nodes differ: what is free of a resource, or, beyond the last of them, what there is of it.
func (h halver) of(node int32, by int) int64 {
	d := len(h.f.dims)
	at := int(node) * d
	if by >= d {
		return h.f.capacity[at+by-d]
	}
	return h.f.capacity[at+by] - h.f.used[at+by]
}

// widest returns by what the nodes differ most, in proportion; none when they do not differ.
func (h halver) widest(nodes []int32) int {
	best, most := none, 0.0
	for by := range 2 * len(h.f.dims) {
		low := h.of(nodes[0], by)
		high := low
		for _, n := range nodes[1:] {
			v := h.of(n, by)
			low, high = min(low, v), max(high, v)
		}
		if wide := float64(high-low) / float64(max(1, high, -low)); wide > most {
			best, most = by, wide
		}
	}
	return best
}

// choose brings the lower nodes in front of the middle and the others behind it (Hoare 1961). Of equal ones the lower number is
// lower.
func (h halver) choose(nodes []int32, by int, middle int32) {
	less := func(a, b int32) bool {
		if by != none {
			if x, y := h.of(a, by), h.of(b, by); x != y {
				return x < y
			}
		}
		return a < b
	}
	low, high := int32(0), int32(len(nodes)-1)
	for low < high {
		pivot := nodes[low+(high-low)/2]
		i, k := low, high
		for i <= k {
			for less(nodes[i], pivot) {
				i++
			}
			for less(pivot, nodes[k]) {
				k--
			}
			if i <= k {
				nodes[i], nodes[k] = nodes[k], nodes[i]
				i++
				k--
			}
		}
		if middle <= k {
			high = k
		} else if middle >= i {
			low = i
		} else {
			return
		}
	}
}
