package reconcile_test

import (
	"fmt"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// sized is big with apps so small that all fit, and hashes.
func sized(nodes, apps, count int) reconcile.Input {
	in := big(nodes, apps, count)
	for _, a := range in.Desired.Apps {
		a.Tasks[0].CPU, a.Tasks[0].Memory = 100, 512*spec.MiB
	}
	in.Hashes = reconcile.HashApps(in.Desired.Apps)
	return in
}

// growth runs a benchmark at each size and reports what one thing of a size costs, and by how much that grows from the
// smallest size to the one at hand: about 1 means that the whole grows in line with its size.
func growth(b *testing.B, sizes []int, what string, make func(n int) func()) {
	first := 0.0
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			run := make(n)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				run()
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n)
			if n == sizes[0] {
				first = each
			}
			b.ReportMetric(each, "ns/"+what)
			if first > 0 {
				b.ReportMetric(each/first, "growth")
			}
		})
	}
}

// BenchmarkNodes plans the loss of a node, with ten allocations on each, for more and more nodes.
func BenchmarkNodes(b *testing.B) {
	growth(b, []int{1000, 5000, 10_000, 50_000}, "node", func(n int) func() {
		in := settled(sized(n, 100, n/10))
		in.Nodes[0].State, in.Nodes[0].LastSeen = spec.NodeUnknown, in.Now.Add(-spec.Minute)
		return func() { reconcile.Plan(in) }
	})
}

// BenchmarkAllocations plans without anything to do on 10,000 nodes, for more and more allocations.
func BenchmarkAllocations(b *testing.B) {
	growth(b, []int{100_000, 300_000, 1_000_000}, "allocation", func(n int) func() {
		in := settled(sized(10_000, 500, n/500))
		return func() { reconcile.Plan(in) }
	})
}

// BenchmarkPlacements places more and more allocations of 100 apps on 10,000 empty nodes.
func BenchmarkPlacements(b *testing.B) {
	growth(b, []int{10_000, 100_000, 1_000_000}, "placement", func(n int) func() {
		in := sized(10_000, 100, n/100)
		return func() { reconcile.Plan(in) }
	})
}

// BenchmarkManyApps places 1,000 apps of one allocation each on 10,000 nodes in one plan.
func BenchmarkManyApps(b *testing.B) {
	in := big(10_000, 1000, 1)
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Start != 1000 {
			b.Fatalf("%+v", p.Summary)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
}
