package view

import (
	"fmt"
	"slices"
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
			head += ", " + plural(plan.Base.Behind, "commit") + " behind"
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
			text += " (" + plural(len(l.Nodes), "node") + ")"
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
		parts = append(parts, plural(s.Failed, "rollout")+" failed")
	}
	return strings.Join(parts, ", ") + "."
}

func (p *Page) appPlan(a *spec.AppPlan, o PlanOptions) {
	p.Line("")
	symbol := p.symbol(actionOf(a))
	if a.Unfinished() && a.Idle() {
		symbol = p.paint(red, "!")
	}
	head := fmt.Sprintf("  %s app %q", symbol, a.App)
	for _, f := range a.Fields {
		if f.Path == "count" && f.From != "" {
			head += fmt.Sprintf("   count %s → %s", f.From, f.To)
		}
	}
	p.placed(head, position(a.Pos))
	if a.Held != "" {
		p.Line("      %s %s", p.paint(yellow, "held:"), a.Held)
	}
	if a.Waits != nil {
		p.Line("      %s %s", p.paint(yellow, "waits:"), p.wait(a.Waits))
	}
	p.unfinished(a)
	for _, f := range a.Fields {
		p.field(&f)
	}
	for _, s := range a.Steps {
		p.Line("      %s", s)
	}
	for _, s := range a.Stay {
		p.Line("        %s", stay(a.App, &s, o.All))
	}
	p.changes(a.Changes, o)
	if a.Blocked != nil {
		p.blocked(a.Blocked, "      ")
	}
}

// unfinished says of an app whose rollout has failed what runs instead of what the commit asks for.
func (p *Page) unfinished(a *spec.AppPlan) {
	if !a.Unfinished() {
		return
	}
	runs := "the rollout of commit " + a.Rollout.Commit.Short() + " failed"
	if a.Older != "" {
		runs = "runs the version of commit " + a.Older.Short() + ": " + runs
	}
	p.Line("      %s %s", p.paint(red, "!"), runs)
	p.Line("          %s", a.Rollout.Reason)
	p.Line("          %s", MendRollout(a.Rollout))
}

// MendRollout says what to do about a rollout that has failed.
func MendRollout(r *spec.Rollout) string {
	if r.Failed == "" {
		return "mend it and commit"
	}
	return "stowage logs " + string(r.Failed) + " has what it said; mend it and commit"
}

// actionOf is what a plan does to an app as a whole: it stops one only if nothing of it goes on.
func actionOf(a *spec.AppPlan) spec.ChangeKind {
	if a.Action != spec.ChangeStop {
		return a.Action
	}
	action := spec.ChangeStop
	if len(a.Stay) > 0 {
		action = spec.ChangeStay
	}
	for i := range a.Changes {
		if kind := a.Changes[i].Kind; kind != spec.ChangeStop && kind != spec.ChangeStay {
			return kind
		}
	}
	return action
}

// placed prints a line with a position at its right edge.
func (p *Page) placed(text, place string) {
	right := 76
	if p.Width > 0 {
		right = min(right, p.Width)
	}
	space := max(2, right-width(text)-width(place))
	p.Line("%s%s%s", text, strings.Repeat(" ", space), p.paint(dim, place))
}

func position(at spec.Pos) string {
	if at.File == "" {
		return ""
	}
	return at.File + ":" + strconv.Itoa(at.Line)
}

func (p *Page) field(f *spec.FieldChange) {
	var change string
	switch {
	case f.From == "":
		change = fmt.Sprintf("%s %s   %s", p.paint(green, "+"), f.Path, f.To)
	case f.To == "":
		change = fmt.Sprintf("%s %s   %s", p.paint(red, "-"), f.Path, f.From)
	default:
		change = fmt.Sprintf("%s %s   %s → %s", p.paint(yellow, "~"), f.Path, f.From, f.To)
	}
	text := "      " + change
	if f.Effect != "" {
		text = pad(text, 51) + "  " + p.paint(dim, "# "+f.Effect)
	}
	p.Line("%s", text)
}

func stay(app spec.AppName, s *spec.SlotRange, all bool) string {
	slots := fmt.Sprintf("%s[%d]", app, s.First)
	verb := "stays on"
	if s.Last > s.First {
		slots = fmt.Sprintf("%s[%d..%d]", app, s.First, s.Last)
		verb = "stay on"
	}
	names := make([]string, 0, len(s.Nodes))
	for i, n := range s.Nodes {
		if i == foldAfter && !all {
			names = append(names, fmt.Sprintf("… %d more", len(s.Nodes)-i))
			break
		}
		names = append(names, string(n))
	}
	return pad(slots, 16) + "  " + verb + "  " + strings.Join(names, " ")
}

func (p *Page) changes(changes []spec.Change, o PlanOptions) {
	shown, last := 0, ""
	for i := range changes {
		c := &changes[i]
		if c.Kind == spec.ChangeStay || c.Kind == spec.ChangeBlocked {
			continue
		}
		if shown == foldAfter && !o.All {
			p.Line("        … and %d more (--all shows them)", len(changes)-i)
			return
		}
		shown++
		p.Line("      %s %s  %s", p.symbol(c.Kind), pad(c.Slot.String(), 16), p.change(c))
		if reason := p.why(c); reason != last && reason != "" {
			p.Line("          %s", p.paint(dim, "# "+reason))
			last = reason
		}
		for _, v := range c.Victims {
			p.Line("          %s preempts %s (priority %d)", p.paint(red, "-"), v.ID, v.Priority)
		}
	}
}

