package master_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// prepared makes a commit that no branch points to yet.
func (c *cluster) prepared(t testing.TB, files map[string]string) string {
	t.Helper()
	write(t, c.repo, files)
	gitIn(t, c.repo, "add", "-A")
	return gitIn(t, c.repo, "commit-tree", gitIn(t, c.repo, "write-tree"), "-p", "HEAD", "-m", "next")
}

// healthy is what a watch has told by one moment: the commit that is followed, and how many allocations are healthy.
type healthy struct {
	commit  spec.Commit
	running int
}

func (c *cluster) watchHealthy(t testing.TB) (changes <-chan healthy, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan healthy, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		all := map[spec.AllocationID]bool{}
		err := c.client.Watch(ctx, watchAll, func(ch api.Change) error {
			for _, a := range ch.Allocations {
				if a.Healthy && a.Want == spec.WantRun {
					all[a.ID] = true
				} else {
					delete(all, a.ID)
				}
			}
			for _, id := range ch.Gone {
				delete(all, id)
			}
			select {
			case out <- healthy{ch.Commit, len(all)}:
			case <-ctx.Done():
			}
			return nil
		})
		if ctx.Err() == nil {
			t.Errorf("the watch ended: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return out, stop
}

func await(t testing.TB, changes <-chan healthy, commit string, running int) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case h := <-changes:
			if string(h.commit) == commit && h.running == running {
				return
			}
		case <-timeout:
			t.Fatal("it does not get there")
		}
	}
}

// BenchmarkCommitToRunning measures from moving the branch (a git process included) to a watch having told that three
// more allocations run, on three agents that start everything at once. The goal, containers included, is 150 ms.
func BenchmarkCommitToRunning(b *testing.B) {
	c := newCluster(b, map[string]string{"cluster.hcl": auto(header), "web.hcl": replace(webApp, "count = 3", "count = 1")})
	for i := range 3 {
		joinAgent(b, c, fmt.Sprintf("n%d", i)).run(b)
	}
	changes, _ := c.watchHealthy(b)
	await(b, changes, gitIn(b, c.repo, "rev-parse", "HEAD"), 1)
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		next := c.prepared(b, map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 4")})
		b.StartTimer()
		began := time.Now()
		gitIn(b, c.repo, "update-ref", "refs/heads/main", next)
		await(b, changes, next, 4)
		took = append(took, time.Since(began))
		b.StopTimer()
		back := c.prepared(b, map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 1")})
		gitIn(b, c.repo, "update-ref", "refs/heads/main", back)
		await(b, changes, back, 1)
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "ms/median")
}

// BenchmarkPlanTree measures a preview of a working tree over the API.
func BenchmarkPlanTree(b *testing.B) {
	c := newCluster(b, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	joinAgent(b, c, "n1").run(b)
	c.running(b, "shop/web", 3)
	for b.Loop() {
		if _, err := c.client.PlanTree(context.Background(), os.DirFS(c.repo)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDurablePlacements measures 10,000 allocations from moving the branch to a watch having told that all of them
// run: planning, the journal, assignments to 100 agents, their reports, and the API. The goal is 11,400 per second.
func BenchmarkDurablePlacements(b *testing.B) {
	const tasks, nodes = 10_000, 100
	for b.Loop() {
		b.StopTimer()
		c := newCluster(b, map[string]string{"cluster.hcl": auto(header)})
		agents := make([]*fakeAgent, nodes)
		for i := range agents {
			agents[i] = joinAgent(b, c, fmt.Sprintf("n%03d", i))
			agents[i].run(b)
		}
		eventually(b, "nodes", func() error {
			st, err := c.client.Status(context.Background())
			if err == nil && (st.Nodes.Ready != nodes || st.Follows == nil) {
				err = errors.New("not all are there")
			}
			return err
		})
		changes, stop := c.watchHealthy(b)
		next := c.prepared(b, map[string]string{"web.hcl": replace(webApp, "count = 3", fmt.Sprintf("count = %d", tasks))})
		b.StartTimer()
		began := time.Now()
		gitIn(b, c.repo, "update-ref", "refs/heads/main", next)
		await(b, changes, next, tasks)
		b.ReportMetric(tasks/time.Since(began).Seconds(), "placements/s")
		b.StopTimer()
		stop()
		for _, a := range agents {
			a.stop()
		}
		c.stop(b)
		b.StartTimer()
	}
}
