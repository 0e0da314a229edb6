package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// grouping is a Group over all nodes of the fleet; project cuts it down to those of a batch.
type grouping struct {
	name    string
	column  *column
	have    []int32
	limited bool
	most    int32        // of each group, if limited
	cost    []spec.Milli // nil: no wish
}

type groupings []grouping

// groups counts the app's allocations by every attribute that a limit or a spread names.
func (m *Matcher) groups(r *Request) groupings {
	return m.groupsBy(r, func(c *column) []int32 { return count(c, r.Own) }, func(c *column) []int32 { return remaining(c, r) })
}

// groupsBy counts in two ways: for limits, and for wishes.
func (m *Matcher) groupsBy(r *Request, all, remaining func(*column) []int32) groupings {
	gs := make(groupings, 0, len(m.limits)+len(m.wishes))
	for _, l := range m.limits {
		g := grouping{name: l.rule.String(), column: l.column, have: all(l.column), limited: true}
		groups := 0
		if l.rule.Operator == spec.OpGroupBy {
			groups = number(m.present(l.column))
			gs = append(gs, grouping{name: g.name, column: g.column, have: remaining(g.column), cost: m.evenCosts(g.column)})
		}
		g.most = l.most(groups, max(r.Total, len(r.Own)+r.Count))
		gs = append(gs, g)
	}
	for _, w := range m.wishes {
		gs = append(gs, grouping{name: w.name, column: w.column, have: remaining(w.column), cost: w.cost})
	}
	return gs
}

// evenCosts makes group_by prefer the groups that have least.
func (m *Matcher) evenCosts(c *column) []spec.Milli {
	costs := make([]spec.Milli, len(c.values)+1)
	for v := range costs {
		costs[v] = groupByCost
	}
	return costs
}

// remaining counts the allocations per value without those that are about to be followed by others: a spread is to be
// even when all is done.
func remaining(c *column, r *Request) []int32 {
	have := count(c, r.Own)
	for _, n := range r.Going {
		have[c.group(n)]--
	}
	return have
}

// count returns the allocations per value; the last is for nodes without the attribute.
func count(c *column, nodes []int32) []int32 {
	have := make([]int32, len(c.values)+1)
	for _, n := range nodes {
		have[c.group(n)]++
	}
	return have
}

// group returns the value of a node, or one past the last when it has none.
func (c *column) group(node int32) int32 {
	if v := c.of[node]; v != none {
		return v
	}
	return int32(len(c.values))
}

// accept reports whether the node's groups have room for one more.
func (gs groupings) accept(node int) bool {
	for i := range gs {
		g := &gs[i]
		if g.limited && g.have[g.column.group(int32(node))] >= g.most {
			return false
		}
	}
	return true
}

// project cuts the groupings down to some nodes. Where each of them is a group of its own, the groups of no others are kept.
func (gs groupings) project(rows []int32) []Group {
	if len(gs) == 0 {
		return nil
	}
	out := make([]Group, len(gs))
	for i := range gs {
		g, o := &gs[i], &out[i]
		*o = Group{Name: g.name, Of: make([]int32, len(rows)), Have: g.have, Cost: g.cost}
		if g.column.lone {
			g.projectLone(rows, o)
		} else {
			for k, node := range rows {
				o.Of[k] = g.column.group(node)
			}
		}
		if g.limited {
			o.Cap = make([]int32, len(o.Have))
			for v := range o.Cap {
				o.Cap[v] = g.most
			}
		}
	}
	return out
}

func (g *grouping) projectLone(rows []int32, o *Group) {
	o.Have = make([]int32, len(rows))
	if g.cost != nil {
		o.Cost = make([]spec.Milli, len(rows))
	}
	for k, node := range rows {
		v := g.column.of[node]
		o.Of[k], o.Have[k] = int32(k), g.have[v]
		if g.cost != nil {
			o.Cost[k] = g.cost[v]
		}
	}
}

// keepSame cuts the batch down to one value of each attribute that all allocations of the app must share: the one that
// those have which no drain drives out, or else the one where most of the app fits.
func (f *Fleet) keepSame(b *Batch, m *Matcher, r *Request) {
	for _, col := range m.same {
		value := f.sameValue(b, m, col, r)
		var keep []int
		for k, node := range f.scratch.rows {
			if col.of[node] == value {
				keep = append(keep, k)
			}
		}
		f.cut(b, keep)
	}
}

