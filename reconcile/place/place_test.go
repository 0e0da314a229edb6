package place_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// slow is Fill without heaps and cells: for each allocation it scores every node again.
func slow(b *place.Batch, s place.Scoring) []int {
	d := len(b.Resources)
	free, placed := slices.Clone(b.Free), make([]int32, len(b.Nodes))
	have := make([][]int32, len(b.Groups))
	for k, g := range b.Groups {
		have[k] = slices.Clone(g.Have)
	}
	var picks []int
	for len(picks) < b.Count {
		best, most := -1, spec.Milli(0)
	nodes:
		for i := range b.Nodes {
			n := place.Node{ID: b.Nodes[i], Capacity: b.Capacity[i*d : (i+1)*d], Free: free[i*d : (i+1)*d], Own: int(b.Own[i] + placed[i]), Load: int(b.Load[i] + placed[i])}
			for k, ask := range b.Need {
				if ask > n.Free[k] {
					continue nodes
				}
			}
			if placed[i] >= b.Room[i] {
				continue
			}
			score := s.Score(b.Need, &n)
			for _, t := range b.Terms {
				score += t.Value[i]
			}
			for k, g := range b.Groups {
				v := g.Of[i]
				if g.Cap != nil && have[k][v] >= g.Cap[v] {
					continue nodes
				}
				if g.Cost != nil {
					score -= g.Cost[v] * spec.Milli(have[k][v]+1)
				}
			}
			if best < 0 || score > most {
				best, most = i, score
			}
		}
		if best < 0 {
			break
		}
		picks = append(picks, best)
		placed[best]++
		for k, ask := range b.Need {
			free[best*d+k] -= ask
		}
		for k, g := range b.Groups {
			have[k][g.Of[best]]++
		}
	}
	return picks
}

func drawBatch(t *rapid.T) (*place.Fleet, *place.Request) {
	var nodes []spec.NodeView
	for i := range rapid.IntRange(1, 12).Draw(t, "nodes") {
		n := spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(fmt.Sprintf("n%02d", i)), Attributes: map[string]string{}}}
		n.Capacity = spec.Resources{CPU: spec.MilliCPU(rapid.IntRange(1, 8).Draw(t, "cpu") * 1000), Memory: spec.Bytes(rapid.IntRange(1, 8).Draw(t, "memory")) * spec.GiB}
		for _, name := range []string{"zone", "rack"} {
			if v := rapid.IntRange(0, 3).Draw(t, name); v > 0 {
				n.Attributes[name] = fmt.Sprint(name, v)
			}
		}
		nodes = append(nodes, n)
	}
	a := &spec.App{Name: "a", Count: rapid.IntRange(1, 30).Draw(t, "count"), Tasks: []spec.Task{{CPU: spec.MilliCPU(rapid.IntRange(1, 4).Draw(t, "ask") * 250), Memory: 256 * spec.MiB}}}
	for _, op := range []spec.Operator{spec.OpMaxPer, spec.OpGroupBy, spec.OpDistinct} {
		if rapid.IntRange(0, 3).Draw(t, string(op)) == 0 {
			a.Constraints = append(a.Constraints, spec.Constraint{Attribute: rapid.SampledFrom([]string{"zone", "rack", "node.id"}).Draw(t, "attribute"), Operator: op, Number: rapid.IntRange(1, 3).Draw(t, "number")})
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "spreads") {
		a.Spreads = append(a.Spreads, spec.Spread{Attribute: rapid.SampledFrom([]string{"zone", "rack", "node.id"}).Draw(t, "spread"), Weight: rapid.IntRange(1, 100).Draw(t, "weight")})
	}
	if rapid.Bool().Draw(t, "affinity") {
		a.Affinities = []spec.Affinity{{Attribute: "zone", Operator: spec.OpEqual, Value: "zone1", Weight: rapid.IntRange(-100, 100).Draw(t, "affinity weight")}}
	}
	f := place.NewFleet(nodes, nil)
	return f, &place.Request{Match: f.Matcher(a), Count: a.Count, Total: a.Count}
}

func TestFillIsTheGreedyChoice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, r := drawBatch(rt)
		s := rapid.SampledFrom([]place.Scoring{place.Binpack, place.Spread}).Draw(rt, "policy")
		b := f.Batch(r)
		want := slow(b, s)
		picks := place.Fill(b, s)
		if err := b.Verify(picks); err != nil {
			rt.Fatal(err)
		}
		var got []int
		for _, p := range picks {
			got = append(got, p.Node)
			sum := spec.Milli(0)
			for _, part := range p.Score.Parts {
				sum += part.Value
			}
			if sum != p.Score.Total || p.Score.Next != "" && p.Score.NextAt > p.Score.Total {
				rt.Fatalf("the score does not add up: %+v", p.Score)
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("picked %v, the greedy choice is %v", got, want)
		}
	})
}

