package control

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

// settle makes the plan again if anything could have changed it, and carries out what may be done now.
func (c *Core) settle() {
	if !c.ready() {
		return
	}
	if c.candidate != nil && !c.candidate.planned {
		c.consider()
	}
	c.renew()
	if c.retireAt != 0 && c.now >= c.retireAt {
		c.retire()
	}
	due := c.dirty || (c.nextPlan != 0 && c.now >= c.nextPlan)
	if c.state.Following == nil || !due || c.now < c.gapEnds() {
		return
	}
	c.planAt, c.planned, c.dirty = c.now, true, false
	f := c.state.Following
	in := c.input(c.following(), &f.Revision, f.Signed, 0)
	in.AtOnce = f.atOnce()
	in.Brief = true // nobody reads it; Preview gives the whole
	c.plan, c.report = reconcile.Plan(in)
	c.nextPlan = c.report.Next
	d := reconcile.Decide(in, c.plan, c.report, c.state.Generation+1)
	if c.config.Audit != nil {
		c.config.Audit(in, c.plan, c.report, &d)
	}
	if !d.Empty() {
		c.carryOut(d)
	}
}

// shadow plans without carrying anything out.
func (c *Core) shadow(in reconcile.Input) spec.Plan {
	plan, report := reconcile.Plan(in)
	if c.config.Audit != nil {
		c.config.Audit(in, plan, report, nil)
	}
	return plan
}

// ready reports whether the core knows enough to decide: every node of the journal has spoken or is silent for good,
// and a master with an empty journal has given agents the time to come back.
func (c *Core) ready() bool {
	if c.settled {
		return true
	}
	if c.now < c.settleAt {
		if c.settleAt.Sub(c.began) > spec.NodeUnknownAfter || len(c.state.Nodes) == 0 {
			return false // the journal was lost, or may have been
		}
		for id := range c.state.Nodes { // any order: all have to be
			if !c.nodes[id].full {
				return false
			}
		}
	}
	c.settled, c.dirty = true, true
	c.outdate()
	if c.lost {
		c.leap()
	}
	return true
}

// gathering says what the first placements of a new cluster wait for; nil when they need not wait. Without an allocation
// nothing can be restarted or torn apart by waiting.
func (c *Core) gathering() *reconcile.Gathering {
	joined := len(c.state.Nodes)
	if joined >= c.config.FirstNodes || len(c.state.Allocations) > 0 {
		return nil
	}
	g := &reconcile.Gathering{Joined: joined, Expected: c.config.FirstNodes}
	for _, r := range c.state.Nodes { // any order: the latest
		g.Until = max(g.Until, r.Joined.Add(spec.GatherFor))
	}
	if joined > 0 && c.now >= g.Until {
		return nil
	}
	return g
}

// leap goes on from a generation that cannot have been before the journal was lost: the milliseconds of the clock, which
// no cluster has that many decisions in. An agent that is still away may hold allocations of any generation up to the
// last one, and two with one ID would be taken for the same.
func (c *Core) leap() {
	c.lost = false
	c.record(Entry{Adopted: &Adopted{Generation: spec.Generation(c.now / spec.Time(spec.Millisecond))}})
}

// carryOut applies a decision.
func (c *Core) carryOut(d reconcile.Decision) {
	wish := c.state.Rebalance
	c.record(Entry{Decided: &d})
	if len(d.Renamed) > 0 {
		c.rebuild()
	} else if len(d.Start) > 0 {
		c.merge(d.Start)
	}
	for i := range d.Start {
		a := &d.Start[i]
		c.queue(c.nodes[a.Node])
		c.tellOf(a, "placed on "+string(a.Node), a.Why)
		c.ownedChanged(c.view(c.cells[a.ID]))
	}
	for _, u := range d.Update {
		if k := c.cells[u.ID]; k != nil && k.index >= 0 {
			c.refresh(u.ID)
			c.queue(c.nodes[k.node])
			c.tellOf(&c.view(k).Allocation, "updated in place", u.Why)
		}
	}
	for _, s := range d.Stop {
		if k := c.cells[s.ID]; k != nil && k.index >= 0 {
			c.refresh(s.ID)
			c.queue(c.nodes[k.node])
			c.tellOf(&c.view(k).Allocation, "to stop on "+string(k.node), s.Reason)
			c.retireAt = earliest(c.retireAt, c.now.Add(KeepEnded))
		}
	}
	if len(d.Renamed) > 0 {
		for _, id := range c.nodeOrder {
			c.queue(c.nodes[id])
		}
	}
	if d.Runs != nil && len(d.Runs.Drop) > 0 {
		c.retireAt = earliest(c.retireAt, c.now.Add(RetireGap)) // what they left behind
	}
	for _, r := range d.Renamed {
		c.tell(string(r.To), fmt.Sprintf("was %s until now", r.From), "a moved block")
	}
	c.story = append(c.story, c.report.Events...)
	if wish != nil && c.state.Rebalance == nil {
		c.tell("rebalance", "done", wish.ID)
	}
}

