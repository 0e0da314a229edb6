package place_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// drawPieces makes nodes, some with something on them, and pieces that may or may not all fit.
func drawPieces(t *rapid.T) (fleet func() *place.Fleet, nodes []int32, apps []*spec.App, pieces []place.Piece) {
	var views []spec.NodeView
	var load []spec.App
	for i := range rapid.IntRange(1, 12).Draw(t, "nodes") {
		n := spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(fmt.Sprintf("n%02d", i))}}
		n.Capacity = spec.Resources{CPU: spec.MilliCPU(rapid.IntRange(4, 8).Draw(t, "cpu") * 1000), Memory: spec.Bytes(rapid.IntRange(4, 8).Draw(t, "memory")) * spec.GiB}
		views, nodes = append(views, n), append(nodes, int32(i))
		load = append(load, ask(t, rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "there")))
	}
	fleet = func() *place.Fleet {
		f := place.NewFleet(views, nil)
		for i := range load {
			if load[i].Count > 0 {
				f.Take(i, f.Vector(load[i].Needs()), nil)
			}
		}
		return f
	}
	f := fleet()
	for range rapid.IntRange(1, 12).Draw(t, "pieces") {
		a := ask(t, rapid.IntRange(1, 6).Draw(t, "count"))
		apps, pieces = append(apps, &a), append(pieces, place.Piece{Need: f.Vector(a.Needs()), Count: a.Count})
	}
	return fleet, nodes, apps, pieces
}

func ask(t *rapid.T, count int) spec.App {
	return spec.App{Name: "a", Count: count, Tasks: []spec.Task{{CPU: spec.MilliCPU(rapid.IntRange(1, 12).Draw(t, "ask") * 250), Memory: spec.Bytes(rapid.IntRange(1, 12).Draw(t, "ask memory")) * 256 * spec.MiB}}}
}

// inOrder places the turns as a plan does, and returns how many nodes have come into use and how many found no place.
func inOrder(t *rapid.T, f *place.Fleet, apps []*spec.App, turns []place.Turn) (opened, missed int) {
	for _, turn := range turns {
		m := f.Matcher(apps[turn.Piece])
		b := f.Batch(&place.Request{Match: m, Count: turn.Count, Total: turn.Count})
		var picks []place.Pick
		if len(b.Nodes) > 0 {
			picks = place.Fill(b, place.Binpack)
		}
		missed += turn.Count - len(picks)
		var on []int
		for _, p := range picks {
			on = append(on, f.At(p.Node))
		}
		for _, n := range on {
			if f.Load(n) == 0 {
				opened++
			}
			f.Take(n, m.Need, nil)
		}
	}
	return opened, missed
}

// TestOrder: every allocation has its turn, and no more nodes come into use, or miss theirs, than in the order in which
// the pieces come.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fleet, nodes, apps, pieces := drawPieces(rt)
		turns := fleet().Order(nodes, pieces)
		count := make([]int, len(pieces))
		for _, turn := range turns {
			if turn.Count < 1 {
				rt.Fatalf("a turn of %d", turn.Count)
			}
			count[turn.Piece] += turn.Count
		}
		var plain []place.Turn
		for i, p := range pieces {
			if count[i] != p.Count {
				rt.Fatalf("piece %d has %d turns of %d: %v", i, count[i], p.Count, turns)
			}
			plain = append(plain, place.Turn{Piece: i, Count: p.Count})
		}
		opened, missed := inOrder(rt, fleet(), apps, turns)
		before, without := inOrder(rt, fleet(), apps, plain)
		if opened+missed > before+without {
			rt.Fatalf("%d nodes and %d without one; as they come: %d and %d\n%v", opened, missed, before, without, turns)
		}
	})
}

// TestOrderFillsNodes: three small ones on a node of their own would leave each large one to itself.
func TestOrderFillsNodes(t *testing.T) {
	var views []spec.NodeView
	for i := range 6 {
		views = append(views, spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(fmt.Sprint("n", i)), Capacity: spec.Resources{CPU: 10_000, Memory: 10 * spec.GiB}}})
	}
	f := place.NewFleet(views, nil)
	var pieces []place.Piece
	for _, v := range [][2]int{{3, 2}, {2, 3}, {3, 3}, {7, 6}, {6, 7}, {7, 7}} {
		pieces = append(pieces, place.Piece{Need: f.Vector(spec.Resources{CPU: spec.MilliCPU(v[0] * 1000), Memory: spec.Bytes(v[1]) * spec.GiB}), Count: 1})
	}
	turns := f.Order([]int32{0, 1, 2, 3, 4, 5}, pieces)
	opened := 0
	for _, turn := range turns {
		opened += turn.Piece / 3 // the large ones
		if small := turn.Piece < 3; small && opened == 0 {
			t.Fatalf("a small one comes first: %v", turns)
		}
	}
	if none := f.Order(nil, pieces); len(none) != len(pieces) {
		t.Fatalf("without nodes the pieces stay as they come: %v", none)
	}
}
