package e2e

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// watch follows the master's stream of changes and returns when the condition holds over all allocations.
func (c *cluster) watch(condition func(map[spec.AllocationID]spec.AllocationView) bool) {
	c.t.Helper()
	master := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := map[spec.AllocationID]spec.AllocationView{}
	err := master.Watch(ctx, client.WatchFilter{}, func(change api.Change) error {
		for _, a := range change.Allocations {
			all[a.ID] = a
		}
		for _, id := range change.Gone {
			delete(all, id)
		}
		if condition(all) {
			return errDone
		}
		return nil
	})
	if err != errDone {
		c.t.Fatalf("watch: %v", err)
	}
}

var errDone = fmt.Errorf("done")

func (c *cluster) client() *client.Client {
	c.t.Helper()
	master, err := client.Load(c.dir + "/master/credentials.json")
	if err != nil {
		c.t.Fatal(err)
	}
	return master
}

// liveHealthy counts the allocations that should run and are healthy; ok is false while others have not ended.
func liveHealthy(all map[spec.AllocationID]spec.AllocationView) (healthy int, ok bool) {
	for _, a := range all {
		switch {
		case a.State.Terminal():
		case a.Want == spec.WantRun && a.Healthy:
			healthy++
		default:
			return healthy, false
		}
	}
	return healthy, true
}

// BenchmarkCommitToRunning measures from the commit until all of 3 new allocations are told as healthy to a watcher.
func BenchmarkCommitToRunning(b *testing.B) {
	c := newCluster(b, 3)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(0, ""))
	c.eventually("the first revision is followed", func() error {
		out, err := c.try("status")
		if err == nil && !strings.Contains(out, "1 app") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	var times []float64
	for b.Loop() {
		c.write("web.hcl", webHCL(3, ""))
		c.git("-C", c.repo, "add", "-A")
		c.git("-C", c.repo, "commit", "-q", "-m", "three")
		committed := time.Now()
		c.watch(func(all map[spec.AllocationID]spec.AllocationView) bool {
			n, ok := liveHealthy(all)
			return ok && n == 3
		})
		times = append(times, float64(time.Since(committed).Microseconds())/1000)
		c.commit("web.hcl", webHCL(0, ""))
		c.watch(func(all map[spec.AllocationID]spec.AllocationView) bool {
			n, ok := liveHealthy(all)
			return ok && n == 0
		})
	}
	sort.Float64s(times)
	b.ReportMetric(times[len(times)/2], "median-ms")
}

// BenchmarkContainersPerSecond starts 200 allocations on one agent by one commit, told as healthy to a watcher.
func BenchmarkContainersPerSecond(b *testing.B) {
	const count = 200
	for b.Loop() {
		b.StopTimer()
		c := newCluster(b, 1)
		c.commit("cluster.hcl", clusterHCL)
		b.StartTimer()
		began := time.Now()
		c.commit("web.hcl", strings.Replace(webHCL(count, ""), "cpu     = 0.01", "cpu     = 0.005", 1))
		c.watch(func(all map[spec.AllocationID]spec.AllocationView) bool {
			n, ok := liveHealthy(all)
			return ok && n == count
		})
		took := time.Since(began)
		b.StopTimer()
		b.ReportMetric(float64(count)/took.Seconds(), "containers/s")
		pid, err := executorPid(c.agents[0])
		if err != nil {
			b.Fatal(err)
		}
		agentKiB, executorKiB, masterKiB := residentKiB(b, c.agents[0].proc.pid()), residentKiB(b, pid), residentKiB(b, c.master.pid())
		b.ReportMetric(agentKiB/1024, "agent-MiB")
		b.ReportMetric(executorKiB/1024, "executor-MiB")
		b.ReportMetric(masterKiB/1024, "master-MiB")
		b.StartTimer()
	}
}

// BenchmarkIdle measures what an agent and its executor cost while ten tasks sleep: memory, and the processor's time over
// some seconds.
func BenchmarkIdle(b *testing.B) {
	c := newCluster(b, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(10, ""))
	c.healthy(10)
	executor, err := executorPid(c.agents[0])
	if err != nil {
		b.Fatal(err)
	}
	agent := c.agents[0].proc.pid()
	const wait = 10 * time.Second
	for b.Loop() {
		before := ticks(b, agent) + ticks(b, executor)
		masterBefore := ticks(b, c.master.pid())
		time.Sleep(wait)
		b.ReportMetric(100*(ticks(b, agent)+ticks(b, executor)-before)/wait.Seconds(), "agent-cpu-%")
		b.ReportMetric(100*(ticks(b, c.master.pid())-masterBefore)/wait.Seconds(), "master-cpu-%")
		b.ReportMetric((residentKiB(b, agent)+residentKiB(b, executor))/1024, "agent+executor-MiB")
		b.ReportMetric((anonymousKiB(b, agent)+anonymousKiB(b, executor))/1024, "anonymous-MiB")
		b.ReportMetric(residentKiB(b, c.master.pid())/1024, "master-MiB")
	}
}

// BenchmarkPlanCommand measures stowage plan against a running master, as a whole process.
func BenchmarkPlanCommand(b *testing.B) {
	c := newCluster(b, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(3, ""))
	c.healthy(3)
	for b.Loop() {
		c.cli("plan")
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
}

// BenchmarkVersionCommand measures starting the program.
func BenchmarkVersionCommand(b *testing.B) {
	needRoot(b)
	c := &cluster{t: b, repo: "."}
	for b.Loop() {
		c.cli("version")
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
}

func statusField(b *testing.B, pid int, file, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("no %s of %d", field, pid)
	return 0
}

func residentKiB(b *testing.B, pid int) float64  { return statusField(b, pid, "status", "VmRSS") }
func anonymousKiB(b *testing.B, pid int) float64 { return statusField(b, pid, "status", "RssAnon") }

// ticks is the processor's time of a process, in seconds.
func ticks(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return (user + system) / 100
}
