package place_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// zones makes nodes of which the i-th is in the zone of that number; 0 is none.
func zones(of []int) *place.Fleet {
	var nodes []spec.NodeView
	for i, z := range of {
		n := spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(fmt.Sprintf("n%03d", i)), Attributes: map[string]string{}, Capacity: spec.Resources{CPU: 1_000_000}}}
		if z > 0 {
			n.Attributes["zone"] = fmt.Sprint("z", z)
		}
		nodes = append(nodes, n)
	}
	return place.NewFleet(nodes, nil)
}

// What Surplus leaves is even, takes nothing twice, and gives up those of lost nodes and those without the attribute
// before all others.
func TestSurplusLeavesAnEvenRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := zones([]int{1, 2, 3, 0})
		a := &spec.App{Name: "a", Tasks: []spec.Task{{CPU: 1}}, Spreads: []spec.Spread{{Attribute: "zone", Weight: rapid.IntRange(1, 100).Draw(rt, "weight")}}}
		var nodes []int32
		for range rapid.IntRange(0, 40).Draw(rt, "allocations") {
			nodes = append(nodes, int32(rapid.IntRange(-1, 3).Draw(rt, "node")))
		}
		n := rapid.IntRange(0, len(nodes)).Draw(rt, "surplus")
		gone := f.Matcher(a).Surplus(nodes, n)
		if len(gone) != n {
			rt.Fatalf("%d go, want %d", len(gone), n)
		}
		before, after := map[int32]int{}, map[int32]int{}
		for i, node := range nodes {
			before[node]++
			if !slices.Contains(gone, i) {
				after[node]++
			}
		}
		if sorted := slices.Compact(slices.Sorted(slices.Values(gone))); len(sorted) != n {
			rt.Fatalf("one goes twice: %v", gone)
		}
		if after[-1] > 0 && len(nodes)-after[-1] > 0 && after[-1] < before[-1] && after[0]+after[1]+after[2]+after[3] < before[0]+before[1]+before[2]+before[3] {
			rt.Fatalf("one of a node that is there goes before one of a node that is gone: %v", after)
		}
		for z := range int32(3) {
			for y := range int32(3) {
				if after[z] > after[y]+1 && after[y] < before[y] {
					rt.Fatalf("%v of %v is left: uneven", after, before)
				}
			}
			if after[3] > 0 && after[z] < before[z] {
				rt.Fatalf("one in a zone goes before one in none: %v of %v", after, before)
			}
		}
	})
}

// With targets the rest keeps to them; among equals the one that is to go first does.
func TestSurplusKeepsToTargets(t *testing.T) {
	f := zones([]int{1, 2})
	a := &spec.App{Name: "a", Tasks: []spec.Task{{CPU: 1}}, Spreads: []spec.Spread{{Attribute: "zone", Weight: 50, Targets: map[string]int{"z1": 75}}}}
	nodes := []int32{0, 0, 0, 0, 0, 0, 1, 1}
	gone := f.Matcher(a).Surplus(nodes, 4)
	if slices.Sort(gone); !slices.Equal(gone, []int{0, 1, 2, 6}) {
		t.Errorf("%v go", gone)
	}
	if gone = f.Matcher(a).Surplus(nodes, 8); len(gone) != 8 {
		t.Errorf("%v go", gone)
	}
}

// An even spread is even whatever the number of values: a share is not rounded to nothing.
func TestSpreadOverVeryManyValues(t *testing.T) {
	of := make([]int, 3000)
	for i := range of {
		of[i] = i + 1
	}
	f := zones(of)
	a := &spec.App{Name: "a", Count: 4500, Tasks: []spec.Task{{CPU: 1}}, Spreads: []spec.Spread{{Attribute: "zone", Weight: 50}}}
	have := make([]int, len(of))
	for _, p := range place.Fill(f.Batch(&place.Request{Match: f.Matcher(a), Count: a.Count, Total: a.Count}), place.Binpack) {
		have[p.Node]++
	}
	if low, high := slices.Min(have), slices.Max(have); low != 1 || high != 2 {
		t.Errorf("from %d to %d on a node, want 1 or 2", low, high)
	}
}
