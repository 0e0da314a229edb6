package view

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// Allocations prints a table of allocations.
func (p *Page) Allocations(list []spec.AllocationView) {
	if len(list) == 0 {
		p.Line("Nothing runs.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		a := &list[i]
		rows[i] = []string{a.Slot.String(), string(a.Node), p.stateWord(a), strconv.Itoa(a.Restarts), p.Age(a.Since), string(a.ID), portWords(a.Ports), troubleWords(a)}
	}
	p.Table([]string{"SLOT", "NODE", "STATE", "RESTARTS", "SINCE", "ALLOCATION", "PORTS", "REASON"}, rows)
}

// troubleWords says what is wrong with an allocation, and what it said.
func troubleWords(a *spec.AllocationView) string {
	trouble := a.Trouble()
	if said := a.Said(); said != "" && trouble != "" {
		trouble += "; it said last: " + said
	}
	return trouble
}

func (p *Page) stateWord(a *spec.AllocationView) string {
	word := string(a.State)
	if a.State == spec.StateRunning {
		word = "healthy"
		if !a.Healthy {
			word = "running, not healthy"
		}
	}
	if a.Canary {
		word += " (canary)"
	}
	return word
}

func portWords(ports []spec.Port) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = p.Name + ":" + strconv.Itoa(p.Number)
		if p.Protocol == spec.UDP {
			words[i] += "/udp"
		}
	}
	return strings.Join(words, " ")
}

