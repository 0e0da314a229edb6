package place_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// used is a fleet of so many nodes, each three quarters full of allocations of many sizes.
func used(n int) (*place.Fleet, *rand.Rand) {
	f, r := fleet(n), rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		for full := 0.5 + r.Float64()/2; ; {
			need := f.Vector(size(r).Needs())
			u, c := f.Used(i), f.Capacity(i)
			if float64(u[0]+need[0]) > full*float64(c[0]) || float64(u[1]+need[1]) > full*float64(c[1]) {
				break
			}
			f.Take(i, need, nil)
		}
	}
	return f, r
}

// size is an app of heavy-tailed size.
func size(r *rand.Rand) *spec.App {
	return &spec.App{Name: "web", Count: 2, Tasks: []spec.Task{{
		CPU:    spec.MilliCPU(100 * (1 + r.IntN(20)*r.IntN(20)/10)),
		Memory: spec.Bytes(1+r.IntN(20)*r.IntN(20)/10) * 256 * spec.MiB,
	}}}
}

// kinds are apps whose nodes are searched in different ways.
var kinds = []string{"plain", "zones", "hosts", "port", "cores", "gpu", "near zone", "apart zone", "apart host", "peer zone", "reserved"}

var keptRows []int64

// kept is a tenth of each node.
func kept(f *place.Fleet) []int64 {
	if d := len(f.Dimensions()); len(keptRows) != f.Len()*d {
		keptRows = make([]int64, f.Len()*d)
		for i := range f.Len() {
			for k, has := range f.Capacity(i) {
				keptRows[i*d+k] = has / 10
			}
		}
	}
	return keptRows
}

// placeTwo places two allocations of an app of its own size, and takes them off again.
func placeTwo(tb testing.TB, f *place.Fleet, r *rand.Rand, kind string) {
	tb.Helper()
	a, policy := size(r), place.Binpack
	switch kind {
	case "zones":
		a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 50}}
	case "hosts":
		a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	}
	q := &place.Request{Count: 2, Total: 2, Best: &policy}
	switch kind {
	case "port":
		a.Network.Ports = []spec.PortSpec{{Name: "http", Protocol: spec.TCP, Static: 8000 + r.IntN(10)}}
	case "cores":
		a.Tasks[0].Cores = 2
	case "gpu":
		a.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: 1}}
	case "near zone":
		q.Beside = []place.Beside{{Name: "near", Attribute: "zone", Nodes: []int32{4}}}
	case "apart zone":
		q.Beside = []place.Beside{{Name: "apart", Attribute: "zone", Apart: true, Nodes: []int32{4}}}
	case "apart host":
		q.Beside = []place.Beside{{Name: "apart", Attribute: "node.id", Apart: true, Nodes: []int32{4, 70, 300}}}
	case "peer zone":
		q.Peers = []place.Peer{{Name: "peer", Attribute: "zone", Weight: 500, Nodes: []int32{4}}}
	case "reserved":
		defer f.Withhold(kept(f))()
	}
	q.Match = f.Matcher(a)
	picks, err := policy.Place(f.Batch(q))
	if err != nil || len(picks) != 2 {
		tb.Fatal(len(picks), err)
	}
	for _, p := range picks {
		f.Take(f.At(p.Node), q.Match.Need, nil)
	}
	for _, p := range picks {
		f.Release(f.At(p.Node), q.Match.Need, nil)
	}
}

// BenchmarkSearch places apps of two allocations, each of its own size, on nodes that are in use, and reports how many nodes are
// looked at for each.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				f, r := used(n)
				looks := f.Looks()
				for b.Loop() {
					placeTwo(b, f, r, kind)
				}
				b.ReportMetric(float64(f.Looks()-looks)/float64(b.N), "looks/op")
			})
		}
	}
}
