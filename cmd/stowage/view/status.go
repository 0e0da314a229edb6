package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Status prints how the cluster is, on one page. Diagnostics of a refused revision are printed by the caller.
func (p *Page) Status(s *api.Status) {
	name := s.Cluster
	if name == "" {
		name = "(no revision yet)"
	}
	p.Line("%s   master %s, %s", p.paint(bold, "Cluster "+name), s.Version, phaseWords(s))
	if f := s.Follows; f != nil {
		p.pairs([][2]string{{"follows", fmt.Sprintf("%s %q, %s", f.Commit.Short(), f.Subject, p.Ago(f.Time))}})
		if f.Left != "" {
			p.pairs([][2]string{{"rolled back", "from " + f.Left.Short() + "; stowage resume follows the branch again"}})
		}
	}
	source := s.Source.URL
	if s.Source.Branch != "" {
		source += " branch " + s.Source.Branch
	}
	p.pairs([][2]string{{"source", source + ", reached " + p.Ago(s.Source.Contact)}})
	if s.Source.Error != "" && !slices.ContainsFunc(s.Problems, func(g api.Problem) bool { return g.What == s.Source.Error }) {
		p.Line("  %s %s", p.paint(red, "source:"), s.Source.Error)
	}
	n := s.Nodes
	p.pairs([][2]string{{"nodes", fmt.Sprintf("%d ready, %d draining, %d drained, %d unknown, %d down", n.Ready, n.Draining, n.Drained, n.Unknown, n.Down)}})
	w := s.Work
	work := fmt.Sprintf("%s, %s: %d running, %d healthy, %d blocked", spec.Plural(w.Apps, "app"), spec.Plural(w.Allocations, "allocation"), w.Running, w.Healthy, w.Blocked)
	if w.Leaving > 0 {
		work += fmt.Sprintf(", %d must move and cannot yet", w.Leaving)
	}
	if w.Kept > 0 {
		work += fmt.Sprintf(", %d cannot be replaced yet", w.Kept)
	}
	if w.Looping > 0 {
		work += fmt.Sprintf(", %d ending again and again", w.Looping)
	}
	if w.Held > 0 {
		work += ", " + spec.Plural(w.Held, "app") + " held"
	}
	p.pairs([][2]string{{"work", work}})
	if r := s.Runs; r != nil {
		text := fmt.Sprintf("%d under way", r.Active)
		if r.Next != 0 {
			text += fmt.Sprintf(", next %s at %s", r.App, r.Local)
		}
		p.pairs([][2]string{{"runs", text}})
	}
	if s.Plan != nil && *s.Plan != (spec.Summary{}) {
		p.pairs([][2]string{{"to do", summary(*s.Plan)}})
	}
	p.windowWaits(s.Waits)
	if s.Pending != nil {
		p.Line("")
		p.Line("%s %s waits for approval (%s): %s", p.paint(yellow, "Plan"), s.Pending.Plan, s.Pending.Why, summary(s.Pending.Summary))
		p.Line("  stowage show %s    stowage apply %s", s.Pending.Plan, s.Pending.Plan)
	}
	said := false
	for _, problem := range s.Problems {
		if s.Refused != nil && problem.Subject == "commit "+s.Refused.Commit.Short() {
			continue // told in full below
		}
		if !said {
			p.Line("")
			said = true
		}
		p.Line("%s %s: %s", p.paint(red, "!"), problem.Subject, spec.Printable(problem.What))
		if l := problem.Loop; l != nil {
			p.Line("    %s", p.loop(l))
		}
		if problem.Remedy != "" {
			p.Line("    %s", problem.Remedy)
		}
	}
	if s.Refused != nil {
		p.Line("")
		p.refused(s.Refused)
	}
}

func phaseWords(s *api.Status) string {
	if s.Waiting != "" {
		return string(s.Phase) + ": " + s.Waiting
	}
	return string(s.Phase)
}

// loop says how often a slot's tasks have ended, since when, and when it is tried again: "ended 7 times in 4m, last 3s ago; tried again in 12s".
func (p *Page) loop(l *api.Loop) string {
	text := "ended once"
	if l.Ends > 1 {
		text = fmt.Sprintf("ended %d times since %s (%s)", l.Ends, p.clock(l.Since), p.Ago(l.Since))
	}
	if l.Last != 0 {
		text += ", last " + strings.Replace(p.Ago(l.Last), "now", "just now", 1)
	}
	switch {
	case l.Next == 0:
		return text + "; it is on " + string(l.Node) + " now"
	case l.Next < p.Now.Add(spec.Second):
		return text + "; tried again now"
	}
	return text + fmt.Sprintf("; tried again at %s (in %s)", p.clock(l.Next), age(l.Next.Sub(p.Now)))
}