// change says where a slot goes, how good that place is and when.
func (p *Page) change(c *spec.Change) string {
	var where string
	switch {
	case c.Kind == spec.ChangeStop:
		where = "on " + string(c.From)
	case c.From == "" || c.From == c.Node && c.Kind != spec.ChangeMove:
		where = "→ " + string(c.Node)
	default:
		where = string(c.From) + " → " + string(c.Node)
	}
	if c.Kind == spec.ChangeUpdate {
		where = "on " + string(c.Node)
	}
	text := pad(where, 10)
	if s := c.Score; s != nil {
		text += "  " + hundredths(s.Total)
		if s.Next != "" {
			text += fmt.Sprintf(" (next %s %s", s.Next, hundredths(s.NextAt))
			if s.NextWhy != "" {
				text += ": " + s.NextWhy
			}
			text += ")"
		}
	}
	for _, port := range c.Ports {
		text += fmt.Sprintf("  %s :%d", port.Name, port.Number)
	}
	text += namedWords(c.Devices, c.Cores)
	if c.Canary {
		text += "  canary"
	}
	return text
}

func hundredths(m spec.Milli) string { return fmt.Sprintf("%.2f", float64(m)/1000) }

// why gives the reason of a change, and what it waits for.
func (p *Page) why(c *spec.Change) string {
	reason := c.Reason
	if !c.Now && c.After != "" {
		if reason != "" {
			reason += "; "
		}
		reason += c.After
	}
	return reason
}

// foldGroups is how many groups of nodes are told of one app before the rest is counted.
const foldGroups = 8

// blocked prints what stands in the way of slots and how to get it out of it.
func (p *Page) blocked(b *spec.Blocked, indent string) {
	p.Line("%s%s %s", indent, p.paint(red, "!"), verdict(b))
	p.obstacles(b, indent)
	if len(b.Fix) > 0 {
		p.Line("%s    would fit with %s", indent, strings.Join(b.Fix, ", or "))
	}
	for i := range b.Served {
		p.Line("%s    %s", indent, b.Served[i].Why)
	}
	if b.Failed != nil {
		p.Line("%s    stowage logs %s has what it said", indent, b.Failed.ID)
	}
	if b.After != 0 {
		p.Line("%s    tried again at %s", indent, b.After.Std().Format("15:04:05"))
	}
}

// obstacles prints what stands in the way: what no node can help, then the nodes by what they fail.
func (p *Page) obstacles(b *spec.Blocked, indent string) {
	for _, r := range b.Reasons {
		if inGroups(b, r.Rule) {
			continue
		}
		text := r.Rule
		if r.Nodes > 0 && len(b.Groups) == 0 || r.Nodes > 0 && r.Nodes == b.Feasible {
			text = plural(r.Nodes, "node") + ": " + r.Rule
		}
		if r.Detail != "" {
			text += " (" + r.Detail + ")"
		}
		p.Line("%s    %s", indent, text)
	}
	for i, g := range b.Groups {
		if i == foldGroups {
			rest := 0
			for _, o := range b.Groups[i:] {
				rest += o.Nodes
			}
			p.Line("%s    … and %s in %d more groups (--json has them)", indent, plural(rest, "node"), len(b.Groups)-i)
			break
		}
		text := plural(g.Nodes, "node") + ": " + strings.Join(g.Rules, ", and ")
		if g.Detail != "" {
			text += " (" + g.Detail + ")"
		}
		p.Line("%s    %s", indent, text)
	}
}

// verdict says how many of an app's slots wait, and what is the matter with them: they have no place, work on where they
// are until they have another, or wait before they are tried again.
func verdict(b *spec.Blocked) string {
	var parts []string
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, strconv.Itoa(n)+" "+many)
		}
	}
	if b.After != 0 {
		add(len(b.Slots), "failed and waits for its next attempt", "failed and wait for their next attempt")
	} else {
		add(b.Homeless(), "does not fit", "do not fit")
		add(b.Leaving, mustMove, mustMove)
		add(b.Kept, "cannot be replaced yet", "cannot be replaced yet")
	}
	if len(parts) == 1 {
		n, rest, _ := strings.Cut(parts[0], " ")
		return fmt.Sprintf("%s of %d %s", n, b.Of, rest)
	}
	return fmt.Sprintf("%d of %d: %s", len(b.Slots), b.Of, strings.Join(parts, ", "))
}

// mustMove is said of what works on a node that it has to leave, wherever that is told.
const mustMove = "must move and cannot yet"

// inGroups reports whether a rule is told with the nodes that fail it.
func inGroups(b *spec.Blocked, rule string) bool {
	return slices.ContainsFunc(b.Groups, func(g spec.NodeGroup) bool { return slices.Contains(g.Rules, rule) })
}

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
		p.Line("  reserved   %s for role %s: %s on each of %s, %s of it not used", r.Name, r.Role, amounts(r.Each), plural(r.Nodes, "node"), amounts(r.Unused))
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
			p.Line("             … and %d more apps with too little room on the way", len(w.Tight)-i)
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
		parts = append(parts, fmt.Sprintf("stops %s before the next one runs, for lack of room", plural(t.StopFirst, "allocation")))
	}
	if t.Waits > 0 {
		parts = append(parts, "waits for room on "+plural(len(t.Nodes), "node"))
	}
	if t.Missing > 0 {
		parts = append(parts, fmt.Sprintf("has no place for %s for a while", plural(t.Missing, "slot")))
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
			p.Line("  if a %s fails   no node has the attribute %q", d.Attribute, d.Attribute)
		default:
			p.Line("  if a %s fails   not looked at: too much runs in each of its %s", d.Attribute, plural(d.Of, "value"))
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
	p.Line("  if a %s fails   worst %s: %s displaced, %s", what, l.Name, plural(l.Displaced, "allocation"), rest)
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
