package reconcile_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func priced(id, price string, cpu spec.MilliCPU) spec.NodeView {
	n := node(id, cpu, 16*spec.GiB)
	if price != "" {
		n.Attributes[spec.AttributePrice] = price
	}
	return n
}

func dear(l *lab, name string, cpu spec.MilliCPU, price spec.Price) {
	l.in.Desired.NodeClasses = append(l.in.Desired.NodeClasses, spec.NodeClass{Name: name, Capacity: spec.Resources{CPU: cpu, Memory: 16 * spec.GiB}, Price: price})
}

func TestWhatAPlanCosts(t *testing.T) {
	l := cluster(t, priced("n1", "1", 4000), priced("n2", "", 4000), priced("n3", "2", 4000))
	l.in.Desired.Currency = "EUR"
	l.commit(asks("web", 2, 1000, spec.MiB))
	if p, _ := l.plan(); p.Cost == nil || p.Cost.Before != 3_000_000 || p.Cost.After != 3_000_000 || p.Cost.Unpriced != 1 || len(p.Cost.Apps) != 1 || p.Cost.Apps[0] != (spec.AppCost{App: "web", After: 500_000}) || p.Cost.Idle != 2_500_000 {
		t.Fatalf("%+v", p.Cost) // both on n1: half of it
	}
	l.settle()
	// Three quarters of the memory beside half of the cpu: more than the node, so each pays in proportion.
	l.commit(asks("web", 2, 1000, spec.MiB), asks("db", 1, 100, 12*spec.GiB))
	if p, _ := l.plan(); p.Cost.Apps[0].App != "db" || p.Cost.Apps[0].After != 600_000 || p.Cost.Apps[1] != (spec.AppCost{App: "web", Before: 500_000, After: 400_000}) || p.Cost.Idle != 2_000_000 {
		t.Errorf("%+v", p.Cost)
	}
	// A class gives its price to the nodes of it, and supposed nodes cost something only afterwards.
	dear(l, "big", 16000, 420_000)
	l.in.Nodes[1].Attributes[spec.AttributeClass] = "big"
	in, err := reconcile.Suppose(l.in, spec.Supposition{Without: []spec.LostNodes{{Attribute: "node", Value: "n1"}}, With: []spec.MoreNodes{{Count: 2, Class: "big"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := reconcile.Plan(in)
	if c := p.Cost; c.Before != 3_420_000 || c.After != 2_000_000+3*420_000 || c.Unpriced != 0 {
		t.Errorf("%+v", c)
	}
	l.in.Nodes, l.in.Desired.NodeClasses = []spec.NodeView{priced("n1", "", 4000)}, nil
	if p, _ = l.plan(); p.Cost != nil {
		t.Errorf("no node has a price, and the plan costs %+v", p.Cost)
	}
}

func TestTheCheapestNodesThatWouldDo(t *testing.T) {
	l := cluster(t, priced("n1", "0.50", 4000))
	dear(l, "fast", 8000, 1_000_000)
	dear(l, "slow", 4000, 400_000)
	dear(l, "tiny", 1000, 1)
	dear(l, "unknown", 32000, 0)
	l.commit(asks("web", 3, 4000, spec.GiB))
	p, _ := l.plan()
	var nodes []spec.Fix
	for _, f := range p.Apps[0].Blocked.Fixes {
		if f.Edits[0].Kind == spec.EditNodes {
			nodes = append(nodes, f)
		}
	}
	if len(nodes) != 2 || nodes[0].Text != "2 more nodes of class slow (0.80 an hour)" || nodes[0].Price != 800_000 || nodes[1].Text != "2 more nodes like n1 (1 an hour)" {
		t.Errorf("%+v", nodes)
	}
	l.in.Desired.NodeClasses[0].Price = 700_000 // one fast one for two slow ones
	if p, _ = l.plan(); !strings.Contains(strings.Join(p.Apps[0].Blocked.Fix, ", "), "one more node of class fast (0.70 an hour)") {
		t.Errorf("%v", p.Apps[0].Blocked.Fix)
	}
}

// TestCostsAddUp: what apps have and what is idle is what the nodes cost, and nobody pays for more than there is.
func TestCostsAddUp(t *testing.T) {
	seen := 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		for i := range l.in.Nodes {
			if p := rapid.IntRange(0, 5).Draw(rt, "price"); p > 0 {
				l.in.Nodes[i].Attributes[spec.AttributePrice] = spec.Price(p * 123_456).String()
			}
		}
		l.turn(rt, always)
		apps[0] = edit(apps[0], command("other"))
		l.commit(apps...)
		p, _ := reconcile.Plan(l.in)
		if p.Cost == nil {
			return
		}
		seen++
		sum := p.Cost.Idle
		for _, a := range p.Cost.Apps {
			if sum += a.After; a.After < 0 || a.Before < 0 {
				rt.Fatalf("%+v", a)
			}
		}
		if sum != p.Cost.After || p.Cost.Idle < 0 || p.Cost.Before != p.Cost.After {
			text, _ := json.Marshal(p.Cost)
			rt.Fatalf("%s: they add up to %s", text, sum)
		}
	})
	if seen == 0 {
		t.Error("no plan cost anything")
	}
}
