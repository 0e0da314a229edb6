package reconcile_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/spec"
)

// The second implementation: it knows nothing of heaps, cells or batches and tries everything. Worlds are so small that
// it can.

type tiny struct {
	nodes []spec.NodeView
	apps  []*spec.App
}

// most returns the largest number of allocations that fit at all, over every way to place them.
func (w tiny) most() int {
	free := make([][2]int64, len(w.nodes))
	for i, n := range w.nodes {
		free[i] = [2]int64{int64(n.Capacity.CPU), int64(n.Capacity.Memory)}
	}
	return w.try(0, 0, 0, free, make([]int, len(w.nodes)))
}

// try decides about the next slot: leave it out, or put it on any node that takes it. Slots of an app are alike, so
// they go to nodes in order.
func (w tiny) try(app, slot, from int, free [][2]int64, own []int) int {
	if app == len(w.apps) {
		return 0
	}
	a := w.apps[app]
	if slot == a.Count {
		return w.try(app+1, 0, 0, free, make([]int, len(w.nodes)))
	}
	best := w.try(app+1, 0, 0, free, make([]int, len(w.nodes))) // the rest of the app is left out
	for n := from; n < len(w.nodes); n++ {
		if !w.takes(a, n, free, own) {
			continue
		}
		free[n][0] -= int64(a.Tasks[0].CPU)
		free[n][1] -= int64(a.Tasks[0].Memory)
		own[n]++
		best = max(best, 1+w.try(app, slot+1, n, free, own))
		own[n]--
		free[n][0] += int64(a.Tasks[0].CPU)
		free[n][1] += int64(a.Tasks[0].Memory)
	}
	return best
}

func (w tiny) takes(a *spec.App, n int, free [][2]int64, own []int) bool {
	if free[n][0] < int64(a.Tasks[0].CPU) || free[n][1] < int64(a.Tasks[0].Memory) {
		return false
	}
	for _, c := range a.Constraints {
		switch c.Operator {
		case spec.OpEqual:
			if w.nodes[n].Attributes["zone"] != c.Value {
				return false
			}
		case spec.OpDistinct:
			if own[n] > 0 {
				return false
			}
		case spec.OpMaxPer:
			zone, k := w.nodes[n].Attributes["zone"], 0
			for i := range own {
				if w.nodes[i].Attributes["zone"] == zone {
					k += own[i]
				}
			}
			if zone == "" || k >= c.Number {
				return false
			}
		}
	}
	return true
}

func drawTiny(t *rapid.T) tiny {
	var w tiny
	for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
		n := node(fmt.Sprint("n", i), spec.MilliCPU(rapid.IntRange(1, 4).Draw(t, "cpu")*1000), spec.Bytes(rapid.IntRange(1, 4).Draw(t, "memory"))*spec.GiB)
		if z := rapid.IntRange(0, 2).Draw(t, "zone"); z > 0 {
			n.Attributes["zone"] = fmt.Sprint("z", z)
		}
		w.nodes = append(w.nodes, n)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "apps") {
		a := asks(fmt.Sprint("app", i), rapid.IntRange(0, 3).Draw(t, "count"), spec.MilliCPU(rapid.IntRange(1, 3).Draw(t, "cpu")*1000), spec.Bytes(rapid.IntRange(1, 3).Draw(t, "memory"))*spec.GiB)
		switch rapid.IntRange(0, 5).Draw(t, "rule") {
		case 0:
			a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}}
		case 1:
			a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
		case 2:
			a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpMaxPer, Number: 1}}
		}
		w.apps = append(w.apps, a)
	}
	return w
}

// TestDumbPlannerAgrees: for a single app the planner places as many as fit at all. For several, a packing one after
// another may fall short of the best, but never exceeds it, leaves nothing out that still fits, and places everything
// where each app alone on its nodes would.
func TestDumbPlannerAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawTiny(rt)
		l := newLab(t, 0)
		l.in.Nodes = w.nodes
		l.commit(w.apps...)
		p, _ := strict(rt, l.in)
		asked := 0
		for _, a := range w.apps {
			asked += a.Count
		}
		if p.Summary.Start+p.Summary.Blocked != asked {
			rt.Fatalf("%d placed and %d blocked of %d", p.Summary.Start, p.Summary.Blocked, asked)
		}
		most := w.most()
		if p.Summary.Start > most || len(w.apps) == 1 && p.Summary.Start != most {
			rt.Fatalf("%d placed, the best is %d\n%s", p.Summary.Start, most, show(p))
		}
		w.nothingLeftOut(rt, p)
	})
}