func TestVerifyRefusesWrongAnswers(t *testing.T) {
	f := fleet(3)
	a := app()
	a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpMaxPer, Number: 2}}
	b := f.Batch(&place.Request{Match: f.Matcher(a), Count: 5, Total: 5})
	for name, picks := range map[string][]place.Pick{
		"too many":     {{}, {}, {}, {}, {}, {}},
		"no such node": {{Node: 3}},
		"negative":     {{Node: -1}},
		"over a limit": {{Node: 0}, {Node: 0}, {Node: 0}},
	} {
		if b.Verify(picks) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := b.Verify([]place.Pick{{Node: 0}, {Node: 0}, {Node: 1}}); err != nil {
		t.Error(err)
	}
	a = app()
	a.Tasks[0].CPU = 20_000
	b = f.Batch(&place.Request{Match: f.Matcher(a), Count: 5, Total: 5})
	if b.Verify([]place.Pick{{Node: 0}, {Node: 0}}) == nil {
		t.Error("more than the node has: accepted")
	}
}

func TestTakeoverSharesRoomOnce(t *testing.T) {
	f := place.NewFleet([]spec.NodeView{{State: spec.NodeReady, Node: spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 1000}}}}, nil)
	need := f.Vector(spec.Resources{CPU: 800})
	port := &spec.Grant{Ports: []spec.Port{{Name: "http", Number: 80, Protocol: spec.TCP}}}
	f.Take(0, need, port)
	f.Leave(0, "old-0-1", need, port, nil)
	a := &spec.App{Name: "new", Count: 2, Network: spec.Network{Ports: []spec.PortSpec{{Name: "http", Static: 80, Protocol: spec.TCP}}}, Tasks: []spec.Task{{CPU: 700}}}
	r := &place.Request{Match: f.Matcher(a), Count: 1, Total: 2}
	if b := f.Batch(r); len(b.Nodes) != 0 {
		t.Fatal("there is no room beside the old one")
	}
	r.Wait = true
	if b := f.Batch(r); len(b.Nodes) != 1 {
		t.Fatal("there is room once the old one has ended")
	}
	if after := f.Claim(0, f.Vector(a.Needs()), port, ""); !slices.Equal(after, []spec.AllocationID{"old-0-1"}) {
		t.Fatalf("waits for %v", after)
	}
	if b := f.Batch(r); len(b.Nodes) != 0 {
		t.Fatal("the room is given twice")
	}
	if used := f.Used(0)[0]; used != 800 {
		t.Fatalf("%d used, want 800: the larger of the two", used)
	}
}

// What waits for room and is given up leaves no room of its own: it may end first, while those it waited for still run.
func TestRoomOfOneThatWaitsIsThatOfThoseItWaitsFor(t *testing.T) {
	f := place.NewFleet([]spec.NodeView{{State: spec.NodeReady, Node: spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 1000}}}}, nil)
	need := f.Vector(spec.Resources{CPU: 800})
	f.Take(0, need, nil)
	f.Leave(0, "old-0-1", need, nil, nil)
	f.TakeAfter(0, need, nil, []spec.AllocationID{"old-0-1"})
	f.Leave(0, "waits-0-2", need, nil, []spec.AllocationID{"old-0-1"})
	if used := f.Used(0)[0]; used != 800 {
		t.Fatalf("%d used, want 800: the two share their room", used)
	}
	if after := f.Claim(0, f.Vector(spec.Resources{CPU: 700}), nil, ""); !slices.Equal(after, []spec.AllocationID{"waits-0-2", "old-0-1"}) {
		t.Fatalf("waits for %v, want both", after)
	}
	f.TakeAfter(0, f.Vector(spec.Resources{CPU: 100}), nil, []spec.AllocationID{"waits-0-2"})
	if used := f.Used(0)[0]; used != 900 {
		t.Fatalf("%d used, want 900: who waits for one of the two only has no share in their room", used)
	}
}

// A node that has less than is taken of it has room only when all that is too much has gone, and as much again.
func TestClaimOnANodeThatHasTooMuch(t *testing.T) {
	f := place.NewFleet([]spec.NodeView{{State: spec.NodeReady, Node: spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 1000}}}}, nil)
	need := f.Vector(spec.Resources{CPU: 500})
	for _, id := range []spec.AllocationID{"a-0-1", "b-0-1"} {
		f.Take(0, need, nil)
		f.Leave(0, id, need, nil, nil)
	}
	f.Take(0, need, nil)
	if after := f.Claim(0, f.Vector(spec.Resources{CPU: 300}), nil, ""); len(after) != 2 {
		t.Fatalf("waits for %v, want both", after)
	}
}

func TestDynamicPortsAreDistinct(t *testing.T) {
	f := fleet(1)
	asked := []spec.PortSpec{{Name: "a"}, {Name: "b"}, {Name: "c", Static: spec.DynamicPortFirst + 5, Protocol: spec.TCP}}
	seen := map[int]bool{}
	for i := range 50 {
		ports := f.Ports(0, spec.Slot{App: "x", Index: i}, asked)
		for _, p := range ports[:2] {
			if p.Number < spec.DynamicPortFirst || p.Number > spec.DynamicPortLast || seen[p.Number] || p.Number == spec.DynamicPortFirst+5 {
				t.Fatalf("port %d", p.Number)
			}
			seen[p.Number] = true
		}
		f.Take(0, make([]int64, 3), &spec.Grant{Ports: ports[:2]})
	}
}
