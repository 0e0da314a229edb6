package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// zoned is so many zones of so many racks of so many nodes: z1, z1r1, z1r1n1.
func zoned(t *testing.T, zones, racks, nodes int) *lab {
	l := newLab(t, 0)
	for z := 1; z <= zones; z++ {
		for r := 1; r <= racks; r++ {
			for k := 1; k <= nodes; k++ {
				n := node(fmt.Sprintf("z%dr%dn%d", z, r, k), 8000, spec.TiB)
				n.Attributes = map[string]string{"zone": fmt.Sprintf("z%d", z), "rack": fmt.Sprintf("z%dr%d", z, r)}
				l.in.Nodes = append(l.in.Nodes, n)
			}
		}
	}
	return l
}

// per counts the live allocations that can be reached of an app per value of an attribute, for every value there is.
func (l *lab) per(app, attribute string) map[string]int {
	n := map[string]int{}
	for i := range l.in.Nodes {
		x := &l.in.Nodes[i]
		v, ok := x.Attributes[attribute]
		if attribute == "node.id" {
			v, ok = string(x.ID), true
		}
		if ok && x.State == spec.NodeReady && !slices.ContainsFunc(l.in.Drains, func(d spec.Drain) bool { return d.Node == x.ID }) {
			n[v] += l.where(app)[x.ID]
		}
	}
	return n
}

// sizes is what stands in per, the smallest first: "1 1 2".
func (l *lab) sizes(app, attribute string) string {
	return strings.Trim(fmt.Sprint(slices.Sorted(maps.Values(l.per(app, attribute)))), "[]")
}

func spreads(attributes ...string) func(*spec.App) {
	return func(a *spec.App) {
		for _, n := range attributes {
			a.Spreads = append(a.Spreads, spec.Spread{Attribute: n, Weight: 50})
		}
	}
}

func grouped(attribute string, n int) func(*spec.App) {
	return func(a *spec.App) {
		a.Constraints = append(slices.Clone(a.Constraints), spec.Constraint{Attribute: attribute, Operator: spec.OpGroupBy, Number: n})
	}
}

// The first spread counts most, the second decides within it; and both stay even in every phase of an app's life, with
// the policy that packs.
func TestSpreadsStayEven(t *testing.T) {
	l := zoned(t, 2, 2, 3)
	a := edit(asks("a", 8, 500, spec.MiB), spreads("zone", "rack"))
	even := func(what, zones, racks string) {
		t.Helper()
		if z, r := l.sizes("a", "zone"), l.sizes("a", "rack"); z != zones || r != racks {
			t.Errorf("%s: zones %s, racks %s; want %s and %s", what, z, r, zones, racks)
		}
	}
	go8 := func(n int, version string) {
		l.commit(edit(a, func(a *spec.App) { a.Count, a.Tasks[0].Command = n, []string{version} }))
		l.settle()
	}
	go8(8, "v1")
	even("8", "4 4", "2 2 2 2")
	go8(13, "v1")
	even("13", "6 7", "3 3 3 4")
	go8(6, "v1")
	even("6", "3 3", "1 1 2 2")
	go8(8, "v1")
	even("8 again", "4 4", "2 2 2 2")
	go8(8, "v2")
	even("another version", "4 4", "2 2 2 2")
	l.drain("z1r1n1")
	l.drain("z1r1n2")
	l.drain("z1r1n3")
	l.settle()
	even("a rack drained", "4 4", "2 2 4")
	l.in.Drains = nil
	go8(8, "v3")
	even("a rollout brings the rack back", "4 4", "2 2 2 2")
	for _, n := range []string{"z2r1n1", "z2r1n2", "z2r1n3", "z2r2n1", "z2r2n2", "z2r2n3"} {
		l.lose(n)
	}
	l.settle()
	even("a zone lost", "8", "4 4")
}

