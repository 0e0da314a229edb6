package control

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// cell is where the views of one allocation stand.
type cell struct {
	id    spec.AllocationID
	index int // in Core.current; -1 when retired
	node  spec.NodeID
}

func (c *Core) view(k *cell) *spec.AllocationView { return &c.current[k.index] }

func compareViews(a, b *spec.AllocationView) int {
	if o := a.Slot.Compare(b.Slot); o != 0 {
		return o
	}
	return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.ID, b.ID))
}

// fresh is the view of an allocation before its agent said anything.
func fresh(h *Held) spec.AllocationView {
	v := spec.AllocationView{Allocation: h.Allocation}
	if h.Ended != nil {
		v.AllocationStatus = *h.Ended
	} else {
		v.AllocationStatus = spec.AllocationStatus{State: spec.StatePlaced, Since: h.Allocation.Placed}
	}
	return v
}

// rebuild makes all views again from the hard state, and keeps what agents said.
func (c *Core) rebuild() {
	views := make([]spec.AllocationView, 0, len(c.state.Allocations))
	for id, h := range c.state.Allocations { // any order: sorted below
		v := fresh(h)
		if k := c.cells[id]; k != nil && k.index >= 0 && h.Ended == nil && !c.view(k).State.Terminal() {
			v.AllocationStatus = c.view(k).AllocationStatus
		}
		if c.cells[id] == nil {
			c.addCell(&h.Allocation)
		}
		c.cells[id].index = -1
		if !h.Retired {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b spec.AllocationView) int { return compareViews(&a, &b) })
	c.current = views
	c.places = make([]*cell, len(views))
	for i := range views {
		k := c.cells[views[i].ID]
		c.places[i], k.index = k, i
	}
}

func (c *Core) addCell(a *spec.Allocation) {
	k := &cell{id: a.ID, node: a.Node, index: -1}
	c.cells[a.ID] = k
	list := c.orphans[a.Node]
	n := c.nodes[a.Node]
	if n != nil {
		list = n.cells
	}
	i, _ := slices.BinarySearchFunc(list, a.ID, func(k *cell, id spec.AllocationID) int { return cmp.Compare(k.id, id) })
	list = slices.Insert(list, i, k)
	if n != nil {
		n.cells = list
	} else {
		c.orphans[a.Node] = list
	}
}

// merge adds views for new allocations.
func (c *Core) merge(started []spec.Allocation) {
	added := make([]spec.AllocationView, 0, len(started))
	for i := range started {
		added = append(added, fresh(c.state.Allocations[started[i].ID]))
		c.addCell(&started[i])
	}
	slices.SortFunc(added, func(a, b spec.AllocationView) int { return compareViews(&a, &b) })
	// From the back, so that nothing is copied twice.
	end, to := len(c.current), len(c.current)+len(added)
	c.current = append(c.current, added...)
	c.places = append(c.places, make([]*cell, len(added))...)
	for j := len(added) - 1; j >= 0; j-- {
		i, _ := slices.BinarySearchFunc(c.current[:end], added[j], func(a, b spec.AllocationView) int { return compareViews(&a, &b) })
		copy(c.current[i+j+1:to], c.current[i:end])
		copy(c.places[i+j+1:to], c.places[i:end])
		end, to = i, i+j
		c.current[to], c.places[to] = added[j], c.cells[added[j].ID]
	}
	for i := end; i < len(c.places); i++ {
		c.places[i].index = i
	}
}

// drop takes the views away for which hidden is true. Their cells stay: agents still hold the allocations.
func (c *Core) drop(hidden func(k *cell) bool) {
	to := 0
	for i := range c.current {
		k := c.places[i]
		if hidden(k) {
			k.index = -1
			continue
		}
		if to != i {
			c.current[to], c.places[to] = c.current[i], k
			k.index = to
		}
		to++
	}
	clear(c.current[to:])
	clear(c.places[to:])
	c.current, c.places = c.current[:to], c.places[:to]
}

// refresh takes over what was decided about an allocation.
func (c *Core) refresh(id spec.AllocationID) {
	k, h := c.cells[id], c.state.Allocations[id]
	if k == nil || h == nil {
		return
	}
	if k.index < 0 {
		return
	}
	v := c.view(k)
	v.Allocation = h.Allocation
	if h.Ended != nil {
		v.AllocationStatus = *h.Ended
	}
}

// forgetCell removes an allocation that the hard state no longer has.
func (c *Core) forgetCell(id spec.AllocationID) {
	k := c.cells[id]
	if k == nil {
		return
	}
	delete(c.cells, id)
	without := func(list []*cell) []*cell { return slices.DeleteFunc(list, func(o *cell) bool { return o == k }) }
	if n := c.nodes[k.node]; n != nil {
		n.cells = without(n.cells)
	} else if list := without(c.orphans[k.node]); len(list) > 0 {
		c.orphans[k.node] = list
	} else {
		delete(c.orphans, k.node)
	}
}

// queue has a node's assignment sent at the end of the Step.
func (c *Core) queue(n *node) {
	if n != nil && !n.queued {
		n.queued = true
		c.sends = append(c.sends, n)
	}
}

// assignment is everything that a node should do.
func (c *Core) assignment(n *node) spec.Assignment {
	a := spec.Assignment{FormatVersion: 1, Node: n.id, Generation: c.state.Generation, Versions: map[spec.Hash]*spec.App{}}
	for _, k := range n.cells {
		h := c.state.Allocations[k.id]
		if h == nil || h.Retired {
			continue
		}
		al := h.Allocation
		if h.Ended != nil {
			al.Want = spec.WantStop // an agent that lost its memory must not begin it again
		}
		a.Allocations = append(a.Allocations, al)
		a.Versions[h.Allocation.Version] = c.state.Versions[h.Allocation.Version]
	}
	return a
}
