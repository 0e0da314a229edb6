package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of the tests; only a failure waits that long.
const patience = 2 * time.Minute

// program is the executor, built as it is shipped: it is executed inside containers, so a test binary cannot stand in for it.
var program struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(callerDir); dir != "" {
		startMany(dir)
		return
	}
	code := m.Run()
	if program.dir != "" {
		os.RemoveAll(program.dir)
	}
	os.Exit(code)
}

func build(t testing.TB) string {
	t.Helper()
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "stowage-executor-test"); program.err != nil {
			return
		}
		if program.err = os.Chmod(program.dir, 0o755); program.err != nil {
			return
		}
		if out, err := exec.Command("./build", filepath.Join(program.dir, "stowage-executor")).CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build executor: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.dir, "stowage-executor")
}

// fewer is n for a test that does the same n times over, or, where STOWAGE_FEWER=10 says that the processor is slow, a tenth of it.
func fewer(t testing.TB, n int) int {
	t.Helper()
	text := os.Getenv("STOWAGE_FEWER")
	if text == "" {
		return n
	}
	times, err := strconv.Atoi(text)
	if err != nil || times < 1 {
		t.Fatalf("STOWAGE_FEWER=%q: use a number, by how many times fewer", text)
	}
	return max(n/times, 2)
}

// needRoot skips a test without root, or fails it where root is promised.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("STOWAGE_REQUIRE_ROOT") == "1" {
		t.Fatal("STOWAGE_REQUIRE_ROOT=1, but not root")
	}
	t.Skip("making containers with limits needs root")
}

// node is a state directory with an executor on it.
type node struct {
	t      testing.TB
	dir    string
	parent string
	client *executor.Client
	cmd    *exec.Cmd
	stderr *lockedBuffer
	user   *syscall.Credential // nil: root
	group  string              // folder of the cgroup to start in; "": that of the test
	flags  []string            // more of them
	under  []string            // a command that starts the executor
}

// newNode starts an executor. At the end of the test everything of it is gone, however the test ends, or the test fails.
func newNode(t testing.TB, flags ...string) *node {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "sx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove test folder: %v", err)
		}
	})
	// The mapped root of a user namespace has to get through it.
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return startNodeAs(t, dir, nil, flags...)
}

// startNode is newNode in a folder that exists.
func startNode(t testing.TB, dir string) *node {
	t.Helper()
	return startNodeAs(t, dir, nil)
}

func startNodeAs(t testing.TB, dir string, user *syscall.Credential, flags ...string) *node {
	t.Helper()
	return startNodeIn(t, dir, user, "", flags...)
}

// startNodeIn is startNodeAs in a cgroup of v2.
func startNodeIn(t testing.TB, dir string, user *syscall.Credential, group string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, dir: dir, user: user, group: group, flags: flags, parent: "stowage-test-" + filepath.Base(dir)}
	n.client = executor.NewClient(n.socket())
	n.start()
	t.Cleanup(n.cleanup)
	return n
}

func (n *node) socket() string { return filepath.Join(n.dir, "s") }

func (n *node) start() {
	n.t.Helper()
	n.stderr = &lockedBuffer{}
	flags := append([]string{"--state-dir", filepath.Join(n.dir, "state"), "--socket", n.socket(), "--cgroup-parent", n.parent}, n.flags...)
	command := slices.Concat(n.under, []string{build(n.t)}, flags)
	n.cmd = exec.Command(command[0], command[1:]...)
	n.cmd.Stderr = n.stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: n.user}
	if n.group != "" {
		group, err := os.Open(n.home())
		if err != nil {
			n.t.Fatal(err)
		}
		defer group.Close()
		n.cmd.SysProcAttr.UseCgroupFD, n.cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.await("executor answers", func() bool {
		_, err := n.client.Ping(context.Background())
		return err == nil
	})
}

// home is the cgroup in which an executor of a given one starts: an agent stays where the first executor has put it.
func (n *node) home() string {
	if keepers := filepath.Join(n.group, "agent"); isDir(keepers) {
		return keepers
	}
	return n.group
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// crash kills the executor alone.
func (n *node) crash() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	_ = n.cmd.Wait()
}

