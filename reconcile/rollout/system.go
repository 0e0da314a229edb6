package rollout

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// bind gives each slot of a system app its node: the one where its newest allocation is. What was made when the app was
// none may be several on a node, or on one that does not take it: such slots get nodes that have none yet, and are
// replaced there as in any rollout. What is left over goes once enough others work, and what is on a node that no longer
// takes it goes.
func (d *decision) bind(slots []*slot, gone map[int]bool) {
	d.bound, d.nodes = make(map[int]spec.NodeID, len(slots)), d.a.Nodes
	taken := make(map[spec.NodeID]bool, len(slots))
	order := slices.Clone(slots)
	slices.SortStableFunc(order, func(x, y *slot) int { return y.rank() - x.rank() }) // what works stays where it is
	var others []*slot
	for _, s := range order {
		switch m := s.newest(); {
		case m.Bound && d.refuses(m):
			gone[s.index] = true
		case taken[m.Node] || !m.Bound && (m.Ground == Draining || d.refuses(m)):
			others = append(others, s)
		default:
			taken[m.Node] = true
			d.bound[s.index] = m.Node
			s.keepOn(m.Node)
		}
	}
	up := 0
	for _, s := range slots {
		if d.counts(s) && !gone[s.index] {
			up++
		}
	}
	for _, s := range others {
		works := d.counts(s)
		if len(d.nodes) == 0 && works && up <= d.a.Count-d.a.Unavailable {
			d.spares = append(d.spares, s)
			continue
		}
		if len(d.nodes) == 0 || !works {
			if gone[s.index] = true; works {
				up--
			}
			continue
		}
		d.bound[s.index], d.nodes = d.nodes[0], d.nodes[1:]
		s.keepOn(d.bound[s.index])
	}
}

// stopLater keeps a slot that is too many until more of the app is healthy.
func (d *decision) stopLater(s *slot) {
	for _, x := range s.live() {
		d.step(Step{Slot: s.index, Kind: spec.ChangeStop, Old: x, After: AfterMoreHealthy, Wave: 1, Reason: d.whyGone(s)})
	}
}

// refuses reports whether the node of an allocation no longer takes the system app: Order is negative there.
func (d *decision) refuses(x *Alloc) bool { return d.a.Order != nil && d.a.Order(x) < 0 }

// whyGone says why a slot of a system app goes.
func (d *decision) whyGone(s *slot) string {
	if d.refuses(s.newest()) {
		return ReasonNoNode
	}
	return ReasonOneEach
}

// newest returns the allocation of the slot that came last, of those that count.
func (s *slot) newest() *Alloc {
	var best *Alloc
	for _, x := range append(s.live(), s.complete, s.failed) {
		if x != nil && (best == nil || x.Generation > best.Generation) {
			best = x
		}
	}
	return best
}

// keepOn makes what is on other nodes than the given one something to be followed by what is there.
func (s *slot) keepOn(node spec.NodeID) {
	if !slices.ContainsFunc(s.current, func(x *Alloc) bool { return x.Node != node }) {
		return
	}
	var here []*Alloc
	for _, x := range s.current {
		if x.Node == node {
			here = append(here, x)
		} else {
			s.old = append(s.old, x)
		}
	}
	s.current = here
}
