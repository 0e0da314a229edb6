package reconcile_test

import (
	"fmt"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// uneven is a large cluster that has lost and got back a zone, and begins to pack: a third of its apps is uneven over the
// zones, and every node has little.
func uneven(nodes, apps, count int) reconcile.Input {
	in := big(nodes, apps, count)
	in.Desired.Policy.Name = "spread"
	for i, a := range in.Desired.Apps {
		if i%3 == 0 {
			a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 50}}
		}
	}
	in.Hashes = reconcile.HashApps(in.Desired.Apps)
	for i := range in.Nodes {
		if i%3 == 0 {
			in.Nodes[i].State = spec.NodeDown
		}
	}
	in = settled(in)
	for i := range in.Nodes {
		in.Nodes[i].State = spec.NodeReady
	}
	in.Desired.Policy.Name = "binpack"
	return in
}

func BenchmarkRebalance(b *testing.B) {
	for _, s := range []struct{ nodes, apps, count, most int }{{1000, 100, 50, 0}, {10_000, 500, 100, 0}, {10_000, 500, 100, reconcile.MaxMoves}} {
		b.Run(fmt.Sprintf("%d-nodes-%d-moves", s.nodes, s.most), func(b *testing.B) {
			in := uneven(s.nodes, s.apps, s.count)
			for b.Loop() {
				r := reconcile.Rebalance(in, reconcile.Terms{Moves: s.most})
				b.ReportMetric(float64(len(r.Moves)), "moves")
			}
		})
	}
}
