package reconcile_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// All small worlds: one to three nodes of nine kinds (one to three cores, in one of two zones or in none), one to three
// apps of 24 kinds (one to three slots, one or two cores, one of four rules), nodes and apps each in the order of their
// kinds, as their names mean nothing else: 219 × 2,924 = 640,356 worlds in which nothing runs. Then worlds in which the slots of an
// app run on any nodes that may have them, and a commit asks for another count of it and for a second app without a
// rule: 165,168.
// The ordinary test looks at every so many of them. In the environment STOWAGE_WORLDS=all looks at all, and
// STOWAGE_WORLDS=3/7 at the fourth seventh of them: CI takes another one each day, and has seen all within a week.
const (
	kindsOfNode = 9
	kindsOfApp  = 24
	stride      = 199 // a prime, so that the sample has no pattern
)

// sampled calls f for the worlds of the sample, or for all, and returns how many there are.
func sampled(t *testing.T, each func(yield func(world func() tiny, running []int)), f func(tiny, []int)) (seen, all int) {
	first, step := 0, stride
	switch text := os.Getenv("STOWAGE_WORLDS"); text {
	case "":
	case "all":
		step = 1
	default:
		if _, err := fmt.Sscanf(text, "%d/%d", &first, &step); err != nil || step < 1 || first < 0 || first >= step {
			t.Fatalf("STOWAGE_WORLDS is %q: want all, or a part such as 3/7", text)
		}
	}
	each(func(world func() tiny, running []int) {
		if all%step == first {
			seen++
			f(world(), running)
		}
		all++
	})
	return seen, all
}

// combinations calls f with every non-decreasing list of one to three kinds.
func combinations(kinds int, f func([]int)) {
	for a := range kinds {
		f([]int{a})
		for b := a; b < kinds; b++ {
			f([]int{a, b})
			for c := b; c < kinds; c++ {
				f([]int{a, b, c})
			}
		}
	}
}

func nodesOfKinds(kinds []int) (nodes []spec.NodeView) {
	for i, k := range kinds {
		n := node(fmt.Sprint("n", i), spec.MilliCPU(k/3+1)*1000, 8*spec.GiB)
		if z := k % 3; z > 0 {
			n.Attributes["zone"] = fmt.Sprint("z", z)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func appOfKind(name string, k int) *spec.App {
	a := asks(name, k%3+1, spec.MilliCPU(k/3%2+1)*1000, spec.GiB)
	switch k / 6 {
	case 1:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}}
	case 2:
		a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	case 3:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpMaxPer, Number: 1}}
	}
	return a
}

// empty yields all worlds in which nothing runs.
func empty(yield func(func() tiny, []int)) {
	combinations(kindsOfNode, func(nodes []int) {
		combinations(kindsOfApp, func(apps []int) {
			yield(func() tiny {
				w := tiny{nodes: nodesOfKinds(nodes)}
				for i, k := range apps {
					w.apps = append(w.apps, appOfKind(fmt.Sprint("app", i), k))
				}
				return w
			}, nil)
		})
	})
}

// busy yields all worlds in which the first app runs: slot i on node running[i].
func busy(yield func(func() tiny, []int)) {
	combinations(kindsOfNode, func(nodes []int) {
		for k := range kindsOfApp {
			w := tiny{nodes: nodesOfKinds(nodes), apps: []*spec.App{appOfKind("app0", k)}}
			combinations(len(nodes), func(running []int) {
				if len(running) != w.apps[0].Count || newTally(w).runs(0, running) != nil {
					return
				}
				for count := range 4 {
					for second := range 6 {
						yield(func() tiny {
							first := edit(w.apps[0], func(a *spec.App) { a.Count = count })
							return tiny{w.nodes, []*spec.App{first, appOfKind("app1", second)}}
						}, running)
					}
				}
			})
		}
	})
}

// tally is what is where, kept by adding one allocation at a time and asking for every rule each time.
type tally struct {
	w    tiny
	free [][2]int64
	own  [][]int // of each app, by node
}

func newTally(w tiny) *tally {
	t := &tally{w: w}
	for _, n := range w.nodes {
		t.free = append(t.free, [2]int64{int64(n.Capacity.CPU), int64(n.Capacity.Memory)})
	}
	for range w.apps {
		t.own = append(t.own, make([]int, len(w.nodes)))
	}
	return t
}

func (t *tally) add(app, node, n int) {
	t.own[app][node] += n
	t.free[node][0] -= int64(n) * int64(t.w.apps[app].Tasks[0].CPU)
	t.free[node][1] -= int64(n) * int64(t.w.apps[app].Tasks[0].Memory)
}

// runs adds allocations of an app; an error says which of them a rule forbids.
func (t *tally) runs(app int, nodes []int) error {
	for slot, n := range nodes {
		if !t.w.takes(t.w.apps[app], n, t.free, t.own[app]) {
			return fmt.Errorf("%s[%d] may not be on %s", t.w.apps[app].Name, slot, t.w.nodes[n].ID)
		}
		t.add(app, n, 1)
	}
	return nil
}

// best returns the node that is fullest afterwards, the first by name of equals, or -1 when none takes one more.
func (t *tally) best(app int) int {
	best, most := -1, int64(-1)
	a := t.w.apps[app]
	for n := range t.w.nodes {
		if !t.w.takes(a, n, t.free, t.own[app]) {
			continue
		}
		c := t.w.nodes[n].Capacity
		cpu := (int64(c.CPU) - t.free[n][0] + int64(a.Tasks[0].CPU)) * 1000 / int64(c.CPU)
		memory := (int64(c.Memory) - t.free[n][1] + int64(a.Tasks[0].Memory)) * 1000 / int64(c.Memory)
		if full := (cpu + memory) / 2; full > most {
			best, most = n, full
		}
	}
	return best
}

