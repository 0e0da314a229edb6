package view

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/spec"
)

func (p *Page) planFoot(plan *spec.Plan) {
	c := &plan.Capacity
	if c.Total.CPU > 0 && c.Total.Memory > 0 {
		p.Line("")
		if len(c.Pools) == 0 {
			p.capacity("", c.Total, c.Before, c.After, c.Largest)
		}
		for i := range c.Pools {
			pool := &c.Pools[i]
			p.capacity("pool "+string(pool.Pool)+"   ", pool.Total, pool.Before, pool.After, pool.Largest)
		}
		if all := int64(c.Total.MemoryMax); all > 0 {
			p.Line("             memory_max %s → %s of what may be overcommitted", percent(int64(c.Before.MemoryMax), all), percent(int64(c.After.MemoryMax), all))
		}
	}
	p.worst(plan)
	p.cost(plan.Cost)
	for i := range plan.Reservations {
		r := &plan.Reservations[i]
		p.Line("  reserved   %s for role %s: %s on each of %s, %s of it not used", r.Name, r.Role, amounts(r.Each), spec.Plural(r.Nodes, "node"), amounts(r.Unused))
	}
	p.failure(plan.Failure)
}

// capacity says how full nodes get, and what still fits.
func (p *Page) capacity(pool string, total, before, after, largest spec.Resources) {
	p.Line("  capacity   %scpu %s → %s   memory %s → %s   largest task that still fits: %s cpu / %s", pool,
		percent(int64(before.CPU), int64(total.CPU)), percent(int64(after.CPU), int64(total.CPU)),
		percent(int64(before.Memory), int64(total.Memory)), percent(int64(after.Memory), int64(total.Memory)),
		largest.CPU, largest.Memory)
}

// worst says when most of the cluster is in use on the way, if that is more than at both ends, and who has too little room.
func (p *Page) worst(plan *spec.Plan) {
	w, c := plan.Worst, &plan.Capacity
	if w == nil {
		return
	}
	above := w.Used.CPU > max(c.Before.CPU, c.After.CPU) || w.Used.Memory > max(c.Before.Memory, c.After.Memory)
	if !above && len(w.Tight) == 0 || w.Total.CPU <= 0 || w.Total.Memory <= 0 {
		return
	}
	text := fmt.Sprintf("worst moment: cpu %s, memory %s, in step %d of %d", percent(int64(w.Used.CPU), int64(w.Total.CPU)), percent(int64(w.Used.Memory), int64(w.Total.Memory)), w.Step, w.Steps)
	if !w.Whole {
		text += " that were looked at; there are more"
	}
	p.Line("             %s", text)
	for i := range w.Tight {
		if i == foldTight {
			p.Line("             … and %s with too little room on the way", spec.Plural(len(w.Tight)-i, "more app"))
			break
		}
		p.Line("             %s", tight(&w.Tight[i]))
	}
}

// foldTight is how many apps with too little room are named.
const foldTight = 5

// tight says what an app with too little room does: "shop/web waits for room on 2 nodes".
func tight(t *spec.TightApp) string {
	var parts []string
	if t.StopFirst > 0 {
		parts = append(parts, fmt.Sprintf("stops %s before the next one runs, for lack of room", spec.Plural(t.StopFirst, "allocation")))
	}
	if t.Waits > 0 {
		parts = append(parts, "waits for room on "+spec.Plural(len(t.Nodes), "node"))
	}
	if t.Missing > 0 {
		parts = append(parts, fmt.Sprintf("has no place for %s for a while", spec.Plural(t.Missing, "slot")))
	}
	return string(t.App) + " " + strings.Join(parts, ", and ")
}

// foldCosts is how many apps are named with what they cost.
const foldCosts = 4

// cost says what the nodes cost, and who has most of that.
func (p *Page) cost(c *spec.Cost) {
	if c == nil {
		return
	}
	text := change(c.Before, c.After)
	if c.Currency != "" {
		text += " " + c.Currency
	}
	text += " an hour for the nodes"
	if c.Unpriced > 0 {
		text += fmt.Sprintf(" (%d without a price not counted)", c.Unpriced)
	}
	if c.Idle > 0 {
		text += ", " + c.Idle.Rough() + " of it idle"
	}
	p.Line("  cost       %s", text)
	var apps []string
	for i := range c.Apps[:min(len(c.Apps), foldCosts)] {
		apps = append(apps, string(c.Apps[i].App)+" "+change(c.Apps[i].Before, c.Apps[i].After))
	}
	if len(c.Apps) > foldCosts {
		apps = append(apps, "…")
	}
	if len(apps) > 0 {
		p.Line("             %s", strings.Join(apps, ", "))
	}
}

func change(before, after spec.Price) string {
	if before == after {
		return after.Rough()
	}
	return before.Rough() + " → " + after.Rough()
}

// failure says what the worst loss of a node, and of each failure domain, would do.
func (p *Page) failure(f *spec.FailureImpact) {
	if f == nil {
		return
	}
	p.loss("node", &spec.Loss{Name: string(f.Node), Displaced: f.Displaced, Homeless: f.Homeless, Slots: f.Slots}, f.Looked, f.Of)
	for i := range f.Domains {
		d := &f.Domains[i]
		switch {
		case len(d.Values) > 0:
			p.loss(d.Attribute, &d.Values[0], d.Looked, d.Of)
		case d.Of == 0:
			p.Line("  if a %s fails   no node has such an attribute", d.Attribute)
		default:
			p.Line("  if a %s fails   not looked at: too much runs in each of its %s", d.Attribute, spec.Plural(d.Of, "value"))
		}
	}
}

// foldHomeless is how many slots without a home are named.
const foldHomeless = 3

func (p *Page) loss(what string, l *spec.Loss, looked, of int) {
	if l.Displaced == 0 {
		return
	}
	rest := "all fit elsewhere"
	if l.Homeless > 0 {
		var names []string
		for i, s := range l.Slots {
			if i == foldHomeless {
				break
			}
			names = append(names, s.String())
		}
		if l.Homeless > len(names) && len(names) > 0 {
			names = append(names, "…")
		}
		rest = fmt.Sprintf("%d without a home", l.Homeless)
		if len(names) > 0 {
			rest += ": " + strings.Join(names, ", ")
		}
	}
	if looked < of {
		rest += fmt.Sprintf(" (the %d fullest of %d looked at)", looked, of)
	}
	p.Line("  if a %s fails   worst %s: %s displaced, %s", what, l.Name, spec.Plural(l.Displaced, "allocation"), rest)
}

// amounts prints what is not zero of some resources.
func amounts(r spec.Resources) string {
	var parts []string
	if r.CPU != 0 {
		parts = append(parts, r.CPU.String()+" cpu")
	}
	if r.Memory != 0 {
		parts = append(parts, r.Memory.String())
	}
	if r.Disk != 0 {
		parts = append(parts, r.Disk.String()+" disk")
	}
	for _, n := range r.Names() {
		parts = append(parts, r.Named[n].String()+" "+n)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %%", (part*100+whole/2)/whole)
}
