package e2e

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	core "github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// BenchmarkThousand starts 1,000 containers on one agent by one commit, told as healthy to a watcher, and stops them by another. Memory is what
// agent and executor have more of than before, all of it counted; time on the processor is theirs, that of all stages of starts included.
func BenchmarkThousand(b *testing.B) {
	const count = 1000
	small := strings.NewReplacer("cpu     = 0.01", "cpu     = 0.001", `"16MiB"`, `"8MiB"`)
	for b.Loop() {
		c := newCluster(b, 1)
		c.commit("cluster.hcl", clusterHCL)
		pid, err := executorPid(c.agents[0])
		if err != nil {
			b.Fatal(err)
		}
		both := []int{c.agents[0].proc.pid(), pid}
		memory := func() (sum float64) {
			for _, p := range both {
				sum += residentKiB(b, p)
			}
			return sum
		}
		cpu := func() float64 { return ticks(b, both[0]) + ticks(b, pid) + childTicks(b, pid) }
		memoryBefore, cpuBefore, began := memory(), cpu(), time.Now()
		c.commit("web.hcl", small.Replace(webHCL(count, "")))
		c.watch(func(all map[spec.AllocationID]spec.AllocationView) bool {
			n, ok := liveHealthy(all)
			return ok && n == count
		})
		took := time.Since(began)
		// The garbage of starting is collected once nothing has happened for a while.
		used := memory()
		for last := 0.0; used != last; used = memory() {
			last = used
			time.Sleep(time.Second)
		}
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric((used-memoryBefore)/1024, "MiB")
		b.ReportMetric((used-memoryBefore)/count, "KiB/task")
		b.ReportMetric((cpu()-cpuBefore)*1000/count, "cpu-ms/task")
		began = time.Now()
		c.commit("web.hcl", small.Replace(webHCL(0, "")))
		c.watch(func(all map[spec.AllocationID]spec.AllocationView) bool {
			n, ok := liveHealthy(all)
			return ok && n == 0
		})
		b.ReportMetric(time.Since(began).Seconds(), "s-to-stop")
	}
}

// childTicks is the processor's time of a process's children that have ended, in seconds.
func childTicks(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var user, system float64
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	if _, err := fmt.Sscan(fields[13]+" "+fields[14], &user, &system); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100
}

// BenchmarkRestart kills a task whose spec wants no delay, and measures until its next run executes its command: the first time, when
// the agent makes it, and then, when it has parked one.
func BenchmarkRestart(b *testing.B) {
	c := newCluster(b, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, `restart {
    attempts = -1
    delay    = "0s"
  }`))
	c.healthy(1)
	client := executor.NewClient(c.agents[0].dir + "/executor.sock")
	all, err := client.List(b.Context())
	if err != nil || len(all) != 1 {
		b.Fatalf("%d containers: %v", len(all), err)
	}
	now := all[0]
	run, err := core.ParseRun(now.ID)
	if err != nil {
		b.Fatal(err)
	}
	var times []float64
	restart := func() {
		run.Attempt++
		began := time.Now()
		if err := unix.Kill(now.Pid, unix.SIGKILL); err != nil {
			b.Fatal(err)
		}
		for {
			now, err = client.Get(b.Context(), run.String())
			if err == nil && now.State == executor.StateRunning && executes(now.Pid, "sleep") {
				break
			}
			if err != nil && !errors.Is(err, executor.ErrNotFound) || time.Since(began) > patience {
				b.Fatalf("%s does not run: %v", run, err)
			}
			time.Sleep(200 * time.Microsecond)
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	restart()
	b.ReportMetric(times[0], "first-ms")
	times = nil
	for b.Loop() {
		next := run
		next.Attempt++
		c.eventually("another run is parked", func() error {
			parked, err := client.Get(b.Context(), next.String())
			if err == nil && parked.State != executor.StateCreated {
				err = fmt.Errorf("%s is %s", next, parked.State)
			}
			return err
		})
		restart()
	}
	sort.Float64s(times)
	b.ReportMetric(times[len(times)/2], "median-ms")
	b.ReportMetric(times[0], "min-ms")
}

// executes reports whether a process runs a program.
func executes(pid int, program string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasPrefix(string(line), program)
}
