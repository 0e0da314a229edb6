package check

import (
	"regexp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// placements looks at each new allocation's node: is it ready, and does it meet the app's constraints.
func (c *checker) placements() {
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !starts(ch) {
			return
		}
		n, app := c.nodes[ch.Node], c.apps[ch.Version]
		if n == nil || app == nil {
			c.report("state", ch.Slot.String(), "placed on node %q with version %q, which do not both exist", ch.Node, ch.Version)
			return
		}
		if n.State != spec.NodeReady || c.drained(n.ID) {
			c.report("state", ch.Slot.String(), "placed on %s, which is %s", n.ID, n.State)
		}
		if want := app.Pool; want != spec.AllPools && want.Or() != n.Pool.Or() {
			c.report("pool", ch.Slot.String(), "%s is in pool %s, the app in %s", n.ID, n.Pool.Or(), want.Or())
		}
		for _, rule := range app.Constraints {
			if v, ok := attribute(n, rule.Attribute); !holds(rule, v, ok) {
				c.report("constraint", ch.Slot.String(), "%s does not meet %s", n.ID, rule)
			}
		}
	})
}

func (c *checker) drained(id spec.NodeID) bool {
	return slices.ContainsFunc(c.in.Drains, func(d spec.Drain) bool { return d.Node == id })
}

func attribute(n *spec.NodeView, name string) (string, bool) {
	v, ok := n.Attributes[name]
	if !ok && name == place.AttributeID {
		return string(n.ID), true
	}
	if !ok && name == place.AttributeAddress {
		return n.Address, true
	}
	if !ok && name == place.AttributePool {
		return string(n.Pool.Or()), true
	}
	return v, ok
}

func holds(r spec.Constraint, v string, set bool) bool {
	if !set {
		return r.Operator == spec.OpNotEqual || r.Operator == spec.OpNotIn || r.Operator == spec.OpNotRegexp || r.Operator == spec.OpUnset
	}
	order := spec.CompareVersions(v, r.Value)
	switch r.Operator {
	case spec.OpEqual:
		return order == 0
	case spec.OpNotEqual:
		return order != 0
	case spec.OpLess:
		return order < 0
	case spec.OpLessEqual:
		return order <= 0
	case spec.OpGreater:
		return order > 0
	case spec.OpGreaterEqual:
		return order >= 0
	case spec.OpIn:
		return slices.ContainsFunc(r.Values, func(w string) bool { return spec.CompareVersions(v, w) == 0 })
	case spec.OpNotIn:
		return !slices.ContainsFunc(r.Values, func(w string) bool { return spec.CompareVersions(v, w) == 0 })
	case spec.OpUnset:
		return false
	case spec.OpRegexp, spec.OpNotRegexp:
		ok, err := regexp.MatchString(r.Value, v)
		return err == nil && ok == (r.Operator == spec.OpRegexp)
	}
	return true
}

// limits counts the allocations of each app that starts something: those meant to run afterwards, and those that start.
func (c *checker) limits() {
	for i := range c.plan.Apps {
		a := &c.plan.Apps[i]
		var on []spec.NodeID
		fresh := map[spec.NodeID]bool{}
		var app *spec.App
		mixed := false // versions with different rules start: each was right when its turn came
		for k := range a.Changes {
			if ch := &a.Changes[k]; ch.Now && starts(ch) {
				mixed = mixed || app != nil && app != c.apps[ch.Version]
				on, fresh[ch.Node], app = append(on, ch.Node), true, c.apps[ch.Version]
			}
		}
		if app == nil || mixed || app.Kind == spec.KindSystem {
			continue // a system app has one on each node, whatever else it says
		}
		starts := len(on)
		for k := range c.in.Current {
			x := &c.in.Current[k]
			if x.App == a.App && !x.State.Terminal() && x.Want == spec.WantRun && !c.stops[x.ID] && !c.lost(x, app) {
				on = append(on, x.Node)
			}
		}
		for _, rule := range app.Constraints {
			if rule.Operator == spec.OpSame {
				c.same(a, app, rule, on[:starts])
				continue
			}
			c.limit(a, app, rule, on, fresh)
		}
	}
}

