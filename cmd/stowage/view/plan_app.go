package view

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

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
	if a.Forget {
		p.Line("      it left the repository; nothing of it runs, and it is not tried again")
	}
	if a.Waits != nil {
		p.Line("      %s %s", p.paint(yellow, "waits:"), p.wait(a.Waits))
	}
	p.unfinished(a)
	p.images(a.Images)
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
	if r.Logs == "" {
		return "mend it and commit"
	}
	return "stowage logs " + r.Logs + " has what it said; mend it and commit"
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

// images says what the tags of images mean.
func (p *Page) images(list []string) {
	for _, image := range list {
		if name, digest, ok := strings.Cut(image, "@"); ok {
			p.Line("      image %s → %s", name, spec.ShortDigest(digest))
		}
	}
}

// shortImage cuts the digest of an image down.
func shortImage(image string) string {
	name, digest, ok := strings.Cut(image, "@")
	if !ok {
		return image
	}
	return name + "@" + spec.ShortDigest(digest)
}

func (p *Page) field(given *spec.FieldChange) {
	f := *given
	if strings.HasPrefix(f.Path, "task.") && strings.HasSuffix(f.Path, ".image") {
		f.From, f.To = shortImage(f.From), shortImage(f.To)
	}
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
