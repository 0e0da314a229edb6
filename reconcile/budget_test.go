package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// works tells which slots have an allocation that does its work and is meant to go on.
func (l *lab) works() map[spec.Slot]bool {
	up := map[spec.Slot]bool{}
	for i := range l.in.Current {
		a := &l.in.Current[i]
		n := l.node(a.Node)
		if a.Want == spec.WantRun && a.Healthy && !a.State.Terminal() && !a.Canary && n != nil && n.State != spec.NodeUnknown && !l.overdue(a.Node) {
			up[a.Slot] = true
		}
	}
	return up
}

func (l *lab) overdue(id spec.NodeID) bool {
	return slices.ContainsFunc(l.in.Drains, func(d spec.Drain) bool {
		return d.Node == id && d.Deadline != 0 && l.in.Now >= d.Deadline
	})
}

// TestOneBudgetForEverything lets rollouts, restarts, drains, preemption, lost nodes and illness come in any order, in a
// cluster with little room, and keeps a ledger of its own: what a step takes from its work never goes beyond what the
// app and the cluster allow, and what fails by itself uses both up.
func TestOneBudgetForEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, 0)
		for i := range rapid.IntRange(2, 6).Draw(rt, "nodes") {
			l.in.Nodes = append(l.in.Nodes, node(fmt.Sprintf("n%02d", i), 1000, 4*spec.GiB))
		}
		l.in.Desired.Preemption = true
		l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: rapid.IntRange(0, 2).Draw(rt, "unavailable"), Absolute: true}
		total := 100
		if rapid.Bool().Draw(rt, "bounded") {
			total = rapid.IntRange(0, 3).Draw(rt, "total")
			l.in.Desired.Disruption.MaxTotal = &spec.Percent{Value: total, Absolute: true}
		}
		var apps []*spec.App
		for i := range rapid.IntRange(1, 4).Draw(rt, "apps") {
			a := asks(fmt.Sprint("app", i), rapid.IntRange(1, 6).Draw(rt, "count"), spec.MilliCPU(rapid.IntRange(1, 3).Draw(rt, "cpu")*250), 64*spec.MiB)
			a.Priority = rapid.SampledFrom([]int{30, 50, 80}).Draw(rt, "priority")
			a.Update.MaxParallel = rapid.IntRange(1, 3).Draw(rt, "parallel")
			a.Update.MinHealthy = rapid.SampledFrom([]spec.Milli{0, 0, 500, 1000}).Draw(rt, "min healthy")
			apps = append(apps, a)
		}
		l.commit(apps...)
		l.rest(rt)
		ill := map[spec.AllocationID]bool{}
		for range rapid.IntRange(2, 15).Draw(rt, "turns") {
			which := rapid.IntRange(0, len(apps)-1).Draw(rt, "which")
			at := rapid.IntRange(0, len(l.in.Nodes)-1).Draw(rt, "node")
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0, 1:
				apps[which] = edit(apps[which], command(fmt.Sprint("v", l.in.Now)))
				l.commit(apps...)
			case 2:
				apps[which] = edit(apps[which], count(rapid.IntRange(0, 6).Draw(rt, "count")))
				l.commit(apps...)
			case 3:
				l.in.Restarts = []reconcile.Restart{restart(string(apps[which].Name), l.gen+1)}
			case 4, 5:
				d := spec.Drain{Node: l.in.Nodes[at].ID, Since: l.in.Now}
				if rapid.Bool().Draw(rt, "deadline") {
					d.Deadline = l.in.Now.Add(20 * spec.Second)
				}
				l.in.Drains = append(slices.DeleteFunc(l.in.Drains, func(o spec.Drain) bool { return o.Node == d.Node }), d)
			case 6:
				l.in.Drains = nil
			case 7:
				l.in.Nodes[at].State, l.in.Nodes[at].LastSeen = spec.NodeUnknown, l.in.Now
			case 8:
				for i := range l.in.Nodes {
					l.in.Nodes[i].State, l.in.Nodes[i].LastSeen = spec.NodeReady, l.in.Now
				}
			case 9:
				if len(l.in.Current) > 0 {
					a := &l.in.Current[rapid.IntRange(0, len(l.in.Current)-1).Draw(rt, "ill")]
					ill[a.ID], a.Healthy = true, false
				}
			}
			before := l.works()
			slots := map[spec.Slot]bool{}
			for _, a := range l.in.Current {
				if a.Want == spec.WantRun && !a.Canary {
					slots[a.Slot] = true
				}
			}
			p, r := strict(rt, l.in)
			d := reconcile.Decide(l.in, p, r, l.gen+1)
			if !d.Empty() {
				l.gen++
			}
			l.in = reconcile.Apply(l.in, d)
			ledger(rt, l, apps, slots, before, l.works(), total)
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.Want == spec.WantStop || !ill[a.ID] {
					l.follow(a)
				}
			}
			l.advance(11 * spec.Second)
		}
	})
}

