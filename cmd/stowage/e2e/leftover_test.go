package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stowage/stowage/agent"
	"golang.org/x/sys/unix"
)

// A test run that is killed ends nothing that it has started. The next one does. Each folder of a run has a file that the run holds locked as
// long as it lives, and one that names its daemons by pid and start time; so nothing is touched that belongs to a run that goes on, or to somebody else.
const (
	lockFile      = "run.lock"
	processesFile = "processes"
)

// claim makes a folder in the temporary one that belongs to this run.
func claim(pattern string) (dir string, release func(), err error) {
	if dir, err = os.MkdirTemp("", pattern); err != nil {
		return "", nil, err
	}
	lock, err := lockDead(dir, os.O_CREATE)
	if err != nil {
		return "", nil, err
	}
	return dir, func() { lock.Close() }, nil
}

// lockDead locks a folder, unless a run has it that goes on.
func lockDead(dir string, flags int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// note remembers a daemon of this run.
func note(dir string, pid int) error {
	id, err := identity(pid)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, processesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, pid, id)
	return errors.Join(err, file.Close())
}

// identity tells a process from all others that had or get its pid: when it started, in ticks, and since which boot.
func identity(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("stat of process %d: %q", pid, stat)
	}
	return fields[19] + "@" + strings.TrimSpace(string(boot)), nil
}

// endDeadRuns ends what runs of earlier have left. Their programs go last, as they are needed for it.
func endDeadRuns() error {
	var errs []error
	for _, pattern := range []string{"stw*", "stowage-e2e-*"} {
		locks, err := filepath.Glob(filepath.Join(os.TempDir(), pattern, lockFile))
		errs = append(errs, err)
		for _, path := range locks {
			errs = append(errs, endDeadRun(filepath.Dir(path)))
		}
	}
	return errors.Join(errs...)
}

func endDeadRun(dir string) error {
	lock, err := lockDead(dir, 0)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil // it goes on, or another run has removed it
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := killNoted(dir); err != nil {
		return err
	}
	nodes, err := filepath.Glob(filepath.Join(dir, "*", "executor.json"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, node := range nodes {
		if err := agent.TakeDown(ctx, filepath.Dir(node)); err != nil {
			return fmt.Errorf("end what an earlier run left in %s: %w", dir, err)
		}
	}
	return os.RemoveAll(dir)
}

// killNoted ends the daemons that a run has noted.
func killNoted(dir string) error {
	file, err := os.Open(filepath.Join(dir, processesFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var pid int
		var id string
		if _, err := fmt.Sscan(lines.Text(), &pid, &id); err != nil {
			continue // the run was killed while it wrote that
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		if now, err := identity(pid); err == nil && now == id {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			for err == nil && fds[0].Revents == 0 {
				if _, err = unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
					err = nil
				}
			}
			if err != nil {
				unix.Close(fd)
				return fmt.Errorf("end process %d of an earlier run: %w", pid, err)
			}
		}
		unix.Close(fd)
	}
	return nil
}

// deadRun makes of this test program a run that begins with these programs and is killed.
const deadRun = "STOWAGE_E2E_DEAD_RUN"

// A run that was killed leaves a cluster behind, and the next one ends it; one that goes on is left alone.
func TestDeadRunsAreEnded(t *testing.T) {
	needRoot(t)
	if binaries == os.Getenv(deadRun) {
		c := newCluster(t, 1)
		c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, ""))
		c.healthy(1)
		fmt.Println("dir", c.dir)
		select {}
	}
	temporary := t.TempDir()
	run := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	run.Env = append(os.Environ(), deadRun+"="+binaries, "TMPDIR="+temporary)
	run.Stderr = os.Stderr
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	said := bufio.NewScanner(out)
	for dir == "" && said.Scan() {
		dir, _ = strings.CutPrefix(said.Text(), "dir ")
		if dir == said.Text() {
			dir = ""
		}
	}
	t.Setenv("TMPDIR", temporary)
	if err := endDeadRuns(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "n1", "executor.json")); dir == "" || err != nil {
		t.Fatalf("the run in %q that goes on: %v", dir, err)
	}
	_ = run.Process.Kill()
	_ = run.Wait()
	if n := processesOf(t, dir); n < 3 {
		t.Errorf("%d processes of the run that was killed: want a master, an agent and an executor", n)
	}
	if err := endDeadRuns(); err != nil {
		t.Error(err)
	}
	if n := processesOf(t, dir); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	for _, tree := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		if left, err := filepath.Glob(tree + "stowage-e2e-" + filepath.Base(dir) + "*"); err != nil || len(left) > 0 {
			t.Errorf("cgroups are left: %v, %v", left, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
}

// processesOf counts the processes that have something below a folder among their arguments.
func processesOf(t *testing.T, dir string) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), dir+"/") {
			n++
		}
	}
	return n
}
