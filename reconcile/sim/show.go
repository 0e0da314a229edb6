package sim

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// printer writes what a script shows.
type printer struct {
	w    *world
	json bool
	out  func(string)
}

// table is a list in both forms: objects for programs, columns for people.
type table struct {
	items []any
	head  []string
	rows  [][]string
}

func (t *table) add(item any, row ...any) {
	t.items = append(t.items, item)
	var cells []string
	for _, c := range row {
		cells = append(cells, fmt.Sprint(c))
	}
	t.rows = append(t.rows, cells)
}

func (p *player) show(args []string) error {
	core := p.world.master.core
	switch args[0] {
	case "allocations":
		p.out.print(args[0], showAllocations(p.world))
	case "nodes":
		p.out.print(args[0], showNodes(core))
	case "apps":
		p.out.print(args[0], showApps(core))
	case "roles":
		p.out.print(args[0], showRoles(core))
	case "blocked":
		p.out.print(args[0], showBlocked(core))
	case "runs":
		p.out.print(args[0], showRuns(core))
	case "events":
		p.out.print(args[0], showEvents(p.world))
	case "plan":
		p.showPlan(p.plan())
	default:
		return fmt.Errorf("%q cannot be shown: allocations, nodes, apps, roles, blocked, runs, plan and events can", args[0])
	}
	return nil
}

func (p *printer) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		p.w.violated("a line of output does not encode: %v", err)
		return
	}
	p.out(string(b))
}

func (p *printer) print(what string, t table) {
	if p.json {
		if t.items == nil {
			t.items = []any{}
		}
		p.line(struct {
			Show  string `json:"show"`
			Time  string `json:"time"`
			Items []any  `json:"items"`
		}{what, p.w.clock(), t.items})
		return
	}
	p.out(fmt.Sprintf("%s at %s", what, p.w.clock()))
	widths := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], len(c))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, c := range row {
			fmt.Fprintf(&b, "  %-*s", widths[i], c)
		}
		p.out(strings.TrimRight(b.String(), " "))
	}
}

func (p *printer) result(r *Result, story bool) {
	word, message := "ok", ""
	if r.Err != nil {
		word, message = "failed", r.Err.Error()
	}
	if p.json {
		p.line(struct {
			Result  string  `json:"result"`
			Error   string  `json:"error,omitempty"`
			Events  int     `json:"events"`
			Trace   string  `json:"trace"`
			Seed    uint64  `json:"seed"`
			Figures Figures `json:"figures"`
		}{word, message, r.Events, r.Trace, r.Seed, r.Figures})
		return
	}
	if story {
		p.out("")
		for _, line := range strings.Split(r.Figures.String(), "\n") {
			p.out(line)
		}
	}
	if r.Err != nil {
		p.out("failed: " + message)
	}
	p.out(fmt.Sprintf("%s: %d events in %s of virtual time, trace %s, seed %d", word, r.Events, p.w.clock(), r.Trace, r.Seed))
}

func showAllocations(w *world) table {
	t := table{head: []string{"slot", "node", "state", "healthy", "generation", "commit", "since", "reason"}}
	for _, v := range w.master.core.Allocations() {
		reason := v.Reason
		if reason == "" {
			reason = v.Why
		}
		since := w.moment(v.Since)
		t.add(struct {
			ID         spec.AllocationID  `json:"id"`
			App        spec.AppName       `json:"app"`
			Slot       int                `json:"slot"`
			Node       spec.NodeID        `json:"node"`
			State      spec.State         `json:"state"`
			Healthy    bool               `json:"healthy"`
			Generation spec.Generation    `json:"generation"`
			Commit     spec.Commit        `json:"commit"`
			Since      string             `json:"since"`
			Want       spec.Want          `json:"want"`
			Restarts   int                `json:"restarts"`
			Reason     string             `json:"reason"`
			Devices    []spec.DeviceGrant `json:"devices,omitempty"`
			Cores      []spec.CoreGrant   `json:"cores,omitempty"`
		}{v.ID, v.App, v.Index, v.Node, v.State, v.Healthy, v.Generation, v.Commit, since, v.Want, v.Restarts, reason, v.Devices, v.Cores},
			v.Slot, v.Node, v.State, v.Healthy, v.Generation, v.Commit.Short(), "t="+since, reason)
	}
	return t
}

