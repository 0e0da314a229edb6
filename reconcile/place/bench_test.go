package place_test

import (
	"fmt"
	"testing"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

func fleet(n int) *place.Fleet {
	nodes, cores := make([]spec.NodeView, n), []spec.CoreGroup{{Cores: []int{1, 2, 3, 4, 5, 6, 7}}}
	for i := range nodes {
		nodes[i] = spec.NodeView{State: spec.NodeReady, Node: spec.Node{
			ID:         spec.NodeID(fmt.Sprintf("n%05d", i)),
			Attributes: map[string]string{"zone": fmt.Sprint("z", i%3), "kernel.version": fmt.Sprintf("6.%d.0", i%4), "class": fmt.Sprint("c", i%10)},
			Capacity:   spec.Resources{CPU: 32_000, Memory: 128 * spec.GiB, Disk: 100 * spec.GiB},
			Cores:      cores,
		}}
		if i%10 == 0 {
			nodes[i].Devices = []spec.Device{{Kind: "gpu", ID: "0"}, {Kind: "gpu", ID: "1"}}
		}
	}
	return place.NewFleet(nodes, nil)
}

func app() *spec.App {
	return &spec.App{Name: "web", Count: 1000, Tasks: []spec.Task{{CPU: 500, Memory: spec.GiB}}}
}

// benchmark places 1,000 allocations on 10,000 nodes, from the app to the picks.
func benchmark(b *testing.B, a *spec.App, p place.Policy) {
	f := fleet(10_000)
	b.ReportAllocs()
	for b.Loop() {
		batch := f.Batch(&place.Request{Match: f.Matcher(a), Count: 1000, Total: 1000})
		if picks, err := p.Place(batch); err != nil || len(picks) != 1000 {
			b.Fatal(len(picks), err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
}

func BenchmarkBinpack(b *testing.B) { benchmark(b, app(), place.Binpack) }

func BenchmarkSpread(b *testing.B) { benchmark(b, app(), place.Spread) }

func BenchmarkZonesAndConstraints(b *testing.B) {
	a := app()
	a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 100}}
	a.Constraints = []spec.Constraint{
		{Attribute: "kernel.version", Operator: spec.OpGreaterEqual, Value: "6.1"},
		{Attribute: "class", Operator: spec.OpNotEqual, Value: "c3"},
	}
	benchmark(b, a, place.Binpack)
}
