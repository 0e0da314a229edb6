package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is who runs the agent where root does not.
const nobody = 65534

// An agent that nobody runs, in a cgroup that belongs to nobody, holds tasks to their limits, tells what they use, finds them again after kill -9,
// and leaves no cgroup behind.
func TestAgentWithoutRoot(t *testing.T) {
	needRoot(t)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		t.Skip("this is of cgroup v2 alone: make test-v2")
	}
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu +memory +pids +io +cpuset"), 0); err != nil {
		t.Fatal(err)
	}
	group, err := os.MkdirTemp("/sys/fs/cgroup", "stowage-given-")
	if err != nil {
		t.Fatal(err)
	}
	keepers := filepath.Join(group, "agent")
	t.Cleanup(func() { // after the cluster's own, whose executor may take a moment to end
		var err error
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			_ = os.Remove(keepers)
			if err = os.Remove(group); err == nil {
				return
			}
		}
		left, _ := filepath.Glob(group + "/*/*/cgroup.procs")
		more, _ := filepath.Glob(group + "/*/cgroup.procs")
		t.Errorf("%v; left behind: %v", err, append(left, more...))
	})
	for _, name := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(group, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, 0)
	for dir, mode := range map[string]os.FileMode{binaries: 0o755, c.dir: 0o711} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(c.dir+"/n1", 0o711), os.Chown(c.dir+"/n1", nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	c.user, c.group = &syscall.Credential{Uid: nobody, Gid: nobody}, group
	c.addAgent("n1", 0)

	c.commit("cluster.hcl", clusterHCL, "held.hcl", `app "held" {
  update { healthy_for = "0s" }
  task "main" {
    rootfs  = "host"
    command = ["sh", "-c", "sleep 1000 & while :; do :; done"]
    cpu     = 0.05
    cpu_max = 0.1
    memory  = "64MiB"
    pids    = 20
  }
}
`, "greedy.hcl", `app "greedy" {
  kind = "batch"
  restart { attempts = 0 }
  task "main" {
    rootfs  = "host"
    command = ["perl", "-e", "my $x = 'x' x (200 << 20); sleep 1000"]
    memory  = "32MiB"
    cpu     = 0.05
  }
}
`)
	var pid int
	running := func() error {
		all, err := c.allocations()
		if err != nil {
			return err
		}
		a := all["held[0]"]
		if !a.Healthy || a.Tasks[0].Pid == 0 {
			return fmt.Errorf("it is %s: %s", a.State, a.Reason)
		}
		if pid != 0 && (a.Tasks[0].Pid != pid || a.Tasks[0].Restarts != 0) {
			return fmt.Errorf("process %d became %d", pid, a.Tasks[0].Pid)
		}
		pid = a.Tasks[0].Pid
		return nil
	}
	c.eventually("the task runs", running)
	if out := c.agents[0].said(t); !strings.Contains(out, "images and networks of their own") || strings.Contains(out, "limits of CPU") {
		t.Errorf("the agent tells what it lacks as %q", out)
	}
	c.eventually("what the other wanted too much is told", func() error {
		out, err := c.try("explain", "greedy[0]")
		if err == nil && !strings.Contains(out, "killed for memory at 32MiB") {
			err = errors.New(out)
		}
		return err
	})
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil || !strings.HasPrefix(string(data), "0::/"+filepath.Base(group)+"/stowage-e2e-") {
		t.Errorf("the task is in the cgroup %s (%v)", data, err)
	}
	c.eventually("it is held to its CPU, and that is counted", func() error {
		var got struct {
			Uses []struct {
				Counted struct {
					Throttled uint64 `json:"throttled_nanos"`
					Pids      int    `json:"pids"`
				} `json:"counted"`
			} `json:"uses"`
		}
		if err := c.tryJSON(&got, "stats", "held[0]", "--json"); err != nil {
			return err
		}
		if len(got.Uses) != 1 || got.Uses[0].Counted.Throttled == 0 || got.Uses[0].Counted.Pids != 2 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	c.agents[0].proc.kill9()
	c.group = keepers // where an agent starts that systemd starts again
	c.startAgent(c.agents[0])
	c.eventually("the task is found again", running)
}

// said is the log of an agent.
func (n *node) said(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(n.proc.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
