// Package check lints a plan against its input: what must hold of every plan, written down a second time and in
// another way than the planner has it. Tests and the simulator run it on every plan they see.
package check

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// Violation is one thing that should not be.
type Violation struct {
	Rule    string // "capacity", "ports", "named", "constraint", "limit", "budget", "preemption", "slots", "quota", "guarantee", "reservation", "gang", "pool", "between", "reason", "state", "counts", "losses", "costs", "worst", "runs", "window", "rebalance"
	Subject string // the node, slot or app concerned
	Detail  string
}

// String prints the violation in one line.
func (v Violation) String() string { return v.Rule + " of " + v.Subject + ": " + v.Detail }

// Plan returns everything that is wrong with a plan made from the input, in a stable order; nil when all is well. What
// was wrong before (a node that shrank below what it holds) does not count unless the plan makes it worse.
func Plan(in reconcile.Input, p spec.Plan, r reconcile.Report) []Violation {
	c := &checker{in: &in, plan: &p, needs: map[spec.Hash]spec.Resources{}, byID: make(map[spec.AllocationID]*spec.AllocationView, len(in.Current))}
	c.read()
	for h, a := range r.Versions { // any order: each hash has one value
		c.apps[h] = a
	}
	c.readRoles(r)
	c.capacity()
	c.ports()
	c.named()
	c.placements()
	c.limits()
	c.between()
	c.budgets()
	c.preemption()
	c.windows(r)
	c.rebalance(r)
	c.slots()
	c.sharing()
	c.texts()
	c.counts()
	c.losses()
	c.costs()
	c.worst()
	c.rollouts(r)
	c.runs(r)
	return c.found
}

type checker struct {
	in    *reconcile.Input
	plan  *spec.Plan
	needs map[spec.Hash]spec.Resources
	byID  map[spec.AllocationID]*spec.AllocationView
	nodes map[spec.NodeID]*spec.NodeView
	apps  map[spec.Hash]*spec.App
	roles map[spec.AppName]spec.RoleName // who pays
	stops map[spec.AllocationID]bool     // told to stop by the plan, now
	play  map[spec.AppName][]*spec.App   // made when first asked for
	found []Violation
}

func (c *checker) report(rule, subject, format string, args ...any) {
	c.found = append(c.found, Violation{rule, subject, fmt.Sprintf(format, args...)})
}

func (c *checker) read() {
	c.nodes = make(map[spec.NodeID]*spec.NodeView, len(c.in.Nodes))
	for i := range c.in.Nodes {
		c.nodes[c.in.Nodes[i].ID] = &c.in.Nodes[i]
	}
	c.apps = make(map[spec.Hash]*spec.App)
	for i := range c.in.Current {
		a := &c.in.Current[i]
		c.byID[a.ID] = a
		if i == 0 || a.Version != c.in.Current[i-1].Version {
			c.apps[a.Version] = c.in.Versions[a.Version]
		}
	}
	for _, a := range c.in.Desired.Apps {
		c.apps[c.in.HashOf(a)] = a
	}
	for i := range c.in.Runs {
		if a := c.in.Versions[c.in.Runs[i].Version]; a != nil {
			c.apps[c.in.Runs[i].Version] = a
		}
	}
	for i := range c.in.Rollouts {
		r := &c.in.Rollouts[i]
		for _, h := range []spec.Hash{r.Target, r.Good} {
			if a := c.in.Versions[h]; a != nil {
				c.apps[h] = a
			}
		}
	}
	c.stops = map[spec.AllocationID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !ch.Now {
			return
		}
		if ch.Kind == spec.ChangeStop || starts(ch) && ch.Old != "" && ch.Kind != spec.ChangeStart && !ch.KeepOld {
			c.stops[ch.Old] = true
		}
		for _, v := range ch.Victims {
			c.stops[v.ID] = true
		}
	})
}

func (c *checker) each(f func(a *spec.AppPlan, ch *spec.Change)) {
	for i := range c.plan.Apps {
		a := &c.plan.Apps[i]
		for k := range a.Changes {
			f(a, &a.Changes[k])
		}
	}
}

