package place

import (
	"encoding/binary"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Clear takes everything off the nodes.
func (f *Fleet) Clear() {
	clear(f.used)
	clear(f.credit)
	clear(f.load)
	f.renew()
	f.indexes = nil
	for i := range f.held {
		f.held[i], f.leaving[i] = f.held[i][:0], nil
	}
}

// Fits returns how many allocations of the request the fleet takes beside what is there, at most r.Count. Nothing is
// placed.
func (f *Fleet) Fits(r *Request) int {
	m := r.Match
	if len(m.limits)+len(m.same) > 0 {
		return len(Fill(f.Batch(r), Binpack))
	}
	sum := 0
	for _, node := range r.candidates() {
		i := int(node)
		if f.states[i] != spec.NodeReady || !f.fits(i, m.Need, r.Wait) {
			continue
		}
		room := int32(r.Count)
		if m.named {
			room = f.roomByName(i, r, room)
		}
		at, most := i*len(f.dims), int64(room)
		for d, ask := range m.Need {
			if ask > 0 {
				free := f.capacity[at+d] - f.used[at+d]
				if r.Wait {
					free += f.credit[at+d]
				}
				most = min(most, free/ask)
			}
		}
		if sum += int(most); sum >= r.Count {
			return r.Count
		}
	}
	return sum
}

// Lose takes nodes that take allocations out of the fleet, until what it returns is called.
func (f *Fleet) Lose(nodes []int32) (back func()) {
	for _, n := range nodes {
		f.setState(int(n), spec.NodeDown)
	}
	return func() {
		for _, n := range nodes {
			f.setState(int(n), spec.NodeReady)
		}
	}
}

// Domain returns the values of an attribute, in order of the first node that has each, and the nodes of each that take
// allocations.
func (f *Fleet) Domain(attribute string) (values []string, nodes [][]int32) {
	c := f.column(attribute)
	nodes = make([][]int32, len(c.values))
	for n, v := range c.of {
		if v != none && f.Open(n) {
			nodes[v] = append(nodes[v], int32(n))
		}
	}
	return c.values, nodes
}

// FirstFit returns the first node from the given one on that takes an allocation of the request, or -1; and how many
// nodes it looked at.
func (f *Fleet) FirstFit(r *Request, from int) (node, looked int) {
	groups, same := r.Match.groups(r), f.sameHave(r.Match, r)
	all := r.candidates()
	first, _ := slices.BinarySearch(all, int32(from))
	for _, n := range all[first:] {
		looked++
		i := int(n)
		if f.states[i] != spec.NodeReady || !f.fits(i, r.Match.Need, false) || !groups.accept(i) || !accepts(same, i) {
			continue
		}
		if r.Match.named && f.roomByName(i, r, 1) == 0 {
			continue
		}
		return i, looked
	}
	return -1, looked
}

// Fills reports whether a node that did not take an allocation of the app takes none later, as long as nothing ends:
// nothing that comes makes a place for it.
func (m *Matcher) Fills() bool { return len(m.same) == 0 && !m.near }

// Limited reports whether the app has rules by which an empty node alone is no place: over its own allocations, or near
// those of another app.
func (m *Matcher) Limited() bool { return len(m.limits)+len(m.same) > 0 || m.near }

// PerNode returns how many allocations an empty node like the given one would take, at most limit.
func (m *Matcher) PerNode(node, limit int) int {
	most := int64(limit)
	for d, ask := range m.Need {
		if ask > 0 {
			most = min(most, m.fleet.Capacity(node)[d]/ask)
		}
	}
	for _, p := range m.App.Network.Ports {
		if p.Static != 0 {
			most = min(most, 1)
		}
	}
	return int(most)
}

// OnlyRoom reports whether the app asks for nothing but room on one of the nodes that it accepts: it has no rule and no
// wish over where its allocations are, so that any order of placing it is as good to it as any other.
func (m *Matcher) OnlyRoom() bool {
	for _, p := range m.App.Network.Ports {
		if p.Static != 0 {
			return false
		}
	}
	return len(m.limits)+len(m.same)+len(m.wishes)+len(m.terms)+len(m.App.Affinities) == 0
}

// Kinds returns of the nodes that the constraints over attributes accept the first of each kind: nodes with the same
// capacity that the rules over allocations cannot tell apart by their groups.
func (m *Matcher) Kinds() []int32 {
	seen := map[string]bool{}
	var kinds []int32
	var key []byte
	for _, node := range m.eligible {
		key = key[:0]
		for _, v := range m.fleet.Capacity(int(node)) {
			key = binary.AppendVarint(key, v)
		}
		for _, l := range m.limits {
			if l.rule.Attribute != AttributeID {
				key = binary.AppendVarint(key, int64(l.column.of[node]))
			}
		}
		for _, col := range m.same {
			key = binary.AppendVarint(key, int64(col.of[node]))
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			kinds = append(kinds, node)
		}
	}
	return kinds
}

// Refused returns the values of the constraint's attribute that open nodes have and the constraint refuses, one for each
// node.
func (f *Fleet) Refused(c spec.Constraint) []string {
	col := f.column(c.Attribute)
	ok, _ := constraintRule(c).accept(col)
	var values []string
	for i, v := range col.of {
		if v != none && !ok[v] && f.Open(i) {
			values = append(values, col.values[v])
		}
	}
	return values
}

// InBytes reports whether a column counts bytes; the others count thousandths.
func (f *Fleet) InBytes(d int) bool { return d == memory || d == disk }
