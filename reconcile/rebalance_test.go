package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// put starts an app's allocations on the nodes given, whatever a policy would say.
func (l *lab) put(a *spec.App, nodes ...string) {
	l.gen++
	h := reconcile.HashApp(a)
	l.in.Versions[h.Version] = a
	for i, n := range nodes {
		slot := spec.Slot{App: a.Name, Index: i}
		v := spec.AllocationView{Allocation: spec.Allocation{
			ID: spec.NewAllocationID(slot, l.gen), Slot: slot, Node: spec.NodeID(n), Generation: l.gen, Version: h.Version, Runtime: h.Runtime, Want: spec.WantRun,
		}}
		v.State, v.Healthy, v.HealthySince = spec.StateRunning, true, l.in.Now.Add(-spec.Hour)
		l.in.Current = append(l.in.Current, v)
	}
	reconcile.SortAllocations(l.in.Current)
	l.in.Rollouts = append(l.in.Rollouts, spec.Rollout{App: a.Name, Target: h.Version, State: spec.RolloutDone})
	slices.SortFunc(l.in.Rollouts, func(a, b spec.Rollout) int { return strings.Compare(string(a.App), string(b.App)) })
}

func gains(r reconcile.Rebalancing) string {
	var text []string
	for _, g := range r.Gains {
		text = append(text, fmt.Sprintf("%s (%d)", g.What, g.Moves))
	}
	return strings.Join(text, "; ")
}

// carry wishes a rebalancing, and plays until it is done.
func (l *lab) carry(r reconcile.Rebalancing) {
	if len(r.Moves) == 0 {
		return
	}
	r.Since, r.Parallel = l.in.Now, 2
	l.in.Rebalance = &r
	l.settle()
	if l.in.Rebalance != nil {
		l.t.Fatalf("%d moves are left when nothing happens any more", len(l.in.Rebalance.Moves))
	}
}

func TestRebalanceGoals(t *testing.T) {
	even := func(a *spec.App) { a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 50}} }
	for _, row := range []struct {
		about string
		setUp func(l *lab) []*spec.App
		want  string
	}{
		{"a node is freed whole", func(l *lab) []*spec.App {
			web := asks("web", 1, 250, 64*spec.MiB)
			other := asks("other", 2, 250, 64*spec.MiB)
			l.put(web, "n2")
			l.put(other, "n1", "n1")
			return []*spec.App{web, other}
		}, "frees n2 whole (1)"},
		{"no more of an app on a node than before", func(l *lab) []*spec.App {
			web := asks("web", 2, 250, 64*spec.MiB)
			l.put(web, "n1", "n2")
			return []*spec.App{web}
		}, ""},
		{"a cluster that spreads frees nothing", func(l *lab) []*spec.App {
			l.in.Desired.Policy.Name = "spread"
			web, other := asks("web", 1, 250, 64*spec.MiB), asks("other", 1, 250, 64*spec.MiB)
			l.put(web, "n1")
			l.put(other, "n2")
			return []*spec.App{web, other}
		}, ""},
		{"zones are evened out after a failure", func(l *lab) []*spec.App {
			web := edit(asks("web", 4, 250, 64*spec.MiB), even)
			l.put(web, "n1", "n1", "n1", "n1")
			return []*spec.App{web}
		}, "spreads web over zone: 4/0 → 2/2 (2)"},
		{"one more in a zone is even enough", func(l *lab) []*spec.App {
			web := edit(asks("web", 3, 250, 64*spec.MiB), even)
			l.put(web, "n1", "n1", "n3")
			return []*spec.App{web}
		}, ""},
		{"a slot gets room", func(l *lab) []*spec.App {
			web := asks("web", 4, 400, 64*spec.MiB)
			big := asks("big", 1, 900, 64*spec.MiB)
			l.put(web, "n1", "n2", "n3", "n4")
			return []*spec.App{big, web}
		}, "makes room for big[0] on n1 (1)"},
		{"rules that have changed are mended", func(l *lab) []*spec.App {
			web := edit(asks("web", 2, 250, 64*spec.MiB), func(a *spec.App) {
				a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z2"}}
			})
			l.put(web, "n1", "n3")
			return []*spec.App{web}
		}, "n1 no longer meets the rules of web (1)"},
		{"pinned apps stay", func(l *lab) []*spec.App {
			web := edit(asks("web", 4, 250, 64*spec.MiB), func(a *spec.App) { even(a); a.Pinned = true })
			l.put(web, "n1", "n1", "n1", "n1")
			return []*spec.App{web}
		}, ""},
		{"batch work stays", func(l *lab) []*spec.App {
			job := edit(asks("job", 4, 250, 64*spec.MiB), func(a *spec.App) { even(a); a.Kind = spec.KindBatch })
			l.put(job, "n1", "n1", "n1", "n1")
			return []*spec.App{job}
		}, ""},
		{"an app of which something is missing stays", func(l *lab) []*spec.App {
			web := edit(asks("web", 4, 250, 64*spec.MiB), even)
			l.put(web, "n1", "n1", "n1", "n1")
			l.in.Current[0].Healthy = false
			return []*spec.App{web}
		}, ""},
		{"what is kept for a role is not moved onto", func(l *lab) []*spec.App {
			l.in.Desired.Reservations = []spec.Reservation{reserve("peak", "db", 1000, spec.Constraint{Attribute: "node.id", Operator: spec.OpEqual, Value: "n2"})}
			web, db := asks("web", 1, 250, 64*spec.MiB), edit(asks("db", 1, 100, 64*spec.MiB), func(a *spec.App) { a.Role, a.Pinned = "db", true })
			l.put(web, "n1")
			l.put(db, "n2")
			return []*spec.App{web, db}
		}, ""},
		{"a node that would cost more than it is worth stays", func(l *lab) []*spec.App {
			var apps []*spec.App
			for i := range 11 {
				a := asks(fmt.Sprintf("a%02d", i), 1, 50, spec.MiB)
				l.put(a, "n1")
				apps = append(apps, a)
			}
			b := asks("b", 1, 50, spec.MiB)
			l.put(b, "n2")
			l.in.Nodes[1].Capacity.CPU = 600
			return append(apps, b)
		}, "frees n2 whole (1)"},
	} {
		t.Run(row.about, func(t *testing.T) {
			l := cluster(t, node("n1", 1000, spec.GiB), node("n2", 1000, spec.GiB), node("n3", 1000, spec.GiB), node("n4", 1000, spec.GiB))
			for i, zone := range []string{"z1", "z1", "z2", "z2"} {
				l.in.Nodes[i].Attributes["zone"] = zone
			}
			l.in.Desired.Policy.Name = "binpack"
			l.commit(row.setUp(l)...)
			r := reconcile.Rebalance(l.in, reconcile.Terms{})
			if got := gains(r); got != row.want {
				t.Fatalf("%q, want %q\n%+v", got, row.want, r.Moves)
			}
			blocked := planOf(l.in).Summary.Blocked
			l.carry(r)
			if again := reconcile.Rebalance(l.in, reconcile.Terms{}); len(again.Moves) > 0 {
				t.Errorf("and then it proposes %s", gains(again))
			}
			if p := planOf(l.in); strings.Contains(row.want, "room") && (blocked == 0 || p.Summary.Blocked > 0) {
				t.Errorf("%d were blocked, and %d are", blocked, p.Summary.Blocked)
			}
		})
	}
}

