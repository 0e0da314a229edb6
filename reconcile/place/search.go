package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// search finds, cell by cell, the nodes that score best for a request, as a look at each of them would, but it looks at
// few: it passes over the parts of an index in which no node has room, and over those in which none can be better than what has
// been found.
type search struct {
	*index
	r      *Request
	asked  []int // resources of which something is asked
	own    []int32
	groups groupings    // all of the request
	lone   groupings    // those of which each node is one of its own
	beside []neighbours // of each rule over another app
	shut   []int32      // nodes that take none for what no index knows, sorted
	best   *best
	node   Node
}

const (
	// indexedNodes is how many an app has to accept for an index to be worth it.
	indexedNodes = 256
	// maxFaulty is how many nodes may be marked as faulty for a request.
	maxFaulty = 64
)

// searches prepares a search, or returns nil where it takes a look at every node: for a policy of a plugin, and where what is asked for
// hangs on single nodes in a way that no index knows of: all on one value of an attribute, devices that are liked better than
// others, a wish for certain nodes, a rule that only certain nodes meet.
func (f *Fleet) searches(r *Request, groups groupings, own []int32) *search {
	m := r.Match
	if r.Best == nil || r.Best.most == nil || len(f.withheld) > 1 || r.Only != nil || len(m.reach.nodes) < indexedNodes || len(r.Faulty) > maxFaulty ||
		m.wishesDevices || len(m.same) > 0 || !f.portsEverywhere(m.App.Network.Ports) {
		return nil
	}
	columns := make([]*column, 0, len(groups)+len(m.terms))
	cells := 1
	see := func(c *column) {
		if !slices.Contains(columns, c) {
			columns = append(columns, c)
			cells = min(cells*(len(c.values)+1), len(m.reach.nodes)+1)
		}
	}
	s := &search{r: r, own: own, groups: groups, best: &f.scratch.best}
	for _, g := range groups {
		if !g.column.lone {
			see(g.column)
		} else if s.lone = append(s.lone, g); !even(g.cost) {
			return nil
		}
	}
	for i := range m.terms {
		see(m.terms[i].column)
	}
	if !s.readBeside(see) {
		return nil
	}
	if !r.few(cells, len(m.reach.nodes)) {
		return nil
	}
	o := f.orderBy(m.reach, columns)
	if o == nil || !r.few(len(o.roots), len(o.nodes)) {
		return nil
	}
	v := view{leaving: r.Wait}
	for _, rows := range f.withheld {
		v.withheld = rows
	}
	s.index = f.indexOf(o, v, m)
	s.shutPorts()
	slices.Sort(s.shut)
	s.shut = slices.Compact(s.shut)
	for d, ask := range m.Need {
		if ask > 0 {
			s.asked = append(s.asked, d)
		}
	}
	s.node.Free = make([]int64, len(f.dims))
	return s
}

// readBeside reads the rules and wishes over other apps. It returns false for what hangs on single nodes, but for the few that have to
// be kept off: a rule that few nodes meet needs no search, and a wish for single ones is above what is known of all others.
func (s *search) readBeside(see func(*column)) bool {
	f := s.r.Match.fleet
	for i := range s.r.Peers {
		c := f.column(s.r.Peers[i].attribute())
		if c.lone {
			return false
		}
		see(c)
	}
	for i := range s.r.Beside {
		b := &s.r.Beside[i]
		n := f.neighbours(b.Attribute, b.Nodes)
		switch {
		case !n.column.lone:
			see(n.column)
		case !b.Apart:
			return false
		default:
			s.shut = append(s.shut, b.Nodes...)
		}
		s.beside = append(s.beside, n)
	}
	return true
}

// shutPorts finds the nodes on which a port with a number is taken.
func (s *search) shutPorts() {
	asked := s.r.Match.App.Network.Ports
	if !slices.ContainsFunc(asked, func(p spec.PortSpec) bool { return p.Static != 0 }) {
		return
	}
	for _, node := range s.order.nodes {
		if len(s.f.held[node]) > 0 && !s.f.portsFree(int(node), asked, s.view.leaving) {
			s.shut = append(s.shut, node)
		}
	}
}

// even reports whether all costs are the same, but for the last, of nodes without the attribute.
func even(costs []spec.Milli) bool {
	for i := 1; i+1 < len(costs); i++ {
		if costs[i] != costs[0] {
			return false
		}
	}
	return true
}

// portsEverywhere reports whether every node surely has the ports without a number for one more allocation.
func (f *Fleet) portsEverywhere(asked []spec.PortSpec) bool {
	dynamic := 0
	for i := range asked {
		if asked[i].Static == 0 {
			dynamic++
		}
	}
	return dynamic == 0 || f.mostHeld+dynamic <= f.leastPorts
}

