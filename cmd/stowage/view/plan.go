package view

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// foldAfter is how many changes of one app are printed before the rest is counted.
const foldAfter = 12

// symbols of the kinds of change, in the order of the legend.
var symbols = []struct {
	kind         spec.ChangeKind
	symbol, word string
	colour       string
}{
	{spec.ChangeStart, "+", "start", green},
	{spec.ChangeUpdate, "~", "update in place", yellow},
	{spec.ChangeReplace, "±", "replace", yellow},
	{spec.ChangeStop, "-", "stop", red},
	{spec.ChangeMove, ">", "move", blue},
	{spec.ChangeBlocked, "!", "blocked", red},
}

func (p *Page) symbol(kind spec.ChangeKind) string {
	for _, s := range symbols {
		if s.kind == kind {
			return p.paint(s.colour, s.symbol)
		}
	}
	return " "
}

// PlanOptions say how a plan is printed.
type PlanOptions struct {
	All   bool   // long lists in full
	Apply string // the command that would approve it, as the last line; "" for none
}

// Plan prints a plan as a person wants to see it. One without changes is one line.
func (p *Page) Plan(plan *spec.Plan, o PlanOptions) {
	if plan.Summary == (spec.Summary{}) && len(plan.Apps)+len(plan.Schedules)+len(plan.Guards) == 0 {
		if plan.Suppose != nil {
			p.supposed(plan.Suppose)
		}
		p.Line("No changes: nothing is left to do for %s.", commitWords(plan))
		return
	}
	p.planHead(plan)
	for i := range plan.Apps {
		p.appPlan(&plan.Apps[i], o)
	}
	p.schedulePlans(plan.Schedules)
	p.planFoot(plan)
	for _, w := range plan.Warnings {
		p.Line("")
		p.Line("%s %s: %s", p.paint(yellow, "warning:"), w.Rule, w.Detail)
	}
	for _, g := range plan.Guards {
		p.Line("")
		p.Line("%s %s: %s", p.paint(red, "!"), g.Rule, g.Detail)
	}
	p.Line("")
	p.Line("%s", p.paint(bold, "Plan: "+summary(plan.Summary)))
	if o.Apply != "" {
		p.Line("  %s", o.Apply)
	}
}

func commitWords(plan *spec.Plan) string {
	if plan.Commit == "" {
		return "the working tree"
	}
	return "commit " + plan.Commit.Short()
}

func (p *Page) planHead(plan *spec.Plan) {
	head := p.paint(bold, "Plan "+string(plan.ID))
	if plan.Commit == "" {
		head += "   working tree"
	} else {
		head += "   commit " + plan.Commit.Short()
	}
	if plan.Subject != "" {
		head += fmt.Sprintf(" %q", plan.Subject)
	}
	if plan.Signed {
		head += " (signed)"
	}
	if plan.Base.Commit != "" && plan.Base.Commit != plan.Commit {
		head += "   following " + plan.Base.Commit.Short()
		if plan.Base.Behind > 0 {
			head += ", " + spec.Plural(plan.Base.Behind, "commit") + " behind"
		}
	}
	p.Line("%s", head)
	if plan.Suppose != nil {
		p.supposed(plan.Suppose)
	}
	used := map[spec.ChangeKind]bool{}
	for i := range plan.Apps {
		used[actionOf(&plan.Apps[i])] = true
		for _, c := range plan.Apps[i].Changes {
			used[c.Kind] = true
		}
		if plan.Apps[i].Blocked != nil {
			used[spec.ChangeBlocked] = true
		}
	}
	var legend []string
	for _, s := range symbols {
		if used[s.kind] {
			legend = append(legend, p.paint(s.colour, s.symbol)+" "+s.word)
		}
	}
	if len(legend) > 0 {
		p.Line("")
		p.Line("  %s", strings.Join(legend, "   "))
	}
}

// supposed tells what of the nodes is not so.
func (p *Page) supposed(s *spec.Supposition) {
	var parts []string
	for _, l := range s.Without {
		text := "without " + l.String()
		if l.Attribute != "node" {
			text += " (" + spec.Plural(len(l.Nodes), "node") + ")"
		}
		parts = append(parts, text)
	}
	for _, m := range s.With {
		text := fmt.Sprintf("with %d more %s", m.Count, m.Class)
		if m.Like != "" {
			text = fmt.Sprintf("with %d more like %s", m.Count, m.Like)
		}
		parts = append(parts, text)
	}
	p.Line("%s %s; this plan is only shown and cannot be applied", p.paint(yellow, "supposing"), strings.Join(parts, ", "))
}

func summary(s spec.Summary) string {
	parts := []string{strconv.Itoa(s.Start) + " to start"}
	if s.Update > 0 {
		parts = append(parts, strconv.Itoa(s.Update)+" to update in place")
	}
	parts = append(parts, strconv.Itoa(s.Replace)+" to replace", strconv.Itoa(s.Stop)+" to stop")
	if s.Move > 0 {
		parts = append(parts, strconv.Itoa(s.Move)+" to move")
	}
	if s.Preempt > 0 {
		parts = append(parts, strconv.Itoa(s.Preempt)+" preempted")
	}
	parts = append(parts, strconv.Itoa(s.Blocked)+" blocked")
	if s.Failed > 0 {
		parts = append(parts, spec.Plural(s.Failed, "rollout")+" failed")
	}
	if s.Held > 0 {
		parts = append(parts, spec.Plural(s.Held, "app")+" held")
	}
	if s.Forget > 0 {
		parts = append(parts, spec.Plural(s.Forget, "app")+" to forget")
	}
	return strings.Join(parts, ", ") + "."
}
