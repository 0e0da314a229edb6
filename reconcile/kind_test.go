package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// everywhere makes an app a system app.
func everywhere(a *spec.App) { a.Kind, a.Count = spec.KindSystem, 0 }

// TestKindChanges: a change of kind is a rollout like any other. What works keeps working until its successor does, and
// in the end a system app has one on each node.
func TestKindChanges(t *testing.T) {
	for _, row := range []struct {
		about    string
		from, to *spec.App
		least    int // healthy at every moment
		want     map[spec.NodeID]int
	}{
		{"to a system app, another spec", service("web", 3), edit(service("web", 3), func(a *spec.App) { everywhere(a); command("v2")(a) }), 3, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1, "n04": 1}},
		{"to a system app, the same spec", service("web", 3), edit(service("web", 3), everywhere), 3, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1, "n04": 1}},
		{"to a system app, more than there are nodes", service("web", 6), edit(service("web", 6), everywhere), 4, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1, "n04": 1}},
		{"to a service, another spec", edit(service("web", 0), everywhere), edit(service("web", 3), command("v2")), 3, map[spec.NodeID]int{"n01": 3}},
		{"to a service, the same spec", edit(service("web", 0), everywhere), service("web", 3), 3, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1}},
	} {
		t.Run(row.about, func(t *testing.T) {
			l := newLab(t, 4)
			l.commit(row.from)
			l.settle()
			l.commit(row.to)
			for range 40 {
				p := l.step()
				healthy := 0
				for _, a := range l.live("web") {
					if a.Healthy {
						healthy++
					}
				}
				if healthy < row.least {
					t.Fatalf("%d are at work, want %d\n%s", healthy, row.least, show(p))
				}
				l.world()
				l.advance(11 * spec.Second)
			}
			l.settle()
			got := l.where("web")
			if len(got) != len(row.want) {
				t.Fatalf("they are on %v, want %v", got, row.want)
			}
			for n, k := range row.want {
				if got[n] != k {
					t.Fatalf("they are on %v, want %v", got, row.want)
				}
			}
		})
	}
}

// TestCanariesOfASystemApp: each is on the node of its slot, and what is promoted is the only one there.
func TestCanariesOfASystemApp(t *testing.T) {
	l := newLab(t, 3)
	app := edit(service("web", 0), everywhere)
	app.Update.Strategy, app.Update.Canary = spec.StrategyCanary, 2
	l.commit(app)
	l.settle()
	l.commit(edit(app, command("v2")))
	l.step()
	for _, a := range l.live("web") {
		if a.Canary && a.Node != l.live("web")[2*a.Index].Node {
			t.Errorf("the canary of slot %d is on %s", a.Index, a.Node)
		}
	}
	if n := len(l.live("web")); n != 5 {
		t.Errorf("%d are meant to run, want 3 and 2 canaries", n)
	}
	l.world()
	l.advance(11 * spec.Second)
	l.settle()
	for node, n := range l.where("web") {
		if n != 1 {
			t.Errorf("%d are on %s", n, node)
		}
	}
	if r := l.running("web"); r["v2"] != 3 {
		t.Errorf("%v run, want all of v2", r)
	}
}

// TestADrainWhileTheKindChanges: what was a service's on the node that drains stays until another one does its work.
func TestADrainWhileTheKindChanges(t *testing.T) {
	l := newLab(t, 4)
	l.in.Desired.Disruption.MaxUnavailable = spec.Percent{}
	web := edit(service("web", 3), func(a *spec.App) {
		a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	})
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { everywhere(a); a.Constraints = nil }))
	l.step() // one starts on n04
	l.drain("n01")
	if p := l.step(); now(p, spec.ChangeStop) != 0 {
		t.Errorf("it stops before there are three\n%s", show(p))
	}
	l.world()
	l.settle()
	if got := l.where("web"); len(got) != 3 || got["n01"] != 0 {
		t.Errorf("they are on %v, want n02 to n04", got)
	}
}