// lost reports whether the allocation's node has been silent for so long that it is replaced.
func (c *checker) lost(x *spec.AllocationView, app *spec.App) bool {
	n := c.nodes[x.Node]
	return n == nil || n.State == spec.NodeDown || n.State == spec.NodeUnknown && c.in.Now >= n.LastSeen.Add(app.Reschedule.After)
}

func (c *checker) limit(a *spec.AppPlan, app *spec.App, rule spec.Constraint, on []spec.NodeID, fresh map[spec.NodeID]bool) {
	count, started := map[string]int{}, map[string]bool{}
	for _, id := range on {
		if n := c.nodes[id]; n != nil {
			if v, ok := attribute(n, rule.Attribute); ok {
				count[v]++
				started[v] = started[v] || fresh[id]
			}
		}
	}
	most := 0
	switch rule.Operator {
	case spec.OpDistinct:
		most = 1
	case spec.OpMaxPer:
		most = rule.Number
	case spec.OpGroupBy:
		if named(app) {
			return // which nodes have what is asked for by name is another rule's affair
		}
		most = c.evenShare(a, app, rule, len(on))
	default:
		return
	}
	for _, n := range c.in.Nodes {
		v, _ := attribute(&n, rule.Attribute)
		if started[v] && count[v] > most {
			c.report("limit", string(a.App), "%s, and yet %d in %q", rule, count[v], v)
			started[v] = false
		}
	}
}

// evenShare returns how many allocations group_by allows in each group: an even share, rounded up, of all that there
// are and that were looked for.
func (c *checker) evenShare(a *spec.AppPlan, app *spec.App, rule spec.Constraint, on int) int {
	values := map[string]bool{}
	for i := range c.in.Nodes {
		n := &c.in.Nodes[i]
		if v, ok := attribute(n, rule.Attribute); ok && c.takes(app, n) {
			values[v] = true
		}
	}
	if a.Blocked != nil {
		on += len(a.Blocked.Slots)
	}
	groups := max(1, len(values), rule.Number)
	return (max(app.Count, on) + groups - 1) / groups
}

// named reports whether the app asks for devices or cores.
func named(app *spec.App) bool {
	return slices.ContainsFunc(app.Tasks, func(t spec.Task) bool { return len(t.Devices) > 0 || t.Cores > 0 })
}

// takes reports whether a node takes allocations, and those of the app by its pool and constraints.
func (c *checker) takes(app *spec.App, n *spec.NodeView) bool {
	if n.State != spec.NodeReady || c.drained(n.ID) || app.Pool != spec.AllPools && app.Pool.Or() != n.Pool.Or() {
		return false
	}
	for _, r := range app.Constraints {
		if v, ok := attribute(n, r.Attribute); !holds(r, v, ok) {
			return false
		}
	}
	return true
}

// same looks for a start that brings another value than the allocations before it have.
func (c *checker) same(a *spec.AppPlan, app *spec.App, rule spec.Constraint, starts []spec.NodeID) {
	var before []spec.NodeID
	remain := false // what a drain drives out does not
	for i := range c.in.Current {
		if x := &c.in.Current[i]; x.App == a.App && !x.State.Terminal() && x.Want == spec.WantRun && !c.lost(x, app) {
			before = append(before, x.Node)
			if n := c.nodes[x.Node]; n != nil && !c.stops[x.ID] && !c.drained(n.ID) && n.State != spec.NodeDraining && n.State != spec.NodeDrained {
				_, set := attribute(n, rule.Attribute)
				remain = remain || set
			}
		}
	}
	values := func(nodes []spec.NodeID) map[string]bool {
		set := map[string]bool{}
		for _, id := range nodes {
			if n := c.nodes[id]; n != nil {
				if v, ok := attribute(n, rule.Attribute); ok {
					set[v] = true
				}
			}
		}
		return set
	}
	old, added := values(before), values(starts)
	for _, n := range c.in.Nodes {
		v, ok := attribute(&n, rule.Attribute)
		if ok && added[v] && (len(added) > 1 || remain && len(old) > 0 && !old[v]) {
			c.report("limit", string(a.App), "%s, and yet one starts in %q", rule, v)
			return
		}
	}
}
