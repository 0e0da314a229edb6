package check

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// between looks at the rules that apps have over one another: for each new allocation those of its own app, and those of
// other apps that want to be apart from it.
func (c *checker) between() {
	var apart []*spec.App // that want to be apart from others, and keep those off
	ruled := false
	for _, a := range c.in.Desired.Apps {
		for _, r := range a.Constraints {
			ruled = ruled || r.App != ""
			if r.Operator == spec.OpApart && a.Kind != spec.KindSystem && !slices.Contains(apart, a) {
				apart = append(apart, a)
			}
		}
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if app := c.apps[ch.Version]; app != nil && starts(ch) {
			ruled = ruled || slices.ContainsFunc(app.Constraints, func(r spec.Constraint) bool { return r.App != "" })
		}
	})
	if !ruled {
		return
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		app := c.apps[ch.Version]
		if !ch.Now || !starts(ch) || app == nil {
			return
		}
		for _, r := range app.Constraints {
			if r.App != "" {
				c.beside(ch, r, c.called(r.App))
			}
		}
		for _, other := range apart {
			for _, r := range other.Constraints {
				if r.Operator == spec.OpApart && c.called(r.App) == ch.App {
					c.beside(ch, r, other.Name)
				}
			}
		}
	})
}

// beside checks one rule for one new allocation against where the other app is. Near counts all that has not ended;
// apart only what stays.
func (c *checker) beside(ch *spec.Change, r spec.Constraint, other spec.AppName) {
	if c.nodes[ch.Node] == nil || other == ch.App {
		return
	}
	value, set := attribute(c.nodes[ch.Node], r.Attribute)
	shared := false
	for _, id := range c.standsOn(other, r.Operator == spec.OpApart) {
		if n := c.nodes[id]; n != nil && set {
			v, ok := attribute(n, r.Attribute)
			shared = shared || ok && v == value
		}
	}
	if shared == (r.Operator == spec.OpApart) {
		c.report("between", ch.Slot.String(), "%s on %s: %s", r, ch.Node, other)
	}
}

// standsOn lists the nodes of an app once the steps that are taken now have been, with or without what then goes.
func (c *checker) standsOn(name spec.AppName, stays bool) []spec.NodeID {
	var on []spec.NodeID
	var app *spec.App
	for _, a := range c.in.Desired.Apps {
		if a.Name == name {
			app = a
		}
	}
	for i := range c.in.Current {
		x := &c.in.Current[i]
		if c.called(x.App) != name || x.State.Terminal() {
			continue
		}
		if !stays || x.Want == spec.WantRun && !c.stops[x.ID] && app != nil && !c.lost(x, app) {
			on = append(on, x.Node)
		}
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.App == name && ch.Now && starts(ch) {
			on = append(on, ch.Node)
		}
	})
	return on
}

// called follows moved blocks from a name that no app of the commit has.
func (c *checker) called(name spec.AppName) spec.AppName {
	for range c.in.Desired.Moved {
		if slices.ContainsFunc(c.in.Desired.Apps, func(a *spec.App) bool { return a.Name == name }) {
			break
		}
		for _, m := range c.in.Desired.Moved {
			if m.From == name {
				name = m.To
				break
			}
		}
	}
	return name
}
