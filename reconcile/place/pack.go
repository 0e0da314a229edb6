package place

import (
	"cmp"
	"slices"
)

// Piece is so many equal allocations that ask a node for nothing but room.
type Piece struct {
	Need  []int64
	Count int
}

// Turn serves the next allocations of a piece, so many of them.
type Turn struct {
	Piece int // index into the pieces
	Count int
}

// Bounds on the work that finding an order is worth.
const (
	// packLooks is the most for turns × nodes: each turn looks at every node.
	packLooks = 6_000_000
	// packChoices is the most for choices × pieces: choosing what comes next looks at every piece.
	packChoices = 4_000_000
	// repackChoices bounds the same number over all attempts to do better.
	repackChoices = 12_000_000
	// repackAttempts bounds the attempts, and repackNodes the nodes that each of them empties and fills again.
	repackAttempts = 600
	repackNodes    = 9
)

// Order says in which turns to place the pieces on the nodes, each allocation where Binpack then likes it best, so that
// few nodes come into use. It changes where nothing goes that is there already, and decides nothing but the order: the
// place of each allocation is still the best at its turn.
//
// Three orders are tried: the pieces as they come, by decreasing size, and node by node, each filled with what suits
// the room it has left: the bin-centric dot product of Panigrahy, Talwar, Uyeda and Wieder, "Heuristics for vector bin
// packing" (2011), with the weights of the resources taken from what is still to be placed. The last is then improved by
// emptying a few nodes at a time and filling them again. Of orders that use equally many nodes the first wins. Where
// there are too many allocations to choose each, several of a piece are chosen at once, for several nodes at once; where even
// that is too much work, the pieces stay as they come.
func (f *Fleet) Order(nodes []int32, pieces []Piece) []Turn {
	plain, total := make([]Turn, len(pieces)), 0
	for i, p := range pieces {
		plain[i], total = Turn{i, p.Count}, total+p.Count
	}
	if len(pieces) < 2 || 2*len(pieces)*len(nodes) > packLooks || !f.roomFor(nodes, pieces) {
		return plain
	}
	p := f.newPacker(nodes, pieces)
	if len(p.dims) == 0 {
		return plain // nobody asks for anything
	}
	best, fewest, least := plain, p.replay(plain), p.bound()
	try := func(turns []Turn) {
		if opened := p.replay(turns); opened < fewest {
			best, fewest = turns, opened
		}
	}
	if fewest > least {
		try(p.bySize(plain))
	}
	if fewest > least {
		at := max(1, total*len(nodes)/packLooks, total*len(pieces)/packChoices) // so many at once
		bins := p.nodeByNode(at)
		if at == 1 {
			bins = p.improve(bins, least)
		}
		try(p.turns(bins))
	}
	return best
}

// roomFor reports whether the nodes have as much free as all pieces ask for. Without that, fair shares decide who is served,
// and an order would be found in vain.
func (f *Fleet) roomFor(nodes []int32, pieces []Piece) bool {
	free := make([]int64, len(f.dims))
	for _, n := range nodes {
		add(free, f.Capacity(int(n)), 1)
		add(free, f.Used(int(n)), -1)
	}
	for i := range pieces {
		for d, ask := range pieces[i].Need {
			if free[d] -= ask * int64(pieces[i].Count); ask > 0 && free[d] < 0 {
				return false
			}
		}
	}
	return true
}

// packUnit is the average node in each resource: sizes are in parts of it.
const packUnit = 1 << 12

// packer is the nodes and pieces in the form that packing needs: the resources that are asked for, in exact amounts for
// what fits and in parts of the average node for what suits.
type packer struct {
	pieces []Piece
	dims   []int   // the columns of the fleet that any piece asks for
	need   []int64 // a row of len(dims) per piece, exact
	size   []int64 // likewise, in packUnit
	demand []int64 // of all pieces together, in packUnit
	unit   []int64 // the average node, exact
	bins   []bin   // those in use, fullest first, then the empty ones, smallest first
}

// bin is a node, with what a packing puts on it.
type bin struct {
	node  int32
	used  bool    // something was there before
	all   []int64 // capacity, exact
	free  []int64 // before the packing, exact
	left  []int64 // after it, exact
	room  []int64 // after it, in packUnit
	parts []Turn
	one   []int64 // what is free on each of the nodes, when the bin stands for several that are alike
}