// input is what a plan of a revision depends on now.
func (c *Core) input(d *desired, r *spec.Revision, signed bool, behind int) reconcile.Input {
	nodes, drains := c.nodeViews()
	in := reconcile.Input{
		Now: c.now, Seed: c.config.Seed, Commit: r.Commit, Subject: r.Subject, Signed: signed,
		Base:    spec.Base{Behind: behind, Generation: c.state.Generation},
		Desired: d.cluster, Hashes: d.hashes, Steps: d.steps, Held: c.heldApps(d, c.said(r.Commit)),
		Nodes: nodes, Drains: drains, Current: c.current, Versions: c.state.Versions,
		Rollouts: c.state.Rollouts, Restarts: c.state.Restarts, Rebalance: c.state.Rebalance, Failures: c.failures(),
		Runs: c.state.Runs, Agendas: c.state.Agendas, Memory: &c.memory,
		Policies: map[string]place.Policy{}, PolicyVersions: map[string]string{},
	}
	in.Gathering = c.gathering()
	if c.state.Following != nil {
		in.Base.Commit = c.state.Following.Revision.Commit
	}
	for name, p := range c.policies { // any order: copied key by key
		if p.up {
			in.Policies[name], in.PolicyVersions[name] = p.policy, p.version
		}
	}
	return in
}

func (c *Core) drains() []spec.Drain {
	var out []spec.Drain
	for _, id := range c.nodeOrder {
		if r := c.state.Nodes[id]; r != nil && r.Drain != nil {
			out = append(out, *r.Drain)
		}
	}
	return out
}

func (c *Core) failures() []reconcile.Failure {
	i := 0
	for i < len(c.state.Failures) && c.state.Failures[i].Time.Add(spec.FaultyWindow) < c.now {
		i++
	}
	return c.state.Failures[i:]
}

// retire lets agents forget ended allocations that mean nothing any more: the newest of a slot that is still wanted
// means something (a completed batch slot, a failure to back off from), and so does an older one that completed what is
// followed now, after a rollback: its work is done. The others are kept for a while to be read.
func (c *Core) retire() {
	c.retireAt = 0
	var ids []spec.AllocationID
	d := c.following()
	for i := 0; i < len(c.current); {
		if !c.current[i].State.Terminal() && (i+1 == len(c.current) || c.current[i+1].Slot != c.current[i].Slot) {
			i++ // as most are
			continue
		}
		j := i + 1
		for j < len(c.current) && c.current[j].Slot == c.current[i].Slot {
			j++
		}
		wanted := d != nil && wants(d.app(c.current[i].App), c.current[i].Index) || runs.Find(c.state.Runs, c.current[i].App) != nil
		kept, done := 0, false
		for k := j - 1; k >= i; k-- {
			v := &c.current[k]
			if !v.State.Terminal() || (k == j-1 && wanted && v.Want == spec.WantRun) {
				continue
			}
			if !done && wanted && d != nil && v.State == spec.StateComplete && v.Want == spec.WantRun && v.Runtime == d.hashes[v.App].Runtime {
				done = true
				continue
			}
			if end := v.Since.Add(KeepEnded); c.now >= end || kept >= KeepEndedPerSlot {
				ids = append(ids, v.ID)
			} else {
				kept++
				c.retireAt = earliest(c.retireAt, end)
			}
		}
		i = j
	}
	if c.retireAt != 0 {
		c.retireAt = max(c.retireAt, c.now.Add(RetireGap)) // each looks at all allocations
	}
	if len(ids) == 0 {
		return
	}
	slices.SortFunc(ids, func(a, b spec.AllocationID) int { return cmp.Compare(a, b) })
	c.record(Entry{Retired: &Retired{ids}})
	retired := make(map[spec.AllocationID]bool, len(ids))
	var orphans []spec.AllocationID
	for _, id := range ids {
		retired[id] = true
		if k := c.cells[id]; c.nodes[k.node] == nil {
			orphans = append(orphans, id)
		} else {
			c.queue(c.nodes[k.node])
		}
	}
	c.drop(func(k *cell) bool { return retired[k.id] })
	c.forget(orphans)
}

func wants(app *spec.App, slot int) bool {
	return app != nil && (app.Kind == spec.KindSystem || slot < app.Count)
}