func (n *node) cleanup() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if all, err := n.client.List(ctx); err == nil {
		for _, c := range all {
			if err := n.client.Delete(ctx, c.ID); err != nil {
				n.t.Errorf("delete %s: %v", c.ID, err)
			}
		}
	}
	_ = n.client.Shutdown(ctx)
	if n.cmd.ProcessState == nil {
		timer := time.AfterFunc(patience, func() { _ = n.cmd.Process.Kill() })
		if err := n.cmd.Wait(); err != nil {
			n.t.Errorf("executor: %v", err)
		}
		timer.Stop()
	}
	if n.t.Failed() {
		n.t.Logf("executor said: %s", n.stderr)
	}
	n.sweep()
}

// sweep removes cgroups that are left, with the processes in them, and complains.
func (n *node) sweep() {
	for _, dir := range n.cgroups() {
		n.t.Errorf("cgroup left behind: %s", dir)
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, pid := range strings.Fields(string(data)) {
				_ = exec.Command("kill", "-9", pid).Run()
			}
			return nil
		})
		n.await("processes of "+dir+" gone", func() bool {
			out, _ := exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").CombinedOutput()
			return len(out) == 0
		})
	}
}

// cgroups lists the parent cgroup in every hierarchy where it exists.
func (n *node) cgroups() []string {
	one, _ := filepath.Glob("/sys/fs/cgroup/" + n.parent)
	all, _ := filepath.Glob("/sys/fs/cgroup/*/" + n.parent) // of v1 each controller's, of v2 those in a given one
	return append(one, all...)
}

func (n *node) await(what string, ok func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("not within %v: %s\nexecutor said: %s", patience, what, n.stderr)
		}
	}
}

// host is a spec of a shell command in a read-only host root, with its logs in the node's folder.
func (n *node) host(id, script string) executor.Spec {
	logs := filepath.Join(n.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		n.t.Fatal(err)
	}
	return executor.Spec{
		ID: id, Command: []string{"sh", "-c", script}, Network: executor.NetworkNone, MemoryBytes: 64 << 20, CPUMillis: 100,
		Root: executor.Root{Kind: executor.RootHost}, Log: executor.Log{Dir: logs, Task: id},
	}
}

// run starts a container, waits for its end, and returns it with its stdout.
func (n *node) run(spec executor.Spec) (executor.Container, string) {
	n.t.Helper()
	if _, err := n.client.Start(context.Background(), spec); err != nil {
		n.t.Fatalf("start %s: %v\nexecutor said: %s", spec.ID, err, n.stderr)
	}
	return n.wait(spec.ID), n.log(spec.ID, "stdout")
}

func (n *node) wait(id string) executor.Container {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var found executor.Container
	done := errors.New("found")
	err := n.client.Exits(ctx, executor.Cursor{}, func(e executor.ExitEvent) error {
		if e.Container.ID == id {
			found = e.Container
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		n.t.Fatalf("wait for %s: %v", id, err)
	}
	return found
}

func (n *node) log(id, stream string) string {
	data, err := os.ReadFile(filepath.Join(n.dir, "logs", id+"."+stream+".0"))
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	return string(data)
}

func TestRunCapturesOutputAndExitCode(t *testing.T) {
	n := newNode(t)
	c, out := n.run(n.host("one", "echo to stdout; echo to stderr >&2; exit 7"))
	if c.Exit == nil || c.Exit.Code != 7 || c.Exit.Signal != 0 || c.Exit.OOM {
		t.Errorf("exit %+v, want code 7", c.Exit)
	}
	if out != "to stdout\n" {
		t.Errorf("stdout %q", out)
	}
	if got := n.log("one", "stderr"); got != "to stderr\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestSignal(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("one", "sleep 1000")); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Kill(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if c := n.wait("one"); c.Exit.Signal != int(unix.SIGKILL) || c.Exit.OOM || c.Exit.Code != 137 {
		t.Errorf("exit %+v, want signal 9", c.Exit)
	}
}