// Explanation prints why something is as it is; of an app also its allocations.
func (p *Page) Explanation(e *api.Explanation, list []spec.AllocationView) {
	p.Line("%s", p.paint(bold, e.Subject))
	if e.Run != nil {
		p.Run(e.Run)
	}
	if e.Runs != nil {
		p.RunsOf([]api.Runs{*e.Runs})
	}
	if a := e.Spec; a != nil && e.Allocation == nil && e.Run == nil {
		p.pairs([][2]string{{"kind", string(a.Kind)}, {"count", p.count(a, e.Scale)}, {"role", string(a.Role)}})
	}
	if a := e.Allocation; a != nil {
		p.pairs([][2]string{{"allocation", string(a.ID)}, {"node", string(a.Node)}, {"state", p.stateWord(a)}, {"since", p.Age(a.Since)},
			{"reason", spec.Printable(a.Reason)}, {"placed", a.Why}, {"stopped", a.StopReason}, {"commit", a.Commit.Short()}, {"ports", portWords(a.Ports)},
			{"devices", spec.DeviceList(a.Devices)}, {"cores", spec.CoreList(spec.AllCores(a.Cores))}})
		for i := range a.Tasks {
			p.task(&a.Tasks[i])
		}
	}
	if c := e.Change; c != nil && c.Score != nil {
		p.score("score", c.Score, "by plan "+string(e.Plan))
	}
	if c := e.Again; c != nil && c.Score != nil && e.Allocation != nil {
		where := "it would go there again"
		if c.Node != e.Allocation.Node {
			where = "it would go to " + string(c.Node)
		}
		p.score("now", c.Score, "if it were placed now: "+where)
	}
	if e.Held != "" {
		p.Line("  held: %s", e.Held)
	}
	if e.Waits != nil {
		p.Line("  waits: %s", p.wait(e.Waits))
	}
	if r := e.Rollout; r != nil {
		p.pairs([][2]string{{"rollout", string(r.State) + " to version " + string(r.Target) + " of commit " + r.Commit.Short()}, {"", r.Reason}})
		if r.State == spec.RolloutFailed || r.State == spec.RolloutReverting {
			p.pairs([][2]string{{"", MendRollout(r)}})
		}
	}
	if e.Next != nil {
		p.pairs([][2]string{{"next", string(e.Next.Kind) + ": " + p.why(e.Next)}})
	}
	p.loops(e.Loops, "  ", e.Allocation == nil)
	if e.Blocked != nil && !told(e.Blocked, e.Loops) {
		p.blocked(e.Blocked, "  ")
	}
	p.misplaced(e.Misplaced, "  ")
	if len(list) > 0 {
		p.Line("")
		p.Allocations(list)
	}
	p.Story(e.Story)
}

// count tells how many allocations an app should have, and who says so where that is not Git alone.
func (p *Page) count(a *spec.App, s *spec.Scale) string {
	n := strconv.Itoa(a.Count)
	if a.Scaling == nil {
		return n
	}
	n += fmt.Sprintf(", between %d and %d", a.Scaling.Min, a.Scaling.Max)
	if s == nil {
		return n + "; nobody has scaled it"
	}
	n += fmt.Sprintf("; %s chose it %s", s.By, p.Ago(s.At))
	if s.Reason != "" {
		n += ": " + s.Reason
	}
	return n
}

// score prints how good a place is, what that is made of, and which was next.
func (p *Page) score(name string, s *spec.Score, when string) {
	p.Line("  %s  %s of %s %s", pad(name, 11), hundredths(s.Total), spec.Plural(s.Feasible, "feasible node"), when)
	for _, part := range s.Parts {
		p.Line("    %s  %s", pad(part.Name, 20), hundredths(part.Value))
	}
	if s.Next != "" {
		p.Line("    next best %s with %s: %s", s.Next, hundredths(s.NextAt), s.NextWhy)
	}
}

// Story prints what happened to one thing, oldest first.
func (p *Page) Story(story []spec.Event) {
	if len(story) == 0 {
		return
	}
	p.Line("")
	p.Line("%s", p.paint(bold, "Story"))
	for i := range story {
		p.Event(&story[i])
	}
}

func (p *Page) task(t *spec.TaskStatus) {
	text := fmt.Sprintf("  %s  %s", pad("task", 11), t.Name)
	if t.Pid != 0 {
		text += fmt.Sprintf(", pid %d", t.Pid)
	}
	text += ", " + string(t.State)
	if t.Restarts > 0 {
		text += ", " + spec.Plural(t.Restarts, "restart")
	}
	if t.Reason != "" {
		text += ": " + spec.Printable(t.Reason)
	}
	p.Line("%s", text)
	if t.Output != "" {
		p.Line("    it said last: %s", spec.Printable(t.Output))
	}
	for i := range t.Checks {
		p.check(&t.Checks[i])
	}
}

// check prints the answer of a check: "check ready fails 12 or more times in a row, for 3m: connection refused".
func (p *Page) check(c *spec.Result) {
	word := p.paint(green, "passes")
	if !c.Passing {
		word = p.paint(red, "fails")
		if c.Row > 1 {
			word += fmt.Sprintf(" %d or more times in a row", c.Row)
		}
	}
	if c.Since != 0 {
		word += ", for " + p.Age(c.Since)
	}
	if c.Output != "" {
		word += ": " + spec.Printable(c.Output)
	}
	p.Line("    check %s %s", c.Check, word)
}

