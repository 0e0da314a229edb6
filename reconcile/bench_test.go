package reconcile_test

import (
	"fmt"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// big returns an input of so many nodes and apps, with nothing running.
func big(nodes, apps, count int) reconcile.Input {
	in := reconcile.Input{
		Now: 1_000_000 * spec.Time(spec.Second),
		Desired: &spec.Cluster{
			Name: "bench", Policy: spec.PolicyRef{Name: "binpack"}, Disruption: spec.Disruption{MaxUnavailable: spec.Percent{Value: 10}},
		},
		Versions: map[spec.Hash]*spec.App{},
	}
	for i := range nodes {
		n := node(fmt.Sprintf("n%05d", i), 32000, 128*spec.GiB)
		n.Attributes = map[string]string{"zone": fmt.Sprint("z", i%3), "rack": fmt.Sprint("r", i%400), "kernel.version": fmt.Sprintf("6.%d.0", i%4), "class": fmt.Sprint("c", i%10)}
		in.Nodes = append(in.Nodes, n)
	}
	for i := range apps {
		a := service(fmt.Sprintf("app-%04d", i), count)
		a.Tasks[0].CPU, a.Tasks[0].Memory = spec.MilliCPU(500+i%7*250), spec.Bytes(1+i%5)*spec.GiB
		in.Desired.Apps = append(in.Desired.Apps, a)
	}
	in.Hashes = reconcile.HashApps(in.Desired.Apps)
	return in
}

// settled returns the input with everything placed and healthy.
func settled(in reconcile.Input) reconcile.Input {
	for g := spec.Generation(1); ; g++ {
		p, r := reconcile.Plan(in)
		d := reconcile.Decide(in, p, r, g)
		if d.Empty() {
			return in
		}
		in = reconcile.Apply(in, d)
		for i := range in.Current {
			a := &in.Current[i]
			a.State, a.Healthy, a.HealthySince = spec.StateRunning, true, in.Now
		}
		in.Now = in.Now.Add(spec.Minute)
		for i := range in.Nodes {
			in.Nodes[i].LastSeen = in.Now
		}
	}
}

func BenchmarkFromScratch(b *testing.B) {
	in := big(10_000, 500, 200)
	b.ReportAllocs()
	began := cpuTime(b)
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Start != 100_000 {
			b.Fatalf("%+v", p.Summary)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
	b.ReportMetric((cpuTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

func BenchmarkNothingToDo(b *testing.B) {
	for _, count := range []int{200, 2000} {
		b.Run(fmt.Sprint(500*count), func(b *testing.B) {
			in := big(10_000, 500, count)
			for _, a := range in.Desired.Apps { // so that a million fit
				a.Tasks[0].CPU, a.Tasks[0].Memory = 100, 512*spec.MiB
			}
			in.Hashes = reconcile.HashApps(in.Desired.Apps)
			in = settled(in)
			if len(in.Current) != 500*count {
				b.Fatalf("%d allocations, want %d", len(in.Current), 500*count)
			}
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				if p, _ := reconcile.Plan(in); p.Summary.Changes() != 0 {
					b.Fatalf("%+v", p.Summary)
				}
			}
			b.ReportMetric((cpuTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

func BenchmarkLosingOnePercent(b *testing.B) {
	in := settled(big(10_000, 500, 200))
	for i := 0; i < len(in.Nodes); i += 100 {
		in.Nodes[i].State, in.Nodes[i].LastSeen = spec.NodeUnknown, in.Now.Add(-spec.Minute)
	}
	b.ReportAllocs()
	began := cpuTime(b)
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Start < 500 {
			b.Fatalf("%+v", p.Summary)
		}
	}
	b.ReportMetric((cpuTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

func BenchmarkOneAppChanges(b *testing.B) {
	in := settled(big(10_000, 500, 200))
	c := *in.Desired
	c.Apps = append([]*spec.App(nil), c.Apps...)
	c.Apps[7] = edit(c.Apps[7], func(a *spec.App) { a.Tasks[0].Command = []string{"v2"}; a.Count = 210 })
	in.Desired, in.Hashes = &c, reconcile.HashApps(c.Apps)
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Replace != 200 || p.Summary.Start != 10 {
			b.Fatalf("%+v", p.Summary)
		}
	}
}

func BenchmarkManyBlocked(b *testing.B) {
	in := settled(big(10_000, 100, 1000))
	c := *in.Desired
	c.Apps = append([]*spec.App(nil), c.Apps...)
	for i := range 100 {
		c.Apps = append(c.Apps, edit(c.Apps[i], func(a *spec.App) {
			a.Name, a.Count, a.Tasks[0].CPU = spec.AppName(fmt.Sprintf("huge-%03d", i)), 10, 64_000
			a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpNotEqual, Value: "z1"}}
		}))
	}
	in.Desired, in.Hashes = &c, reconcile.HashApps(c.Apps)
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := reconcile.Plan(in); p.Summary.Blocked != 1000 {
			b.Fatalf("%+v", p.Summary)
		}
	}
}
