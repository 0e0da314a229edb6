package control

import (
	"fmt"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// onRebalance proposes moves, and makes them the wish that is carried out; it takes the place of one under way. An ID
// approves the moves that were shown: others are refused.
func (c *Core) onRebalance(e Rebalance) {
	f := c.state.Following
	switch {
	case f == nil:
		c.refuse(e.Request, "no commit is followed yet, so there is nothing to move. See stowage status.")
		return
	case !c.settled:
		c.refuse(e.Request, "this master has just begun to lead and waits for its nodes to report. Try again in a few seconds.")
		return
	}
	r := reconcile.Rebalance(c.input(c.following(), &f.Revision, f.Signed, 0), e.Moves)
	switch {
	case e.ID == "" && f.Revision.Cluster.Sync.Approval == spec.ApprovalManual && len(r.Moves) > 0:
		c.act(Answer{Request: e.Request, Rebalancing: &r, Err: fmt.Sprintf(
			"sync approval is manual, so moves need to be seen first. Look at stowage rebalance --dry-run, and approve it with stowage rebalance --id %s.", r.ID)})
		return
	case e.ID != "" && e.ID != r.ID:
		c.act(Answer{Request: e.Request, Rebalancing: &r, Err: fmt.Sprintf(
			"the cluster has changed since %s: %d moves are proposed now, as %s. Look at stowage rebalance --dry-run again.", e.ID, len(r.Moves), r.ID)})
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
	c.tell("rebalance", "begun", fmt.Sprintf("%s: %d moves", r.ID, len(r.Moves)))
	c.act(Answer{Request: e.Request, Rebalancing: &r})
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