// ledger compares what worked before and after a step with what the apps and the cluster allow.
func ledger(t *rapid.T, l *lab, apps []*spec.App, slots, before, after map[spec.Slot]bool, total int) {
	lost, missing := 0, 0
	for _, a := range apps {
		all, had, has := 0, 0, 0
		for s := range slots {
			if s.App == a.Name {
				all++
			}
		}
		for s := range before {
			if s.App == a.Name {
				had++
			}
		}
		for s := range after {
			if s.App == a.Name {
				has++
			}
		}
		fewest := a.Count
		for _, r := range l.in.Rollouts {
			if v := l.in.Versions[r.Good]; r.App == a.Name && v != nil {
				fewest = min(fewest, v.Count)
			}
		}
		allowed := l.in.Desired.Disruption.MaxUnavailable.Of(fewest)
		if a.Update.MinHealthy > 0 {
			allowed = fewest - (int(a.Update.MinHealthy)*fewest+999)/1000
		}
		if has < min(had, fewest-allowed) {
			t.Fatalf("%s: %d of %d worked, %d do now, %d may be missing", a.Name, had, fewest, has, allowed)
		}
		lost += max(0, min(had, fewest)-has)
		missing += max(0, min(all, fewest)-had)
	}
	if lost > 0 && lost+missing > total {
		t.Fatalf("%d slots lost their work in one step, %d had none, %d may be missing", lost, missing, total)
	}
}

// TestAUsedUpBudgetIsNamed: in a full cluster with one slot down, a changed app cannot go on, and the plan says why.
func TestAUsedUpBudgetIsNamed(t *testing.T) {
	l := cluster(t, node("n1", 1000, spec.GiB))
	web := asks("web", 4, 250, 64*spec.MiB)
	l.commit(web)
	l.settle()
	l.live("web")[3].Healthy = false
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.MaxParallel = 2 }))
	p := l.step() // the one that does not work goes first
	found := ""
	for _, r := range p.Apps[0].Blocked.Reasons {
		found += r.Rule + ": " + r.Detail + "\n"
	}
	if !strings.Contains(found, "the disruption budget lets no other slot stop first: 3 of 4 work, 3 have to") {
		t.Fatalf("the reasons are\n%s%s", found, show(p))
	}
}

// TestOverdueDrainUsesTheBudgetUp: what a deadline stops is missing like anything else, in the same step.
func TestOverdueDrainUsesTheBudgetUp(t *testing.T) {
	l := cluster(t, node("n1", 500, spec.GiB), node("n2", 500, spec.GiB))
	web := asks("web", 4, 250, 64*spec.MiB)
	l.commit(web)
	l.settle()
	l.drain("n1")
	l.in.Drains[0].Deadline = l.in.Now
	l.commit(edit(web, command("v2")))
	l.step()
	if n := len(l.works()); n != 2 {
		t.Fatalf("%d slots work, want 2: the deadline took two, and nothing else may stop", n)
	}
}

