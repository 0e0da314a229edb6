package check

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// settledAt is an allocation as it stands when the plan is done.
type settledAt struct {
	version spec.Hash
	need    spec.Resources
}

// losses counts again what each loss that the plan tells of displaces, and finds how much of it surely has no home: what is
// larger than the room of any other node.
func (c *checker) losses() {
	f := c.plan.Failure
	if f == nil {
		return
	}
	all := c.ground()
	for i := range f.Nodes {
		l := &f.Nodes[i]
		c.loss(l, all, func(n *spec.NodeView) bool { return string(n.ID) == l.Name })
	}
	for i := range f.Domains {
		d := &f.Domains[i]
		for k := range d.Values {
			l := &d.Values[k]
			c.loss(l, all, func(n *spec.NodeView) bool {
				if d.Attribute == spec.AttributeID {
					return string(n.ID) == l.Name
				}
				v, ok := n.Attributes[d.Attribute]
				return ok && v == l.Name
			})
		}
		if d.Looked > d.Of || len(d.Values) > d.Looked || !slices.IsSortedFunc(d.Values, worse) {
			c.report("losses", d.Attribute, "%d of %d looked at, %d told", d.Looked, d.Of, len(d.Values))
		}
	}
	if len(f.Nodes) > 0 && (f.Looked > f.Of || len(f.Nodes) > f.Looked || f.Homeless != f.Nodes[0].Homeless || f.Displaced != f.Nodes[0].Displaced || !slices.IsSortedFunc(f.Nodes, worse)) {
		c.report("losses", string(f.Node), "it is not the first of the losses, or these are not in order")
	}
}

func worse(a, b spec.Loss) int {
	if a.Homeless != b.Homeless {
		return b.Homeless - a.Homeless
	}
	return b.Displaced - a.Displaced
}

// afterwards lists what is on each node when the plan is done.
func (c *checker) afterwards() map[spec.NodeID][]settledAt {
	on, ended := map[spec.NodeID][]settledAt{}, map[spec.AllocationID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Old != "" && ch.Kind != spec.ChangeUpdate && !ch.Canary {
			ended[ch.Old] = true
		}
		for _, v := range ch.Victims {
			ended[v.ID] = true
		}
		if starts(ch) {
			on[ch.Node] = append(on[ch.Node], settledAt{ch.Version, c.need(ch.Version)})
		}
	})
	for i := range c.in.Current {
		if a := &c.in.Current[i]; !a.State.Terminal() && a.Want == spec.WantRun && !ended[a.ID] {
			on[a.Node] = append(on[a.Node], settledAt{a.Version, c.need(a.Version)})
		}
	}
	return on
}

// footing is a node that takes allocations, as it is when the plan is done.
type footing struct {
	node *spec.NodeView
	on   []settledAt
	left spec.Resources // but for MemoryMax
}

// ground lists the nodes that take allocations.
func (c *checker) ground() []footing {
	on, drained := c.afterwards(), map[spec.NodeID]bool{}
	for i := range c.in.Drains {
		drained[c.in.Drains[i].Node] = true
	}
	var all []footing
	for i := range c.in.Nodes {
		n := &c.in.Nodes[i]
		if n.State != spec.NodeReady || drained[n.ID] {
			continue
		}
		g := footing{n, on[n.ID], n.Capacity}
		for _, a := range g.on {
			g.left = g.left.Minus(a.need)
		}
		g.left.MemoryMax, g.left.CPU, g.left.Memory, g.left.Disk = 0, max(g.left.CPU, 0), max(g.left.Memory, 0), max(g.left.Disk, 0)
		all = append(all, g)
	}
	return all
}

func (c *checker) loss(l *spec.Loss, all []footing, lost func(*spec.NodeView) bool) {
	var displaced []settledAt
	gone, nodes := make([]bool, len(all)), 0
	for i := range all {
		if gone[i] = lost(all[i].node); !gone[i] {
			continue
		}
		nodes++
		for _, a := range all[i].on {
			if app := c.apps[a.version]; app == nil || app.Kind != spec.KindSystem {
				displaced = append(displaced, a)
			}
		}
	}
	home := func(need spec.Resources) bool {
		for i := range all {
			if !gone[i] && exceeds(need, all[i].left) == "" {
				return true
			}
		}
		return false
	}
	nowhere := 0
	for _, a := range displaced {
		a.need.MemoryMax = 0
		if !home(a.need) {
			nowhere++
		}
	}
	switch {
	case l.Nodes != nodes || l.Displaced != len(displaced):
		c.report("losses", l.Name, "%d nodes lost and %d allocations displaced, counted again %d and %d", l.Nodes, l.Displaced, nodes, len(displaced))
	case l.Homeless > l.Displaced || l.Homeless < nowhere || len(l.Slots) > l.Homeless:
		c.report("losses", l.Name, "%d of %d without a home, %d slots named, %d fit on no other node", l.Homeless, l.Displaced, len(l.Slots), nowhere)
	}
}
