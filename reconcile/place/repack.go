package place

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// suit is a way to choose what suits the room a node has left: the piece with the largest Σ w·v·(room − half/2·v), where
// w is the share of the demand that is still to be placed, to a power. Without the half it is the dot product; with two
// it is, but for a constant, the distance between piece and room.
type suit struct {
	power int
	half  int64
}

// suits are tried in turn. That they complement each other was found by trial, on the published instances and on
// shuffled ones.
var suits = []suit{{2, 0}, {8, 1}, {4, 2}, {8, 2}, {4, 0}}

// weightUnit is the weight of the resource of which most is asked for.
const weightUnit = 1 << 10

// weigh fills in the weights for what is still to be placed.
func (p *packer) weigh(weight, demand []int64, power int) {
	most := max(1, slices.Max(demand))
	for x, v := range demand {
		weight[x] = weightUnit
		for range power {
			weight[x] = mulDiv(v, weight[x], most)
		}
	}
}

// pack fills the bins in their order, each as long as anything fits, with so many of a piece at once. It returns what
// that cost and whether all found room.
func (p *packer) pack(bins []*bin, pieces []Turn, s suit, at int) (choices int, all bool) {
	k, waiting := len(p.dims), 0
	weight, demand := make([]int64, k), make([]int64, k)
	left := slices.Clone(pieces)
	for _, t := range left {
		waiting += t.Count
		for x := range demand {
			demand[x] += p.size[t.Piece*k+x] * int64(t.Count)
		}
	}
	for _, b := range bins {
		p.weigh(weight, demand, s.power)
		for waiting > 0 {
			choices += len(left)
			i := p.choose(b, left, weight, s.half)
			if i < 0 {
				break
			}
			t := Turn{left[i].Piece, p.takes(b, left[i].Piece, min(at, left[i].Count))}
			p.put(b, t)
			for x := range demand {
				demand[x] -= p.size[t.Piece*k+x] * int64(t.Count)
			}
			waiting -= t.Count
			if left[i].Count -= t.Count; left[i].Count == 0 {
				left = slices.Delete(left, i, i+1)
			}
		}
		if waiting == 0 {
			return choices, true
		}
	}
	return choices, false
}

// choose returns which of the pieces suits the bin best, or -1 when none fits.
func (p *packer) choose(b *bin, pieces []Turn, weight []int64, half int64) int {
	best, most, k := -1, int64(0), len(weight)
	for i := range pieces {
		if !p.fits(b.left, pieces[i].Piece) || b.one != nil && !p.fits(b.one, pieces[i].Piece) {
			continue
		}
		score := int64(0)
		for x, v := range p.size[pieces[i].Piece*k : (pieces[i].Piece+1)*k] {
			score += weight[x] * (v * (2*b.room[x] - half*v) >> 8)
		}
		if best < 0 || score > most {
			best, most = i, score
		}
	}
	return best
}

// nodeByNode fills one node after another in each of the ways that suit, and keeps the best. With at above one it fills
// so many alike at once, in the first of the ways.
func (p *packer) nodeByNode(at int) []*bin {
	pieces := make([]Turn, len(p.pieces))
	for i := range pieces {
		pieces[i] = Turn{i, p.pieces[i].Count}
	}
	if at > 1 {
		bins := p.blocks(at)
		p.pack(bins, pieces, suits[0], at)
		return bins
	}
	bins := make([]*bin, len(p.bins))
	for i := range bins {
		bins[i] = &p.bins[i]
	}
	p.best(bins, pieces)
	return bins
}

// blocks returns the bins with every so many empty ones that are alike and follow each other made one.
func (p *packer) blocks(at int) []*bin {
	var bins []*bin
	n := 0 // nodes in the last block
	for i := range p.bins {
		b := &p.bins[i]
		p.clear(b)
		if !b.used && n > 0 && n < at && slices.Equal(bins[len(bins)-1].one, b.free) {
			last := bins[len(bins)-1]
			for x := range b.free {
				last.left[x] += b.left[x]
				last.room[x] += b.room[x]
			}
			n++
			continue
		}
		block := &bin{node: b.node, used: b.used, left: slices.Clone(b.left), room: slices.Clone(b.room)}
		if n = 0; !b.used {
			block.one, n = b.free, 1
		}
		bins = append(bins, block)
	}
	return bins
}

// best leaves the bins as the best of all suits fills them. Its cost is returned; none is kept, and false returned,
// unless all found room.
func (p *packer) best(bins []*bin, pieces []Turn) (choices int, any bool) {
	var kept [][]Turn
	var merit packed
	for _, s := range suits {
		for _, b := range bins {
			p.clear(b)
		}
		cost, all := p.pack(bins, pieces, s, 1)
		choices += cost
		if m := measure(bins); all && (!any || m.betterThan(merit)) {
			any, merit, kept = true, m, kept[:0]
			for _, b := range bins {
				kept = append(kept, slices.Clone(b.parts))
			}
		}
	}
	if any {
		p.load(bins, kept)
	}
	return choices, any
}

// load puts what was kept onto the bins.
func (p *packer) load(bins []*bin, kept [][]Turn) {
	for i, b := range bins {
		p.clear(b)
		for _, t := range kept[i] {
			p.put(b, t)
		}
	}
}

// packed is how good a packing is: few nodes that come into use, then room in few pieces rather than in many.
type packed struct {
	opened int
	slack  int64
}

func (m packed) betterThan(o packed) bool {
	return cmp.Or(cmp.Compare(o.opened, m.opened), cmp.Compare(m.slack, o.slack)) > 0
}

