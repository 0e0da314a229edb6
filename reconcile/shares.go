package reconcile

import (
	"math/bits"
)

// Who is served next: dominant-resource fairness (Ghodsi et al., NSDI 2011), weighted, at each level of the tree.
//
// An app's share is what it has of the resource that it asks for most. A role has apps of many shapes below it, and one
// number for all of them is what makes simple descents starve: who has all of the disks would wait for processors
// behind everybody (Bhattacharya et al., SoCC 2013, section 3). So a role is measured along what the app asks for that it would send
// next: all of the app's dominant resource, and of each other one as much as the app's task takes of it against its
// dominant one. Among roles whose apps are of one shape this is their rule; what it means otherwise and why it is not
// their rescaling stands in docs/decisions.

const (
	// shareUnit is a share of all there is.
	shareUnit = 1 << 40
	// towardUnit is an app's dominant resource.
	towardUnit = 1 << 20
)

// standing is how a party stands while shares are compared.
type standing struct {
	pending int      // placements that it and its children wait for
	toward  []int64  // of an app: how much it asks for of each resource against its dominant one
	front   *party   // the app below it (or itself) that it would send next
	share   uint64   // of the party, along what front asks for
	of      int      // the resource that decided share
	heap    []*party // the children that wait for something, the one to serve first at the top
	at      int      // in the heap of its parent, or -1
}

// toward gives the direction of a need: towardUnit for the dominant resource, in proportion for the others.
func (r *roles) toward(need []int64) []int64 {
	parts := make([]uint64, len(need))
	most := uint64(1)
	for d, v := range need {
		parts[d] = part(v, r.total[d])
		most = max(most, parts[d])
	}
	toward := make([]int64, len(need))
	for d := range parts {
		if parts[d] > 0 {
			toward[d] = max(1, int64(scale(parts[d], towardUnit, most)))
		}
	}
	return toward
}

// part returns v of total in shareUnit; what nobody has counts for nothing.
func part(v, total int64) uint64 {
	if v <= 0 || total <= 0 {
		return 0
	}
	return scale(uint64(v), shareUnit, uint64(total))
}

// scale returns a*b/c, at most what 43 bits hold, so that a weight still fits beside it.
func scale(a, b, c uint64) uint64 {
	const most = 1<<43 - 1
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return most
	}
	q, _ := bits.Div64(hi, lo, c)
	return min(q, most)
}

// share measures a party along what an app asks for, and tells which resource decides.
func (r *roles) share(p *party, toward []int64) (share uint64, of int) {
	for d, t := range toward {
		if t > 0 {
			if s := scale(part(p.used[d], r.total[d]), uint64(t), towardUnit); s > share {
				share, of = s, d
			}
		}
	}
	return share, of
}

// before reports whether p is served before q: it has less in proportion to its weight, or its name comes first.
func (p *party) before(q *party) bool {
	a, b := p.stand.share*q.weight, q.stand.share*p.weight
	return a < b || a == b && (p.name < q.name || p.name == q.name && p.app == nil && q.app != nil)
}

// enter makes an app wait for n more placements, each with the need.
func (r *roles) enter(p *party, n int, need []int64) {
	if p.stand.pending == 0 {
		p.stand.toward = r.toward(need)
	}
	for q := p; q != nil; q = q.parent {
		q.stand.pending += n
	}
}

// line puts everybody who waits in line. All of them have entered.
func (r *roles) line(p *party) {
	p.stand.heap = p.stand.heap[:0]
	for _, c := range p.children {
		if c.stand.pending == 0 {
			continue
		}
		r.line(c)
		c.stand.at = len(p.stand.heap)
		p.stand.heap = append(p.stand.heap, c)
	}
	for i := len(p.stand.heap)/2 - 1; i >= 0; i-- {
		p.down(i)
	}
	r.face(p)
}

// face settles which app the party would send, and how it stands with it.
func (r *roles) face(p *party) {
	t := &p.stand
	switch {
	case p.app != nil:
		t.front = p
	case len(t.heap) > 0:
		t.front = t.heap[0].stand.front
	default:
		t.front = nil
		return
	}
	t.share, t.of = r.share(p, t.front.stand.toward)
}

// next returns the app to serve, or nil when nobody waits.
func (r *roles) next() *party { return r.root.stand.front }

// advance tells that an app waits for n placements less and may have more: only those above it stand otherwise now.
func (r *roles) advance(p *party, n int) {
	for q := p; q != nil; q = q.parent {
		q.stand.pending -= n
		r.face(q)
		if up := q.parent; up != nil {
			if q.stand.pending == 0 {
				up.drop(q.stand.at)
			} else {
				up.fix(q.stand.at)
			}
		}
	}
}

func (p *party) swap(i, k int) {
	h := p.stand.heap
	h[i], h[k] = h[k], h[i]
	h[i].stand.at, h[k].stand.at = i, k
}

func (p *party) fix(i int) {
	h := p.stand.heap
	for i > 0 && h[i].before(h[(i-1)/2]) {
		p.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	p.down(i)
}

func (p *party) down(i int) {
	h := p.stand.heap
	for {
		k := 2*i + 1
		if k >= len(h) {
			return
		}
		if k+1 < len(h) && h[k+1].before(h[k]) {
			k++
		}
		if !h[k].before(h[i]) {
			return
		}
		p.swap(i, k)
		i = k
	}
}

func (p *party) drop(i int) {
	last := len(p.stand.heap) - 1
	p.swap(i, last)
	p.stand.heap = p.stand.heap[:last]
	if i < last {
		p.fix(i)
	}
}
