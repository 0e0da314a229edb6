package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inside lists the processes of the cgroups of a task, but for its first.
func inside(t testing.TB, pid int) (others []string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	own := lastLine(string(text), "pids")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == pid {
			continue
		}
		if text, err := os.ReadFile("/proc/" + e.Name() + "/cgroup"); err == nil && lastLine(string(text), "pids") == own {
			line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			others = append(others, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return others
}

// lastLine is the cgroup of a controller, or of version 2.
func lastLine(text, controller string) string {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (strings.Contains(parts[1], controller) || parts[1] == "") {
			return parts[2]
		}
	}
	return ""
}

// descriptors counts the open files of a process.
func descriptors(t testing.TB, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Whoever is killed in the middle of a window, nothing of it stays: no process in the task, no open file in those that live on.
func TestACutWindowLeavesNothing(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, ""))
	pid := c.healthy(1)["shop/web[0]"].Tasks[0].Pid
	n := c.agents[0]
	executor, err := executorPid(n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	open := func() (all []*exec.Cmd) {
		for _, args := range [][]string{
			{"exec", "shop/web[0]", "--", "sh", "-c", "sleep 1001 & echo on; sleep 1002; :"},
			{"exec", "-i", "shop/web[0]", "--", "sh", "-c", "echo on; sleep 1003; :"}, // which does not read what it is sent
			{"exec", "-i", "shop/web[0]", "--", "sh", "-c", "echo on; cat /dev/zero"}, // which is not read from
		} {
			cmd := c.command(ctx, args...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if args[1] == "-i" {
				if cmd.Stdin, err = os.Open("/dev/zero"); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
				t.Fatalf("%v: %v", args, err)
			}
			all = append(all, cmd)
		}
		if len(inside(t, pid)) < 6 {
			t.Fatalf("in the task run only %q", inside(t, pid))
		}
		return all
	}
	clean := func(who string, files map[int]int) {
		t.Helper()
		c.eventually("nothing is left after the end of "+who, func() error {
			if left := inside(t, pid); len(left) > 0 {
				return fmt.Errorf("in the task run %q", left)
			}
			for pid, before := range files {
				if now := descriptors(t, pid); now > before {
					return fmt.Errorf("process %d has %d open files, before it had %d", pid, now, before)
				}
			}
			return nil
		})
	}
	end := func(all []*exec.Cmd) {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	end(open()) // once, for what is opened on first use and kept
	clean("the warming up", nil)
	count := func(pids ...int) map[int]int {
		files := map[int]int{}
		for _, pid := range pids {
			files[pid] = descriptors(t, pid)
		}
		return files
	}
	files := count(executor, n.proc.pid(), c.master.pid())
	end(open())
	clean("the command line", files)

	files = count(executor, n.proc.pid())
	all := open()
	c.master.kill9()
	clean("the master", files)
	end(all)
	c.startMaster()
	c.eventually("the agent is back", func() error { _, err := c.try("exec", "shop/web[0]", "--", "true"); return err })

	files = count(executor)
	all = open()
	n.proc.kill9()
	clean("the agent", files)
	end(all)
	c.startAgent(n)
	if left, err := filepath.Glob("/proc/" + strconv.Itoa(pid)); err != nil || len(left) != 1 {
		t.Errorf("the task did not live through it: %v", err)
	}
}