func showNodes(core *control.Core) table {
	used := map[spec.NodeID]spec.Resources{}
	number := map[spec.NodeID]int{}
	for _, v := range core.Allocations() {
		if app := core.Version(v.Version); app != nil && !v.State.Terminal() {
			used[v.Node] = used[v.Node].Plus(app.Needs())
			number[v.Node]++
		}
	}
	t := table{head: []string{"node", "state", "pool", "cpu", "memory", "allocations"}}
	for _, n := range core.Nodes() {
		u := used[n.ID]
		t.add(struct {
			Node        spec.NodeID       `json:"node"`
			State       spec.NodeState    `json:"state"`
			Pool        spec.PoolName     `json:"pool"`
			Attributes  map[string]string `json:"attributes"`
			Capacity    spec.Resources    `json:"capacity"`
			Used        spec.Resources    `json:"used"`
			Allocations int               `json:"allocations"`
		}{n.ID, n.State, n.Pool.Or(), n.Attributes, n.Capacity, u, number[n.ID]},
			n.ID, n.State, n.Pool.Or(), fmt.Sprintf("%s/%s", u.CPU, n.Capacity.CPU), fmt.Sprintf("%s/%s", u.Memory, n.Capacity.Memory), number[n.ID])
	}
	return t
}

func showApps(core *control.Core) table {
	t := table{head: []string{"app", "kind", "desired", "running", "healthy", "blocked", "rollout"}}
	for _, v := range core.Apps() {
		rollout := ""
		if v.Rollout != nil {
			rollout = string(v.Rollout.State)
		}
		t.add(struct {
			App     spec.AppName `json:"app"`
			Kind    spec.Kind    `json:"kind"`
			Desired int          `json:"desired"`
			Running int          `json:"running"`
			Healthy int          `json:"healthy"`
			Blocked int          `json:"blocked"`
			Rollout string       `json:"rollout"`
			Held    string       `json:"held,omitempty"`
		}{v.App, v.Kind, v.Desired, v.Running, v.Healthy, v.Blocked, rollout, v.Held},
			v.App, v.Kind, v.Desired, v.Running, v.Healthy, v.Blocked, rollout)
	}
	return t
}

func showRoles(core *control.Core) table {
	t := table{head: []string{"role", "weight", "dominant", "share", "used", "quota", "guarantee"}}
	limit := func(r *spec.Resources) string {
		if r == nil {
			return "none"
		}
		return fmt.Sprintf("cpu %s, memory %s", r.CPU, r.Memory)
	}
	for _, v := range core.Roles() {
		t.add(v, v.Role, v.Weight, v.Dominant, v.Share, limit(&v.Used), limit(v.Quota), limit(v.Guarantee))
	}
	return t
}

func showBlocked(core *control.Core) table {
	type reason struct {
		Rule   string `json:"rule"`
		Nodes  int    `json:"nodes"`
		Detail string `json:"detail,omitempty"`
	}
	t := table{head: []string{"slot", "reasons", "fix"}}
	for _, b := range core.Explained() {
		var reasons []reason
		var texts []string
		for _, r := range b.Reasons {
			reasons = append(reasons, reason{r.Rule, r.Nodes, r.Detail})
			texts = append(texts, fmt.Sprintf("%d nodes: %s", r.Nodes, r.Rule))
		}
		for _, slot := range b.Slots {
			t.add(struct {
				App     spec.AppName `json:"app"`
				Slot    int          `json:"slot"`
				Reasons []reason     `json:"reasons"`
				Fix     []string     `json:"fix,omitempty"`
			}{b.App, slot, reasons, b.Fix},
				spec.Slot{App: b.App, Index: slot}, strings.Join(texts, "; "), strings.Join(b.Fix, ", or "))
		}
	}
	return t
}

func showEvents(w *world) table {
	t := table{head: []string{"time", "subject", "what", "why"}}
	for _, e := range w.master.events {
		at := w.moment(e.Time)
		t.add(struct {
			Time    string `json:"time"`
			Subject string `json:"subject"`
			What    string `json:"what"`
			Why     string `json:"why"`
		}{at, e.Subject, e.What, e.Why}, at, e.Subject, e.What, e.Why)
	}
	return t
}

func (p *player) showPlan(plan spec.Plan) {
	if p.out.json {
		p.out.line(struct {
			Show  string    `json:"show"`
			Time  string    `json:"time"`
			Items spec.Plan `json:"items"`
		}{"plan", p.world.clock(), plan})
		return
	}
	p.out.out(fmt.Sprintf("plan %s at %s, commit %s: %d to start, %d to update, %d to replace, %d to move, %d to stop, %d blocked", plan.ID, p.world.clock(),
		plan.Commit.Short(), plan.Summary.Start, plan.Summary.Update, plan.Summary.Replace, plan.Summary.Move, plan.Summary.Stop, plan.Summary.Blocked))
	for _, app := range plan.Apps {
		for _, ch := range app.Changes {
			line := fmt.Sprintf("  %-7s %s", ch.Kind, ch.Slot)
			if ch.From != "" && ch.From != ch.Node {
				line += " from " + string(ch.From)
			}
			if ch.Node != "" {
				line += " on " + string(ch.Node)
			}
			if !ch.Now && ch.After != "" {
				line += ", " + ch.After
			}
			p.out.out(line + ": " + ch.Reason)
		}
		if app.Held != "" {
			p.out.out("  held    " + string(app.App) + ": " + app.Held)
		}
	}
}
