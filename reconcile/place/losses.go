package place

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Losses looks for homes when nodes are lost, one loss after another, each from the same beginning: the fleet as it was
// when Losses was called. What is learned of that beginning serves every loss: on a full cluster most nodes have no room
// for most apps, and that is found out once.
type Losses struct {
	f        *Fleet
	used     []int64 // in the beginning
	lost     []bool
	touched  []bool // something was put on the node since the loss
	dirty    []int32
	loss     int // number of the present one
	rooms    map[string]*rooms
	grouping []*Seeker // with a limit that depends on which groups are open
}

// rooms is the nodes that in the beginning take one more of some need, in order: found as far as somebody asked.
type rooms struct {
	m    *Matcher // of the first who asked
	next int      // of its eligible ones
	list []int32
}

// Seeker finds homes for allocations of one version of an app that has no rule by which what comes makes a place for it:
// near another app, or with the same value.
type Seeker struct {
	l      *Losses
	m      *Matcher
	rooms  *rooms
	limits []seekLimit
	aparts []*Apartness
	own    int // allocations of the app
	total  int
	loss   int
	at     int // in rooms.list: no node before it takes one more
	ask    Request
}

// seekLimit counts for a limit.
type seekLimit struct {
	limit
	have   []int32 // allocations of the app per value
	open   []int32 // eligible nodes that take allocations per value; nil where it does not matter
	groups int     // values of which some node is open
}

// Losses begins to look at losses.
func (f *Fleet) Losses() *Losses {
	n := len(f.ids)
	return &Losses{f: f, used: slices.Clone(f.used), lost: make([]bool, n), touched: make([]bool, n), rooms: map[string]*rooms{}}
}

// Apartness keeps a Seeker away from where another app runs.
type Apartness struct {
	column *column
	have   []int32 // allocations of the other app per value
}

// Apart keeps the seeker off the nodes that share the attribute's value with one of those. Who gets it has to tell it of each allocation of the other app.
func (s *Seeker) Apart(attribute string, nodes []int32) *Apartness {
	c := s.l.f.column(attribute)
	a := &Apartness{c, count(c, nodes)}
	s.aparts = append(s.aparts, a)
	return a
}

// Count tells of an allocation of the other app more on the node, or with -1 one less.
func (a *Apartness) Count(node, change int) { a.have[a.column.group(int32(node))] += int32(change) }

// Limits reports whether the version has limits: who asks for a Seeker then has to tell it of each allocation of the app.
func (s *Seeker) Limits() bool { return len(s.limits) > 0 }

// Seeker returns one for a version of an app that has allocations on these nodes and should have total. It is to be made
// before the first loss.
func (l *Losses) Seeker(m *Matcher, own []int32, total int) *Seeker {
	s := &Seeker{l: l, m: m, rooms: l.roomsFor(m), own: len(own), total: total}
	s.ask = Request{Match: m, Count: 1}
	for _, limit := range m.limits {
		k := seekLimit{limit: limit, have: count(limit.column, own)}
		if limit.rule.Operator == spec.OpGroupBy {
			k.open = make([]int32, len(limit.column.values))
			for _, n := range m.Open() {
				if v := limit.column.of[n]; v != none {
					if k.open[v]++; k.open[v] == 1 {
						k.groups++
					}
				}
			}
		}
		s.limits = append(s.limits, k)
	}
	if slices.ContainsFunc(s.limits, func(k seekLimit) bool { return k.open != nil }) {
		l.grouping = append(l.grouping, s)
	}
	return s
}

// roomsFor are shared by all who ask for the same amounts and the same nodes.
func (l *Losses) roomsFor(m *Matcher) *rooms {
	if m.named {
		return &rooms{m: m}
	}
	var b strings.Builder
	b.WriteString(string(m.App.Pool.Or()))
	var number []byte
	for _, n := range m.Need {
		number = binary.AppendVarint(number, n)
	}
	b.Write(number)
	for _, c := range m.App.Constraints {
		if overAllocations(c.Operator) { // what remains of such a rule is that the attribute is there
			c = spec.Constraint{Attribute: c.Attribute, Operator: spec.OpSet}
		}
		b.WriteString("\x00" + c.String())
	}
	key := b.String()
	if l.rooms[key] == nil {
		l.rooms[key] = &rooms{m: m}
	}
	return l.rooms[key]
}

