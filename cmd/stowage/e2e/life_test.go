package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

const clusterHCL = `cluster "test" {
  sync { approval = "auto" }
}
`

// webHCL is a service of count small allocations whose programs do nothing but live.
func webHCL(count int, extra string) string {
	return fmt.Sprintf(`app "shop/web" {
  count = %d
  update { healthy_for = "0s" }
  %s
  task "server" {
    rootfs  = "host"
    command = ["sleep", "1000000"]
    cpu     = 0.01
    memory  = "16MiB"
  }
}
`, count, extra)
}

func TestCommitRunsAsThePlanSaid(t *testing.T) {
	c := newCluster(t, 3)
	c.commit("cluster.hcl", clusterHCL)
	c.write("web.hcl", webHCL(3, ""))
	var plan spec.Plan
	c.json(&plan, "plan", "./", "--json")
	promised := map[string]spec.NodeID{}
	for _, a := range plan.Apps {
		for _, ch := range a.Changes {
			promised[ch.Slot.String()] = ch.Node
		}
	}
	if plan.Summary.Start != 3 || len(promised) != 3 {
		t.Fatalf("the plan of the working tree: %+v, placements %v", plan.Summary, promised)
	}
	if before, err := c.allocations(); err != nil || len(before) != 0 {
		t.Fatalf("planning a working tree changed something: %v %v", before, err)
	}
	commit := c.commit()
	for slot, a := range c.healthy(3) {
		if promised[slot] != a.Node {
			t.Errorf("%s runs on %s, the plan promised %s", slot, a.Node, promised[slot])
		}
		if string(a.Commit) != commit {
			t.Errorf("%s follows commit %s, not %s", slot, a.Commit, commit)
		}
	}
	// Each edit of count is running after a time that is told, not judged.
	var times []time.Duration
	for round, count := range []int{6, 3, 6, 3, 6, 3, 6, 3, 6} {
		began := time.Now()
		c.commit("web.hcl", webHCL(count, ""))
		c.healthy(count)
		if round%2 == 0 {
			times = append(times, time.Since(began))
		}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	t.Logf("commit → 3 more allocations seen healthy by polling the command line: median %s of %v", times[len(times)/2], times)
	c.noChanges()
}

// noChanges checks that the head of the branch is what runs.
func (c *cluster) noChanges() {
	c.t.Helper()
	c.eventually("the plan is empty", func() error {
		_, err := c.try("plan", "--detailed-exitcode")
		return err
	})
}

func TestManualApproval(t *testing.T) {
	c := newCluster(t, 2)
	manual := strings.Replace(clusterHCL, `"auto"`, `"manual"`, 1)
	c.commit("cluster.hcl", manual, "web.hcl", webHCL(2, ""))
	var first spec.PlanID
	c.eventually("a plan waits", func() error {
		var s struct {
			Pending *struct {
				Plan spec.PlanID `json:"plan"`
			} `json:"pending"`
		}
		if err := c.tryJSON(&s, "status", "--json"); err != nil {
			return err
		}
		if s.Pending == nil {
			return errors.New("no plan waits")
		}
		first = s.Pending.Plan
		return nil
	})
	if all, err := c.allocations(); err != nil || len(all) != 0 {
		t.Fatalf("something runs before approval: %v %v", all, err)
	}
	saved := filepath.Join(c.dir, "plan.json")
	c.cli("plan", "--out", saved)
	c.cli("apply", string(first))
	c.healthy(2)
	if out := c.cli("apply", string(first)); !strings.Contains(out, "already") {
		t.Errorf("a second apply says: %s", out)
	}
	// A plan goes stale: the saved one starts what runs by now.
	c.commit("web.hcl", webHCL(4, ""))
	c.eventually("the next plan waits", func() error {
		out, err := c.try("status", "--json")
		if err != nil {
			return err
		}
		if !strings.Contains(out, `"pending"`) {
			return errors.New("no plan waits")
		}
		return nil
	})
	stale := filepath.Join(c.dir, "stale.json")
	c.cli("plan", "--out", stale)
	c.commit("web.hcl", webHCL(3, ""))
	var fresh spec.Plan
	c.eventually("the plan of the newest commit waits", func() error {
		if err := c.tryJSON(&fresh, "plan", "--json"); err != nil {
			return err
		}
		if fresh.Summary.Start != 1 {
			return fmt.Errorf("the plan is still %+v", fresh.Summary)
		}
		return nil
	})
	out, err := c.try("apply", "--exact", stale)
	if err == nil {
		t.Fatalf("a stale plan was applied: %s", out)
	}
	if !strings.Contains(err.Error(), "differ") && !strings.Contains(err.Error(), "commit") {
		t.Errorf("the refusal does not say what differs: %v", err)
	}
	t.Logf("the refusal: %v", err)
	c.cli("apply")
	c.healthy(3)
}

func TestBadCommitLeavesTheLastGoodRevision(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(2, ""))
	before := c.healthy(2)
	c.commit("web.hcl", webHCL(3, "conut = 4"))
	var out string
	c.eventually("the error is shown", func() error {
		var err error
		if out, err = c.try("status"); err != nil {
			return err
		}
		if !strings.Contains(out, "conut") || !strings.Contains(out, "web.hcl line") {
			return errors.New(out)
		}
		return nil
	})
	after := c.healthy(2)
	for slot := range before {
		if before[slot].ID != after[slot].ID {
			t.Errorf("%s changed from %s to %s", slot, before[slot].ID, after[slot].ID)
		}
	}
	c.commit("web.hcl", webHCL(3, ""))
	c.healthy(3)
}

