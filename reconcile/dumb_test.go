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

// TestExplanationIsTrue: every rule named fails on as many nodes as it says, and doing what a fix says helps.
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
		covered := map[spec.NodeID]bool{}
		for _, r := range b.Reasons {
			for _, n := range r.Names {
				covered[n] = true
			}
		}
		if len(covered) != len(w.nodes) {
			rt.Fatalf("%d nodes refuse, %d are explained: %+v", len(w.nodes), len(covered), b)
		}
		for _, fix := range b.Fix {
			l.in.Desired.Apps[0], l.in.Nodes = w.apps[0], w.nodes
			w.follow(rt, l, fix)
			if p, _ := strict(rt, l.in); p.Summary.Blocked > 0 {
				rt.Fatalf("%q does not help:\n%s", fix, show(p))
			}
		}
	})
}

// follow does what a fix says.
func (w tiny) follow(t *rapid.T, l *lab, fix string) {
	var n int
	var text, like string
	switch a := w.apps[0]; {
	case scan(fix, "count = %d", &n):
		l.in.Desired.Apps[0] = edit(a, count(n))
	case scan(fix, "memory = %q", &text):
		b, err := spec.ParseBytes(text)
		if err != nil {
			t.Fatal(err)
		}
		l.in.Desired.Apps[0] = edit(a, func(a *spec.App) { a.Tasks[0].Memory = b })
	case scan(fix, "cpu = %s", &text):
		var f float64
		if !scan(text, "%g", &f) {
			t.Fatal(text)
		}
		l.in.Desired.Apps[0] = edit(a, func(a *spec.App) { a.Tasks[0].CPU = spec.MilliCPU(f*1000 + 0.5) })
	case len(fix) > 13 && fix[:13] == "no constraint":
		l.in.Desired.Apps[0] = edit(a, func(a *spec.App) { a.Constraints = nil })
	case scan(fix, "one more node like %s", &like):
		w.more(l, 1, like)
	case scan(fix, "%d more nodes like %s", &n, &like):
		w.more(l, n, like)
	default:
		t.Fatalf("what is %q?", fix)
	}
}

func (w tiny) more(l *lab, n int, like string) {
	for i := range n {
		c := *l.node(spec.NodeID(like))
		c.ID = spec.NodeID(fmt.Sprint("new", i))
		l.in.Nodes = append(l.in.Nodes[:len(l.in.Nodes):len(l.in.Nodes)], c)
	}
}

func scan(text, format string, to ...any) bool {
	n, err := fmt.Sscanf(text, format, to...)
	return err == nil && n == len(to)
}
