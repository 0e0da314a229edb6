package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
)

// startOnce measures start to exec, then stop and removal without the clock.
func benchmarkStart(b *testing.B, change func(*executor.Spec)) {
	n := newNode(b)
	spec := n.host("warm", "")
	spec.Command = []string{"sleep", "1000"}
	change(&spec)
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		spec.ID = fmt.Sprintf("c%d", i)
		if _, err := n.client.Start(ctx, spec); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := n.client.Delete(ctx, spec.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkStart is one container after the other: limits, network namespace, masks, read-only host root, seccomp.
func BenchmarkStart(b *testing.B) { benchmarkStart(b, func(*executor.Spec) {}) }

// BenchmarkStartUnconfined leaves out the seccomp filter.
func BenchmarkStartUnconfined(b *testing.B) {
	benchmarkStart(b, func(s *executor.Spec) { s.Unconfined = true })
}

// BenchmarkStartOverlay has a writable root.
func BenchmarkStartOverlay(b *testing.B) {
	dir := b.TempDir()
	benchmarkStart(b, func(s *executor.Spec) { s.Root.Writable = dir + "/upper" })
}

// BenchmarkRelease runs containers that were prepared before: the time until a parked successor executes its command.
func BenchmarkRelease(b *testing.B) {
	n := newNode(b)
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		spec := n.host(fmt.Sprintf("c%d", i), "")
		spec.Command = []string{"sleep", "1000"}
		if _, err := n.client.Prepare(ctx, spec); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := n.client.Release(ctx, spec.ID); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := n.client.Delete(ctx, spec.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkThroughput starts containers four at a time, and keeps them: containers per second, and what each costs the executor.
func BenchmarkThroughput(b *testing.B) {
	n := newNode(b)
	ctx := context.Background()
	before := n.memory()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				spec := n.host(fmt.Sprintf("c%d", i), "")
				spec.Command = []string{"sleep", "1000"}
				if _, err := n.client.Start(ctx, spec); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "containers/s")
	// What an executor keeps, once it has collected the garbage of starting.
	time.Sleep(2 * time.Second)
	b.ReportMetric(float64(n.memory()-before)/float64(b.N)/1024, "KiB/container")
	b.ReportMetric(float64(before)/(1<<20), "MiB-idle")
}

// memory is what the executor has in memory of its own, in bytes.
func (n *node) memory() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			if _, err := fmt.Sscan(value, &kib); err != nil {
				n.t.Fatal(err)
			}
			return kib << 10
		}
	}
	n.t.Fatal("no VmRSS")
	return 0
}
