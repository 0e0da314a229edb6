package reconcile_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func racked(id, rack string, cpu spec.MilliCPU) spec.NodeView {
	n := node(id, cpu, 64*spec.GiB)
	n.Attributes["rack"] = rack
	return n
}

func domains(l *lab, names ...string) { l.in.Desired.FailureDomains = names }

func TestLossOfADomain(t *testing.T) {
	port := func(a *spec.App) { a.Network.Ports = []spec.PortSpec{{Name: "http", Static: 8080}} }
	for _, c := range []struct {
		name                    string
		app                     *spec.App
		node, nodeHomeless      int
		rack, homeless, inSlots int
	}{
		{"room for one node, not for a rack", asks("web", 6, 1000, spec.GiB), 2, 0, 4, 2, 2},
		{"room for a rack", asks("web", 4, 1000, spec.GiB), 2, 0, 4, 0, 0},
		{"a static port on each node", edit(asks("web", 4, 100, spec.GiB), port), 1, 1, 2, 2, 2},
		{"distinct over nodes", edit(asks("web", 3, 100, spec.GiB), func(a *spec.App) {
			a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
		}), 1, 0, 2, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := cluster(t, racked("n1", "r1", 2000), racked("n2", "r1", 2000), racked("n3", "r2", 2000), racked("n4", "r2", 2000))
			l.commit(c.app)
			domains(l, "rack", "absent")
			p, _ := l.plan()
			f := p.Failure
			if f == nil || f.Looked != 4 || f.Of != 4 || f.Displaced != c.node || f.Homeless != c.nodeHomeless || len(f.Domains) != 2 {
				t.Fatalf("%+v", f)
			}
			d := f.Domains[0]
			if d.Attribute != "rack" || d.Looked != d.Of || d.Of == 0 {
				t.Fatalf("%+v", d)
			}
			if v := d.Values[0]; v.Nodes != 2 || v.Displaced != c.rack || v.Homeless != c.homeless || len(v.Slots) != c.inSlots {
				t.Errorf("%+v", v)
			}
			if d := f.Domains[1]; d.Of != 0 || len(d.Values) != 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestDomainsAreWhatAppsSpreadOver(t *testing.T) {
	l := cluster(t, racked("n1", "r1", 2000), racked("n2", "r2", 2000))
	l.commit(edit(asks("web", 2, 1000, spec.GiB), func(a *spec.App) {
		a.Spreads = []spec.Spread{{Attribute: "rack", Weight: 50}, {Attribute: "node.id", Weight: 50}}
	}))
	if p, _ := l.plan(); len(p.Failure.Domains) != 1 || p.Failure.Domains[0].Attribute != "rack" {
		t.Errorf("%+v", p.Failure)
	}
}

// TestLossesByHand counts for small worlds what a loss displaces, and finds by trying everything how many of that could
// be kept at best: a plan never says less is homeless.
func TestLossesByHand(t *testing.T) {
	seen := 0
	rapid.Check(t, func(rt *rapid.T) {
		var nodes []spec.NodeView
		for i := range rapid.IntRange(2, 4).Draw(rt, "nodes") {
			nodes = append(nodes, racked(fmt.Sprint("n", i), fmt.Sprint("r", i%2), spec.MilliCPU(rapid.IntRange(1, 4).Draw(rt, "cpu")*1000)))
		}
		l := cluster(t, nodes...)
		l.commit(asks("a", rapid.IntRange(1, 3).Draw(rt, "a"), 1000, spec.MiB), asks("b", rapid.IntRange(1, 3).Draw(rt, "b"), 2000, spec.MiB))
		domains(l, "rack")
		p, _ := reconcile.Plan(l.in)
		if p.Failure == nil {
			return
		}
		check := func(loss spec.Loss, lost func(n *spec.NodeView) bool) {
			free, gone := map[spec.NodeID]int{}, []int{}
			for i := range nodes {
				if !lost(&nodes[i]) {
					free[nodes[i].ID] = int(nodes[i].Capacity.CPU)
				}
			}
			for _, a := range p.Apps {
				for _, c := range a.Changes {
					need := map[spec.AppName]int{"a": 1000, "b": 2000}[c.App]
					if _, stays := free[c.Node]; stays {
						free[c.Node] -= need
					} else {
						gone = append(gone, need)
					}
				}
			}
			if best := len(gone) - mostKept(gone, free); loss.Displaced != len(gone) || loss.Homeless < best || loss.Homeless > len(gone) {
				rt.Fatalf("%+v, by hand %d displaced and at best %d homeless:\n%s", loss, len(gone), best, show(p))
			}
			seen++
		}
		for _, loss := range p.Failure.Nodes {
			check(loss, func(n *spec.NodeView) bool { return string(n.ID) == loss.Name })
		}
		for _, loss := range p.Failure.Domains[0].Values {
			check(loss, func(n *spec.NodeView) bool { return n.Attributes["rack"] == loss.Name })
		}
		if f := p.Failure; f.Looked != len(nodes) || f.Homeless != f.Nodes[0].Homeless {
			rt.Fatalf("%+v", f)
		}
	})
	if seen == 0 {
		t.Error("no loss was looked at")
	}
}

// mostKept tries every way to give the needs room.
func mostKept(needs []int, free map[spec.NodeID]int) int {
	if len(needs) == 0 {
		return 0
	}
	most := mostKept(needs[1:], free)
	for id, room := range free {
		if room >= needs[0] {
			free[id] -= needs[0]
			most = max(most, 1+mostKept(needs[1:], free))
			free[id] += needs[0]
		}
	}
	return most
}

// TestWhatIsRememberedBetweenLossesChangesNothing: over apps of every kind of rule, losses are the same with and without it.
func TestWhatIsRememberedBetweenLossesChangesNothing(t *testing.T) {
	homeless, related := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		domains(l, "zone", "node.id")
		for range rapid.IntRange(0, 3).Draw(rt, "turns") {
			l.turn(rt, always)
			if a := drawApp(rt, string(apps[0].Name), 6); a.Kind == apps[0].Kind {
				apps[0] = a
			}
			if len(apps) > 1 && rapid.Bool().Draw(rt, "apart") {
				apps[0].Constraints = append(apps[0].Constraints, spec.Constraint{App: apps[1].Name, Operator: spec.OpApart, Attribute: rapid.SampledFrom([]string{"zone", "node.id"}).Draw(rt, "of")})
				related++
			}
			l.commit(apps...)
		}
		fast, slow := reconcile.FailureBothWays(l.in)
		if fast == nil || slow == nil {
			if fast != slow {
				rt.Fatalf("%+v, %+v", fast, slow)
			}
			return
		}
		homeless += fast.Homeless
		a, _ := json.Marshal(fast)
		b, _ := json.Marshal(slow)
		if string(a) != string(b) {
			rt.Fatalf("remembered:\n%s\nlooking at all:\n%s", a, b)
		}
	})
	if homeless == 0 || related == 0 {
		t.Errorf("%d homeless, %d rules between apps", homeless, related)
	}
}
