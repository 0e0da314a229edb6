package control

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func (c *Core) unknownNode(r Request, id spec.NodeID) bool {
	if c.state.Nodes[id] != nil {
		return false
	}
	c.act(Answer{Request: r, Err: fmt.Sprintf("there is no node %q. See stowage node ls.", id)})
	return true
}

func (c *Core) onRemove(e RemoveNode) {
	if c.unknownNode(e.Request, e.Node) {
		return
	}
	n := c.nodes[e.Node]
	if n.state == spec.NodeReady && c.busy(n) {
		c.act(Answer{Request: e.Request, Err: fmt.Sprintf("node %s is in touch, and what runs there would run on beside its replacement. "+
			"Drain it first (stowage drain %s), or stop its agent.", e.Node, e.Node)})
		return
	}
	c.record(Entry{Removed: &Removed{e.Node}})
	for _, k := range n.cells {
		if c.state.Allocations[k.id] != nil {
			c.refresh(k.id)
		} else {
			delete(c.cells, k.id)
		}
	}
	n.cells = slices.DeleteFunc(n.cells, func(k *cell) bool { return c.cells[k.id] == nil })
	if n.connected {
		c.act(Disconnect{n.id, n.session})
	}
	c.dropNode(n)
	c.retireAt = earliest(c.retireAt, c.now.Add(KeepEnded))
	c.tell(string(e.Node), "removed", "")
	c.act(Answer{Request: e.Request})
}

func (c *Core) onRestart(e Restart) {
	d := c.following()
	if d == nil || d.app(e.App) == nil {
		c.act(Answer{Request: e.Request, Err: fmt.Sprintf("there is no app %q in the revision that is followed. See stowage status.", e.App)})
		return
	}
	if spec.Roots(d.cluster.Apps)[e.App] != "" {
		c.refuse(e.Request, fmt.Sprintf("%s has runs and no allocations of its own. Start another run with stowage dispatch %s.", e.App, e.App))
		return
	}
	reason := e.Reason
	if reason == "" {
		reason = "an operator asked for a restart"
	}
	c.record(Entry{Restart: &reconcile.Restart{App: e.App, Before: c.state.Generation + 1, Reason: reason}})
	c.tell(string(e.App), "restart asked for", e.Reason)
	c.act(Answer{Request: e.Request})
}

func (c *Core) onPromote(e Promote) {
	for i := range c.state.Rollouts {
		r := &c.state.Rollouts[i]
		if r.App != e.App || r.State != spec.RolloutCanaries {
			continue
		}
		if r.Promoted {
			c.act(Answer{Request: e.Request, NoOp: true})
			return
		}
		c.record(Entry{Promoted: &Promoted{e.App}})
		c.tell(string(e.App), "promoted", "")
		c.act(Answer{Request: e.Request})
		return
	}
	c.act(Answer{Request: e.Request, Err: fmt.Sprintf("no canaries of %q wait for promotion. See stowage status.", e.App)})
}