// A rollout leaves an even spread behind, though each new allocation stands beside an old one for a while.
func TestRolloutsEndEven(t *testing.T) {
	for name, update := range map[string]func(*spec.Update){
		"one by one":     func(*spec.Update) {},
		"three by three": func(u *spec.Update) { u.MaxParallel = 3 },
		"canaries":       func(u *spec.Update) { u.Strategy, u.Canary = spec.StrategyCanary, 2 },
		"blue and green": func(u *spec.Update) { u.Strategy = spec.StrategyBlueGreen },
		"all at once":    func(u *spec.Update) { u.Strategy = spec.StrategyRecreate },
		"by parts":       func(u *spec.Update) { u.MinHealthy, u.Surge = 750, 500 },
	} {
		for rule, with := range map[string]func(*spec.App){"spread": spreads("zone"), "group_by": grouped("zone", 0), "spread over nodes": spreads("node.id")} {
			for _, count := range []int{4, 6, 9} {
				l := zoned(t, 3, 1, 3)
				a := edit(asks("a", count, 500, spec.MiB), with)
				update(&a.Update)
				l.commit(a)
				l.settle()
				l.commit(edit(a, command("v2")))
				l.settle()
				if r := l.running("a"); r["v2"] != count || len(r) != 1 {
					t.Errorf("%s, %s of %d: running %v", name, rule, count, r)
				}
				attribute := "zone"
				if rule == "spread over nodes" {
					attribute = "node.id"
				}
				n := slices.Sorted(maps.Values(l.per("a", attribute)))
				if n[len(n)-1]-n[0] > 1 {
					t.Errorf("%s, %s of %d: %v", name, rule, count, l.per("a", attribute))
				}
			}
		}
	}
}

// Targets are shares of the count; what they leave goes to the values that they do not name and the app can use.
func TestTargets(t *testing.T) {
	tests := []struct {
		name    string
		targets map[string]int
		count   int
		want    map[string]int
	}{
		{"two named", map[string]int{"z1": 70, "z2": 30}, 10, map[string]int{"z1": 7, "z2": 3, "z3": 0}},
		{"the rest to one", map[string]int{"z1": 50, "z2": 30}, 10, map[string]int{"z1": 5, "z2": 3, "z3": 2}},
		{"the rest to two", map[string]int{"z1": 60}, 10, map[string]int{"z1": 6, "z2": 2, "z3": 2}},
		{"none there", map[string]int{"z1": 0}, 10, map[string]int{"z1": 0, "z2": 5, "z3": 5}},
		{"all of it in one", map[string]int{"z3": 100}, 7, map[string]int{"z1": 0, "z2": 0, "z3": 7}},
		{"one that no node has", map[string]int{"z9": 50}, 6, map[string]int{"z1": 2, "z2": 2, "z3": 2}},
		{"more than fit where the target is", map[string]int{"z1": 100}, 20, map[string]int{"z1": 16, "z2": 2, "z3": 2}},
		{"fewer than values", nil, 2, map[string]int{"z1": 1, "z2": 1, "z3": 0}},
		{"none at all", nil, 0, map[string]int{"z1": 0, "z2": 0, "z3": 0}},
	}
	for _, tt := range tests {
		l := zoned(t, 3, 1, 2)
		for i := range l.in.Nodes {
			l.in.Nodes[i].Capacity.CPU = 8 * 500
		}
		a := asks("a", tt.count, 500, spec.MiB)
		a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 50, Targets: tt.targets}}
		l.commit(a)
		l.settle()
		if got := l.per("a", "zone"); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// The proportions hold on the way down, and zones that the app cannot use have no share.
	l := zoned(t, 3, 1, 2)
	a := asks("a", 10, 500, spec.MiB)
	a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpNotEqual, Value: "z3"}}
	a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 50, Targets: map[string]int{"z1": 80}}}
	l.commit(a)
	l.settle()
	up := l.per("a", "zone")
	l.commit(edit(a, count(5)))
	l.settle()
	if down := l.per("a", "zone"); up["z1"] != 8 || up["z2"] != 2 || down["z1"] != 4 || down["z2"] != 1 {
		t.Errorf("10: %v, 5: %v; want 8 and 2, 4 and 1", up, down)
	}
}

// Nodes without the attribute are the last choice of a spread, and none of group_by.
func TestNodesWithoutTheAttribute(t *testing.T) {
	l := cluster(t, attribute(node("a", 4000, spec.TiB), "zone", "z1"), attribute(node("b", 4000, spec.TiB), "zone", "z2"), node("x", 64000, spec.TiB))
	l.in.Desired.Policy.Name = "spread"
	a := edit(asks("a", 8, 1000, spec.MiB), spreads("zone"))
	l.commit(a)
	l.settle()
	if w := l.where("a"); w["a"] != 4 || w["b"] != 4 {
		t.Errorf("8 on %v", w)
	}
	l.commit(edit(a, count(9)))
	l.settle()
	if w := l.where("a"); w["x"] != 1 {
		t.Errorf("9 on %v", w)
	}
	l.commit(edit(asks("b", 3, 100, spec.MiB), grouped("row", 0)))
	if b := blocked(l.step(), "b"); b == nil || !strings.HasPrefix(rules(b), `3 no node has the attribute "row"; 3 constraint row is set`) {
		t.Errorf("blocked %+v", b)
	}
}

