package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

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

// cpuTime is what this process has had of processors so far: on a machine that is shared it tells more than a clock.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// sizes are numbers of nodes; each has twenty allocations.
var sizes = []int{500, 1000, 5000, 10_000, 50_000}

const perNode = 20

// BenchmarkGrowth plans the same at growing sizes, from 500 nodes with 10,000 allocations to 50,000 with 1,000,000, and
// reports what an allocation costs in processor time and in memory, and by how much that grows from the smallest size to
// the one at hand: 1 and less means that the whole grows in line with its size, or slower.
func BenchmarkGrowth(b *testing.B) {
	for _, g := range []struct {
		name string
		make func(n int) reconcile.Input
	}{
		{"scratch", func(n int) reconcile.Input { return brief(sized(n, n/25, 25*perNode)) }},
		{"nothing", func(n int) reconcile.Input { return brief(livedIn(n)) }},
		{"lost", func(n int) reconcile.Input { return brief(losing(livedIn(n))) }},
		{"lost-mixed", func(n int) reconcile.Input {
			return brief(losing(scattered(settled(mixedSizes(n, n/25, 25*perNode)), n)))
		}},
		{"one-app", func(n int) reconcile.Input { return brief(changing(livedIn(n))) }},
		{"explained", func(n int) reconcile.Input { return changing(livedIn(n)) }},
	} {
		var first, firstBytes float64
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", g.name, n*perNode), func(b *testing.B) {
				in := g.make(n)
				reconcile.Plan(in) // so that a heap of the size is there
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := cpuTime(b)
				b.ResetTimer()
				for range b.N {
					reconcile.Plan(in)
				}
				b.StopTimer()
				each := float64(cpuTime(b)-began) / float64(b.N*n*perNode)
				runtime.ReadMemStats(&after)
				bytes := float64(after.TotalAlloc-before.TotalAlloc) / float64(b.N*n*perNode)
				if n == sizes[0] {
					first, firstBytes = each, bytes
				}
				b.ReportMetric(each, "cpu-ns/allocation")
				b.ReportMetric(bytes, "B/allocation")
				b.ReportMetric(each/max(first, 1e-9), "growth")
				b.ReportMetric(bytes/max(firstBytes, 1e-9), "B-growth")
			})
		}
	}
}

// brief has the input planned as a master does, which leaves out what only people read and remembers the last plan.
func brief(in reconcile.Input) reconcile.Input {
	in.Brief, in.Memory = true, &reconcile.Memory{}
	return in
}

// livedIn is a cluster on which the allocations of every app are all over the nodes, as after years.
func livedIn(n int) reconcile.Input {
	return scattered(settled(sized(n, n/25, 25*perNode)), n)
}

// mixedSizes is sized with apps of 35 sizes.
func mixedSizes(nodes, apps, count int) reconcile.Input {
	in := sized(nodes, apps, count)
	for i, a := range in.Desired.Apps {
		a.Tasks[0].CPU, a.Tasks[0].Memory = spec.MilliCPU(40+i%7*20), spec.Bytes(2+i%5)*128*spec.MiB
	}
	in.Hashes = reconcile.HashApps(in.Desired.Apps)
	return in
}

// scattered has allocations change places with one another. Even of several sizes, they leave room everywhere.
func scattered(in reconcile.Input, n int) reconcile.Input {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	r.Shuffle(len(in.Current), func(i, k int) {
		in.Current[i].Node, in.Current[k].Node = in.Current[k].Node, in.Current[i].Node
	})
	return in
}

// losing loses one node of a hundred.
func losing(in reconcile.Input) reconcile.Input {
	for i := 0; i < len(in.Nodes); i += 100 {
		in.Nodes[i].State, in.Nodes[i].LastSeen = spec.NodeUnknown, in.Now.Add(-spec.Minute)
	}
	return in
}

// changing changes one app, and adds one that has no place.
func changing(in reconcile.Input) reconcile.Input {
	c := *in.Desired
	c.Apps = slices.Clone(c.Apps)
	c.Apps[7] = edit(c.Apps[7], func(a *spec.App) { a.Tasks[0].Command = []string{"v2"} })
	c.Apps = append(c.Apps, edit(c.Apps[0], func(a *spec.App) { a.Name, a.Count, a.Tasks[0].CPU = "zz-huge", 10, 64_000 }))
	in.Desired, in.Hashes = &c, reconcile.HashApps(c.Apps)
	return in
}

// BenchmarkManyApps places 1,000 apps of one allocation each on 10,000 nodes in one plan.
func BenchmarkManyApps(b *testing.B) {
	in := big(10_000, 1000, 1)
	b.ReportAllocs()
	began := cpuTime(b)
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Start != 1000 {
			b.Fatalf("%+v", p.Summary)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
	b.ReportMetric((cpuTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// scarce is a cluster with room for about half of what is asked for, by apps of three roles.
func scarce(nodes, apps, count int) reconcile.Input {
	in := big(nodes, apps, count)
	for i := range in.Nodes {
		in.Nodes[i].Capacity.CPU = 8000
	}
	in.Desired.Roles = []spec.Role{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}, {Name: "c", Weight: 3}}
	for i, a := range in.Desired.Apps {
		a.Role = []spec.RoleName{"a", "b", "c"}[i%3]
	}
	in.Hashes = reconcile.HashApps(in.Desired.Apps)
	return in
}

// BenchmarkScarce shares a cluster that is too small for all.
func BenchmarkScarce(b *testing.B) {
	for _, n := range []int{1000, 5000, 10_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := brief(scarce(n, 500, n/50))
			began := cpuTime(b)
			for b.Loop() {
				if p, _ := reconcile.Plan(in); p.Summary.Blocked == 0 {
					b.Fatalf("%+v", p.Summary)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N*n*10), "cpu-ns/allocation")
		})
	}
}
