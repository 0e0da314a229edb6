package host

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// What a policy costs more as a process than in this one: 1,000 allocations on 10,000 nodes.
func BenchmarkPlace(b *testing.B) {
	const nodes = 10_000
	batch := &place.Batch{App: "shop/web", Count: 1000, Resources: []string{"cpu", "memory", "disk"}, Need: []int64{500, 256 << 20, 0}}
	for i := range nodes {
		batch.Nodes = append(batch.Nodes, spec.NodeID(fmt.Sprintf("node-%05d", i)))
		batch.Capacity = append(batch.Capacity, 8000, 32<<30, 1<<40)
		batch.Free = append(batch.Free, 8000-int64(i%7)*1000, 32<<30-int64(i%11)<<30, 1<<40)
		batch.Room, batch.Own, batch.Load = append(batch.Room, 100), append(batch.Own, 0), append(batch.Load, int32(i%9))
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	h, err := New(Options{Overrides: map[string]string{"pack": self}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	process := h.Policy(spec.Plugin{Name: "pack", Kind: spec.PluginPolicy, Args: []string{"plugin-pack"}})
	for name, policy := range map[string]place.Policy{"in-process": place.Binpack, "as-a-process": process} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				picks, err := policy.Place(batch)
				if err != nil || len(picks) != batch.Count {
					b.Fatal(len(picks), err)
				}
			}
			b.ReportMetric(float64(b.N*batch.Count)/b.Elapsed().Seconds(), "placements/s")
		})
	}
}
