package control

import "github.com/stowage/stowage/spec"

// A blackout is when no node at all is heard of, and several were a moment before: then it is this master's own link that
// lets nothing through, or that of all its nodes, and the silence of each says nothing about the node. Nothing could
// be placed anyway. When the first is heard of again, the others have been silent for no time: those that do not come
// back then are given up after as long as ever.

// noteBlackout sees that one begins, which is when anybody was last heard of. It never ends one: a node that joins
// meanwhile is ready before it has reported.
func (c *Core) noteBlackout() {
	last := spec.Time(0)
	for _, n := range c.inOrder {
		if n.state == spec.NodeReady {
			return
		}
		last = max(last, c.lastSeen(n))
	}
	if c.blackout == 0 && len(c.inOrder) > 1 {
		c.blackout = last
	}
}

// endBlackout counts the silence of the nodes that fell silent with the last one anew.
func (c *Core) endBlackout() {
	began := c.blackout
	c.blackout = 0
	for _, n := range c.inOrder {
		if n.state == spec.NodeReady || c.lastSeen(n).Add(spec.NodeUnknownAfter) < began {
			continue
		}
		if n.state == spec.NodeDown {
			c.setNode(n, spec.NodeUnknown, "it fell silent with all others")
		}
		n.seen, n.since = c.now, c.now
		c.reviewNode(n.id)
	}
}
