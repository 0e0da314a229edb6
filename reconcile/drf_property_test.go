package reconcile_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/spec"
)

// The properties of dominant-resource fairness (Ghodsi et al., NSDI 2011, section 4), stated for whole tasks: one node,
// so that nothing but shares decides; each party an app of like tasks in a role of its own, with more work than fits.
// Where the paper has fractions of tasks, whoever is served last is ahead by a whole one: the bounds name whose.

// market is parties that compete for one node.
type market struct {
	total [2]int64 // cpu in thousandths, memory in MiB
	tasks [][2]int64
}

func drawMarket(t *rapid.T) market {
	m := market{total: [2]int64{int64(rapid.IntRange(4, 12).Draw(t, "cpu")) * 1000, int64(rapid.IntRange(4, 12).Draw(t, "memory")) * 1024}}
	for range rapid.IntRange(2, 4).Draw(t, "parties") {
		m.tasks = append(m.tasks, [2]int64{int64(rapid.IntRange(1, 8).Draw(t, "task cpu")) * 250, int64(rapid.IntRange(1, 8).Draw(t, "task memory")) * 256})
	}
	return m
}

// clear lets the planner divide the node, and returns how many tasks each party has.
func (m market) clear(t *rapid.T, tb testing.TB) []int64 {
	l := newLab(tb, 0)
	l.in.Brief = true
	l.in.Nodes = []spec.NodeView{node("n1", spec.MilliCPU(m.total[0]), spec.Bytes(m.total[1])*spec.MiB)}
	var apps []*spec.App
	for i, n := range m.tasks {
		apps = append(apps, inRole(fmt.Sprint("r", i), asks(fmt.Sprint("a", i), 50, spec.MilliCPU(n[0]), spec.Bytes(n[1])*spec.MiB)))
	}
	l.commit(apps...)
	p, _ := strict(t, l.in)
	got := make([]int64, len(m.tasks))
	for _, a := range p.Apps {
		for i := range m.tasks {
			if string(a.App) == fmt.Sprint("a", i) {
				got[i] = int64(len(a.Changes))
			}
		}
	}
	return got
}

// within is how many tasks of party i fit into an amount.
func (m market) within(i int, has [2]int64) int64 {
	return min(has[0]/m.tasks[i][0], has[1]/m.tasks[i][1])
}

// share is the dominant share of n tasks, in millionths.
func (m market) share(i int, n int64) int64 {
	return max(n*m.tasks[i][0]*1_000_000/m.total[0], n*m.tasks[i][1]*1_000_000/m.total[1])
}

// TestSharingIncentive: each of n parties has 1/n of its dominant resource, less the n-th part of a task of everybody: when a
// party is refused, all others have at most a task more than it, and what is left is less than its own next one.
func TestSharingIncentive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMarket(rt)
		got, n, ahead := m.clear(rt, t), int64(len(m.tasks)), int64(0)
		for i := range m.tasks {
			ahead += m.share(i, 1) + 1
		}
		for i := range m.tasks {
			if n*(m.share(i, got[i])+1)+ahead < 1_000_000 {
				rt.Fatalf("party %d of %+v has %d tasks of %v", i, m, got[i], got)
			}
		}
	})
}

// TestEnvyFreeness: nobody could run more of their tasks on what another has, but for one task of each of the two: the other
// may be one turn ahead.
func TestEnvyFreeness(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMarket(rt)
		got := m.clear(rt, t)
		for i := range m.tasks {
			for k, n := range got {
				if k == i || n == 0 {
					continue
				}
				if other := m.within(i, [2]int64{(n - 1) * m.tasks[k][0], (n - 1) * m.tasks[k][1]}); other > got[i]+1 {
					rt.Fatalf("party %d of %+v has %d tasks, and could run %d on what %d has: %v", i, m, got[i], other, k, got)
				}
			}
		}
	})
}

// TestParetoEfficiency: nobody can have one task more unless another has fewer: what is left holds no task of anybody.
func TestParetoEfficiency(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMarket(rt)
		left := m.total
		got := m.clear(rt, t)
		for i, n := range got {
			left[0] -= n * m.tasks[i][0]
			left[1] -= n * m.tasks[i][1]
		}
		for i := range m.tasks {
			if m.within(i, left) > 0 {
				rt.Fatalf("a task of party %d still fits: %v of %+v", i, got, m)
			}
		}
	})
}

// TestStrategyProofness: who says that their tasks need more than they do does not get more useful work done, but for one
// task of everybody: a lie can change who is served last at the ragged end of the node.
func TestStrategyProofness(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMarket(rt)
		honest := m.clear(rt, t)
		i := rapid.IntRange(0, len(m.tasks)-1).Draw(rt, "liar")
		lie := market{total: m.total, tasks: append([][2]int64(nil), m.tasks...)}
		lie.tasks[i][0] += int64(rapid.IntRange(0, 4).Draw(rt, "more cpu")) * 250
		lie.tasks[i][1] += int64(rapid.IntRange(0, 4).Draw(rt, "more memory")) * 256
		ragged := int64(0)
		for k := range m.tasks {
			ragged += lie.share(k, 1) + 1
		}
		if got := lie.clear(rt, t); m.share(i, got[i]) > m.share(i, honest[i])+ragged {
			rt.Fatalf("party %d of %+v gets %d tasks by asking for %v each, and %d honestly", i, m, got[i], lie.tasks[i], honest[i])
		}
	})
}

func TestBlockedAppsTellWhoWasServed(t *testing.T) {
	l := cluster(t, pool(12, 100, 0))
	l.in.Desired.Roles = []spec.Role{{Name: "eng", Weight: 2}, {Name: "ops", Weight: 1}}
	urgent := edit(needs("eng", "urgent", 3, 1, 0, 0), func(a *spec.App) { a.Priority = 80 })
	l.commit(needs("eng", "web", 9, 1, 0, 0), needs("ops", "ops", 9, 1, 0, 0), urgent)
	p := l.step()
	b := blocked(p, "ops")
	if b == nil || len(b.Served) != 2 || b.Served[0].App != "urgent" || b.Served[0].Why != "urgent has priority 80, ops has 50: 3 of it came first" ||
		b.Served[1].Role != "eng" || b.Served[1].Why != "role eng has 0.666 of cpu (weight 2), role ops 0.333 of cpu (weight 1): 5 of it in this plan, in the order of shares" {
		t.Fatalf("%+v\n%s", b, show(p))
	}
	if b := blocked(p, "web"); b == nil || len(b.Served) != 2 || b.Served[1].Role != "ops" {
		t.Fatalf("%+v", b)
	}
	l.settle()
	if b := blocked(planOf(l.in), "ops"); b == nil || b.Served != nil {
		t.Fatalf("nobody is served now: %+v", b)
	}
}