// mostOf returns the value that most allocations have, the first among equals, or none.
func mostOf(have []int32, values int) int32 {
	best := int32(none)
	for v := range int32(values) {
		if have[v] > 0 && (best == none || have[v] > have[best]) {
			best = v
		}
	}
	return best
}

// staying counts the allocations per value without those that a drain drives out.
func (f *Fleet) staying(c *column, r *Request) []int32 {
	have := make([]int32, len(c.values)+1)
	for _, n := range r.Own {
		if s := f.states[n]; s != spec.NodeDraining && s != spec.NodeDrained {
			have[c.group(n)]++
		}
	}
	return have
}

// sameValue chooses the value for a batch: among equals the one that those have which are driven out.
func (f *Fleet) sameValue(b *Batch, m *Matcher, col *column, r *Request) int32 {
	if best := mostOf(f.staying(col, r), len(col.values)); best != none {
		return best
	}
	leaving, total := count(col, r.Own), int32(max(r.Total, r.Count))
	byValue := make([][]int, len(col.values))
	for k, node := range f.scratch.rows {
		if v := col.of[node]; v != none {
			byValue[v] = append(byValue[v], k)
		}
	}
	best, most := int32(none), int32(0)
	for v, rows := range byValue {
		if len(rows) == 0 {
			continue
		}
		fits := b.takes(rows, total)
		if best == none || fits > most || fits == most && leaving[v] > leaving[best] {
			best, most = int32(v), fits
		}
	}
	return best
}

// takes counts how many allocations of the batch, at most so many, fit on the given rows together.
func (b *Batch) takes(rows []int, most int32) int32 {
	d, caps := len(b.Resources), false
	for _, g := range b.Groups {
		caps = caps || g.Cap != nil
	}
	if caps {
		return int32(len(Fill(b.part(rows, int(most)), Binpack)))
	}
	sum := int64(0)
	for _, k := range rows {
		room := int64(b.Room[k])
		for x, ask := range b.Need {
			if ask > 0 {
				room = min(room, b.Free[k*d+x]/ask)
			}
		}
		sum += room
	}
	return int32(min(sum, int64(most)))
}

// part copies some rows of a batch.
func (b *Batch) part(rows []int, n int) *Batch {
	d, p := len(b.Resources), *b
	p.Count, p.Terms = n, nil
	p.Nodes, p.Room, p.Own, p.Load, p.Capacity, p.Free = nil, nil, nil, nil, nil, nil
	p.Groups = slices.Clone(b.Groups)
	for g := range p.Groups {
		p.Groups[g].Of = nil
	}
	for _, k := range rows {
		p.Nodes, p.Room, p.Own, p.Load = append(p.Nodes, b.Nodes[k]), append(p.Room, b.Room[k]), append(p.Own, b.Own[k]), append(p.Load, b.Load[k])
		p.Capacity, p.Free = append(p.Capacity, b.Capacity[k*d:(k+1)*d]...), append(p.Free, b.Free[k*d:(k+1)*d]...)
		for g := range p.Groups {
			p.Groups[g].Of = append(p.Groups[g].Of, b.Groups[g].Of[k])
		}
	}
	return &p
}

// cut keeps the given indexes of a batch, which are in order.
func (f *Fleet) cut(b *Batch, keep []int) {
	d := len(b.Resources)
	for to, from := range keep {
		f.scratch.rows[to] = f.scratch.rows[from]
		b.Nodes[to], b.Room[to], b.Own[to], b.Load[to] = b.Nodes[from], b.Room[from], b.Own[from], b.Load[from]
		copy(b.Capacity[to*d:(to+1)*d], b.Capacity[from*d:(from+1)*d])
		copy(b.Free[to*d:(to+1)*d], b.Free[from*d:(from+1)*d])
		for t := range b.Terms {
			b.Terms[t].Value[to] = b.Terms[t].Value[from]
		}
		for g := range b.Groups {
			b.Groups[g].Of[to] = b.Groups[g].Of[from]
		}
	}
	n := len(keep)
	f.scratch.rows = f.scratch.rows[:n]
	b.Nodes, b.Room, b.Own, b.Load = b.Nodes[:n], b.Room[:n], b.Own[:n], b.Load[:n]
	b.Capacity, b.Free = b.Capacity[:n*d], b.Free[:n*d]
	for t := range b.Terms {
		b.Terms[t].Value = b.Terms[t].Value[:n]
	}
	for g := range b.Groups {
		b.Groups[g].Of = b.Groups[g].Of[:n]
	}
}
