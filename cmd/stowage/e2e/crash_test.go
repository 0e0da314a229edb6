package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTaskThatExitsAgainAndAgain restarts a crashing task some hundred times (STOWAGE_CRASHES sets the number) and checks that
// the node stays well: no descriptor, process or folder of a run is left, and the story is right.
func TestTaskThatExitsAgainAndAgain(t *testing.T) {
	crashes := 300
	if v := os.Getenv("STOWAGE_CRASHES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		crashes = n
	}
	const slots = 4
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "crasher.hcl", fmt.Sprintf(`app "crasher" {
  count = %d
  restart {
    attempts  = -1
    delay     = "0s"
    max_delay = "0s"
  }
  task "t" {
    rootfs  = "host"
    command = ["sh", "-c", "exit 3"]
    cpu     = 0.1
    memory  = "16MiB"
  }
}
`, slots))
	n := c.agents[0]
	restarts := func() (sum int) {
		all, err := c.allocations()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			sum += a.Restarts
		}
		return sum
	}
	c.eventually("the first crashes", func() error {
		if got := restarts(); got < 20 {
			return fmt.Errorf("%d restarts", got)
		}
		return nil
	})
	executor, err := executorPid(n)
	if err != nil {
		t.Fatal(err)
	}
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	files := func() [2]int {
		return [2]int{count(fmt.Sprintf("/proc/%d/fd", n.proc.pid())), count(fmt.Sprintf("/proc/%d/fd", executor))}
	}
	first := files()
	last := 0
	for restarts() < crashes {
		before := last
		c.eventually("more crashes", func() error {
			if last = restarts(); last <= before {
				return fmt.Errorf("still %d restarts", last)
			}
			return nil
		})
	}
	// A run in the middle of its start or end has a few descriptors open.
	const perRun, slack = 12, 8
	now := files()
	for i, who := range []string{"agent", "executor"} {
		if now[i] > first[i]+slots*perRun+slack {
			t.Errorf("after %d crashes the %s has %d descriptors, it had %d", last, who, now[i], first[i])
		}
	}
	// The present run, the one before, and the one that is parked.
	if left := count(n.dir + "/executor/containers"); left > 3*slots {
		t.Errorf("the executor keeps %d containers for %d slots", left, slots)
	}
	out := c.cli("explain", "crasher[0]")
	if !strings.Contains(out, "exit code 3") || !strings.Contains(out, "restarts") {
		t.Errorf("the story does not tell of the crashes:\n%s", out)
	}
	t.Logf("%d restarts; descriptors of agent and executor %v, then %v", last, first, now)
	c.git("-C", c.repo, "rm", "-q", "crasher.hcl")
	c.commit("web.hcl", webHCL(1, ""))
	c.eventually("stopping the only app waits for approval, and is applied", func() error {
		_, err := c.try("apply")
		if err != nil {
			return err
		}
		all, err := c.allocations()
		if err == nil && (len(all) != 1 || !all["shop/web[0]"].Healthy) {
			err = fmt.Errorf("%d allocations", len(all))
		}
		return err
	})
}