// nothingLeftOut checks that no blocked slot fits beside what was placed.
func (w tiny) nothingLeftOut(t *rapid.T, p spec.Plan) {
	free := make([][2]int64, len(w.nodes))
	own := map[spec.AppName][]int{}
	for i, n := range w.nodes {
		free[i] = [2]int64{int64(n.Capacity.CPU), int64(n.Capacity.Memory)}
	}
	for _, a := range w.apps {
		own[a.Name] = make([]int, len(w.nodes))
	}
	for _, ap := range p.Apps {
		for _, c := range ap.Changes {
			for i, n := range w.nodes {
				if n.ID == c.Node {
					a := w.app(c.App)
					free[i][0] -= int64(a.Tasks[0].CPU)
					free[i][1] -= int64(a.Tasks[0].Memory)
					own[c.App][i]++
				}
			}
		}
	}
	for _, ap := range p.Apps {
		if ap.Blocked == nil {
			continue
		}
		for i := range w.nodes {
			if w.takes(w.app(ap.App), i, free, own[ap.App]) {
				t.Fatalf("%s is blocked and would fit on %s\n%s", ap.App, w.nodes[i].ID, show(p))
			}
		}
	}
}

func (w tiny) app(name spec.AppName) *spec.App {
	for _, a := range w.apps {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// TestExplanationIsTrue: the groups name exactly the rules that their nodes fail, and doing what a fix says helps.
func TestExplanationIsTrue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawTiny(rt)
		w.apps = w.apps[:1]
		l := newLab(t, 0)
		l.in.Nodes = w.nodes
		l.commit(w.apps...)
		p, _ := strict(rt, l.in)
		b := blocked(p, "app0")
		if b == nil {
			return
		}
		w.groupsAreTrue(rt, p, b)
		l.fixesAreTrue(rt, p)
	})
}

// groupsAreTrue evaluates every rule again, for every node that is named.
func (w tiny) groupsAreTrue(t *rapid.T, p spec.Plan, b *spec.Blocked) {
	a, cpu, memory, own := w.apps[0], map[spec.NodeID]int64{}, map[spec.NodeID]int64{}, map[string]int{}
	zone := map[spec.NodeID]string{}
	for _, n := range w.nodes {
		cpu[n.ID], memory[n.ID], zone[n.ID] = int64(n.Capacity.CPU), int64(n.Capacity.Memory), n.Attributes["zone"]
	}
	for _, c := range p.Apps[0].Changes {
		cpu[c.Node] -= int64(a.Tasks[0].CPU)
		memory[c.Node] -= int64(a.Tasks[0].Memory)
		own["zone "+zone[c.Node]]++
		own["node "+string(c.Node)]++
	}
	sum := b.Feasible
	for _, g := range b.Groups {
		sum += g.Nodes
		for _, n := range g.Names {
			var rules []string
			for _, c := range a.Constraints {
				switch {
				case c.Operator == spec.OpEqual && zone[n] != "z1", c.Operator == spec.OpDistinct && own["node "+string(n)] > 0,
					c.Operator == spec.OpMaxPer && zone[n] != "" && own["zone "+zone[n]] >= c.Number:
					rules = append(rules, "constraint "+c.String())
				case c.Operator == spec.OpMaxPer && zone[n] == "":
					rules = append(rules, "constraint zone is set")
				}
			}
			if int64(a.Tasks[0].CPU) > cpu[n] {
				rules = append(rules, "cpu")
			}
			if int64(a.Tasks[0].Memory) > memory[n] {
				rules = append(rules, "memory")
			}
			if fmt.Sprint(rules) != fmt.Sprint(g.Rules) {
				t.Fatalf("%s fails %v, told is %v", n, rules, g.Rules)
			}
		}
		for _, m := range g.Short {
			lacks := int64(a.Tasks[0].CPU) - cpu[m.Node]
			if m.Resource == "memory" {
				lacks = int64(a.Tasks[0].Memory) - memory[m.Node]
			}
			if m.Amount != lacks {
				t.Fatalf("%s lacks %d of %s, told is %+v", m.Node, lacks, m.Resource, m)
			}
		}
	}
	if sum != len(w.nodes) || b.Nodes != sum {
		t.Fatalf("%d nodes, the groups have %d, %d are said to be looked at", len(w.nodes), sum, b.Nodes)
	}
}