func TestFailedRolloutGoesBack(t *testing.T) {
	c := newCluster(t, 2)
	app := func(command, deadline string) string {
		return fmt.Sprintf(`app "shop/web" {
  count = 3
  update {
    healthy_for = "200ms"
    deadline    = %q
  }
  task "server" {
    rootfs  = "host"
    command = ["sh", "-c", %q]
    cpu     = 0.01
    memory  = "16MiB"
    check "ready" {
      type     = "exec"
      command  = ["test", "-e", "/tmp/ready"]
      interval = "200ms"
      gate     = true
    }
  }
}
`, deadline, command)
	}
	c.commit("cluster.hcl", clusterHCL, "web.hcl", app("touch /tmp/ready; exec sleep 1000000", "60s"))
	before := c.healthy(3)
	c.eventually("the first version is known to be good", func() error {
		out, err := c.try("apps", "--json")
		if err == nil && !strings.Contains(out, `"state": "done"`) {
			err = errors.New(out)
		}
		return err
	})
	c.commit("web.hcl", app("exec sleep 1000000", "3s"))
	seen := false
	c.eventually("the rollout has failed and gone back", func() error {
		var list []spec.AllocationView
		if err := c.tryJSON(&list, "ps", "--json"); err != nil {
			return err
		}
		live, extra := map[string]spec.AllocationID{}, 0
		for _, a := range list {
			if a.State.Terminal() {
				continue
			}
			if a.ID == before[a.Slot.String()].ID && a.Want == spec.WantRun && a.Healthy {
				live[a.Slot.String()] = a.ID
			} else {
				extra++
			}
		}
		if len(live) != 3 {
			t.Errorf("an old allocation was stopped for a rollout that never got healthy: %v", live)
		}
		seen = seen || extra > 0
		var apps []struct {
			Rollout *spec.Rollout `json:"rollout"`
		}
		if err := c.tryJSON(&apps, "apps", "--json"); err != nil {
			return err
		}
		if len(apps) != 1 || apps[0].Rollout == nil || apps[0].Rollout.State != spec.RolloutFailed || extra > 0 {
			out, _ := c.try("explain", "shop/web")
			return fmt.Errorf("%d extra allocations\n%s", extra, out)
		}
		return nil
	})
	if !seen {
		t.Error("the new version was never tried")
	}
	if out := c.cli("plan"); !strings.Contains(out, "runs the version of commit") {
		t.Errorf("the plan does not tell that the commit is not what runs: %s", out)
	}
	after := c.healthy(3)
	for slot := range before {
		if before[slot].Tasks[0].Pid != after[slot].Tasks[0].Pid {
			t.Errorf("%s was restarted", slot)
		}
	}
}