// TestRecreateWaitsForTheClustersBudget: it stops all at once or not at all.
func TestRecreateWaitsForTheClustersBudget(t *testing.T) {
	l := newLab(t, 3)
	l.in.Desired.Disruption.MaxTotal = &spec.Percent{Value: 2, Absolute: true}
	web, other := service("web", 4), service("other", 2)
	l.commit(other, web)
	l.settle()
	l.live("other")[0].Healthy = false
	v2 := edit(web, func(a *spec.App) { command("v2")(a); a.Update.Strategy = spec.StrategyRecreate })
	l.commit(other, v2)
	p := l.step()
	if n := now(p, spec.ChangeReplace); n != 0 || len(l.works()) != 5 {
		t.Fatalf("%d are replaced while another slot is missing\n%s", n, show(p))
	}
	l.world()
	if n := now(l.step(), spec.ChangeReplace); n != 4 {
		t.Fatalf("%d are replaced, want all 4", n)
	}
}

// TestWhatASystemAppNeedNotHave: an app that becomes a system app has two allocations on a node, or one on a node that is
// to become empty; or its slot is on two nodes, as the one it was taken for gone came back. That one of them goes takes
// nothing from the cluster's budget, however little there is.
func TestWhatASystemAppNeedNotHave(t *testing.T) {
	system := func(a *spec.App) { a.Kind, a.Count = spec.KindSystem, 0 }
	for _, tt := range []struct {
		name  string
		count int
		begin func(*spec.App)
		spoil func(l *lab)
		want  map[spec.NodeID]int
	}{
		{"two on a node", 4, count(4), func(*lab) {}, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1}},
		{"a node that is left", 3, distinct, func(l *lab) {
			l.in.Drains = []spec.Drain{{Node: "n01", Since: l.in.Now}}
		}, map[spec.NodeID]int{"n02": 1, "n03": 1}},
		{"a slot on two nodes", 3, system, func(l *lab) {
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.App == "web" && a.Node == "n03" {
					a.Slot.Index = 1
				}
			}
			reconcile.SortAllocations(l.in.Current)
		}, map[spec.NodeID]int{"n01": 1, "n02": 1, "n03": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 3)
			l.in.Desired.Disruption.MaxTotal = &spec.Percent{Value: 1}
			web, other := edit(service("web", tt.count), tt.begin), pinned(service("other", 2), "n01")
			l.commit(web, other)
			l.settle()
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.App == "other" {
					a.Healthy = false // the budget is used up
				}
			}
			tt.spoil(l)
			l.commit(edit(web, func(a *spec.App) { system(a); a.Constraints = nil }), other)
			for range 4 {
				l.step()
				for i := range l.in.Current {
					if a := &l.in.Current[i]; a.App == "web" {
						l.follow(a)
					}
				}
				l.advance(11 * spec.Second)
			}
			if got := l.where("web"); !maps.Equal(got, tt.want) {
				t.Errorf("%v, want %v\n%s", got, tt.want, show(l.step()))
			}
		})
	}
}

func distinct(a *spec.App) {
	a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
}

// TestANodeThatIsLeftIsNoneOfThoseThatWork: a system app stays on a draining node as long as other work is there, and goes
// with it. It is not one of those that have to work while the others are replaced.
func TestANodeThatIsLeftIsNoneOfThoseThatWork(t *testing.T) {
	l := newLab(t, 3)
	agent := edit(service("agent", 0), func(a *spec.App) {
		a.Kind, a.Update.MinHealthy = spec.KindSystem, 500
		a.Tasks[0].CPU = 5000 // no two on a node
	})
	rest := pinned(service("rest", 1), "n01")
	l.commit(agent, rest)
	l.settle()
	l.in.Drains = []spec.Drain{{Node: "n01", Since: l.in.Now}}
	l.commit(edit(agent, command("v2")), rest)
	if p := l.step(); now(p, spec.ChangeReplace) != 1 {
		t.Errorf("one of two nodes may be without it:\n%s", show(p))
	}
}