// Lose takes nodes that take allocations out of the fleet, until what it returns is called. What was put on others
// meanwhile has to be off them again by then.
func (l *Losses) Lose(nodes []int32) (back func()) {
	l.loss++
	up := l.f.Lose(nodes)
	l.mark(nodes, true)
	return func() {
		up()
		l.mark(nodes, false)
		for _, n := range l.dirty {
			l.touched[n] = false
		}
		l.dirty = l.dirty[:0]
	}
}

func (l *Losses) mark(nodes []int32, lost bool) {
	step := int32(1)
	if lost {
		step = -1
	}
	for _, n := range nodes {
		l.lost[n] = lost
	}
	for _, s := range l.grouping {
		for i := range s.limits {
			k := &s.limits[i]
			if k.open == nil {
				continue
			}
			for _, n := range nodes {
				v := k.column.of[n]
				if v == none || !s.m.takes(n) {
					continue
				}
				if k.open[v] += step; lost && k.open[v] == 0 {
					k.groups--
				} else if !lost && k.open[v] == 1 {
					k.groups++
				}
			}
		}
	}
}

// takes reports whether the constraints over attributes accept the node.
func (m *Matcher) takes(node int32) bool {
	if len(m.eligible) == len(m.fleet.ids) {
		return true
	}
	_, ok := slices.BinarySearch(m.eligible, node)
	return ok
}

// Lost reports whether the node is lost at present.
func (l *Losses) Lost(node int) bool { return l.lost[node] }

// Put puts an allocation on a node during a loss.
func (l *Losses) Put(node int, need []int64, given *spec.Grant) {
	l.f.Take(node, need, given)
	if !l.touched[node] {
		l.touched[node] = true
		l.dirty = append(l.dirty, int32(node))
	}
}

// Count tells a seeker with limits that the app has an allocation more on the node, or with -1 one less.
func (s *Seeker) Count(node, change int) {
	s.own += change
	for i := range s.limits {
		k := &s.limits[i]
		k.have[k.column.group(int32(node))] += int32(change)
	}
}

// First returns the first node that takes one more allocation, or -1; and how many nodes it looked at.
func (s *Seeker) First() (node, looked int) {
	l, f := s.l, s.l.f
	if s.loss != l.loss {
		s.loss, s.at = l.loss, 0
	}
	for ; ; s.at++ {
		if s.at == len(s.rooms.list) {
			n, more := l.extend(s.rooms)
			if looked += n; !more {
				return -1, looked
			}
		}
		looked++
		i := int(s.rooms.list[s.at])
		if l.lost[i] || l.touched[i] && !f.fits(i, s.m.Need, false) || !s.accept(i) || s.m.named && f.roomByName(i, &s.ask, 1) == 0 {
			continue
		}
		return i, looked
	}
}

// extend finds the next node that took one more in the beginning. What by name was free then is not known of nodes on
// which something was put meanwhile: those are taken up.
func (l *Losses) extend(r *rooms) (looked int, more bool) {
	f, d := l.f, len(l.f.dims)
	ask := Request{Match: r.m, Count: 1}
nodes:
	for ; r.next < len(r.m.eligible); r.next++ {
		looked++
		i := int(r.m.eligible[r.next])
		if f.states[i] != spec.NodeReady && !l.lost[i] {
			continue
		}
		for k, need := range r.m.Need {
			if need > 0 && need > f.capacity[i*d+k]-l.used[i*d+k] {
				continue nodes
			}
		}
		if r.m.named && !l.touched[i] && f.roomByName(i, &ask, 1) == 0 {
			continue
		}
		r.list = append(r.list, int32(i))
		r.next++
		return looked, true
	}
	return looked, false
}

// accept reports whether the app's limits, and other apps, let the node have one more.
func (s *Seeker) accept(node int) bool {
	for i := range s.limits {
		k := &s.limits[i]
		v := k.column.group(int32(node))
		if k.have[v] >= k.most(k.groups, max(s.total, s.own+1)) {
			return false
		}
	}
	for _, a := range s.aparts {
		if v := a.column.of[node]; v != none && a.have[v] > 0 {
			return false
		}
	}
	return true
}
