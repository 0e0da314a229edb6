package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

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
	if b.Failed != nil && b.Failed.Logs != "" {
		p.Line("%s    stowage logs %s has what it said", indent, b.Failed.Logs)
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
			text = spec.Plural(r.Nodes, "node") + ": " + r.Rule
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
			p.Line("%s    … and %s in %s (--json has them)", indent, spec.Plural(rest, "node"), spec.Plural(len(b.Groups)-i, "more group"))
			break
		}
		text := spec.Plural(g.Nodes, "node") + ": " + strings.Join(g.Rules, ", and ")
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