func (w tiny) index(id spec.NodeID) int {
	for i := range w.nodes {
		if w.nodes[i].ID == id {
			return i
		}
	}
	return -1
}

// input is the world as the planner sees it.
func (w tiny) input(running []int) reconcile.Input {
	in := reconcile.Input{
		Now: 1_000_000 * spec.Time(spec.Second), Commit: "c1", Nodes: w.nodes, Versions: map[spec.Hash]*spec.App{}, Brief: true,
		Desired: &spec.Cluster{Name: "test", Apps: w.apps, Sync: spec.Sync{Prune: true, MaxPrune: spec.Percent{Value: 100}},
			Disruption: spec.Disruption{MaxUnavailable: spec.Percent{Value: 10}}},
	}
	for slot, n := range running {
		old := edit(w.apps[0], func(a *spec.App) { a.Count = len(running) })
		h := reconcile.HashApp(old)
		in.Versions[h.Version] = old
		a := spec.AllocationView{}
		a.Slot = spec.Slot{App: "app0", Index: slot}
		a.ID, a.Node, a.Generation, a.Version, a.Runtime = spec.NewAllocationID(a.Slot, 1), w.nodes[n].ID, 1, h.Version, h.Runtime
		a.Want, a.State, a.Healthy, a.HealthySince = spec.WantRun, spec.StateRunning, true, in.Now.Add(-spec.Hour)
		in.Current = append(in.Current, a)
	}
	return in
}

// agree plans a world and compares. What it demands:
//
//   - what runs and is still wanted is left where it is, and as many stop as there are too many;
//   - every slot that is missing is either placed or blocked; no placement breaks a rule or a capacity, counted one by one;
//   - a slot is blocked only if, when all is done, no node takes it;
//   - an app alone: its slots are on the very nodes that the best score gives, one after another, and as many are placed
//     as can be at all, over every way to place them;
//   - several apps: at most as many are placed as can be at all; and as many, if no app has a rule and each asks for one core.
func agree(t *testing.T, w tiny, running []int) {
	t.Helper()
	p, _ := reconcile.Plan(w.input(running))
	after := newTally(w)
	stays := append([]int(nil), running...)
	placed, missing := make([][]int, len(w.apps)), make([]int, len(w.apps))
	stopped := 0
	for _, ap := range p.Apps {
		for _, c := range ap.Changes {
			switch c.Kind {
			case spec.ChangeStop:
				stopped++
				stays[c.Index] = -1
			case spec.ChangeStart:
				i := int(c.App[3] - '0')
				placed[i] = append(placed[i], w.index(c.Node))
			case spec.ChangeUpdate:
			default:
				t.Fatalf("%s of %s, where nothing has to move\n%s", c.Kind, c.Slot, show(p))
			}
		}
		if ap.Blocked != nil {
			missing[ap.App[3]-'0'] = len(ap.Blocked.Slots)
		}
	}
	if want := max(0, len(running)-w.apps[0].Count); len(running) > 0 && stopped != want {
		t.Fatalf("%d stop, %d are too many\n%s", stopped, want, show(p))
	}
	for _, n := range stays {
		if n >= 0 {
			after.add(0, n, 1)
		}
	}
	chosen := *newTally(w)
	chosen.runs(0, running)
	all, plain := 0, len(running) == 0
	for i, a := range w.apps {
		kept := 0
		if i == 0 {
			kept = len(running) - stopped
		}
		if len(placed[i])+missing[i] != a.Count-kept {
			t.Fatalf("%s: %d placed and %d blocked of %d\n%s", a.Name, len(placed[i]), missing[i], a.Count-kept, show(p))
		}
		if len(w.apps) == 1 {
			for slot, n := range placed[i] {
				if best := chosen.best(i); n != best {
					t.Fatalf("slot %d is on node %d, the best is %d\n%s", slot, n, best, show(p))
				}
				chosen.add(i, n, 1)
			}
		}
		if err := after.runs(i, placed[i]); err != nil {
			t.Fatalf("%v\n%s", err, show(p))
		}
		all += len(placed[i])
		plain = plain && len(a.Constraints) == 0 && a.Tasks[0].CPU == 1000
	}
	for i, a := range w.apps {
		if n := after.best(i); missing[i] > 0 && n >= 0 {
			t.Fatalf("%s is blocked and would fit on %s\n%s", a.Name, w.nodes[n].ID, show(p))
		}
	}
	if len(running) > 0 {
		return
	}
	most := w.most()
	if all > most || all < most && (len(w.apps) == 1 || plain) {
		t.Fatalf("%d placed, the best is %d\n%s", all, most, show(p))
	}
}

func TestAllSmallWorlds(t *testing.T) {
	for _, tt := range []struct {
		name string
		each func(yield func(func() tiny, []int))
		all  int
	}{
		{"nothing runs", empty, 219 * 2924},
		{"an app runs", busy, 165_168},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, all := sampled(t, tt.each, func(w tiny, running []int) { agree(t, w, running) })
			t.Logf("%d worlds of %d", seen, all)
			if all != tt.all {
				t.Errorf("%d worlds, want %d", all, tt.all)
			}
		})
	}
}
