package place

import "github.com/stowage/stowage/spec"

// grouping is a Group over all nodes of the fleet; project cuts it down to those of a batch.
type grouping struct {
	name   string
	column *column
	have   []int32
	most   []int32      // nil: no limit
	cost   []spec.Milli // nil: no wish
}

type groupings []grouping

// groups counts the app's allocations by every attribute that a limit or a spread names.
func (m *Matcher) groups(r *Request) groupings {
	gs := make(groupings, 0, len(m.limits)+len(m.wishes))
	for _, l := range m.limits {
		g := grouping{name: l.rule.String(), column: l.column, have: count(l.column, r.Own), most: make([]int32, len(l.column.values)+1)}
		groups := 0
		if l.rule.Operator == spec.OpGroupBy {
			groups = m.present(l.column)
			g.cost = make([]spec.Milli, len(g.most))
		}
		most := l.most(groups, r.Total)
		for v := range g.most {
			g.most[v] = most
			if g.cost != nil {
				g.cost[v] = groupByCost
			}
		}
		gs = append(gs, g)
	}
	for _, w := range m.wishes {
		gs = append(gs, grouping{name: w.name, column: w.column, have: count(w.column, r.Own), cost: w.cost})
	}
	return gs
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
		if g.most == nil {
			continue
		}
		v := g.column.group(int32(node))
		if g.have[v] >= g.most[v] {
			return false
		}
	}
	return true
}

func (gs groupings) project(rows []int32) []Group {
	if len(gs) == 0 {
		return nil
	}
	out := make([]Group, len(gs))
	for i, g := range gs {
		of := make([]int32, len(rows))
		for k, node := range rows {
			of[k] = g.column.group(node)
		}
		out[i] = Group{Name: g.name, Of: of, Have: g.have, Cap: g.most, Cost: g.cost}
	}
	return out
}

// keepSame cuts the batch down to one value of each attribute that all allocations of the app must share: the one they
// have, or the one where most of the batch fits.
func (f *Fleet) keepSame(b *Batch, m *Matcher, r *Request) {
	for _, col := range m.same {
		value := f.sameValue(b, col, r)
		rows := f.scratch.rows
		var keep []int
		for k, node := range rows {
			if col.of[node] == value {
				keep = append(keep, k)
			}
		}
		f.cut(b, keep)
	}
}

func (f *Fleet) sameValue(b *Batch, col *column, r *Request) int32 {
	have := count(col, r.Own)
	best, most := int32(none), int32(0)
	for v := range col.values {
		if have[v] > most {
			best, most = int32(v), have[v]
		}
	}
	if best != none {
		return best
	}
	d := len(b.Resources)
	fits := make([]int64, len(col.values))
	for k, node := range f.scratch.rows {
		room := int64(b.Room[k])
		for x, ask := range b.Need {
			if ask > 0 {
				room = min(room, b.Free[k*d+x]/ask)
			}
		}
		if v := col.of[node]; v != none {
			fits[v] = min(int64(r.Count), fits[v]+room)
		}
	}
	for v := range fits {
		if fits[v] > 0 && (best == none || fits[v] > fits[best]) {
			best = int32(v)
		}
	}
	return best
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