func (f *Fleet) newPacker(nodes []int32, pieces []Piece) *packer {
	p := &packer{pieces: pieces}
	for d := range f.dims {
		if slices.ContainsFunc(pieces, func(q Piece) bool { return q.Need[d] > 0 }) {
			p.dims = append(p.dims, d)
		}
	}
	k := len(p.dims)
	p.unit, p.demand = make([]int64, k), make([]int64, k)
	p.need, p.size = make([]int64, k*len(pieces)), make([]int64, k*len(pieces))
	for x, d := range p.dims {
		for _, n := range nodes {
			p.unit[x] += f.Capacity(int(n))[d] / int64(len(nodes))
		}
		p.unit[x] = max(1, p.unit[x])
		for i, q := range pieces {
			p.need[i*k+x] = q.Need[d]
			p.size[i*k+x] = max(min(1, q.Need[d]), p.scale(x, q.Need[d]))
			p.demand[x] += p.size[i*k+x] * int64(q.Count)
		}
	}
	p.bins = make([]bin, 0, len(nodes))
	rows := make([]int64, 4*k*len(nodes))
	for _, n := range nodes {
		b := bin{node: n, used: f.Load(int(n)) > 0, all: rows[:k], free: rows[k : 2*k], left: rows[2*k : 3*k], room: rows[3*k : 4*k]}
		rows = rows[4*k:]
		for x, d := range p.dims {
			b.all[x] = f.Capacity(int(n))[d]
			b.free[x] = b.all[x] - f.Used(int(n))[d]
		}
		p.bins = append(p.bins, b)
	}
	for i := range p.bins {
		p.clear(&p.bins[i])
	}
	slices.SortStableFunc(p.bins, func(a, b bin) int {
		if a.used != b.used {
			return cmp.Compare(btoi(b.used), btoi(a.used))
		}
		return cmp.Or(cmp.Compare(total(a.room), total(b.room)), cmp.Compare(a.node, b.node))
	})
	return p
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func total(v []int64) (sum int64) {
	for _, x := range v {
		sum += x
	}
	return sum
}

// scale turns an exact amount into parts of the average node.
func (p *packer) scale(x int, amount int64) int64 { return mulDiv(amount, packUnit, p.unit[x]) }

// mulDiv returns a*b/c for a b of at most packUnit, without the last digits of an a for which the product is too large.
func mulDiv(a, b, c int64) int64 {
	for a > 1<<50 {
		a, c = a>>8, max(1, c>>8)
	}
	return a * b / c
}

func (p *packer) clear(b *bin) {
	b.parts = b.parts[:0]
	for x := range b.free {
		b.left[x], b.room[x] = b.free[x], p.scale(x, b.free[x])
	}
}

func (p *packer) put(b *bin, t Turn) {
	k := len(p.dims)
	for x := range p.dims {
		b.left[x] -= p.need[t.Piece*k+x] * int64(t.Count)
		b.room[x] -= p.size[t.Piece*k+x] * int64(t.Count)
	}
	if n := len(b.parts); n > 0 && b.parts[n-1].Piece == t.Piece {
		b.parts[n-1].Count += t.Count
		return
	}
	b.parts = append(b.parts, t)
}

// takes returns how many of the piece the bin takes, at most so many.
func (p *packer) takes(b *bin, piece, most int) int {
	need := p.need[piece*len(b.left):]
	for x, free := range b.left {
		if need[x] > 0 {
			most = min(most, int(max(0, free)/need[x]))
		}
	}
	return most
}

func (p *packer) fits(left []int64, piece int) bool {
	need := p.need[piece*len(left):]
	for x, free := range left {
		if need[x] > free && need[x] > 0 {
			return false
		}
	}
	return true
}

// bySize sorts the pieces by decreasing size: the square of the length of their vector, each resource weighted by how
// much of it is asked for.
func (p *packer) bySize(turns []Turn) []Turn {
	weight := make([]int64, len(p.dims))
	p.weigh(weight, p.demand, 1)
	size := func(t Turn) (sum int64) {
		for x, v := range p.size[t.Piece*len(weight) : (t.Piece+1)*len(weight)] {
			v = min(v, 1<<24) // larger than any node; keeps the square in range
			sum += weight[x] * (v * v >> 10)
		}
		return sum
	}
	sorted := slices.Clone(turns)
	slices.SortStableFunc(sorted, func(a, b Turn) int { return cmp.Compare(size(b), size(a)) })
	return sorted
}

// bound returns how many empty nodes have to come into use at least: what is asked for, less what is free on nodes in
// use, over the largest node.
func (p *packer) bound() int {
	least := 0
	for x := range p.dims {
		demand, largest := int64(0), int64(1)
		for i := range p.pieces {
			demand += p.need[i*len(p.dims)+x] * int64(p.pieces[i].Count)
		}
		for i := range p.bins {
			if b := &p.bins[i]; b.used {
				demand -= max(0, b.free[x])
			} else {
				largest = max(largest, b.free[x])
			}
		}
		least = max(least, int((demand+largest-1)/largest))
	}
	return least
}
