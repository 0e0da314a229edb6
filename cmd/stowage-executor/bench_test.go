package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
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
	n.settle()
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
	n.settle()
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

// BenchmarkStop asks a task to end that ends at once, and removes it: the time until its exit is told, and that until nothing of it is left.
func BenchmarkStop(b *testing.B) {
	n := newNode(b)
	ctx, cancel := context.WithCancel(context.Background())
	exits := make(chan string, 1)
	followed := make(chan error, 1)
	go func() {
		followed <- n.client.Exits(ctx, executor.Cursor{}, func(e executor.ExitEvent) error {
			exits <- e.Container.ID
			return nil
		})
	}()
	var told, gone []time.Duration
	for i := 0; b.Loop(); i++ {
		spec := n.host(fmt.Sprintf("c%d", i), "")
		spec.Command = []string{"sleep", "1000"}
		if _, err := n.client.Start(ctx, spec); err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		if err := n.client.Signal(ctx, spec.ID, int(unix.SIGTERM)); err != nil {
			b.Fatal(err)
		}
		if id := <-exits; id != spec.ID {
			b.Fatalf("the exit of %s was told, not that of %s", id, spec.ID)
		}
		told = append(told, time.Since(begin))
		if err := n.client.Delete(ctx, spec.ID); err != nil {
			b.Fatal(err)
		}
		gone = append(gone, time.Since(begin))
	}
	cancel()
	<-followed
	b.ReportMetric(ms(median(told)), "ms-told")
	b.ReportMetric(ms(median(gone)), "ms-gone")
}

// BenchmarkLogs has a container write as fast as it can, in turns with the same command that writes to a file through cat: what of that speed is
// left, and what the executor takes for it.
func BenchmarkLogs(b *testing.B) {
	n := newNode(b)
	const mib = 256
	script := fmt.Sprintf("dd if=/dev/zero bs=64k count=%d 2>/dev/null", mib<<20/(64<<10))
	var ours, theirs []time.Duration
	before := usageOf(b, n.cmd.Process.Pid)
	for i := 0; b.Loop(); i++ {
		spec := n.host(fmt.Sprintf("c%d", i), script)
		spec.CPUMillis = 1000 // what the other has
		begin := time.Now()
		n.run(spec)
		ours = append(ours, time.Since(begin))
		if err := n.client.Delete(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		file := n.dir + "/plain"
		begin = time.Now()
		if out, err := exec.Command("sh", "-c", script+" | cat > "+file).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		theirs = append(theirs, time.Since(begin))
		if err := os.Remove(file); err != nil {
			b.Fatal(err)
		}
	}
	used := usageOf(b, n.cmd.Process.Pid).less(before)
	b.ReportMetric(mib/median(ours).Seconds(), "MiB/s")
	b.ReportMetric(median(ours).Seconds()/median(theirs).Seconds(), "ratio-cat")
	b.ReportMetric(ms(used.cpu)/float64(len(ours))*1024/mib, "cpu-ms/GiB")
}