// Diff prints what differs between two plans.
func (p *Page) Diff(d *api.Diff) {
	if len(d.Only)+len(d.New)+len(d.Changed) == 0 {
		p.Line("%s and %s do the same.", d.From, d.To)
		return
	}
	first := true
	for _, part := range []struct {
		title string
		lines []string
	}{{"Only " + string(d.From) + " does", d.Only}, {"Only " + string(d.To) + " does", d.New}, {"Both do, differently", d.Changed}} {
		if len(part.lines) == 0 {
			continue
		}
		if !first {
			p.Line("")
		}
		first = false
		p.Line("%s (%s)", p.paint(bold, part.title), spec.Plural(len(part.lines), "step"))
		for i, line := range part.lines {
			if i == foldAfter {
				p.Line("  … and %d more (--json has them)", len(part.lines)-i)
				break
			}
			p.Line("  %s", line)
		}
	}
}

// misplaced prints what runs where the rules of its app no longer allow.
func (p *Page) misplaced(list []spec.Misplaced, indent string) {
	for i := range list {
		if i == foldAfter {
			p.Line("%s… and %d more (--json has them)", indent, len(list)-i)
			return
		}
		p.Line("%s%s %s", indent, p.paint(yellow, "!"), list[i].String())
	}
}

// Why is what does not get on: of one app, or of the whole cluster.
type Why struct {
	App     string // "" for the whole cluster
	Apps    []api.BlockedApp
	Drains  []api.Node   // that are to be empty; those that get on are not told
	Refused *api.Refused // the newest revision, when it cannot be used
}

// told reports whether all that is blocked waits for its next attempt, which the loops tell better.
func told(b *spec.Blocked, loops []api.Loop) bool { return b.After != 0 && len(loops) >= len(b.Slots) }

// loops prints what ends again and again; long: with how it ended, which is not told elsewhere.
func (p *Page) loops(list []api.Loop, indent string, long bool) {
	for i := range list {
		l := &list[i]
		if i == foldAfter {
			p.Line("%s… and %d more (--json has them)", indent, len(list)-i)
			return
		}
		p.Line("%s%s %s %s", indent, p.paint(red, "!"), l.Slot, p.loop(l))
		if !long {
			continue
		}
		p.Line("%s    %s", indent, spec.Printable(l.Why))
		if l.Said != "" {
			p.Line("%s    it said last: %s", indent, spec.Printable(l.Said))
		}
		if l.Logs != "" {
			p.Line("%s    stowage logs %s has what it said", indent, l.Logs)
		}
	}
}

// Why prints what has no place, is held, waits or has failed, and why. Diagnostics of a refused revision are printed by the caller.
func (p *Page) Why(w Why) {
	drains := slices.DeleteFunc(slices.Clone(w.Drains), func(n api.Node) bool {
		return n.Drain == nil || n.Drain.Left == 0 || n.Drain.Wait == nil && n.Drain.Waiting == 0
	})
	switch {
	case len(w.Apps)+len(drains) > 0 || w.Refused != nil:
	case w.App != "":
		p.Line("Nothing of %s is blocked or held or ends again and again, none of it waits for a window, its rollout has not failed, and all of it stands where its rules allow.", w.App)
	default:
		p.Line("Nothing is blocked or held or ends again and again, nothing waits for a window, no rollout has failed, and everything stands where its rules allow.")
	}
	for i := range w.Apps {
		b := &w.Apps[i]
		p.placed(fmt.Sprintf("%s app %q", p.paint(red, "!"), b.App), position(b.Pos))
		if b.Held != "" {
			p.Line("    held: %s", b.Held)
		}
		if b.Waits != nil {
			p.Line("    waits: %s", p.wait(b.Waits))
		}
		if b.Rollout != nil {
			p.Line("    %s the rollout of commit %s failed: %s", p.paint(red, "!"), b.Rollout.Commit.Short(), b.Rollout.Reason)
			p.Line("        %s", MendRollout(b.Rollout))
		}
		p.loops(b.Loops, "    ", true)
		if b.Blocked != nil && !told(b.Blocked, b.Loops) {
			p.blocked(b.Blocked, "    ")
		}
		p.misplaced(b.Misplaced, "    ")
	}
	for i := range drains {
		p.Line("%s drain of %s: %s", p.paint(red, "!"), drains[i].ID, p.DrainLine(&drains[i]))
		p.waits(&drains[i])
	}
	if w.Refused != nil {
		p.refused(w.Refused)
	}
}

// refused says that the newest revision is not used.
func (p *Page) refused(r *api.Refused) {
	p.Line("%s commit %s %q is not used; the last good revision stays", p.paint(red, "!"), r.Commit.Short(), r.Subject)
}
