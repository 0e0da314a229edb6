package check

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// thing is a device or a core of a node, by the name that a complaint uses.
type thing struct {
	node spec.NodeID
	name string
}

// things lists the devices and cores of a grant.
func things(node spec.NodeID, devices []spec.DeviceGrant, cores []spec.CoreGrant) []thing {
	var all []thing
	for _, d := range devices {
		all = append(all, thing{node, "device " + d.Kind + " " + d.ID})
	}
	for _, g := range cores {
		for _, c := range g.Cores {
			all = append(all, thing{node, fmt.Sprint("core ", c)})
		}
	}
	return all
}

// named looks for devices and cores that two would have at once, that the node does not have, or that are not what the
// tasks ask for.
func (c *checker) named() {
	holders := map[thing][]spec.AllocationID{}
	for i := range c.in.Current {
		a := &c.in.Current[i]
		if len(a.Devices)+len(a.Cores) == 0 || a.State.Terminal() {
			continue
		}
		for _, t := range things(a.Node, a.Devices, a.Cores) {
			holders[t] = append(holders[t], a.ID)
		}
	}
	fresh := map[thing]string{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !starts(ch) {
			return
		}
		if n, app := c.nodes[ch.Node], c.apps[ch.Version]; n != nil && app != nil {
			c.asked(ch, n, app)
		}
		if !ch.Now {
			return
		}
		for _, t := range things(ch.Node, ch.Devices, ch.Cores) {
			if other, ok := fresh[t]; ok {
				c.report("named", string(ch.Node), "%s for %s and %s", t.name, other, ch.Slot)
			}
			fresh[t] = ch.Slot.String()
			for _, id := range holders[t] {
				if !slices.Contains(ch.Takeover, id) {
					c.report("named", string(ch.Node), "%s for %s is held by %s", t.name, ch.Slot, id)
				}
			}
		}
	})
}

// asked compares what a change gives with what the tasks ask for and the node has.
func (c *checker) asked(ch *spec.Change, n *spec.NodeView, app *spec.App) {
	devices, cores := 0, 0
	for i := range app.Tasks {
		t := &app.Tasks[i]
		for k := range t.Devices {
			ask := &t.Devices[k]
			got := 0
			for _, g := range ch.Devices {
				if g.Task != t.Name || g.Kind != ask.Kind {
					continue
				}
				got++
				at := slices.IndexFunc(n.Devices, func(d spec.Device) bool { return d.Kind == g.Kind && d.ID == g.ID })
				if at < 0 {
					c.report("named", ch.Slot.String(), "%s has no device %s %s", n.ID, g.Kind, g.ID)
					continue
				}
				for _, rule := range ask.Constraints {
					if v, ok := n.Devices[at].Attribute(rule.Attribute); !holds(rule, v, ok) {
						c.report("named", ch.Slot.String(), "device %s %s does not meet %s", g.Kind, g.ID, rule)
					}
				}
			}
			if devices += got; got != ask.Count {
				c.report("named", ch.Slot.String(), "task %s gets %d of %d devices %s", t.Name, got, ask.Count, ask.Kind)
			}
		}
		got := 0
		for _, g := range ch.Cores {
			if g.Task == t.Name {
				got += len(g.Cores)
			}
		}
		if cores += got; got != t.Cores {
			c.report("named", ch.Slot.String(), "task %s gets %d of %d cores", t.Name, got, t.Cores)
		}
	}
	given := spec.AllCores(ch.Cores)
	if devices != len(ch.Devices) || cores != len(given) {
		c.report("named", ch.Slot.String(), "devices or cores for no task of the app")
	}
	for _, core := range given {
		if !slices.ContainsFunc(n.Cores, func(g spec.CoreGroup) bool { return slices.Contains(g.Cores, core) }) {
			c.report("named", ch.Slot.String(), "%s has no core %d to give", n.ID, core)
		}
	}
}
