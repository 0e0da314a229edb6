package view

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// maxNames is how many names are told one by one.
const maxNames = 5

// Names lists nodes in a sentence: "n1, n2 and 4 more".
func Names(nodes []spec.NodeID) string {
	var parts []string
	for i, n := range nodes {
		if i == maxNames && len(nodes) > maxNames+1 {
			return strings.Join(parts, ", ") + fmt.Sprintf(" and %d more", len(nodes)-i)
		}
		parts = append(parts, string(n))
	}
	return strings.Join(parts, ", ")
}

// DrainLine says in a line how far the drain of a node is.
func (p *Page) DrainLine(n *api.Node) string {
	d := n.Drain
	if d == nil {
		return "not draining"
	}
	if d.Left == 0 {
		return "drained"
	}
	parts := []string{fmt.Sprintf("%d left", d.Left)}
	if d.Wait != nil {
		parts = append(parts, "for "+d.Wait.Text)
	}
	for _, part := range []struct {
		n    int
		what string
	}{{d.Leaving, "stopping"}, {d.Moving, "moving"}, {d.Finishing, "finishing their work"}, {d.Last, "to go last"}, {d.Waiting, mustMove}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if until := p.deadline(d); until != "" {
		parts = append(parts, until)
	}
	return strings.Join(parts, ", ")
}

// deadline says when what is left is stopped all the same.
func (p *Page) deadline(d *spec.DrainProgress) string {
	switch {
	case d.Deadline == 0:
		return ""
	case p.Now >= d.Deadline:
		return "deadline passed"
	}
	return "stopped in " + p.Age(p.Now-spec.Time(d.Deadline.Sub(p.Now)))
}

// Drains prints the nodes that are to be empty, and what keeps them from it.
func (p *Page) Drains(list []api.Node) {
	if len(list) == 0 {
		p.Line("No node is draining. stowage drain NODE moves everything away from one.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		n := &list[i]
		rows[i] = []string{string(n.ID), string(n.State), p.Age(n.Drain.Since), p.DrainLine(n), n.Drain.Reason}
	}
	p.Table([]string{"NODE", "STATE", "SINCE", "PROGRESS", "REASON"}, rows)
	for i := range list {
		p.waits(&list[i])
	}
}

// waits prints the slots that cannot leave a node, and why.
func (p *Page) waits(n *api.Node) {
	list := n.Drain.Stays
	for len(list) > 0 {
		w, k := &list[0], 1
		names := []string{w.Slot.String()}
		for ; w.Blocked != nil && k < len(list) && list[k].Slot.App == w.Slot.App && list[k].Blocked != nil; k++ {
			names = append(names, list[k].Slot.String())
		}
		p.Line("  %s on %s %s: %s", strings.Join(names, ", "), n.ID, mustMove, w.Why)
		if w.Blocked != nil {
			p.obstacles(w.Blocked, "  ")
		}
		list = list[k:]
	}
	if n.Drain.Wait != nil {
		return
	}
	if more := n.Drain.Waiting - len(n.Drain.Stays); more > 0 {
		p.Line("  … and %d more", more)
	}
}
