package place_test

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// TestBestIsAll places on fleets with a history, once from all feasible nodes and once from those that can be chosen:
// nodes, scores and runners-up are the same.
func TestBestIsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := make([]spec.NodeView, rapid.IntRange(1, 60).Draw(t, "nodes"))
		for i := range nodes {
			nodes[i] = spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(fmt.Sprintf("n%02d", i)),
				Capacity: spec.Resources{CPU: spec.MilliCPU(rapid.SampledFrom([]int{2000, 4000, 8000}).Draw(t, "cpu")), Memory: 8 * spec.GiB}}}
			if rapid.IntRange(0, 5).Draw(t, "state") == 0 {
				nodes[i].State = spec.NodeUnknown
			}
		}
		f := place.NewFleet(nodes, nil)
		var own []int32
		for range rapid.IntRange(0, 100).Draw(t, "history") {
			n := rapid.IntRange(0, len(nodes)-1).Draw(t, "on")
			need := f.Vector(spec.Resources{CPU: spec.MilliCPU(rapid.IntRange(1, 8).Draw(t, "used") * 250), Memory: spec.GiB})
			f.Take(n, need, nil)
			if rapid.IntRange(0, 3).Draw(t, "own") == 0 {
				own = append(own, int32(n))
			}
			if rapid.IntRange(0, 3).Draw(t, "leaves") == 0 {
				f.Leave(n, spec.AllocationID(fmt.Sprint("a", n)), need, nil, nil)
			}
		}
		a := &spec.App{Name: "web", Count: 10, Tasks: []spec.Task{{CPU: spec.MilliCPU(rapid.IntRange(1, 8).Draw(t, "need") * 250), Memory: spec.GiB}}}
		policy := rapid.SampledFrom([]place.Scoring{place.Binpack, place.Spread}).Draw(t, "policy")
		r := place.Request{Match: f.Matcher(a), Count: rapid.IntRange(1, 20).Draw(t, "count"), Total: 20, Own: own, Wait: rapid.Bool().Draw(t, "wait")}
		all := picks(t, f, policy, r)
		r.Best = &policy
		if some := picks(t, f, policy, r); !reflect.DeepEqual(all, some) {
			t.Fatalf("from all:\n%+v\nfrom the best:\n%+v", all, some)
		}
	})
}

type picked struct {
	node  spec.NodeID
	score spec.Score
}

func picks(t *rapid.T, f *place.Fleet, policy place.Scoring, r place.Request) (out []picked) {
	b := f.Batch(&r)
	got, err := policy.Place(b)
	if err == nil {
		err = b.Verify(got)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got {
		out = append(out, picked{f.ID(f.At(p.Node)), p.Score})
	}
	return out
}