func TestTasksThatMisbehave(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "tasks.hcl", `
app "hog" {
  restart { attempts = 0 }
  task "t" {
    rootfs = "host"
    command = ["sh", "-c", "x=$(head -c 200m /dev/zero | tr '\\0' x); echo $x | wc -c; sleep 1000"]
    cpu = 0.1
    memory = "64MiB"
  }
}
app "deaf" {
  task "t" {
    rootfs = "host"
    command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    cpu = 0.01
    memory = "16MiB"
    stop { timeout = "1s" }
  }
}
app "forker" {
  task "t" {
    rootfs = "host"
    command = ["sh", "-c", "for i in 1 2 3; do (setsid sleep 987654 &) ; done; exec sleep 1000000"]
    cpu = 0.01
    memory = "32MiB"
  }
}
app "chatty" {
  task "t" {
    rootfs = "host"
    command = ["sh", "-c", "head -c 1000000000 /dev/zero | tr '\\0' 'a' | fold -w 99; echo the end; exec sleep 1000000"]
    cpu = 0.5
    memory = "32MiB"
    logs {
      max_size  = "1MiB"
      max_files = 2
    }
  }
}
app "crasher" {
  restart {
    attempts  = -1
    delay     = "0s"
    max_delay = "0s"
  }
  task "t" {
    rootfs = "host"
    command = ["sh", "-c", "exit 3"]
    cpu = 0.1
    memory = "16MiB"
  }
}
`)
	story := func(subject, want string) {
		t.Helper()
		c.eventually("the story of "+subject+" tells "+want, func() error {
			out, err := c.try("explain", subject)
			if err == nil && !strings.Contains(out, want) {
				err = errors.New(out)
			}
			return err
		})
	}
	story("hog[0]", "killed for memory at 64MiB")
	story("crasher[0]", "exit code 3")
	c.eventually("the chatty task has printed all", func() error {
		out, err := c.try("logs", "--tail", "1", "chatty[0]")
		if err == nil && !strings.Contains(out, "the end") {
			err = fmt.Errorf("last line %q", out)
		}
		return err
	})
	size := diskUse(t, filepath.Join(c.agents[0].dir, "allocations"), "stdout")
	if limit := int64(5 << 20); size > limit {
		t.Errorf("logs take %d bytes, more than %d", size, limit)
	}
	if n := countProcesses(t, "sleep 987654"); n != 3 {
		t.Errorf("%d orphans run, not 3", n)
	}
	c.git("-C", c.repo, "rm", "-q", "tasks.hcl")
	c.commit("tasks.hcl", `app "left" {
  task "t" {
    rootfs  = "host"
    command = ["sleep", "1000000"]
    cpu     = 0.01
    memory  = "16MiB"
  }
}
`)
	c.eventually("removing every app waits for approval", func() error {
		out, err := c.try("status")
		if err == nil && !strings.Contains(out, "approval") {
			err = errors.New(out)
		}
		return err
	})
	c.cli("apply")
	c.eventually("only one allocation is left", func() error {
		all, err := c.allocations()
		if err == nil && (len(all) != 1 || !all["left[0]"].Healthy) {
			err = fmt.Errorf("%d are left", len(all))
		}
		return err
	})
	if n := countProcesses(t, "sleep 987654"); n != 0 {
		t.Errorf("%d orphans outlived their task", n)
	}
	c.noChanges()
}

func diskUse(t *testing.T, dir, name string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), name) {
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				sum += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func countProcesses(t *testing.T, command string) int {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(string(out), "\n") {
		if strings.TrimSpace(line) == command {
			n++
		}
	}
	return n
}

func TestJSONOfAnAllocation(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, "network {\n    port \"http\" {}\n  }"))
	c.healthy(1)
	var list []map[string]json.RawMessage
	c.json(&list, "ps", "--json")
	for _, key := range []string{"id", "app", "slot", "node", "state", "since", "generation", "commit", "ports", "restarts", "tasks"} {
		if _, ok := list[0][key]; !ok {
			t.Errorf("an allocation has no %q in %v", key, list[0])
		}
	}
}