// group_by divides among the groups that take allocations, and never puts more into one than its even share.
func TestGroupBy(t *testing.T) {
	lose := func(l *lab, rack string) {
		for i := range l.in.Nodes {
			if l.in.Nodes[i].Attributes["zone"] == rack {
				l.lose(string(l.in.Nodes[i].ID))
			}
		}
	}
	l := zoned(t, 3, 1, 2)
	a := edit(asks("a", 6, 500, spec.MiB), grouped("zone", 0))
	l.commit(a)
	l.settle()
	if got := l.sizes("a", "zone"); got != "2 2 2" {
		t.Fatalf("6: %s", got)
	}
	l.commit(edit(a, count(8)))
	l.settle()
	if got := l.sizes("a", "zone"); got != "2 3 3" {
		t.Errorf("8: %s", got)
	}
	l.commit(edit(a, count(4)))
	l.settle()
	if got := l.sizes("a", "zone"); got != "1 1 2" {
		t.Errorf("4: %s", got)
	}
	l.commit(a)
	l.settle()
	lose(l, "z2")
	l.settle()
	if got := l.sizes("a", "zone"); got != "3 3" {
		t.Errorf("a zone lost: %s", got)
	}
	// Where three are expected and two are left, the share of the third waits for it.
	l = zoned(t, 3, 1, 2)
	a = edit(asks("a", 6, 500, spec.MiB), grouped("zone", 3))
	l.commit(a)
	l.settle()
	lose(l, "z2")
	l.settle()
	p, _ := l.plan()
	if b := blocked(p, "a"); l.sizes("a", "zone") != "2 2" || b == nil || len(b.Slots) != 2 || !strings.Contains(rules(b), "4 constraint grouped by zone") {
		t.Errorf("%s, blocked %+v", l.sizes("a", "zone"), b)
	}
	// More groups expected than allocations: one in each at most.
	l = zoned(t, 3, 1, 2)
	l.commit(edit(asks("a", 2, 500, spec.MiB), grouped("zone", 5)))
	l.settle()
	if got := l.sizes("a", "zone"); got != "0 1 1" {
		t.Errorf("2 over 5: %s", got)
	}
}

