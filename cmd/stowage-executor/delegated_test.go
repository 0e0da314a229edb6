package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// needV2 skips a test where the kernel's controllers belong to cgroup v1. make test-v2 runs it where they do not.
func needV2(t *testing.T) {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat(unified + "cgroup.controllers"); err != nil {
		t.Skip("this is of cgroup v2 alone: make test-v2")
	}
}

// unified is where the tree of cgroup v2 is.
const unified = "/sys/fs/cgroup/"

// given makes a cgroup and gives it to nobody, as systemd does with Delegate=yes.
func given(t *testing.T) string {
	t.Helper()
	needV2(t)
	if err := os.WriteFile(unified+"cgroup.subtree_control", []byte("+cpu +memory +pids +io +cpuset"), 0); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(unified, "stowage-given-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range []string{filepath.Join(dir, "agent"), dir} {
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("left behind: %v", err)
			}
		}
	})
	for _, name := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(dir, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ofNobody is a folder for an executor that nobody runs.
func ofNobody(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	logs := filepath.Join(dir, "logs")
	if err := errors.Join(os.Mkdir(logs, 0o755), os.Chown(logs, nobody, nobody), os.Chown(dir, nobody, nobody), os.Chmod(dir, 0o711)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Without root, in a cgroup that belongs to its user, an executor holds its containers to their limits as one with root does.
func TestDelegatedCgroup(t *testing.T) {
	group := given(t)
	n := startNodeIn(t, ofNobody(t), &syscall.Credential{Uid: nobody, Gid: nobody}, group)
	if f := n.features(); !f.Rootless || f.Cgroup != 2 || !f.Cores || strings.Contains(strings.Join(f.Missing, " "), "limit") {
		t.Fatalf("features %+v", f)
	}
	s := n.host("limits", `cat /proc/self/cgroup; touch /sys/fs/cgroup/x 2>/dev/null; echo "$?"; exec sleep 1000`)
	s.CPUMillis, s.CPUMaxMillis, s.MemoryBytes, s.MemoryMaxBytes, s.SwapBytes, s.PidsMax = 500, 1500, 32<<20, 48<<20, 16<<20, 77
	if _, err := n.client.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"cpu.weight": "50", "cpu.max": "150000 100000", "memory.max": "50331648", "memory.low": "33554432", "memory.swap.max": "16777216",
		"memory.oom.group": "1", "pids.max": "77",
	} {
		if got := read(t, group, n.parent, "limits", file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	n.await("output", func() bool { return strings.Count(n.log("limits", "stdout"), "\n") == 2 })
	if out := n.log("limits", "stdout"); out != "0::/\n1\n" {
		t.Errorf("seen from inside: %q", out)
	}
	// One more process is in the cgroup too, for all that a user may do wrong.
	if _, err := n.client.Exec(t.Context(), "limits", executor.ExecSpec{Command: []string{"sh", "-c", "sleep 1001 &"}}, executor.Streams{}); err != nil {
		t.Fatal(err)
	}
	if pids := strings.Fields(read(t, group, n.parent, "limits", "cgroup.procs")); len(pids) != 2 {
		t.Errorf("processes of the cgroup: %v", pids)
	}
	if stats, err := n.client.Stats(t.Context(), "limits"); err != nil || stats.Pids != 2 || stats.MemoryLimit != 48<<20 || stats.CPUNanos == 0 || stats.MemoryBytes == 0 {
		t.Errorf("stats %+v (%v)", stats, err)
	}

	forks := n.host("forks", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo unreachable")
	forks.PidsMax = 4
	if c, _ := n.run(forks); c.Exit.Success() || !strings.Contains(n.log("forks", "stderr"), "Cannot fork") {
		t.Errorf("exit %v, stderr %q: forks beyond the limit", c.Exit, n.log("forks", "stderr"))
	}
	greedy := n.host("greedy", "")
	greedy.Command = []string{"perl", "-e", `my $x = "x" x (200 << 20); sleep 1000`}
	if c, _ := n.run(greedy); !c.Exit.OOM || c.Exit.String() != "killed for memory at 64 MiB" {
		t.Errorf("exit %+v: %v", c.Exit, c.Exit)
	}

	// The next executor is in the cgroup of the first, and finds what that one had.
	n.crash()
	n.start()
	if c, err := n.client.Get(t.Context(), "limits"); err != nil || c.State != executor.StateRunning {
		t.Errorf("after a crash: %+v, %v", c, err)
	}
	if err := n.client.Delete(t.Context(), "limits"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(group, n.parent, "limits")); err == nil {
		t.Error("its cgroup is still there")
	}
}

// Where the cgroup holds somebody else too, or is not the user's, nothing is moved, limits are missing, and the executor says why.
func TestCgroupThatIsNotDelegated(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, group string)
		want  string
	}{
		"a process of others": {func(t *testing.T, group string) {
			other := exec.Command("sleep", "1000")
			other.SysProcAttr = inCgroup(t, group)
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
		}, "start the agent in one of its own"},
		"root's": {func(t *testing.T, group string) {
			if err := os.Chown(filepath.Join(group, "cgroup.procs"), 0, 0); err != nil {
				t.Fatal(err)
			}
		}, "does not belong to user 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			group := given(t)
			test.spoil(t, group)
			n := startNodeIn(t, ofNobody(t), &syscall.Credential{Uid: nobody, Gid: nobody}, group)
			f := n.features()
			if f.Cgroup != 0 || !strings.Contains(strings.Join(f.Missing, "\n"), test.want) {
				t.Errorf("features %+v, want %q", f, test.want)
			}
			if out := n.inside(n.host("runs", "echo all the same")); out != "all the same\n" {
				t.Errorf("out %q", out)
			}
			s := n.host("max", "true")
			s.IO, s.IOPath = spec.IO{ReadBPS: 1 << 20}, n.dir
			if _, err := n.client.Start(t.Context(), s); !errors.Is(err, executor.ErrUnsupported) {
				t.Errorf("with a limit of reading: %v", err)
			}
		})
	}
}

// read reads a file of a cgroup.
func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(data))
}

// inCgroup has a process born in a cgroup.
func inCgroup(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
}
