package control

import (
	"fmt"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// ProposeWithin is how long a proposal of moves may take before another one is asked for instead.
const ProposeWithin = 1 * spec.Minute

// proposing is a proposal that the shell works on: looking for moves takes longer than a step may.
type proposing struct {
	number uint64
	wish   Rebalance
	commit spec.Commit // that was followed when it was asked for
	since  spec.Time
}

// onRebalance has moves proposed. They become the wish that is carried out once the proposal is there.
func (c *Core) onRebalance(e Rebalance) {
	f := c.state.Following
	switch {
	case f == nil:
		c.refuse(e.Request, "no commit is followed yet, so there is nothing to move. See stowage status.")
	case !c.settled:
		c.refuse(e.Request, "this master has just begun to lead and waits for its nodes to report. Try again in a few seconds.")
	case c.proposing != nil && c.now < c.proposing.since.Add(ProposeWithin):
		c.refuse(e.Request, "moves are being looked for already. Try again in a few seconds.")
	default:
		c.propose(e)
	}
}

// propose has moves looked for. A proposal that has taken too long is no longer waited for: who asked for it is told so.
func (c *Core) propose(e Rebalance) {
	if p := c.proposing; p != nil && p.wish.auto == nil {
		c.refuse(p.wish.Request, fmt.Sprintf("no moves were found in %s, and another look has begun. See stowage rebalance --status.", ProposeWithin))
	}
	c.proposals++
	c.proposing = &proposing{c.proposals, e, c.state.Following.Revision.Commit, c.now}
	t := reconcile.Terms{Moves: e.Moves}
	if r := e.auto; r != nil {
		t = reconcile.Terms{Moves: r.MaxMoves, Gain: r.MinGain, Auto: true, Since: c.now.Add(-r.Every)}
	}
	c.act(Propose{c.proposals, c.Input(), t})
}

// lookForMoves asks for moves when the commit lets the cluster rebalance itself and it is time: none are under way or looked
// for, no node is to be empty now (its work needs the room), and a window is open if it names some. It is time after each
// interval, and when an app that was left out is let into its window: one that is shorter may lie between any two looks.
func (c *Core) lookForMoves() {
	c.lookAt = 0
	f := c.state.Following
	if f == nil || !c.settled || c.state.Rebalance != nil || c.looking() {
		return
	}
	r := f.Revision.Cluster.Rebalance
	if r == nil {
		return
	}
	at := max(c.began, c.looked).Add(r.Every)
	if c.leftOut != 0 {
		at = min(at, c.leftOut)
	}
	at = max(at, c.now)
	if opens := reconcile.Opens(f.Revision.Cluster, r.Windows, at); opens > at {
		at = opens
	}
	if at > c.now {
		c.lookAt = at
		return
	}
	for _, id := range c.nodeOrder {
		n := c.state.Nodes[id]
		if n == nil || n.Drain == nil || !c.busy(c.nodes[id]) || reconcile.DrainWaits(f.Revision.Cluster, n.Drain, c.now) != nil {
			continue
		}
		if n.Drain.Window != "" {
			c.lookAt = c.now.Add(r.Every) // its window may close before the node is empty
		}
		return // what ends the drain is an event
	}
	c.looked, c.leftOut = c.now, reconcile.NextOpening(c.following().cluster, c.now)
	c.propose(Rebalance{auto: r, Parallel: r.Parallel})
}

// looking reports whether moves are looked for: somebody waits for them, or the cluster has not done so for too long.
func (c *Core) looking() bool {
	p := c.proposing
	return p != nil && (p.wish.auto == nil || c.now < p.since.Add(ProposeWithin))
}

// onProposed makes the moves the wish that is carried out, as far as they are still possible; it takes the place of one
// under way. An ID approves the moves that were shown: others are refused.
func (c *Core) onProposed(p Proposed) {
	if c.proposing == nil || c.proposing.number != p.Number {
		return // one that took too long
	}
	e, commit := c.proposing.wish, c.proposing.commit
	c.proposing = nil
	f := c.state.Following
	if f.Revision.Commit != commit {
		if e.auto == nil {
			c.refuse(e.Request, "another commit has been followed since. Try again.")
		}
		return
	}
	r := p.Rebalancing
	if e.ID != "" && e.ID != r.ID {
		c.refuseMoves(e, &r)
		return
	}
	r = r.Still(c.movable)
	switch {
	case e.ID == "" && e.auto == nil && f.Revision.Cluster.Sync.Approval == spec.ApprovalManual && len(r.Moves) > 0:
		c.act(Answer{Request: e.Request, Rebalancing: &r, Err: fmt.Sprintf(
			"sync approval is manual, so moves need to be seen first. Look at stowage rebalance --dry-run, and approve it with stowage rebalance --id %s.", r.ID)})
		return
	case e.ID != "" && e.ID != r.ID:
		c.refuseMoves(e, &r)
		return
	case len(r.Moves) == 0:
		c.act(Answer{Request: e.Request, Rebalancing: &r, NoOp: true})
		return
	}
	r.Since, r.By, r.Parallel = c.now, e.By, e.Parallel
	if r.Parallel <= 0 {
		r.Parallel = reconcile.DefaultParallel
	}
	c.record(Entry{Rebalance: &r})
	why := fmt.Sprintf("%s: %d moves", r.ID, len(r.Moves))
	if r.Auto {
		why += ", as the commit lets the cluster rebalance itself"
	}
	c.tell("rebalance", "begun", why)
	c.act(Answer{Request: e.Request, Rebalancing: &r})
}

func (c *Core) refuseMoves(e Rebalance, r *reconcile.Rebalancing) {
	c.act(Answer{Request: e.Request, Rebalancing: r, Err: fmt.Sprintf(
		"the cluster has changed since %s: %d moves are proposed now, as %s. Look at stowage rebalance --dry-run again.", e.ID, len(r.Moves), r.ID)})
}

// movable reports whether what a move was proposed for is still so: the allocation works where it was, alone in its slot,
// and both nodes take part. Whether there is room is seen when its turn comes.
func (c *Core) movable(m *reconcile.Move) bool {
	k := c.cells[m.ID]
	if k == nil || k.index < 0 {
		return false
	}
	a := c.view(k)
	if a.Node != m.From || a.Want != spec.WantRun || a.State.Terminal() || !a.Healthy || c.succeeded(k) {
		return false
	}
	return c.takes(m.From) && c.takes(m.To)
}

// takes reports whether a node is in touch and not to be empty.
func (c *Core) takes(id spec.NodeID) bool {
	r := c.state.Nodes[id]
	return r != nil && r.Drain == nil && c.reachable(id)
}

// onCancelRebalance ends the wish: what is on its way goes back to where it was.
func (c *Core) onCancelRebalance(e CancelRebalance) {
	r := c.state.Rebalance
	if r == nil {
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	c.record(Entry{Rebalanced: &Rebalanced{r.ID}})
	c.tell("rebalance", "cancelled", fmt.Sprintf("%s: %d of %d moves were made or given up", r.ID, r.Of-len(r.Moves), r.Of))
	c.act(Answer{Request: e.Request, Rebalancing: r})
}

// Rebalancing returns the wish under way; nil when there is none. It must not be changed.
func (c *Core) Rebalancing() *reconcile.Rebalancing { return c.state.Rebalance }
