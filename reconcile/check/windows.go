package check

import (
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// windows looks for what begins outside of the windows that it has to wait for.
func (c *checker) windows(r reconcile.Report) {
	if len(c.in.Desired.Windows) == 0 {
		return
	}
	for i := range c.plan.Apps {
		a := &c.plan.Apps[i]
		k := slices.IndexFunc(c.in.Desired.Apps, func(x *spec.App) bool { return x.Name == a.App })
		switch {
		case a.Run:
		case k < 0:
			if !c.in.AtOnce {
				c.removals(a)
			}
		case c.closed(c.in.Desired.WindowsOf(c.in.Desired.Apps[k])):
			if !c.in.AtOnce {
				c.begun(a, r)
			}
			c.moved(a)
		}
		c.departures(a)
	}
}

// closed reports whether none of the windows is open, of those that the commit has.
func (c *checker) closed(names []spec.WindowName) bool {
	known := false
	for _, n := range names {
		for _, x := range c.in.Desired.Windows {
			w, err := cron.NewWindow(x)
			if x.Name != n || err != nil {
				continue
			}
			if _, open, _ := cron.At([]*cron.Window{w}, c.in.Now); open {
				return false
			}
			known = true
		}
	}
	return known
}

// begun looks for steps of a rollout in an app whose windows are closed.
func (c *checker) begun(a *spec.AppPlan, r reconcile.Report) {
	k := slices.IndexFunc(r.Rollouts, func(o spec.Rollout) bool { return o.App == a.App })
	if k < 0 {
		return
	}
	roll := &r.Rollouts[k]
	target, good := c.apps[roll.Target], c.apps[roll.Good]
	rolls := (roll.State == spec.RolloutRolling || roll.State == spec.RolloutCanaries) && target != nil && good != nil && target.RuntimeHash() != good.RuntimeHash()
	for i := range a.Changes {
		ch := &a.Changes[i]
		if !ch.Now || !starts(ch) {
			continue
		}
		if v := c.apps[ch.Version]; rolls && v != nil && v.RuntimeHash() == target.RuntimeHash() && c.otherRuns(a.App, target.RuntimeHash()) {
			c.report("window", ch.Slot.String(), "its change to another version begins, and no window is open")
		}
	}
}

// moved looks for moves of a rebalancing that begin in an app whose windows are closed: a commit that takes effect at once
// does not open them.
func (c *checker) moved(a *spec.AppPlan) {
	w := c.in.Rebalance
	if w == nil {
		return
	}
	for i := range a.Changes {
		ch := &a.Changes[i]
		if ch.Now && ch.Kind == spec.ChangeMove && slices.ContainsFunc(w.Moves, func(m reconcile.Move) bool { return m.ID == ch.Old }) {
			c.report("window", ch.Slot.String(), "rebalancing moves it, and no window is open")
		}
	}
}

// otherRuns reports whether an allocation of an app runs that follows another version.
func (c *checker) otherRuns(app spec.AppName, runtime spec.Hash) bool {
	return slices.ContainsFunc(c.in.Current, func(a spec.AllocationView) bool {
		v := c.apps[a.Version]
		return a.App == app && a.Want == spec.WantRun && !a.State.Terminal() && !a.Canary && v != nil && v.RuntimeHash() != runtime
	})
}

// removals looks for what is stopped because its app left the repository.
func (c *checker) removals(a *spec.AppPlan) {
	for i := range a.Changes {
		ch := &a.Changes[i]
		old := c.byID[ch.Old]
		if !ch.Now || ch.Kind != spec.ChangeStop || old == nil {
			continue
		}
		if v := c.apps[old.Version]; v != nil && v.Run == nil && c.closed(c.in.Desired.WindowsOf(v)) {
			c.report("window", ch.Slot.String(), "it left the repository and stops, and no window is open")
		}
	}
}

// departures looks for what leaves a node whose drain waits for its window.
func (c *checker) departures(a *spec.AppPlan) {
	for i := range a.Changes {
		ch := &a.Changes[i]
		if !ch.Now || ch.Kind != spec.ChangeMove {
			continue
		}
		for k := range c.in.Drains {
			if d := &c.in.Drains[k]; d.Node == ch.From && d.Window != "" && !c.overdue(d.Node) && c.closed([]spec.WindowName{d.Window}) && !c.leaving(ch.Old) && !c.doubled(ch) {
				c.report("window", ch.Slot.String(), "it leaves %s, whose drain waits for its window", ch.From)
			}
		}
	}
}

// doubled reports whether a system app has another allocation on the node that this one leaves: its service became a system
// app, and all but one of a node have to go whether it is drained or not.
func (c *checker) doubled(ch *spec.Change) bool {
	app := c.apps[ch.Version]
	return app != nil && app.Kind == spec.KindSystem && slices.ContainsFunc(c.in.Current, func(a spec.AllocationView) bool {
		return a.App == ch.App && a.Node == ch.From && a.ID != ch.Old && a.Want == spec.WantRun && !a.State.Terminal()
	})
}

// leaving reports whether an allocation has a successor already.
func (c *checker) leaving(id spec.AllocationID) bool {
	old := c.byID[id]
	return old != nil && slices.ContainsFunc(c.in.Current, func(a spec.AllocationView) bool {
		return a.Slot == old.Slot && a.Generation > old.Generation && a.Want == spec.WantRun && !a.State.Terminal() && !a.Canary
	})
}