// choose returns those nodes that the placements of the request can go to, in order, with those next to them in each
// cell; and how many more would take one.
func (s *search) choose() (nodes []int32, more int) {
	feasible := 0
	for _, root := range s.order.roots {
		if !s.accepts(s.order.parts[root].first) {
			continue
		}
		n := s.count(root)
		if n == 0 {
			continue
		}
		feasible += n
		s.best.clear(s.r.Count + 2)
		s.visit(root, s.most(root))
		nodes = append(nodes, s.best.nodes...)
	}
	slices.Sort(nodes)
	return nodes, feasible - s.refused() - len(nodes)
}

// accepts reports whether the groups that a node shares with all others of its cell have room for one more, and other apps
// leave them to it.
func (s *search) accepts(node int32) bool {
	for i := range s.beside {
		if n := &s.beside[i]; !n.column.lone && n.share(node) == s.r.Beside[i].Apart {
			return false
		}
	}
	for i := range s.groups {
		if g := &s.groups[i]; !g.column.lone && g.limited && g.have[g.column.group(node)] >= g.most {
			return false
		}
	}
	return true
}

// refused counts the nodes that have been counted though they take none: those that have all that a limit lets each node have, and
// those that are shut.
func (s *search) refused() int {
	list := s.shut
	if slices.ContainsFunc(s.lone, func(g grouping) bool { return g.limited }) {
		list = slices.Concat(s.shut, s.r.Own)
		slices.Sort(list)
		list = slices.Compact(list)
	}
	n := 0
	for _, node := range list {
		if s.order.leaf[node] != none && s.room(int(node)) && s.accepts(node) && (s.isShut(node) || !s.lone.accept(int(node))) {
			n++
		}
	}
	return n
}

func (s *search) isShut(node int32) bool {
	_, shut := slices.BinarySearch(s.shut, node)
	return shut
}

// room reports whether the node takes allocations, and has the resources for one more.
func (s *search) room(node int) bool {
	return s.takes(node) && s.f.fits(node, s.r.Match.Need, s.view.leaving)
}

// roomy reports whether a node of the part may have room: no resource is short on each of them.
func (s *search) roomy(p int32) bool {
	if s.open[p] == 0 {
		return false
	}
	b := s.box(p)
	for _, d := range s.asked {
		if b.high[d] < s.r.Match.Need[d] {
			return false
		}
	}
	return true
}

// count returns how many nodes of the part take allocations and have room.
func (s *search) count(p int32) int {
	if !s.roomy(p) {
		return 0
	}
	b, whole := s.box(p), true
	for _, d := range s.asked {
		whole = whole && b.low[d] >= s.r.Match.Need[d]
	}
	t := &s.order.parts[p]
	if whole {
		return int(s.open[p])
	}
	if t.left != none {
		return s.count(t.left) + s.count(t.right)
	}
	n := 0
	s.order.looks += int(t.to - t.from)
	for _, node := range s.order.nodes[t.from:t.to] {
		if s.room(int(node)) {
			n++
		}
	}
	return n
}

// most returns more than which no node of the part scores.
func (s *search) most(p int32) spec.Milli {
	return s.r.Best.most(s.r.Match.Need, s.box(p))
}

// visit looks for better nodes in a part, of which none scores more than most: in the half first that promises more.
func (s *search) visit(p int32, most spec.Milli) {
	t := &s.order.parts[p]
	if !s.roomy(p) || !s.best.wants(t.first, most) {
		return
	}
	if t.left == none {
		s.order.looks += int(t.to - t.from)
		for _, node := range s.order.nodes[t.from:t.to] {
			s.look(node)
		}
		return
	}
	one, other := t.left, t.right
	a, b := s.most(one), s.most(other)
	if b > a || b == a && s.order.parts[other].first < s.order.parts[one].first {
		one, other, a, b = other, one, b, a
	}
	s.visit(one, a)
	s.visit(other, b)
}

// look scores one node, if it has room. What is the same for all nodes of the cell is left out.
func (s *search) look(node int32) {
	f, i := s.f, int(node)
	if !s.room(i) || !s.lone.accept(i) || s.isShut(node) {
		return
	}
	f.see(&s.node, i, s.view.leaving)
	s.node.Own = int(s.own[i])
	key := s.r.Best.Score(s.r.Match.Need, &s.node)
	for k := range s.lone {
		if g := &s.lone[k]; g.cost != nil {
			v := g.column.of[i]
			key -= g.cost[v] * spec.Milli(g.have[v])
		}
	}
	if slices.Contains(s.r.Faulty, node) {
		key -= faultyCost
	}
	s.best.see(node, key)
}
