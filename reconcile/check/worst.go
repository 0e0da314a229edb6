package check

import "github.com/stowage/stowage/spec"

// worst compares the worst moment that the plan tells of with the one that surely comes: when the first steps are taken, and
// nothing that is to end has ended.
func (c *checker) worst() {
	w := c.plan.Worst
	if w == nil {
		return
	}
	ready := map[spec.NodeID]bool{}
	for i := range c.in.Nodes {
		ready[c.in.Nodes[i].ID] = c.in.Nodes[i].State == spec.NodeReady
	}
	for _, d := range c.in.Drains {
		ready[d.Node] = false
	}
	var first spec.Resources
	for i := range c.in.Current {
		if a := &c.in.Current[i]; ready[a.Node] && !a.State.Terminal() && len(a.After) == 0 {
			first = first.Plus(c.need(a.Version))
		}
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if ch.Now && starts(ch) && len(ch.Takeover) == 0 && ready[ch.Node] {
			first = first.Plus(c.need(ch.Version))
		}
	})
	switch {
	case w.Step < 1 || w.Step > max(w.Steps, 1):
		c.report("worst", string(c.plan.ID), "the worst moment is in step %d of %d", w.Step, w.Steps)
	case first.CPU > w.Total.CPU || first.Memory > w.Total.Memory:
		return // a node shrank below what it has
	case fraction(w.Used, w.Total) < fraction(first, w.Total)-1e-5:
		c.report("worst", string(c.plan.ID), "the worst moment has %s cpu and %s in use, after the first steps it is %s and %s", w.Used.CPU, w.Used.Memory, first.CPU, first.Memory)
	case w.Used.CPU > w.Total.CPU || w.Used.Memory > w.Total.Memory:
		c.report("worst", string(c.plan.ID), "more is in use than there is: %+v of %+v", w.Used, w.Total)
	}
}

// fraction is how much of the scarcer of cpu and memory is in use.
func fraction(used, total spec.Resources) float64 {
	f := 0.0
	if total.CPU > 0 {
		f = float64(used.CPU) / float64(total.CPU)
	}
	if total.Memory > 0 {
		f = max(f, float64(used.Memory)/float64(total.Memory))
	}
	return f
}
