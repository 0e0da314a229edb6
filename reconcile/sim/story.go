package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// The story of a run: each command, and below it what came of it, alike things folded into one line.

// foldWithin is how far apart alike things may be to be told in one line.
const foldWithin = 5 * spec.Minute

// passing are the steps on the way to running: they are left out, as their beginning and their end are told.
var passing = []string{string(spec.StatePreparing), string(spec.StateStarting), string(spec.StateRunning), string(spec.StateStopping)}

// told is one line of the story.
type told struct {
	From  string        `json:"from"`
	Until string        `json:"until,omitempty"`
	Who   string        `json:"who"`  // an app, a node, a commit
	What  string        `json:"what"` // in a few words
	Why   string        `json:"why,omitempty"`
	Slots []int         `json:"slots,omitempty"` // of an app
	Nodes []spec.NodeID `json:"nodes,omitempty"`
	Times int           `json:"times"`

	first, last spec.Time
}

// tell prints what happened during one command.
func (p *player) tell(c *command, since int, began spec.Time) {
	lines := fold(p.world, p.world.master.events[min(since, len(p.world.master.events)):])
	if p.out.json {
		p.out.line(struct {
			Story string  `json:"story"`
			Time  string  `json:"time"`
			Lines []*told `json:"lines"`
		}{c.text, p.world.moment(began), append([]*told{}, lines...)})
		return
	}
	p.out.out(fmt.Sprintf("%s  %s", short(began.Sub(p.world.began)), c.text))
	for _, l := range lines {
		p.out.out(fmt.Sprintf("    +%-8s %s", short(l.first.Sub(began)), l))
	}
}

// fold makes one line of alike things.
func fold(w *world, events []spec.Event) []*told {
	type key struct{ who, what, why string }
	open := map[key]*told{}
	var lines []*told
	for i := range events {
		e := &events[i]
		slot, isSlot := asSlot(e.Subject)
		who, what, node := e.Subject, e.What, spec.NodeID("")
		if isSlot {
			who = string(slot.App)
		} else if w.named[spec.NodeID(e.Subject)] != nil {
			who, node = "node", spec.NodeID(e.Subject)
		}
		if before, after, ok := strings.Cut(what, " on "); ok && w.named[spec.NodeID(after)] != nil {
			what, node = before, spec.NodeID(after)
		}
		if slices.Contains(passing, what) {
			continue
		}
		k := key{who, what, e.Why}
		l := open[k]
		if l == nil || e.Time.Sub(l.last) > foldWithin {
			l = &told{Who: who, What: what, Why: e.Why, first: e.Time, From: w.moment(e.Time)}
			open[k] = l
			lines = append(lines, l)
		}
		l.last, l.Times = e.Time, l.Times+1
		if e.Time > l.first {
			l.Until = w.moment(e.Time)
		}
		if isSlot && !slices.Contains(l.Slots, slot.Index) {
			l.Slots = append(l.Slots, slot.Index)
		}
		if node != "" && !slices.Contains(l.Nodes, node) {
			l.Nodes = append(l.Nodes, node)
		}
	}
	for _, l := range lines {
		slices.Sort(l.Slots)
		slices.SortFunc(l.Nodes, cmp.Compare[spec.NodeID])
	}
	return lines
}

func asSlot(text string) (spec.Slot, bool) {
	if !strings.HasSuffix(text, "]") {
		return spec.Slot{}, false
	}
	s, err := spec.ParseSlot(text)
	return s, err == nil
}

// maxNamed is how many nodes a line names.
const maxNamed = 6

// String prints the line.
func (l *told) String() string {
	var b strings.Builder
	nodes := names(l.Nodes)
	switch {
	case l.Who == "node":
		b.WriteString(nodes + " " + l.What)
	default:
		b.WriteString(l.Who)
		if len(l.Slots) > 0 {
			b.WriteString("[" + ranges(l.Slots) + "]")
		}
		b.WriteString(" " + l.What)
		if nodes != "" {
			b.WriteString(" on " + nodes)
		}
	}
	if l.Times > max(1, len(l.Slots), len(l.Nodes)) {
		fmt.Fprintf(&b, ", %d times", l.Times)
	}
	if l.last.Sub(l.first) >= spec.Second {
		b.WriteString(" within " + short(l.last.Sub(l.first)))
	}
	if l.Why != "" {
		b.WriteString(": " + l.Why)
	}
	return b.String()
}

func names(nodes []spec.NodeID) string {
	var out []string
	for _, n := range nodes[:min(len(nodes), maxNamed)] {
		out = append(out, string(n))
	}
	if more := len(nodes) - maxNamed; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// ranges prints sorted numbers: 0-4,7.
func ranges(list []int) string {
	var out []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if j > i {
			out = append(out, fmt.Sprintf("%d-%d", list[i], list[j]))
		} else {
			out = append(out, fmt.Sprint(list[i]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

// short is a duration for people: to the millisecond below a second, else to the tenth.
func short(d spec.Duration) string {
	if d < spec.Second {
		return inMillis(d).String()
	}
	return (d / (100 * spec.Millisecond) * (100 * spec.Millisecond)).String()
}
