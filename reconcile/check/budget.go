package check

import (
	"math"
	"slices"

	"github.com/stowage/stowage/spec"
)

// standing is how many slots of an app work before and after the steps that are taken now, and how many there are.
type standing struct {
	slots, before, after map[int]bool
	over                 map[int]bool          // those whose node need no longer have them
	hosts, remain        map[spec.NodeID]bool  // of a system app, those that should have it and where it works before and after
	on                   map[spec.NodeID][]int // the slots that work on a node before
}

func newStanding() *standing {
	return &standing{map[int]bool{}, map[int]bool{}, map[int]bool{}, map[int]bool{}, map[spec.NodeID]bool{}, map[spec.NodeID]bool{}, map[spec.NodeID][]int{}}
}

// without counts the slots of a set that are not over.
func (s *standing) without(set map[int]bool) int {
	n := len(set)
	for k := range s.over { // any order: counted
		if set[k] {
			n--
		}
	}
	return n
}

// losses counts the nodes that should have the app and lose it. One whose slots all work on other nodes afterwards loses nothing.
func (s *standing) losses() int {
	n := 0
	for id, in := range s.hosts { // any order: counted
		if in && !s.remain[id] && slices.ContainsFunc(s.on[id], func(k int) bool { return !s.after[k] }) {
			n++
		}
	}
	return n
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
		if !touched[app.Name] || app.Kind == spec.KindBatch || s == nil {
			continue
		}
		count, _ := c.aims(app)
		before, after := s.without(s.before), s.without(s.after)
		if least := min(before, count-c.allowed(app, count)); after < least {
			c.report("budget", string(app.Name), "%d slots work afterwards, %d before, at least %d have to", after, before, least)
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
		s = newStanding()
		all[a.App] = s
	}
	s.slots[a.Index] = true
	n := c.nodes[a.Node]
	if a.State.Terminal() || !a.Healthy || n == nil || n.State == spec.NodeUnknown || n.State == spec.NodeDown || c.overdue(a.Node) {
		return
	}
	stays := c.stays(a.App, n)
	if v := c.apps[a.Version]; v != nil && v.Kind == spec.KindSystem && !stays {
		s.over[a.Index] = true
	}
	s.before[a.Index], s.hosts[a.Node] = true, s.hosts[a.Node] || stays
	s.on[a.Node] = append(s.on[a.Node], a.Index)
	if !c.stops[a.ID] {
		s.after[a.Index], s.remain[a.Node] = true, s.remain[a.Node] || stays
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
		n, most, gone := len(s.slots), len(s.slots), 0
		if app.Kind == spec.KindService { // of two versions, the one that allows more
			low, high := c.aims(app)
			gone = max(0, min(s.without(s.before), low)-s.without(s.after))
			n, most = max(len(s.before), min(n, low)), max(len(s.before), min(n, high))
		} else { // a system app: one of two on a node is no loss, nor is one of a slot that works on another node
			gone = s.losses()
		}
		slots, missing, lost = slots+most, missing+n-len(s.before), lost+gone
		if c.allowed(app, n) == n {
			recreated += gone
		}
	}
	if most := bound.Of(slots); lost > 0 && missing+lost > most && (lost > recreated || missing > 0) {
		c.report("budget", "the cluster", "%d of %d slots lose their work, %d have none already, at most %d may", lost, slots, missing, most)
	}
}

// stays reports whether a system app may stay on a node: what it is there for is over where its constraints no longer
// hold, and where a drain has left nothing else.
func (c *checker) stays(name spec.AppName, n *spec.NodeView) bool {
	for _, v := range c.inPlay(name) {
		if v.Kind == spec.KindSystem && c.slotsOn(v, n) == 0 {
			return false
		}
	}
	return true
}

// inPlay returns the versions of an app that its slots may be brought to.
func (c *checker) inPlay(name spec.AppName) []*spec.App {
	if c.play == nil {
		c.play = make(map[spec.AppName][]*spec.App, len(c.in.Desired.Apps))
		for _, app := range c.in.Desired.Apps {
			c.play[app.Name] = append(c.play[app.Name], app)
		}
		for i := range c.in.Rollouts {
			r := &c.in.Rollouts[i]
			for _, h := range []spec.Hash{r.Good, r.Target} {
				if v := c.apps[h]; v != nil {
					c.play[r.App] = append(c.play[r.App], v)
				}
			}
		}
	}
	return c.play[name]
}

// slotsOf returns how many slots a version has: of a system app one for each node that has to have it.
func (c *checker) slotsOf(v *spec.App) int {
	if v.Kind != spec.KindSystem {
		return v.Count
	}
	n := 0
	for i := range c.in.Nodes {
		n += c.slotsOn(v, &c.in.Nodes[i])
	}
	return n
}

// slotsOn returns 1 for a node on which a system app has to be. Which nodes those are that have what is asked for by
// name, or are near or apart from others, is another rule's affair.
func (c *checker) slotsOn(v *spec.App, n *spec.NodeView) int {
	between := slices.ContainsFunc(v.Constraints, func(r spec.Constraint) bool { return r.App != "" })
	if between || named(v) || !c.takes(v, n) {
		return 0
	}
	return 1
}

func (c *checker) overdue(id spec.NodeID) bool {
	return slices.ContainsFunc(c.in.Drains, func(d spec.Drain) bool {
		return d.Node == id && d.Deadline != 0 && c.in.Now >= d.Deadline
	})
}

// aims returns how many slots the app may be brought to: the lowest and the highest count of the versions in play.
func (c *checker) aims(app *spec.App) (least, most int) {
	least = math.MaxInt
	for _, v := range c.inPlay(app.Name) {
		n := c.slotsOf(v)
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

// allowed returns how many slots of the app may lack a healthy allocation.
func (c *checker) allowed(app *spec.App, count int) int {
	most := 0
	for _, v := range c.inPlay(app.Name) {
		most = max(most, budget(v, count, c.in.Desired.Disruption.MaxUnavailable))
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
