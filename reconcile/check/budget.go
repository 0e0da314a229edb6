package check

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// standing is how many slots of an app work before and after the steps that are taken now, and how many there are.
type standing struct {
	slots, before, after map[int]bool
}

// budgets compares what the plan takes from its work with what the apps and the cluster allow.
func (c *checker) budgets() {
	touched, promoted := map[spec.AppName]bool{}, map[spec.AllocationID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		touched[ch.App] = true
		promoted[ch.Old] = promoted[ch.Old] || ch.Kind == spec.ChangeUpdate
		for _, v := range ch.Victims {
			if a := c.byID[v.ID]; a != nil {
				touched[a.App] = true
			}
		}
	})
	total := c.in.Desired.Disruption.MaxTotal
	standings := map[spec.AppName]*standing{}
	for i := range c.in.Current {
		if a := &c.in.Current[i]; total != nil || touched[a.App] {
			c.stand(standings, a, promoted[a.ID])
		}
	}
	for _, app := range c.in.Desired.Apps {
		s := standings[app.Name]
		if !touched[app.Name] || app.Kind != spec.KindService || s == nil {
			continue
		}
		count := c.countOf(app)
		least := min(len(s.before), count-c.allowed(app, count))
		if got := len(s.after); got < least {
			c.report("budget", string(app.Name), "%d slots work afterwards, %d before, at least %d have to", got, len(s.before), least)
		}
	}
	if total != nil {
		c.total(*total, standings)
	}
}

// stand adds an allocation to the standing of its app. What the deadline of a drain ends works no longer.
func (c *checker) stand(all map[spec.AppName]*standing, a *spec.AllocationView, promoted bool) {
	if a.Want == spec.WantStop || a.Canary && !promoted {
		return
	}
	s := all[a.App]
	if s == nil {
		s = &standing{map[int]bool{}, map[int]bool{}, map[int]bool{}}
		all[a.App] = s
	}
	s.slots[a.Index] = true
	n := c.nodes[a.Node]
	if a.State.Terminal() || !a.Healthy || n == nil || n.State == spec.NodeUnknown || n.State == spec.NodeDown || c.overdue(a.Node) {
		return
	}
	s.before[a.Index] = true
	if !c.stops[a.ID] {
		s.after[a.Index] = true
	}
}

// total compares what all apps together lose with the cluster's budget. An app with strategy recreate loses all at once,
// when nothing else is missing.
func (c *checker) total(bound spec.Percent, standings map[spec.AppName]*standing) {
	slots, missing, lost, recreated := 0, 0, 0, 0
	for _, app := range c.in.Desired.Apps {
		s := standings[app.Name]
		if app.Kind == spec.KindBatch || s == nil {
			continue
		}
		n, most, fewest := len(s.slots), len(s.slots), len(s.before)
		if app.Kind == spec.KindService { // of two versions, the one that allows more
			fewest = min(fewest, c.countOf(app))
			n, most = max(len(s.before), min(n, c.countOf(app))), max(len(s.before), min(n, c.mostOf(app)))
		}
		gone := max(0, fewest-len(s.after))
		slots, missing, lost = slots+most, missing+n-len(s.before), lost+gone
		if c.allowed(app, n) == n {
			recreated += gone
		}
	}
	if most := bound.Of(slots); lost > 0 && missing+lost > most && (lost > recreated || missing > 0) {
		c.report("budget", "the cluster", "%d of %d slots lose their work, %d have none already, at most %d may", lost, slots, missing, most)
	}
}

// mostOf returns the highest count of the versions in play.
func (c *checker) mostOf(app *spec.App) int {
	count := app.Count
	for i := range c.in.Rollouts {
		r := &c.in.Rollouts[i]
		if r.App != app.Name {
			continue
		}
		for _, h := range []spec.Hash{r.Good, r.Target} {
			if v := c.apps[h]; v != nil {
				count = max(count, v.Count)
			}
		}
	}
	return count
}

func (c *checker) overdue(id spec.NodeID) bool {
	return slices.ContainsFunc(c.in.Drains, func(d spec.Drain) bool {
		return d.Node == id && d.Deadline != 0 && c.in.Now >= d.Deadline
	})
}

// countOf returns how many slots the app may be brought to: the lowest count of the versions in play.
func (c *checker) countOf(app *spec.App) int {
	count := app.Count
	for i := range c.in.Rollouts {
		r := &c.in.Rollouts[i]
		if r.App != app.Name {
			continue
		}
		for _, h := range []spec.Hash{r.Good, r.Target} {
			if v := c.apps[h]; v != nil {
				count = min(count, v.Count)
			}
		}
	}
	return count
}

// allowed returns how many slots of the app may lack a healthy allocation.
func (c *checker) allowed(app *spec.App, count int) int {
	most := budget(app, count, c.in.Desired.Disruption.MaxUnavailable)
	for i := range c.in.Rollouts {
		if r := &c.in.Rollouts[i]; r.App == app.Name {
			for _, h := range []spec.Hash{r.Good, r.Target} {
				if v := c.apps[h]; v != nil {
					most = max(most, budget(v, count, c.in.Desired.Disruption.MaxUnavailable))
				}
			}
		}
	}
	return most
}

func budget(app *spec.App, count int, cluster spec.Percent) int {
	switch {
	case app.Update.Strategy == spec.StrategyRecreate:
		return count
	case app.Update.MinHealthy > 0:
		return count - (int(app.Update.MinHealthy)*count+999)/1000
	}
	return cluster.Of(count)
}