// TestRebalancingComesToAnEnd: in any cluster, a proposal carried out step by step breaks no rule and takes no slot from
// its work; blocked slots do not become more; and then there is nothing left to propose.
func TestRebalancingComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.rest(rt)
		for i, a := range apps { // leave holes
			if rapid.Bool().Draw(rt, "shrink") {
				apps[i] = edit(a, count(rapid.IntRange(0, a.Count).Draw(rt, "count")))
			}
		}
		l.commit(apps...)
		l.rest(rt)
		terms := reconcile.Terms{Moves: reconcile.MaxMoves, Gain: spec.Milli(rapid.SampledFrom([]int{0, 1500, 2000, 5000}).Draw(rt, "gain"))}
		terms.Auto, terms.Since = terms.Gain > 0, l.in.Now.Add(24*spec.Hour) // all that runs may move again
		for turn := 0; ; turn++ {
			r := reconcile.Rebalance(l.in, terms)
			if len(r.Moves) == 0 {
				return
			}
			if turn == 1 {
				rt.Fatalf("it goes on and on: %s\n%+v", gains(r), r.Moves)
			}
			for _, g := range r.Gains {
				if g.Moves*max(1000, int(terms.Gain)) > g.Worth*1000 || g.Moves == 0 {
					rt.Fatalf("%+v does not pay", g)
				}
			}
			if terms.Auto {
				l.in.Desired.Rebalance = &spec.Rebalance{}
			}
			before, blocked := l.works(), planOf(l.in).Summary.Blocked
			r.Since, r.Parallel = l.in.Now, rapid.IntRange(1, 4).Draw(rt, "parallel")
			l.in.Rebalance = &r
			for range 200 {
				l.turn(rt, always)
				for s := range before {
					if !l.works()[s] {
						rt.Fatalf("%s stopped working", s)
					}
				}
			}
			if l.in.Rebalance != nil {
				rt.Fatalf("moves are left: %+v", l.in.Rebalance.Moves)
			}
			if now := planOf(l.in).Summary.Blocked; now > blocked {
				rt.Fatalf("%d slots are blocked, %d were before", now, blocked)
			}
		}
	})
}

// TestMovesThatFailAreGivenUp: the allocation stays where it is, and is not tried again.
func TestMovesThatFailAreGivenUp(t *testing.T) {
	setUp := func() (*lab, *reconcile.Rebalancing) {
		l := cluster(t, node("n1", 1000, spec.GiB), node("n2", 1000, spec.GiB))
		web := asks("web", 1, 250, 64*spec.MiB)
		l.put(web, "n1")
		l.commit(web)
		return l, &reconcile.Rebalancing{ID: "r-1", Since: l.in.Now, Parallel: 1, Of: 1,
			Moves: []reconcile.Move{{ID: l.in.Current[0].ID, Slot: l.in.Current[0].Slot, From: "n1", To: "n2", Why: "because"}}}
	}
	fails := map[string]func(l *lab){
		"the replacement fails": func(l *lab) {
			a := &l.in.Current[1]
			a.State, a.Healthy, a.Reason, a.Since = spec.StateFailed, false, "exit code 3", l.in.Now
		},
		"the replacement never gets healthy": func(l *lab) { l.advance(spec.Hour) },
		"its node is drained":                func(l *lab) { l.drain("n2") },
		"the operator cancels":               func(l *lab) { l.in.Rebalance = nil },
	}
	for about, fail := range fails {
		l, wish := setUp()
		l.in.Rebalance = wish
		if n := now(l.step(), spec.ChangeMove); n != 1 || len(l.in.Current) != 2 {
			t.Fatalf("%s: %d moves", about, n)
		}
		fail(l)
		for range 5 {
			l.step()
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.Want == spec.WantStop {
					l.follow(a)
				}
			}
		}
		if live := l.live("web"); len(live) != 1 || live[0].Node != "n1" || l.in.Rebalance != nil || len(l.in.Current) != 2 {
			t.Errorf("%s: %d live, the wish is %+v", about, len(live), l.in.Rebalance)
		}
	}
}
