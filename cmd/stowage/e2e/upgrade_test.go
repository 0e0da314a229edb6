package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// build makes both programs with a version of their own.
func build(t *testing.T, dir, version string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", dir+"/stowage", "github.com/stowage/stowage/cmd/stowage"),
		exec.Command("../../stowage-executor/build", dir+"/stowage-executor", version),
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the executor's own script says otherwise
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
}

// install puts the programs of one folder in the place of those in another, as a package does: by rename, while the old ones run.
func install(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"stowage", "stowage-executor"} {
		if out, err := exec.Command("cp", filepath.Join(from, name), filepath.Join(to, name+".new")).CombinedOutput(); err != nil {
			t.Fatalf("install: %v\n%s", err, out)
		}
		if err := os.Rename(filepath.Join(to, name+".new"), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// lifeHCL is an app with tasks that would leave a trace if they ran a second time, and with checks of every meaning.
const lifeHCL = `app "life" {
  count = 2
  update { healthy_for = "0s" }
  task "first" {
    lifecycle = "prestart"
    rootfs    = "host"
    command   = ["true"]
    memory    = "16MiB"
  }
  task "server" {
    rootfs  = "host"
    command = ["sleep", "1000000"]
    memory  = "16MiB"
    check "up" {
      type    = "exec"
      command = ["true"]
      start   = true
    }
    check "ready" {
      type    = "exec"
      command = ["true"]
      timeout = "1m"
      gate    = true
    }
    check "alive" {
      type    = "exec"
      command = ["true"]
      timeout = "1m"
      restart = true
    }
  }
  task "tell" {
    lifecycle = "poststart"
    rootfs    = "host"
    command   = ["true"]
    memory    = "16MiB"
  }
}
`

// TestUpgradeRestartsNothing replaces the programs of an agent under its tasks: a new agent takes over, puts a new executor in the place of
// the old one, and back again; in some rounds one of them is killed in the middle. Every task keeps its process.
func TestUpgradeRestartsNothing(t *testing.T) {
	c := newCluster(t, 0)
	bin, versions := c.dir+"/bin", []string{"v1", "v2"}
	for _, v := range versions {
		build(t, c.dir+"/"+v, v)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, c.dir+"/v1", bin)
	c.addAgentFrom(bin, "n1", 0)
	n := c.agents[0]
	c.commit("cluster.hcl", clusterHCL, "life.hcl", lifeHCL)
	before := c.healthy(2)
	for slot, a := range before {
		c.eventually(slot+" has told", func() error {
			all, err := c.allocations()
			if err == nil && all[slot].Tasks[2].State != spec.StateComplete {
				err = fmt.Errorf("it is %s", all[slot].Tasks[2].State)
			}
			a = all[slot]
			return err
		})
		before[slot] = a
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pause := func() { time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond) }
	client := executor.NewClient(n.dir + "/executor.sock")
	features := c.executorOf(client, "v1")
	for round := range 6 {
		version := versions[(round+1)%2]
		install(t, c.dir+"/"+version, bin)
		n.proc.kill9()
		if round%3 == 1 { // the new agent dies on the way
			p := start(t, n.name, c.dir+"/"+n.name+".log", n.args...)
			pause()
			p.kill9()
		}
		n.proc = start(t, n.name, c.dir+"/"+n.name+".log", n.args...)
		if round%3 == 2 { // the executor dies on the way
			pause()
			if pid, err := executorPid(n); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		next := c.executorOf(client, version)
		if next.Pid == features.Pid {
			t.Fatalf("round %d: the executor %d is of version %s and was of %s", round, next.Pid, next.Version, features.Version)
		}
		features = next
		c.same(fmt.Sprintf("round %d, now %s", round, version), before)
	}
	c.noChanges()
}

// executorOf waits for an executor of a version.
func (c *cluster) executorOf(client *executor.Client, version string) (f executor.Features) {
	c.t.Helper()
	c.eventually("an executor "+version, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var err error
		if f, err = client.Ping(ctx); err == nil && f.Version != version {
			err = fmt.Errorf("it is %s", f.Version)
		}
		return err
	})
	return f
}

// same waits until the agent has reported, and checks that every task is as before: no restart, the same processes, the same ends.
func (c *cluster) same(when string, before map[string]spec.AllocationView) {
	c.t.Helper()
	c.eventually(when+": all is as before", func() error {
		all, err := c.allocations()
		if err != nil {
			return err
		}
		for slot, b := range before {
			a := all[slot]
			if a.ID != b.ID || a.Restarts != 0 {
				c.t.Fatalf("%s: %s is %s after %d restarts: %s", when, slot, a.ID, a.Restarts, a.Reason)
			}
			for i, was := range b.Tasks {
				if now := a.Tasks[i]; now.Pid != was.Pid || now.State != was.State || now.Started != was.Started {
					return fmt.Errorf("task %s of %s: %+v was %+v", was.Name, slot, now, was)
				}
			}
			if !a.Healthy {
				return fmt.Errorf("%s is %s: %s", slot, a.State, a.Reason)
			}
		}
		return nil
	})
}