// The value that all share is the one where most of the app fits by all its rules; a tie goes to the first node's.
func TestSameChoosesWhereMostFit(t *testing.T) {
	same := spec.Constraint{Attribute: "rack", Operator: spec.OpSame}
	distinct := spec.Constraint{Attribute: "node.id", Operator: spec.OpDistinct}
	racks := func() *lab {
		return cluster(t, attribute(node("a1", 8000, spec.TiB), "rack", "a"), attribute(node("b1", 2000, spec.TiB), "rack", "b"),
			attribute(node("b2", 2000, spec.TiB), "rack", "b"), attribute(node("b3", 2000, spec.TiB), "rack", "b"), node("x", 64000, spec.TiB))
	}
	for _, tt := range []struct {
		name  string
		rules []spec.Constraint
		count int
		want  map[string]int
	}{
		{"where all fit", []spec.Constraint{same}, 8, map[string]int{"a": 8, "b": 0}},
		{"where most fit", []spec.Constraint{same}, 12, map[string]int{"a": 8, "b": 0}},
		{"both do: the first", []spec.Constraint{same}, 2, map[string]int{"a": 2, "b": 0}},
		{"with one per node", []spec.Constraint{same, distinct}, 3, map[string]int{"a": 0, "b": 3}},
		{"with one per node, some in vain", []spec.Constraint{same, distinct}, 4, map[string]int{"a": 0, "b": 3}},
	} {
		l := racks()
		l.commit(ruled(asks("a", tt.count, 1000, spec.MiB), tt.rules...))
		l.settle()
		if got := l.per("a", "rack"); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// A rack that is drained as a whole is left as a whole; one of its nodes is followed by another of the rack.
	l := racks()
	l.commit(ruled(asks("a", 3, 1000, spec.MiB), same, distinct))
	l.settle()
	for _, n := range []string{"b1", "b2", "b3"} {
		l.drain(n)
	}
	l.in.Nodes = append(l.in.Nodes, attribute(node("c1", 2000, spec.TiB), "rack", "c"), attribute(node("c2", 2000, spec.TiB), "rack", "c"), attribute(node("c3", 2000, spec.TiB), "rack", "c"))
	l.settle()
	if got := l.per("a", "rack"); got["c"] != 3 {
		t.Errorf("after a drain: %v", got)
	}
	l.in.Drains = nil
	l.lose("c2")
	l.settle()
	p, _ := l.plan()
	if b := blocked(p, "a"); l.per("a", "rack")["b"] != 0 || b == nil || !strings.Contains(rules(b), "same rack") {
		t.Errorf("after a loss: %v, blocked %+v", l.per("a", "rack"), b)
	}
}

// Where an app's own limit leaves no place beside the old allocation, a drain and a rollout stop that first; never more
// than the budget lets them.
func TestLimitsAndThoseWhoGo(t *testing.T) {
	for name, rule := range map[string]spec.Constraint{
		"max_per": {Attribute: "zone", Operator: spec.OpMaxPer, Number: 2}, "distinct": {Attribute: "rack", Operator: spec.OpDistinct},
		"group_by": {Attribute: "zone", Operator: spec.OpGroupBy, Number: 2},
	} {
		l := zoned(t, 2, 2, 2)
		a := ruled(asks("a", 4, 500, spec.MiB), rule)
		l.commit(a)
		l.settle()
		var on spec.NodeID
		for n := range l.where("a") {
			on = max(on, n)
		}
		l.drain(string(on))
		l.settle()
		if l.where("a")[on] != 0 || len(l.live("a")) != 4 {
			t.Errorf("%s: %s is drained and has %d; %d live", name, on, l.where("a")[on], len(l.live("a")))
		}
		l.commit(edit(a, command("v2")))
		l.settle()
		if r := l.running("a"); r["v2"] != 4 || len(r) != 1 {
			t.Errorf("%s: running %v", name, r)
		}
	}
	l := zoned(t, 1, 1, 2)
	l.commit(ruled(asks("one", 1, 500, spec.MiB), spec.Constraint{Attribute: "rack", Operator: spec.OpMaxPer, Number: 1}))
	l.settle()
	l.drain(string(l.live("one")[0].Node))
	l.settle()
	if got := l.sizes("one", "rack"); got != "1" {
		t.Errorf("a single one on %v", l.where("one"))
	}
}

// Preemption keeps to the rules over allocations: it makes room in the rack that the app shares, though it would be
// cheaper in another.
func TestPreemptionKeepsToTheRules(t *testing.T) {
	l := cluster(t, attribute(node("a1", 2000, spec.TiB), "rack", "a"), attribute(node("b1", 2000, spec.TiB), "rack", "b"), attribute(node("b2", 2000, spec.TiB), "rack", "b"))
	l.in.Desired.Preemption = true
	same := ruled(edit(asks("same", 1, 2000, spec.MiB), func(a *spec.App) { a.Priority = 80 }), spec.Constraint{Attribute: "rack", Operator: spec.OpSame})
	low := func(name, on string, n int, cpu spec.MilliCPU) *spec.App {
		return edit(pinned(asks(name, n, cpu, spec.MiB), on), func(a *spec.App) { a.Priority = 10 })
	}
	first := pinned(same, "b1")
	l.commit(first, low("one", "a1", 1, 2000), low("two", "b2", 2, 1000))
	l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: 100}
	l.settle()
	l.commit(edit(same, count(2)), low("one", "a1", 1, 2000), low("two", "b2", 2, 1000))
	l.settle()
	if w := l.where("same"); w["b1"] != 1 || w["b2"] != 1 {
		t.Errorf("on %v", w)
	}
}

// TestGroupByCountsWhatStopsFirst: what stops before its successor starts, which has to go elsewhere, gives the groups no
// more room; so a group does not get more than its share though that would be even with both.
func TestGroupByCountsWhatStopsFirst(t *testing.T) {
	l := cluster(t, node("n1", 8000, 2*spec.GiB), node("n2", 8000, 64*spec.GiB))
	l.in.Nodes[0].Attributes["zone"], l.in.Nodes[1].Attributes["zone"] = "z1", "z2"
	web := edit(asks("web", 4, 100, spec.GiB), func(a *spec.App) {
		a.Update.MinHealthy = 500
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpGroupBy}}
	})
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { a.Tasks[0].Memory = 3 * spec.GiB / 2 }))
	for range 20 { // each plan is checked
		l.step()
		l.world()
		l.advance(11 * spec.Second)
		if n := l.where("web")["n2"]; n > 3 || n > 2 && l.where("web")["n1"] < 2 {
			t.Fatalf("they are on %v", l.where("web"))
		}
	}
}
