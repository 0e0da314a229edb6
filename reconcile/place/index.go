package place

import (
	"math"
	"slices"
)

// index knows of every part of an order what its nodes have free now, so that a search passes over the parts in which
// nothing can be found. It follows the fleet: what has changed since the last search stands in Fleet.changed.
type index struct {
	f      *Fleet
	order  *order
	view   view
	units  *Matcher // whoever asks for units of nodes, as all do who use this index; nil: nobody
	epoch  int      // of the fleet, when all was read
	seen   int      // of Fleet.changed
	open   []int32  // of each part: how many of its nodes take allocations
	boxes  []int64  // of each part four rows of all resources: see box
	stale  []int32  // leaves that have to be read again
	marked []bool   // those among stale
	was    []int64  // scratch: the box of a part before
}

// view is what counts as free.
type view struct {
	leaving  bool   // what leaving allocations have does
	withheld *int64 // what is withheld does not; see Fleet.withheld
}

// indexKey tells the indexes of a fleet apart.
type indexKey struct {
	order *order
	view  view
	units string // see Matcher.unitsKey
}

// maxIndexes bounds how many a fleet has: apps may ask for devices in as many ways as there are apps.
const maxIndexes = 64

// changesKept is how many changes for each node are remembered: who has missed more reads all anew.
const changesKept = 4

// touch notes that what is free on a node, or whether it takes allocations, changes.
func (f *Fleet) touch(node int) {
	if f.indexes == nil {
		return
	}
	if len(f.changed) >= changesKept*len(f.ids) {
		f.renew()
	}
	f.changed = append(f.changed, int32(node))
}

// renew has every index read all anew.
func (f *Fleet) renew() {
	f.epoch++
	f.changed = f.changed[:0]
}

// indexOf returns the index of an order, up to date, for somebody who asks for what the matcher says of units.
func (f *Fleet) indexOf(o *order, v view, m *Matcher) *index {
	key := indexKey{o, v, m.unitsKey()}
	x := f.indexes[key]
	if x != nil {
		x.follow()
		return x
	}
	n, d := len(o.parts), len(f.dims)
	x = &index{
		f: f, order: o, view: v, open: make([]int32, n), boxes: make([]int64, n*4*d), marked: make([]bool, n), was: make([]int64, 4*d),
	}
	if key.units != "" {
		x.units = m
	}
	switch {
	case f.indexes == nil:
		f.indexes = map[indexKey]*index{}
	case len(f.indexes) >= maxIndexes:
		clear(f.indexes)
	}
	f.indexes[key] = x
	x.readAll()
	return x
}

// follow reads what has changed.
func (x *index) follow() {
	f := x.f
	if x.epoch != f.epoch {
		x.readAll()
		return
	}
	for _, n := range f.changed[x.seen:] {
		if p := x.order.leaf[n]; p != none && !x.marked[p] {
			x.marked[p] = true
			x.stale = append(x.stale, p)
		}
	}
	x.seen = len(f.changed)
	for _, p := range x.stale {
		x.marked[p] = false
		for ; p != none && x.read(p); p = x.order.parts[p].above {
		}
	}
	x.stale = x.stale[:0]
}

func (x *index) readAll() {
	x.epoch, x.seen = x.f.epoch, len(x.f.changed)
	for p := len(x.order.parts) - 1; p >= 0; p-- { // those below a part come after it
		x.read(int32(p))
	}
}

// box returns what the nodes of a part have.
func (x *index) box(p int32) box {
	d := len(x.f.dims)
	b := x.boxes[int(p)*4*d:][:4*d]
	return box{b[:d:d], b[d : 2*d : 2*d], b[2*d : 3*d : 3*d], b[3*d:]}
}

// read brings one part up to date, of which those below it are, and reports whether it was not.
func (x *index) read(p int32) bool {
	d := len(x.f.dims)
	now := x.boxes[int(p)*4*d:][:4*d]
	copy(x.was, now)
	open := x.open[p]
	if t := &x.order.parts[p]; t.left == none {
		x.readNodes(t, p)
	} else {
		x.open[p] = x.open[t.left] + x.open[t.right]
		b, l, r := x.box(p), x.box(t.left), x.box(t.right)
		for k := range d {
			b.low[k], b.high[k] = min(l.low[k], r.low[k]), max(l.high[k], r.high[k])
			b.least[k], b.most[k] = min(l.least[k], r.least[k]), max(l.most[k], r.most[k])
		}
	}
	return open != x.open[p] || !slices.Equal(now, x.was)
}

// takes reports whether the node takes allocations of those who use the index, if it has the resources.
func (x *index) takes(node int) bool {
	return x.f.Open(node) && (x.units == nil || x.f.hasUnits(node, x.units, x.view.leaving))
}

// readNodes reads the nodes of a leaf. Where none takes allocations, nothing is free.
func (x *index) readNodes(t *part, p int32) {
	f, b := x.f, x.box(p)
	x.open[p] = 0
	for k := range b.low {
		b.low[k], b.high[k], b.least[k], b.most[k] = math.MaxInt64, math.MinInt64, math.MaxInt64, 0
	}
	for _, n := range x.order.nodes[t.from:t.to] {
		if !x.takes(int(n)) {
			continue
		}
		x.open[p]++
		for k, has := range f.row(f.capacity, int(n)) {
			at := int(n)*len(f.dims) + k
			free := has - f.used[at]
			if x.view.leaving {
				free += f.credit[at]
			}
			b.low[k], b.high[k], b.most[k] = min(b.low[k], free), max(b.high[k], free), max(b.most[k], has)
			if has > 0 {
				b.least[k] = min(b.least[k], has)
			}
		}
	}
}
