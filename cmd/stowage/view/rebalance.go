package view

import (
	"fmt"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// Rebalancing prints moves with what they are good for.
func (p *Page) Rebalancing(r *api.Rebalancing) {
	if r.Of == 0 {
		p.Line("Nothing pays: every slot that can have a place has one, spreads are even, and no node can be freed for what it costs.")
		return
	}
	if r.Begun {
		line := fmt.Sprintf("%s   %d of %s left, %d at a time, since %s", p.paint(bold, "Rebalancing "+r.ID), len(r.Moves), spec.Plural(r.Of, "move"), r.Parallel, p.Age(r.Since))
		if r.Auto {
			line += ", by itself"
		}
		p.Line("%s", line)
	} else {
		p.Line("%s   %s, replacement first", p.paint(bold, "Rebalancing "+r.ID), spec.Plural(r.Of, "move"))
	}
	p.Line("")
	of := map[string][]api.Move{}
	for _, m := range r.Moves {
		of[m.Why] = append(of[m.Why], m)
	}
	told := map[string]bool{}
	for _, g := range r.Gains {
		if told[g.What] || len(of[g.What]) == 0 {
			continue
		}
		told[g.What] = true
		p.Line("  %s   %s", p.paint(bold, g.What), p.paint(dim, fmt.Sprintf("(%s, worth %d)", spec.Plural(g.Moves, "move"), g.Worth)))
		for _, m := range of[g.What] {
			p.Line("    > %-20s %s → %s", m.Slot, m.From, m.To)
		}
	}
	p.Line("")
	if r.Begun {
		p.Line("  stowage rebalance --status shows how far it is, --cancel ends it.")
		return
	}
	p.Line("  stowage rebalance --id %s", r.ID)
}
