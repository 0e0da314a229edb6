package check

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// reservations looks at each node that something starts on: what is there afterwards, and what reservations still keep
// for others there, fit together.
func (c *checker) reservations() {
	if len(c.in.Desired.Reservations) == 0 {
		return
	}
	type tenant struct {
		role spec.RoleName
		need spec.Resources
		goes bool // it is there before the plan, and not after it
	}
	byNode := map[spec.NodeID][]tenant{}
	starting := map[spec.NodeID][]spec.RoleName{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Now && starts(ch) {
			role := c.roleOf(ch.App)
			byNode[ch.Node] = append(byNode[ch.Node], tenant{role, c.need(ch.Version), false})
			starting[ch.Node] = append(starting[ch.Node], role)
		}
	})
	followed := map[spec.AllocationID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Now && starts(ch) {
			followed[ch.Old] = true
		}
	})
	for i := range c.in.Current {
		a := &c.in.Current[i]
		if starting[a.Node] != nil && !a.State.Terminal() {
			byNode[a.Node] = append(byNode[a.Node], tenant{c.roleOf(a.App), c.need(a.Version), a.Want == spec.WantStop || c.stops[a.ID] || followed[a.ID]})
		}
	}
	for i := range c.in.Nodes {
		n := &c.in.Nodes[i]
		for _, role := range starting[n.ID] {
			var used spec.Resources
			for _, t := range byNode[n.ID] {
				if !t.goes {
					used = used.Plus(t.need)
				}
			}
			for _, owner := range c.owners() {
				if slices.Contains(pathOf(role), owner) {
					continue
				}
				rest := c.reservedOn(n, owner)
				for _, t := range byNode[n.ID] {
					if slices.Contains(pathOf(t.role), owner) {
						rest = rest.Minus(t.need)
					}
				}
				for _, name := range resourceNames(rest) {
					if kept := amount(rest, name); kept > 0 && amount(used, name)+kept > amount(n.Capacity, name) && c.asks(n.ID, role, name) {
						c.report("reservation", string(n.ID), "%s: %d are used of %d, and %d are kept for role %s", name, amount(used, name), amount(n.Capacity, name), kept, owner)
					}
				}
			}
		}
	}
}

// owners lists the roles with reservations, each once.
func (c *checker) owners() []spec.RoleName {
	var list []spec.RoleName
	for i := range c.in.Desired.Reservations {
		if r := c.in.Desired.Reservations[i].Role; !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// reservedOn adds up what is reserved for exactly this role on a node.
func (c *checker) reservedOn(n *spec.NodeView, owner spec.RoleName) spec.Resources {
	var sum spec.Resources
	for i := range c.in.Desired.Reservations {
		r := &c.in.Desired.Reservations[i]
		meets := !slices.ContainsFunc(r.Constraints, func(rule spec.Constraint) bool {
			v, ok := attribute(n, rule.Attribute)
			return !holds(rule, v, ok)
		})
		if r.Role == owner && meets {
			sum = sum.Plus(r.Resources)
		}
	}
	return sum
}

// asks reports whether an allocation of the role that starts on the node asks for the resource.
func (c *checker) asks(node spec.NodeID, role spec.RoleName, name string) bool {
	any := false
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		any = any || ch.Now && starts(ch) && ch.Node == node && c.roleOf(ch.App) == role && amount(c.need(ch.Version), name) > 0
	})
	return any
}
