package check

import (
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// rebalance looks at the moves that begin of a rebalancing: replacement first, where they were proposed, no more at a time
// than was said, and of those that nobody asked for, only while the commit lets the cluster make them.
func (c *checker) rebalance(r reconcile.Report) {
	wish := c.in.Rebalance
	if wish == nil {
		return
	}
	moves := make(map[spec.AllocationID]*reconcile.Move, len(wish.Moves))
	under, byApp := 0, map[spec.AppName]int{}
	for i := range wish.Moves {
		m := &wish.Moves[i]
		moves[m.ID] = m
		if c.leaving(m.ID) && !slices.Contains(r.MovesDone, m.ID) {
			under++
			byApp[m.Slot.App]++
		}
	}
	begun := false
	c.each(func(a *spec.AppPlan, ch *spec.Change) {
		m := moves[ch.Old]
		if m == nil || !ch.Now || ch.Kind != spec.ChangeMove || ch.Reason != m.Why {
			return
		}
		begun = true
		under++
		byApp[a.App]++
		switch {
		case !ch.KeepOld:
			c.report("rebalance", ch.Slot.String(), "it stops before its replacement works")
		case ch.Node != m.To:
			c.report("rebalance", ch.Slot.String(), "it moves to %s, proposed was %s", ch.Node, m.To)
		case wish.Auto && c.in.Desired.Rebalance == nil:
			c.report("rebalance", ch.Slot.String(), "nobody asked for it, and the commit does not let the cluster move it")
		case wish.Auto && c.closed(c.in.Desired.Rebalance.Windows):
			c.report("rebalance", ch.Slot.String(), "nobody asked for it, and no window of the rebalancing is open")
		}
	})
	if !begun {
		return
	}
	if most := max(1, wish.Parallel); under > most {
		c.report("rebalance", wish.ID, "%d moves are under way, at most %d may be", under, most)
	}
	for _, app := range c.in.Desired.Apps {
		if most := max(1, app.Update.MaxParallel); byApp[app.Name] > most {
			c.report("rebalance", string(app.Name), "%d of its moves are under way, at most %d may be", byApp[app.Name], most)
		}
	}
}