// touched names the nodes on which the plan starts something now.
func (c *checker) touched() map[spec.NodeID]bool {
	nodes := map[spec.NodeID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Now && starts(ch) {
			nodes[ch.Node] = true
		}
	})
	return nodes
}

// starts reports whether the change brings a new allocation.
func starts(ch *spec.Change) bool {
	return ch.Kind == spec.ChangeStart || ch.Kind == spec.ChangeReplace || ch.Kind == spec.ChangeMove
}

func (c *checker) need(h spec.Hash) spec.Resources {
	if n, ok := c.needs[h]; ok {
		return n
	}
	var n spec.Resources
	if a := c.apps[h]; a != nil {
		n = a.Needs()
	}
	c.needs[h] = n
	return n
}

// ports looks for a port of a node that two would have at once.
func (c *checker) ports() {
	type key struct {
		node     spec.NodeID
		number   int
		protocol spec.Protocol
	}
	touched := c.touched()
	holders := map[key][]spec.AllocationID{}
	for i := range c.in.Current {
		a := &c.in.Current[i]
		if len(a.Ports) == 0 || a.State.Terminal() || !touched[a.Node] {
			continue
		}
		for _, p := range a.Ports {
			k := key{a.Node, p.Number, p.Protocol}
			holders[k] = append(holders[k], a.ID)
		}
	}
	fresh := map[key]string{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !ch.Now || !starts(ch) {
			return
		}
		app := c.apps[ch.Version]
		if app != nil && len(ch.Ports) != len(app.Network.Ports) {
			c.report("ports", ch.Slot.String(), "%d ports given, %d asked for", len(ch.Ports), len(app.Network.Ports))
		}
		for _, p := range ch.Ports {
			k := key{ch.Node, p.Number, p.Protocol}
			if p.Number <= 0 {
				c.report("ports", ch.Slot.String(), "port %s has no number", p.Name)
			}
			if other, ok := fresh[k]; ok {
				c.report("ports", string(ch.Node), "%d/%s for %s and %s", p.Number, p.Protocol, other, ch.Slot)
			}
			fresh[k] = ch.Slot.String()
			for _, id := range holders[k] {
				if !slices.Contains(ch.Takeover, id) {
					c.report("ports", string(ch.Node), "%d/%s for %s is held by %s", p.Number, p.Protocol, ch.Slot, id)
				}
			}
		}
	})
}

// slots looks for slots that would have two successors, and for changes of what is not there.
func (c *checker) slots() {
	type key struct {
		slot   spec.Slot
		canary bool
	}
	seen := map[key]bool{}
	started := map[spec.Slot]bool{}
	old := map[spec.AllocationID]int{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if starts(ch) {
			if k := (key{ch.Slot, ch.Canary}); seen[k] {
				c.report("slots", ch.Slot.String(), "two new allocations")
			} else {
				seen[k] = true
			}
			if ch.Now && started[ch.Slot] {
				c.report("slots", ch.Slot.String(), "two new allocations at once would have one ID")
			}
			started[ch.Slot] = started[ch.Slot] || ch.Now
		}
		if ch.Old == "" {
			return
		}
		old[ch.Old]++
		a := c.byID[ch.Old]
		switch {
		case a == nil:
			c.report("slots", ch.Slot.String(), "%s does not exist", ch.Old)
		case a.State.Terminal() && ch.Kind != spec.ChangeStart:
			c.report("slots", ch.Slot.String(), "%s has ended", ch.Old)
		case old[ch.Old] > 1:
			c.report("slots", ch.Slot.String(), "%s changes twice", ch.Old)
		case a.Want == spec.WantStop:
			c.report("slots", ch.Slot.String(), "%s has been told to stop before", ch.Old)
		}
	})
}

