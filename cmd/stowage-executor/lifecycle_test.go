package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

func TestStopTakesOrphansAlong(t *testing.T) {
	n := newNode(t)
	// Two generations of orphans, one of them in a session of its own, all deaf to SIGTERM.
	spec := n.host("group", `trap "" TERM; (setsid sh -c 'trap "" TERM; sleep 1000 & sleep 1001' &) ; sleep 1002 & echo ready; wait; sleep 1003`)
	if _, err := n.client.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	n.await("ready", func() bool { return n.log("group", "stdout") != "" })
	pids := n.pids("group")
	n.await("all processes", func() bool { pids = n.pids("group"); return len(pids) >= 5 })
	if err := n.client.Signal(t.Context(), "group", int(unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Kill(t.Context(), "group"); err != nil {
		t.Fatal(err)
	}
	n.wait("group")
	for _, pid := range pids {
		n.await("process "+pid+" gone", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	}
}

// pids are the processes in a container's cgroup.
func (n *node) pids(id string) []string {
	for _, pattern := range []string{"/sys/fs/cgroup/pids/", "/sys/fs/cgroup/"} {
		if data, err := os.ReadFile(filepath.Join(pattern, n.parent, id, "cgroup.procs")); err == nil {
			return strings.Fields(string(data))
		}
	}
	return nil
}

func TestTermIsDelivered(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("term", `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done`)); err != nil {
		t.Fatal(err)
	}
	n.await("ready", func() bool { return n.log("term", "stdout") != "" })
	if err := n.client.Signal(t.Context(), "term", int(unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if c := n.wait("term"); c.Exit.Code != 3 || n.log("term", "stdout") != "ready\nbye\n" {
		t.Errorf("exit %v, output %q", c.Exit, n.log("term", "stdout"))
	}
}

func TestSameIDTwice(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("twice", "sleep 1000")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.Start(t.Context(), n.host("twice", "sleep 1000")); !errors.Is(err, executor.ErrExists) {
		t.Errorf("second start: %v", err)
	}
	if c, err := n.client.Get(t.Context(), "twice"); err != nil || c.State != executor.StateRunning {
		t.Errorf("first is harmed: %+v %v", c, err)
	}
	if err := n.client.Delete(t.Context(), "twice"); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Delete(t.Context(), "twice"); !errors.Is(err, executor.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
}

func TestAdoptionAfterCrash(t *testing.T) {
	n := newNode(t)
	counting := `i=0; while :; do i=$((i+1)); echo line $i; [ -e /stop/now ] && exit 9; sleep 0.005; done`
	stop := filepath.Join(n.dir, "stop")
	if err := os.Mkdir(stop, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := n.host("counts", counting)
	spec.Mounts = []executor.Mount{{Source: stop, Target: "/stop", ReadOnly: true}}
	before, err := n.client.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		n.await("output", func() bool { return strings.Count(n.log("counts", "stdout"), "\n") > 20*(round+1) })
		n.crash()
		n.start()
		after, err := n.client.Get(t.Context(), "counts")
		if err != nil || after.State != executor.StateRunning || after.Pid != before.Pid || after.PidStart != before.PidStart {
			t.Fatalf("after crash %d: %+v, %v; before %+v", round, after, err, before)
		}
	}
	if err := os.WriteFile(filepath.Join(stop, "now"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := n.wait("counts")
	// Who reaps an orphan depends on the node; the code must be the true one or told as unknown.
	if c.Exit.Code != 9 && !c.Exit.Unknown {
		t.Errorf("exit %+v", c.Exit)
	}
	if kernelTells() && c.Exit.Unknown {
		t.Errorf("exit is unknown, but this kernel can tell it")
	}
	for i, line := range strings.Split(strings.TrimSpace(n.log("counts", "stdout")), "\n") {
		if want := fmt.Sprintf("line %d", i+1); line != want {
			t.Fatalf("line %d of the log is %q: output was lost in a crash", i+1, line)
		}
	}
}

// kernelTells reports whether the exit code of a process that another one reaped can be asked for: Linux 6.15.
func kernelTells() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 15
}

func TestExitWhileExecutorIsAway(t *testing.T) {
	n := newNode(t)
	if c, _ := n.run(n.host("recorded", "exit 5")); c.Exit.Code != 5 {
		t.Fatal(c.Exit)
	}
	c, err := n.client.Start(t.Context(), n.host("unseen", "sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	if err := unix.Kill(c.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.await("task gone", func() bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Pid))
		return err != nil || bytes.Contains(data, []byte(") Z "))
	})
	n.start()
	if c := n.wait("recorded"); c.Exit.Code != 5 || c.Exit.Unknown {
		t.Errorf("recorded exit is %+v", c.Exit)
	}
	if c := n.wait("unseen"); !c.Exit.Unknown && c.Exit.Signal != 9 {
		t.Errorf("unseen exit is %+v, want unknown or the true one", c.Exit)
	}
}

func TestStaleRecordsOfAnotherBoot(t *testing.T) {
	n := newNode(t)
	c, err := n.client.Start(t.Context(), n.host("old", "sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	file := filepath.Join(n.dir, "state/containers/old/record.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(data, []byte(c.Boot), []byte("an-earlier-boot")), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	if c := n.wait("old"); !c.Exit.Unknown || !c.Exit.Rebooted {
		t.Errorf("exit %+v, want unknown: the pid belongs to another boot", c.Exit)
	}
}

func TestHalfMadeContainerIsRemoved(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("half", "sleep 1000")); err != nil {
		t.Fatal(err)
	}
	pids := n.pids("half")
	n.crash()
	// As if the executor had died before it wrote the record.
	if err := os.Remove(filepath.Join(n.dir, "state/containers/half/record.json")); err != nil {
		t.Fatal(err)
	}
	n.start()
	if _, err := n.client.Get(t.Context(), "half"); !errors.Is(err, executor.ErrNotFound) {
		t.Errorf("half-made container: %v", err)
	}
	for _, pid := range pids {
		n.await("process gone", func() bool {
			data, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || bytes.Contains(data, []byte(") Z "))
		})
	}
	if left, _ := filepath.Glob(filepath.Join(n.dir, "state/*/*/half")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSecondExecutorRefuses(t *testing.T) {
	n := newNode(t)
	out, err := exec.Command(build(t), "--state-dir", filepath.Join(n.dir, "state"), "--socket", n.socket(), "--cgroup-parent", n.parent).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another executor is running") {
		t.Errorf("second executor: %v, %s", err, out)
	}
	if _, err := n.client.Ping(t.Context()); err != nil {
		t.Errorf("first executor is harmed: %v", err)
	}
}

func TestExitsWhileAgentIsAway(t *testing.T) {
	n := newNode(t)
	for i := range 5 {
		if _, err := n.client.Start(t.Context(), n.host(fmt.Sprintf("c%d", i), fmt.Sprintf("exit %d", 10+i))); err != nil {
			t.Fatal(err)
		}
		n.wait(fmt.Sprintf("c%d", i))
	}
	// A client that goes after two events and comes back with its cursor misses none and gets none twice.
	seen := map[string]int{}
	var cursor executor.Cursor
	stop := errors.New("stop")
	for len(seen) < 5 {
		got := 0
		err := n.client.Exits(t.Context(), cursor, func(e executor.ExitEvent) error {
			if _, twice := seen[e.Container.ID]; twice {
				t.Errorf("%s told twice", e.Container.ID)
			}
			seen[e.Container.ID] = e.Container.Exit.Code
			cursor = e.Cursor
			if got++; got == 2 || len(seen) == 5 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if code := seen[fmt.Sprintf("c%d", i)]; code != 10+i {
			t.Errorf("c%d exited with %d", i, code)
		}
	}
	// The cursor of an executor that is gone means the beginning, not silence.
	n.crash()
	n.start()
	again := 0
	if err := n.client.Exits(t.Context(), cursor, func(executor.ExitEvent) error {
		if again++; again == 5 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func TestHugeOutputIsBounded(t *testing.T) {
	n := newNode(t)
	spec := n.host("loud", fmt.Sprintf("yes 0123456789012345678901234567890123456789 | head -c %d; echo last", fewer(t, 300_000_000)))
	spec.Log.MaxBytes, spec.Log.MaxFiles = 1<<20, 3
	began := time.Now()
	if c, _ := n.run(spec); !c.Exit.Success() || c.DroppedBytes != 0 {
		t.Errorf("exit %v, %d bytes dropped", c.Exit, c.DroppedBytes)
	}
	files, err := filepath.Glob(filepath.Join(n.dir, "logs/loud.stdout.[0-9]"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files: %v, %v", files, err)
	}
	// Beside each lie its marks of when it was printed, so many as the time has room for, and nothing else.
	if all, err := filepath.Glob(filepath.Join(n.dir, "logs/loud.stdout.*")); err != nil || len(all) != 2*len(files) {
		t.Errorf("files with their marks: %v, %v", all, err)
	}
	most := executor.MarkSize * (2 + int64(time.Since(began)/executor.MarkEvery))
	for _, file := range files {
		info, err := os.Stat(file + ".times")
		if err != nil {
			t.Error(err)
		} else if size := info.Size(); size == 0 || size > most || size%executor.MarkSize != 0 {
			t.Errorf("the marks of %s have %d bytes, not 1 to %d marks", file, size, most/executor.MarkSize)
		}
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || len(data) > 1<<20 || len(data) == 0 {
			t.Errorf("%s has %d bytes, %v", file, len(data), err)
		}
		if !strings.HasSuffix(file, ".0") && !bytes.HasSuffix(data, []byte("\n")) {
			t.Errorf("%s ends within a line", file)
		}
	}
	if out := n.log("loud", "stdout"); !strings.HasSuffix(out, "last\n") {
		t.Errorf("the end of the output is missing")
	}
}

func TestExecStreams(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("main", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	exit, err := n.client.Exec(t.Context(), "main", executor.ExecSpec{
		Command: []string{"sh", "-c", `cat; echo "$A in $(pwd)" >&2; grep -E '^(Seccomp|NoNewPrivs|CapEff)' /proc/self/status; exit 4`},
		Env:     []string{"A=b"}, Dir: "/usr",
	}, executor.Streams{Stdin: strings.NewReader("typed\n"), Stdout: &out, Stderr: &errs})
	if err != nil || exit.Code != 4 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if !strings.HasPrefix(out.String(), "typed\n") || errs.String() != "b in /usr\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
	if got := fields(out.String()); got["Seccomp"] != "2" || got["NoNewPrivs"] != "1" || got["CapEff"] != "00000000000405fb" {
		t.Errorf("exec is confined less than its container: %v", got)
	}
	if _, err := n.client.Exec(t.Context(), "main", executor.ExecSpec{Command: []string{"nope"}}, executor.Streams{}); !errors.Is(err, executor.ErrCommand) {
		t.Errorf("missing command: %v", err)
	}
	if _, err := n.client.Exec(t.Context(), "nobody", executor.ExecSpec{Command: []string{"true"}}, executor.Streams{}); !errors.Is(err, executor.ErrNotFound) {
		t.Errorf("missing container: %v", err)
	}
}

func TestExecTerminal(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("main", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	input, keys := io.Pipe()
	out := &lockedBuffer{}
	sizes := make(chan executor.Size)
	type result struct {
		exit executor.Exit
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		exit, err := n.client.Exec(context.Background(), "main", executor.ExecSpec{
			Command: []string{"sh", "-i"}, Terminal: true, Size: executor.Size{Width: 80, Height: 24}, Env: []string{"PS1=ready> "},
		}, executor.Streams{Stdin: input, Stdout: out, Resize: sizes})
		ended <- result{exit, err}
	}()
	defer keys.Close()
	n.await("prompt", func() bool { return strings.Contains(out.String(), "ready> ") })
	fmt.Fprintln(keys, "stty size; tty")
	n.await("size", func() bool {
		return strings.Contains(out.String(), "24 80") && strings.Contains(out.String(), "/dev/pts/0")
	})
	sizes <- executor.Size{Width: 132, Height: 50}
	n.await("new size", func() bool {
		fmt.Fprintln(keys, "stty size")
		return strings.Contains(out.String(), "50 132")
	})
	fmt.Fprintln(keys, "exit 6")
	if r := <-ended; r.err != nil || r.exit.Code != 6 {
		t.Errorf("exit %+v, %v\n%s", r.exit, r.err, out.String())
	}
}

func TestExecEndsWithItsClient(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("main", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &lockedBuffer{}
	ended := make(chan error, 1)
	go func() {
		_, err := n.client.Exec(ctx, "main", executor.ExecSpec{Command: []string{"sh", "-c", "echo on; exec sleep 1001"}}, executor.Streams{Stdout: out})
		ended <- err
	}()
	n.await("output", func() bool { return out.String() != "" })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("exec: %v", err)
	}
	n.await("process gone", func() bool { return len(n.pids("main")) == 1 })
}

// Whatever a command started in its session ends with its client: what ignores the hang-up, what runs in the background of a shell, and
// also while the command does not read its input. What took a session of its own stays.
func TestAllOfAnExecEndsWithItsClient(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("main", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]executor.ExecSpec{
		"pipes":    {Command: []string{"sh", "-c", "sleep 1001 & (trap '' HUP TERM; sleep 1002) & echo on; sleep 1003; :"}},
		"terminal": {Command: []string{"bash", "-ic", "sleep 1001 & nohup sleep 1002 >/dev/null & echo on; sleep 1003; :"}, Terminal: true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &lockedBuffer{}
		input, keys := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			_, err := n.client.Exec(ctx, "main", command, executor.Streams{Stdin: input, Stdout: out})
			ended <- err
		}()
		go func() { // more than anything on the way holds
			_, _ = keys.Write(bytes.Repeat([]byte("unread "), 1<<20))
		}()
		n.await("output", func() bool { return strings.Contains(out.String(), "on") && len(n.pids("main")) >= 5 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: exec: %v", name, err)
		}
		n.await(name+": processes gone", func() bool { return len(n.pids("main")) == 1 })
		input.Close()
	}
	if _, err := n.client.Exec(t.Context(), "main", executor.ExecSpec{Command: []string{"sh", "-c", "setsid sleep 1004 >/dev/null 2>&1 </dev/null &"}}, executor.Streams{}); err != nil {
		t.Fatal(err)
	}
	n.await("the daemon stays", func() bool { return len(n.pids("main")) == 2 })
}

// A signal reaches the command and what it waits for, as Ctrl-C does on a terminal.
func TestSignalsReachTheGroupOfAnExec(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("main", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	signals := make(chan int, 1)
	out := &lockedBuffer{}
	type result struct {
		exit executor.Exit
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		exit, err := n.client.Exec(t.Context(), "main", executor.ExecSpec{Command: []string{"sh", "-c", "trap 'echo caught; exit 9' INT; echo on; sleep 1001; :"}},
			executor.Streams{Stdout: out, Signals: signals})
		ended <- result{exit, err}
	}()
	n.await("output", func() bool { return out.String() != "" })
	signals <- int(syscall.SIGINT)
	if r := <-ended; r.err != nil || r.exit.Code != 9 || out.String() != "on\ncaught\n" {
		t.Errorf("%+v, %q", r, out.String())
	}
	n.await("process gone", func() bool { return len(n.pids("main")) == 1 })
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// traces counts what an executor could leave behind.
func (n *node) traces() map[string]int {
	pid := n.cmd.Process.Pid
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	children, _ := exec.Command("ps", "-o", "pid=", "--ppid", fmt.Sprint(pid)).Output()
	cgroups, _ := filepath.Glob("/sys/fs/cgroup/*/" + n.parent + "/*/cgroup.procs")
	more, _ := filepath.Glob("/sys/fs/cgroup/" + n.parent + "/*/cgroup.procs")
	files, _ := filepath.Glob(filepath.Join(n.dir, "state/runtime/*/*"))
	records, _ := os.ReadDir(filepath.Join(n.dir, "state/containers"))
	skeleton, _ := filepath.Glob(filepath.Join(n.dir, "state/runtime/skeleton/*"))
	dev, _ := filepath.Glob(filepath.Join(n.dir, "state/runtime/dev/*"))
	return map[string]int{
		"fds": len(fds), "mounts": bytes.Count(mounts, []byte("\n")), "children": len(strings.Fields(string(children))),
		"cgroups": len(cgroups) + len(more), "files": len(files) - len(skeleton) - len(dev), "records": len(records),
	}
}

func TestTwoHundredStartsLeaveNothing(t *testing.T) {
	n := newNode(t)
	upper := filepath.Join(n.dir, "upper")
	cycle := func(i int) error {
		id := fmt.Sprintf("c%d", i)
		spec := n.host(id, "exec sleep 1000")
		if i%3 == 0 {
			spec.Root.Writable = fmt.Sprint(upper, i)
		}
		if i%5 == 0 {
			spec.Command = []string{"no-such-program"}
		}
		_, err := n.client.Start(t.Context(), spec)
		if i%5 == 0 {
			if !errors.Is(err, executor.ErrCommand) {
				return fmt.Errorf("start of a missing command: %w", err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		return n.client.Delete(t.Context(), id)
	}
	// The first round warms up: filters, the network poller, the thread pool.
	for i := range 4 {
		if err := cycle(i); err != nil {
			t.Fatal(err)
		}
	}
	before := n.traces()
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for worker := range 4 {
		wg.Go(func() {
			for i := range fewer(t, 50) {
				if err := cycle(1000*worker + i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	n.awaitTraces(before)
}

// awaitTraces waits until nothing is left that was not there before.
func (n *node) awaitTraces(before map[string]int) {
	n.t.Helper()
	var after map[string]int
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		after = n.traces()
		same := true
		for what, count := range before {
			same = same && after[what] <= count
		}
		if same {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("before %v, after %v", before, after)
		}
	}
}
