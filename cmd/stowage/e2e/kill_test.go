package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// rounds of the kill test: 50 in CI and by default; STOWAGE_KILL_ROUNDS sets another number.
func rounds(t *testing.T) int {
	if v := os.Getenv("STOWAGE_KILL_ROUNDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 5
	}
	return 50
}

// executorPid finds the executor of a node by its socket's argument.
func executorPid(n *node) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(line), "stowage-executor\x00") && strings.Contains(string(line), n.dir+"/executor.sock") {
			return pid, nil
		}
	}
	return 0, errors.New("no executor runs for " + n.name)
}

// TestKillAnything kills tasks, agents, executors and the master with SIGKILL, in every combination, at random moments.
// Whatever was not killed keeps its process; whatever was comes back; nothing exists twice.
func TestKillAnything(t *testing.T) {
	c := newCluster(t, 3)
	const count = 6
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(count, `restart {
    attempts  = -1
    delay     = "10ms"
    max_delay = "50ms"
  }`))
	before := c.healthy(count)
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("STOWAGE_KILL_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds(t) {
		what := 1 + round%15 // every combination of four
		victim := ""
		names := []string{}
		n := c.agents[random.IntN(len(c.agents))]
		pause := func() { time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond) }
		if what&1 != 0 {
			victim = fmt.Sprintf("shop/web[%d]", random.IntN(count))
			names = append(names, victim)
			if err := unix.Kill(before[victim].Tasks[0].Pid, unix.SIGKILL); err != nil {
				t.Fatalf("round %d: kill %s: %v", round, victim, err)
			}
			pause()
		}
		if what&2 != 0 {
			names = append(names, "agent "+n.name)
			n.proc.kill9()
			pause()
		}
		if what&4 != 0 {
			names = append(names, "executor "+n.name)
			c.eventually("an executor runs that can be killed", func() error {
				pid, err := executorPid(n)
				if err != nil && what&2 != 0 {
					return nil // it was killed in the last round, and the agent in this one before it had started another
				}
				if err != nil {
					return err // the agent is about to start the next one
				}
				return unix.Kill(pid, unix.SIGKILL)
			})
			pause()
		}
		if what&8 != 0 {
			names = append(names, "master")
			c.master.kill9()
			pause()
			c.startMaster()
		}
		if what&2 != 0 {
			c.startAgent(n)
		}
		after := c.settled(round, names, before, victim, count)
		before = after
	}
	c.noChanges()
}

// settled waits until all slots are healthy, in the allocations of before, with the processes of before except for the victim.
func (c *cluster) settled(round int, killed []string, before map[string]spec.AllocationView, victim string, count int) map[string]spec.AllocationView {
	c.t.Helper()
	var all map[string]spec.AllocationView
	c.eventually(fmt.Sprintf("round %d, killed %v: all is as before", round, killed), func() error {
		var err error
		if all, err = c.allocations(); err != nil {
			return err
		}
		if len(all) != count {
			return fmt.Errorf("there are %d allocations", len(all))
		}
		for slot, a := range all {
			b := before[slot]
			switch {
			case !a.Healthy || len(a.Tasks) != 1 || a.Tasks[0].Pid == 0:
				return fmt.Errorf("%s is %s: %s", slot, a.State, a.Reason)
			case a.ID != b.ID:
				c.t.Fatalf("round %d, killed %v: %s became %s (%s)", round, killed, b.ID, a.ID, a.Why)
			case slot == victim && a.Tasks[0].Pid == b.Tasks[0].Pid:
				return fmt.Errorf("%s was killed and is told as running with the same pid", slot)
			case slot != victim && a.Tasks[0].Pid != b.Tasks[0].Pid:
				c.t.Fatalf("round %d, killed %v: %s was restarted: pid %d became %d (%s)", round, killed, slot, b.Tasks[0].Pid, a.Tasks[0].Pid, a.Reason)
			}
			if err := unix.Kill(a.Tasks[0].Pid, 0); err != nil {
				return fmt.Errorf("%s is told as running with pid %d: %w", slot, a.Tasks[0].Pid, err)
			}
		}
		return nil
	})
	return all
}

// TestMasterLosesEverything removes the master's journal: a new one rebuilds from Git and from what the agents report.
func TestMasterLosesItsJournal(t *testing.T) {
	c := newCluster(t, 2)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(4, ""))
	before := c.healthy(4)
	c.master.kill9()
	if err := os.RemoveAll(c.dir + "/master/journal"); err != nil {
		t.Fatal(err)
	}
	c.startMaster()
	after := c.settled(0, []string{"the journal"}, before, "", 4)
	c.noChanges()
	c.commit("web.hcl", webHCL(5, ""))
	more := c.healthy(5)
	for slot, a := range after {
		if more[slot].ID != a.ID || more[slot].Tasks[0].Pid != a.Tasks[0].Pid {
			t.Errorf("%s was replaced", slot)
		}
	}
}