// texts looks for lines without a reason.
func (c *checker) texts() {
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Reason == "" {
			c.report("reason", ch.Slot.String(), "the change gives none")
		}
		if !ch.Now && ch.After == "" {
			c.report("reason", ch.Slot.String(), "it waits, and does not say for what")
		}
		if starts(ch) && ch.Score == nil {
			c.report("reason", ch.Slot.String(), "the placement has no score")
		}
	})
	for i := range c.plan.Apps {
		a := &c.plan.Apps[i]
		if b := a.Blocked; b != nil {
			if len(b.Reasons) == 0 || len(b.Slots) == 0 {
				c.report("reason", string(a.App), "blocked without reason or slots")
			}
			for _, r := range b.Reasons {
				if r.Rule == "" {
					c.report("reason", string(a.App), "a reason without a rule")
				}
			}
		}
		if b := a.Blocked; b != nil {
			c.groups(a.App, b)
		}
		if a.Held != "" && len(a.Changes) > 0 {
			c.report("state", string(a.App), "held, and yet something changes")
		}
		if a.Idle() && !a.Unfinished() {
			c.report("state", string(a.App), "listed without a change")
		}
	}
}

// groups adds up the nodes by what they fail: every node that was looked at is in one group, or fails nothing, and a
// rule is failed by as many nodes as the groups that name it have.
func (c *checker) groups(app spec.AppName, b *spec.Blocked) {
	sum := b.Feasible
	for i, g := range b.Groups {
		sum += g.Nodes
		if len(g.Rules) == 0 || g.Nodes == 0 {
			c.report("reason", string(app), "a group without rules or nodes")
		}
		if i > 0 && i < groupsTold && g.Nodes > b.Groups[i-1].Nodes {
			c.report("reason", string(app), "the groups are not in order")
		}
	}
	if sum != b.Nodes {
		c.report("reason", string(app), "%d nodes were looked at, the groups have %d", b.Nodes, sum)
	}
	for _, r := range b.Reasons {
		named := 0
		for _, g := range b.Groups {
			if slices.Contains(g.Rules, r.Rule) {
				named += g.Nodes
			}
		}
		if named > 0 && named != r.Nodes && len(b.Groups) <= groupsTold {
			c.report("reason", string(app), "%d nodes fail %s, the groups that name it have %d", r.Nodes, r.Rule, named)
		}
	}
	if len(b.Fix) != len(b.Fixes) {
		c.report("reason", string(app), "%d fixes are told, %d are written down", len(b.Fix), len(b.Fixes))
	}
}

// groupsTold is how many groups a plan tells one by one; what more there are stand together behind them.
const groupsTold = 32

// counts compares the summary with the changes.
func (c *checker) counts() {
	var s spec.Summary
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		s.Preempt += len(ch.Victims)
		switch ch.Kind {
		case spec.ChangeStart:
			s.Start++
		case spec.ChangeUpdate:
			s.Update++
		case spec.ChangeReplace:
			s.Replace++
		case spec.ChangeStop:
			s.Stop++
		case spec.ChangeMove:
			s.Move++
		default:
			c.report("counts", ch.Slot.String(), "a change of kind %q", ch.Kind)
		}
	})
	for i := range c.plan.Apps {
		if b := c.plan.Apps[i].Blocked; b != nil {
			s.Blocked += len(b.Slots)
		}
		if c.plan.Apps[i].Unfinished() {
			s.Failed++
		}
		if c.plan.Apps[i].Held != "" {
			s.Held++
		}
		if c.plan.Apps[i].Forget {
			s.Forget++
		}
	}
	if s != c.plan.Summary {
		c.report("counts", "the plan", "the summary says %+v, the changes %+v", c.plan.Summary, s)
	}
	if !slices.IsSortedFunc(c.plan.Apps, func(a, b spec.AppPlan) int {
		if a.App < b.App {
			return -1
		}
		return 1
	}) {
		c.report("counts", "the plan", "its apps are not in order")
	}
}

// rollouts looks for records that went back.
func (c *checker) rollouts(r reconcile.Report) {
	for i := range r.Rollouts {
		x := &r.Rollouts[i]
		if x.State == "" || x.Target == "" {
			c.report("state", string(x.App), "a rollout without state or target")
		}
		if (x.State == spec.RolloutFailed || x.State == spec.RolloutReverting) && x.Reason == "" {
			c.report("reason", string(x.App), "a rollout failed without a reason")
		}
		if i > 0 && r.Rollouts[i-1].App >= x.App {
			c.report("state", string(x.App), "rollouts are not in order")
		}
	}
}