func measure(bins []*bin) (m packed) {
	for _, b := range bins {
		if len(b.parts) > 0 || b.used {
			room := total(b.room)
			m.slack += room * room >> 8
			m.opened += btoi(!b.used)
		}
	}
	return m
}

// improve empties a few nodes at a time, one of the emptiest among them, and fills them again; what is better stays. It
// ends when no more nodes than the bound come into use, or when the effort is spent.
func (p *packer) improve(bins []*bin, least int) []*bin {
	bins = slices.DeleteFunc(bins, func(b *bin) bool { return len(b.parts) == 0 })
	next, effort := uint64(1), repackChoices
	for attempt := 0; attempt < repackAttempts && effort > 0 && len(bins) > 1 && measure(bins).opened > least; attempt++ {
		slices.SortStableFunc(bins, func(a, b *bin) int {
			return cmp.Or(cmp.Compare(total(b.room), total(a.room)), cmp.Compare(a.node, b.node))
		})
		n := min(repackNodes, len(bins))
		swap := func(i, j int) { bins[i], bins[j] = bins[j], bins[i] }
		swap(0, attempt%min(3, len(bins)))
		for i := 1; i < n; i++ {
			next = next*6364136223846793005 + 1442695040888963407 // Knuth's MMIX: any fixed sequence without a pattern does
			swap(i, i+int((next>>33)%uint64(len(bins)-i)))
		}
		effort -= p.repack(bins[:n])
		bins = slices.DeleteFunc(bins, func(b *bin) bool { return len(b.parts) == 0 })
	}
	return bins
}

// repack fills the bins again if that is better, and returns what trying cost.
func (p *packer) repack(bins []*bin) int {
	before := measure(bins)
	count := map[int]int{}
	old := make([][]Turn, len(bins))
	var pieces []Turn
	for i, b := range bins {
		old[i] = slices.Clone(b.parts)
		for _, t := range b.parts {
			if count[t.Piece] == 0 {
				pieces = append(pieces, Turn{Piece: t.Piece})
			}
			count[t.Piece] += t.Count
		}
	}
	for i := range pieces {
		pieces[i].Count = count[pieces[i].Piece]
	}
	slices.SortFunc(pieces, func(a, b Turn) int { return cmp.Compare(a.Piece, b.Piece) })
	choices, any := p.best(bins, pieces)
	if !any || !measure(bins).betterThan(before) {
		p.load(bins, old)
	}
	return choices
}

// turns lists what the bins hold, bin by bin, those in use first. What fits nowhere comes last.
func (p *packer) turns(bins []*bin) []Turn {
	slices.SortStableFunc(bins, func(a, b *bin) int {
		return cmp.Or(cmp.Compare(btoi(b.used), btoi(a.used)), cmp.Compare(a.node, b.node))
	})
	rest := make([]int, len(p.pieces))
	for i := range rest {
		rest[i] = p.pieces[i].Count
	}
	var out []Turn
	for _, b := range bins {
		for _, t := range b.parts {
			out = append(out, t)
			rest[t.Piece] -= t.Count
		}
	}
	for i, n := range rest {
		if n > 0 {
			out = append(out, Turn{i, n})
		}
	}
	return out
}

// replay places the turns as Binpack will and returns how many empty nodes come into use; what fits nowhere counts as a
// node of its own. Of empty nodes that are alike only the first by name needs a look.
func (p *packer) replay(turns []Turn) (opened int) {
	var open, closed []*bin // closed: empty ones, by name
	for i := range p.bins {
		b := &p.bins[i]
		p.clear(b)
		if b.used {
			open = append(open, b)
		} else {
			closed = append(closed, b)
		}
	}
	slices.SortFunc(closed, func(a, b *bin) int { return cmp.Compare(a.node, b.node) })
	kinds := alike(closed)
	need, k := make([]int64, len(p.dims)), len(p.dims)
	for _, t := range turns {
		copy(need, p.need[t.Piece*k:(t.Piece+1)*k])
		for rest := t.Count; rest > 0; {
			b, kind := p.where(open, kinds, t.Piece, need)
			if b == nil {
				opened += rest
				break
			}
			if kind >= 0 {
				opened++
				open, kinds[kind] = append(open, b), kinds[kind][1:]
			}
			// The node is fuller then, so it stays the best for as many as it takes.
			n := int64(p.takes(b, t.Piece, rest))
			for x := range need {
				b.left[x] -= need[x] * n
			}
			rest -= int(n)
		}
	}
	return opened
}

// alike groups the bins by what they have and have free, in the order in which they come.
func alike(bins []*bin) [][]*bin {
	var kinds [][]*bin
	index := map[string]int{}
	var key []byte
	for _, b := range bins {
		key = key[:0]
		for x := range b.all {
			key = binary.AppendVarint(binary.AppendVarint(key, b.all[x]), b.free[x])
		}
		i, ok := index[string(key)]
		if !ok {
			i = len(kinds)
			index[string(key)], kinds = i, append(kinds, nil)
		}
		kinds[i] = append(kinds[i], b)
	}
	return kinds
}

// where returns the bin that Binpack chooses, and of which kind it is if it was empty.
func (p *packer) where(open []*bin, kinds [][]*bin, piece int, need []int64) (best *bin, kind int) {
	kind = -1
	most := int64(0)
	see := func(b *bin, of int) {
		if !p.fits(b.left, piece) {
			return
		}
		score := int64(Binpack.Score(need, &Node{Capacity: b.all, Free: b.left}))
		if best == nil || score > most || score == most && b.node < best.node {
			best, most, kind = b, score, of
		}
	}
	for _, b := range open {
		see(b, -1)
	}
	for i := range kinds {
		if len(kinds[i]) > 0 {
			see(kinds[i][0], i)
		}
	}
	return best, kind
}
