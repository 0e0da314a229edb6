package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// chosen returns the nodes that a wish is about: those named, and those that have every attribute asked for; sorted. When
// a name is unknown or nothing matches it answers the request itself, and nothing is done for the others either.
func (c *Core) chosen(r Request, names []spec.NodeID, where map[string]string) []spec.NodeID {
	var out []spec.NodeID
	for _, id := range names {
		if c.unknownNode(r, id) {
			return nil
		}
		out = append(out, id)
	}
	for _, id := range c.nodeOrder {
		if len(where) > 0 && matches(c.state.Nodes[id], where) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		c.act(Answer{Request: r, Err: fmt.Sprintf("there is no node with %s. See stowage node show for the attributes of one.", wanted(where))})
	}
	return out
}

func matches(n *NodeRecord, where map[string]string) bool {
	for name, value := range where { // any order: all have to be
		if n == nil || n.Node.Attributes[name] != value {
			return false
		}
	}
	return true
}

func wanted(where map[string]string) string {
	var parts []string
	for name, value := range where { // any order: sorted below
		parts = append(parts, name+" = "+value)
	}
	slices.Sort(parts)
	return cmp.Or(strings.Join(parts, " and "), "no name")
}

func (c *Core) onDrain(e Drain) {
	nodes := c.chosen(e.Request, e.Nodes, e.Where)
	if nodes == nil {
		return
	}
	from := c.now
	if e.Window != "" {
		if c.unknownWindow(e.Request, e.Window) {
			return
		}
		if wait := reconcile.DrainWaits(c.following().cluster, &spec.Drain{Window: e.Window}, c.now); wait != nil {
			from = wait.Opens
		}
	}
	for _, id := range nodes {
		d := spec.Drain{Node: id, Since: c.now, Reason: e.Reason, Window: e.Window}
		if old := c.state.Nodes[id].Drain; old != nil {
			d.Since = old.Since
		}
		if e.Deadline > 0 {
			d.Deadline = from.Add(e.Deadline)
		}
		c.record(Entry{Drained: &d})
		c.tell(string(id), "draining", e.Reason)
	}
	c.outdate()
	c.act(Answer{Request: e.Request, Nodes: nodes})
}

// unknownWindow refuses a request that names a window which the revision that is followed does not have.
func (c *Core) unknownWindow(r Request, name spec.WindowName) bool {
	var names []string
	if d := c.following(); d != nil {
		for i := range d.cluster.Windows {
			if d.cluster.Windows[i].Name == name {
				return false
			}
			names = append(names, string(d.cluster.Windows[i].Name))
		}
	}
	hint := "Declare it in the repository: window \"" + string(name) + "\" { … }."
	if len(names) > 0 {
		hint = "There are: " + strings.Join(names, ", ") + "."
	}
	c.act(Answer{Request: r, Err: fmt.Sprintf("there is no window %q in the revision that is followed. %s", name, hint)})
	return true
}

func (c *Core) onUndrain(e Undrain) {
	nodes := c.chosen(e.Request, e.Nodes, e.Where)
	if nodes == nil {
		return
	}
	nodes = slices.DeleteFunc(nodes, func(id spec.NodeID) bool { return c.state.Nodes[id].Drain == nil })
	for _, id := range nodes {
		c.record(Entry{Undrained: &Undrained{id}})
		c.tell(string(id), "no longer draining", "")
	}
	c.outdate()
	c.act(Answer{Request: e.Request, Nodes: nodes, NoOp: len(nodes) == 0})
}

// maxWaits is how many of the allocations that cannot leave a node are told one by one.
const maxWaits = 10

// Drains returns the nodes that are to be empty, sorted by node, with their progress as of the last plan.
func (c *Core) Drains() []spec.DrainProgress {
	var out []spec.DrainProgress
	for _, id := range c.nodeOrder {
		if r := c.state.Nodes[id]; r != nil && r.Drain != nil {
			out = append(out, c.drainView(c.nodes[id], r.Drain))
		}
	}
	return out
}

func (c *Core) drainView(n *node, d *spec.Drain) spec.DrainProgress {
	v := spec.DrainProgress{Drain: *d}
	if f := c.following(); f != nil && c.busy(n) {
		v.Wait = reconcile.DrainWaits(f.cluster, d, c.now)
	}
	for _, k := range n.cells {
		if k.index < 0 || c.view(k).State.Terminal() {
			continue
		}
		a := c.view(k)
		v.Left++
		app := c.state.Versions[a.Version]
		switch {
		case a.Want == spec.WantStop:
			v.Leaving++
		case app != nil && app.Kind == spec.KindBatch:
			v.Finishing++
		case app != nil && app.Kind == spec.KindSystem:
			v.Last++
		case c.succeeded(k):
			v.Moving++
		default:
			v.Waiting++
			if len(v.Stays) < maxWaits && v.Wait == nil {
				v.Stays = append(v.Stays, c.whyStays(a))
			}
		}
	}
	return v
}

// succeeded reports whether a younger allocation of the same slot is meant to run.
func (c *Core) succeeded(k *cell) bool {
	for i := k.index + 1; i < len(c.current) && c.current[i].Slot == c.current[k.index].Slot; i++ {
		if a := &c.current[i]; a.Want == spec.WantRun && !a.State.Terminal() && !a.Canary {
			return true
		}
	}
	return false
}

// whyStays says what the last plan says about a slot that does not leave.
func (c *Core) whyStays(a *spec.AllocationView) spec.DrainStay {
	w := spec.DrainStay{Slot: a.Slot, Why: "it is about to be planned"}
	i, ok := slices.BinarySearchFunc(c.plan.Apps, a.App, func(p spec.AppPlan, name spec.AppName) int { return cmp.Compare(p.App, name) })
	if !ok {
		return w
	}
	p := &c.plan.Apps[i]
	if p.Held != "" {
		w.Why = "held: " + p.Held
		return w
	}
	for k := range p.Changes {
		if ch := &p.Changes[k]; ch.Old == a.ID && ch.After != "" {
			w.Why = ch.After
			return w
		}
	}
	if p.Blocked != nil && slices.Contains(p.Blocked.Slots, a.Index) {
		w.Why, w.Blocked = "no other node has a place", p.Blocked
	}
	return w
}
