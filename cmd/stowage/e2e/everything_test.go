package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// TestEverythingKilledAtOnce kills master, agents, executors and tasks in the middle of a rollout, all of them with SIGKILL, and starts the
// daemons again: what was healthy is so again in the same allocation, as a new attempt, nothing is there twice, and the rollout goes on to its end.
func TestEverythingKilledAtOnce(t *testing.T) {
	const count = 4
	c := newCluster(t, 2)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(count, ""))
	c.healthy(count)
	for round := range 3 {
		commit := c.commit("web.hcl", strings.Replace(webHCL(count, ""), "    cpu ", fmt.Sprintf("    env = { ROUND = \"%d\" }\n    cpu ", round), 1))
		done := map[string]spec.AllocationView{}
		var running []int
		c.eventually("the rollout is under way", func() error {
			var list []spec.AllocationView
			if err := c.tryJSON(&list, "ps", "--json"); err != nil {
				return err
			}
			clear(done)
			running = running[:0]
			for _, a := range list {
				for _, task := range a.Tasks {
					if task.Pid != 0 && !a.State.Terminal() {
						running = append(running, task.Pid)
					}
				}
				if a.Healthy && string(a.Commit) == commit {
					done[a.Slot.String()] = a
				}
			}
			if len(done) <= round {
				return fmt.Errorf("%d new allocations are healthy", len(done))
			}
			return nil
		})
		c.master.kill9()
		for _, n := range c.agents {
			n.proc.kill9()
			pid, err := executorPid(n)
			if err == nil {
				err = unix.Kill(pid, unix.SIGKILL)
			}
			if err != nil {
				t.Fatalf("kill the executor of %s: %v", n.name, err)
			}
		}
		for _, pid := range running {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatal(err)
			}
		}
		c.startMaster()
		for _, n := range c.agents {
			c.startAgent(n)
		}
		var all map[string]spec.AllocationView
		c.eventually("all slots are healthy at the newest commit", func() error {
			var err error
			if all, err = c.allocations(); err != nil {
				return err
			}
			if len(all) != count {
				return fmt.Errorf("%d allocations", len(all))
			}
			for slot, a := range all {
				if !a.Healthy || string(a.Commit) != commit || a.Tasks[0].Pid == 0 {
					return fmt.Errorf("%s is %s of %s: %s", slot, a.State, a.Commit, a.Trouble())
				}
				if b, was := done[slot]; was && a.Tasks[0].Pid == b.Tasks[0].Pid {
					return fmt.Errorf("%s is told as running with the pid that was killed", slot)
				}
				if err := unix.Kill(a.Tasks[0].Pid, 0); err != nil {
					return fmt.Errorf("%s is told as running with pid %d: %w", slot, a.Tasks[0].Pid, err)
				}
			}
			return nil
		})
		for slot, b := range done {
			if a := all[slot]; a.ID != b.ID || a.Tasks[0].Restarts == 0 {
				t.Errorf("round %d: %s was healthy as %s, and is %s with %d restarts (%s)", round, slot, b.ID, a.ID, a.Tasks[0].Restarts, a.Why)
			}
		}
		c.noChanges()
	}
}