// Apps prints a table of apps.
func (p *Page) Apps(list []api.App) {
	if len(list) == 0 {
		p.Line("The followed revision has no apps.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		a := &list[i]
		rows[i] = []string{string(a.Name), string(a.Kind), fmt.Sprintf("%d/%d", a.Healthy, a.Count), a.Commit.Short(), appNote(a)}
	}
	p.Table([]string{"APP", "KIND", "HEALTHY", "COMMIT", "NOTE"}, rows)
}

func appNote(a *api.App) string {
	switch {
	case a.Held != "":
		return "held: " + a.Held
	case len(a.Loops) > 0 && (a.Blocked == nil || told(a.Blocked, a.Loops)):
		return fmt.Sprintf("%s keeps ending, %d so far: %s", a.Loops[0].Slot, a.Loops[0].Ends, a.Loops[0].Why)
	case a.Blocked != nil && a.Blocked.Failed != nil:
		return fmt.Sprintf("%d failed: %s", len(a.Blocked.Slots), a.Blocked.Failed.Why)
	case a.Blocked != nil && len(a.Blocked.Reasons) > 0:
		return fmt.Sprintf("%d blocked: %s", len(a.Blocked.Slots), a.Blocked.Reasons[0].Rule)
	case a.Rollout != nil && a.Rollout.State == spec.RolloutCanaries:
		return "canaries run; stowage promote " + string(a.Name) + " lets them replace the rest"
	case a.Rollout != nil && a.Rollout.State != spec.RolloutDone:
		note := "rollout " + string(a.Rollout.State)
		if a.Rollout.Reason != "" {
			note += ": " + a.Rollout.Reason
		}
		return note
	}
	return ""
}

// Nodes prints a table of nodes.
func (p *Page) Nodes(list []api.Node) {
	if len(list) == 0 {
		p.Line("No node has joined. On the machine that should: stowage agent --master URL --join TOKEN (stowage token create --kind agent makes the token).")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		n := &list[i]
		state := string(n.State)
		if n.State == spec.NodeDraining && n.Drain != nil {
			state = fmt.Sprintf("draining: %d left", n.Drain.Left)
			if n.Drain.Waiting > 0 {
				state += fmt.Sprintf(", %d %s", n.Drain.Waiting, mustMove)
			}
		}
		rows[i] = []string{string(n.ID), state, string(n.Pool.Or()), n.Address,
			fmt.Sprintf("%s/%s", n.Used.CPU, n.Capacity.CPU), fmt.Sprintf("%s/%s", n.Used.Memory, n.Capacity.Memory),
			strconv.Itoa(n.Allocations), p.Age(n.LastSeen)}
	}
	p.Table([]string{"NODE", "STATE", "POOL", "ADDRESS", "CPU", "MEMORY", "ALLOCATIONS", "SEEN"}, rows)
}

// Node prints one node with its attributes and what runs on it.
func (p *Page) Node(n *api.Node, on []spec.AllocationView) {
	p.Line("%s   %s since %s, seen %s", p.paint(bold, "Node "+string(n.ID)), n.State, p.Age(n.Since), p.Ago(n.LastSeen))
	p.pairs([][2]string{{"pool", string(n.Pool.Or())}, {"address", n.Address}, {"agent", n.Agent},
		{"cpu", fmt.Sprintf("%s of %s used", n.Used.CPU, n.Capacity.CPU)},
		{"memory", fmt.Sprintf("%s of %s used", n.Used.Memory, n.Capacity.Memory)},
		{"disk", fmt.Sprintf("%s of %s used", n.Used.Disk, n.Capacity.Disk)}})
	for _, name := range n.Capacity.Names() {
		p.pairs([][2]string{{name, fmt.Sprintf("%s of %s used", n.Used.Named[name], n.Capacity.Named[name])}})
	}
	p.pairs([][2]string{{"reserved", amounts(n.Reserved)}})
	for _, r := range n.Reservations {
		p.pairs([][2]string{{"kept", fmt.Sprintf("%s for role %s (%s), %s of it not used", amounts(r.Amount), r.Role, r.Name, amounts(r.Unused))}})
	}
	p.named(n, on)
	if n.Drain != nil {
		p.pairs([][2]string{{"draining", "since " + p.Age(n.Drain.Since) + ": " + p.DrainLine(n)}, {"", n.Drain.Reason}})
		p.waits(n)
	}
	p.Line("")
	p.Line("%s", p.paint(bold, "Attributes"))
	for _, name := range sortedKeys(n.Attributes) {
		p.Line("  %s  %s", pad(name, 18), n.Attributes[name])
	}
	p.Line("")
	p.Allocations(on)
}

func (p *Page) pairs(list [][2]string) {
	for _, kv := range list {
		if kv[1] != "" {
			p.Line("  %s  %s", pad(kv[0], 11), kv[1])
		}
	}
}

// History prints the followed revisions, newest first.
func (p *Page) History(list []api.HistoryEntry) {
	if len(list) == 0 {
		p.Line("No revision was followed yet.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		h := &list[i]
		note := h.By
		if h.Left != "" {
			note = "rolled back from " + h.Left.Short()
		}
		changes := summary(h.Summary)
		if h.Summary.Blocked > 0 { // which may say more of the nodes than of the commit
			changes = "with " + spec.Plural(h.Nodes, "node") + ": " + changes
		}
		rows[i] = []string{p.Age(h.Time), h.Commit.Short(), string(h.Plan), changes, h.Subject, note}
	}
	p.Table([]string{"AGE", "COMMIT", "PLAN", "PLANNED", "SUBJECT", "BY"}, rows)
}

// Roles prints who has which share.
func (p *Page) Roles(list []api.Role) {
	rows := make([][]string, len(list))
	limit := func(r *spec.Resources) string {
		if r == nil {
			return "-"
		}
		return amounts(*r)
	}
	for i := range list {
		r := &list[i]
		share := percent(int64(r.Share), 1000)
		if r.Dominant != "" {
			share += " of " + r.Dominant
		}
		rows[i] = []string{string(r.Name), strconv.Itoa(r.Weight), share, strconv.Itoa(r.Allocations), amounts(r.Used), limit(r.Quota), limit(r.Guarantee)}
	}
	p.Table([]string{"ROLE", "WEIGHT", "SHARE", "ALLOCATIONS", "USED", "QUOTA", "GUARANTEE"}, rows)
}

// Tokens prints tokens without their secrets.
func (p *Page) Tokens(list []api.Token) {
	rows := make([][]string, len(list))
	for i := range list {
		t := &list[i]
		ends := "never"
		if t.Expires != 0 {
			ends = t.Expires.Std().Format("2006-01-02 15:04")
		}
		rows[i] = []string{t.ID, t.Kind, t.Name, p.Age(t.Created), ends}
	}
	p.Table([]string{"TOKEN", "KIND", "NAME", "AGE", "ENDS"}, rows)
}

// Plugins prints how the plugins are.
func (p *Page) Plugins(list []api.Plugin) {
	if len(list) == 0 {
		p.Line("The followed revision uses no plugins.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		g := &list[i]
		rows[i] = []string{g.Name, string(g.Kind), g.State, strconv.Itoa(g.Pid), strconv.Itoa(g.Restarts), cut(g.SHA256, 12), g.Reason}
	}
	p.Table([]string{"PLUGIN", "KIND", "STATE", "PID", "RESTARTS", "SHA256", "REASON"}, rows)
}

// Event prints one line of the story.
func (p *Page) Event(e *spec.Event) {
	why := ""
	if e.Why != "" {
		why = p.paint(dim, "  # "+spec.Printable(e.Why))
	}
	p.Line("%s  %s  %s%s", p.paint(dim, e.Time.Std().Local().Format("15:04:05.000")), pad(e.Subject, 16), spec.Printable(e.What), why)
}
