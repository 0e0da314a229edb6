package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stowage/stowage/spec/wire/credit"
	"golang.org/x/sys/unix"
)

const patience = 2 * time.Minute

// plain is a Runtime without isolation: it runs commands as they are, once released, so the server can be tested anywhere.
type plain struct {
	mu      sync.Mutex
	gates   map[string]*os.File
	fail    error
	refuse  func(id string) error // what Release does instead
	oom     bool
	removed []string
}

func (p *plain) Prepare(spec *Spec, _ []int, stdio Stdio, _ bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return 0, p.fail
	}
	gate, hold, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer gate.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `read go <&3; exec "$@" 3<&-`, "sh"}, spec.Command...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = stdio.Out, stdio.Err, []*os.File{gate}
	if err := cmd.Start(); err != nil {
		hold.Close()
		return 0, err
	}
	if p.gates == nil {
		p.gates = map[string]*os.File{}
	}
	p.gates[spec.ID] = hold
	return cmd.Process.Pid, nil
}

func (p *plain) Release(id string) error {
	if p.refuse != nil {
		return p.refuse(id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if gate := p.gates[id]; gate != nil {
		defer gate.Close()
		delete(p.gates, id)
		_, err := gate.WriteString("\n")
		return err
	}
	return nil
}

func (p *plain) Exec(spec *Spec, e *ExecSpec, stdio Stdio) (int, *os.File, error) {
	cmd := exec.Command(e.Command[0], e.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio.In, stdio.Out, stdio.Err
	if err := cmd.Start(); err != nil {
		return 0, nil, Errorf(CodeCommand, "%v", err)
	}
	return cmd.Process.Pid, nil, nil
}

func (p *plain) Stats(*Spec) (Stats, error) {
	if p.oom {
		return Stats{OOMKills: 1}, nil
	}
	return Stats{Pids: 1}, nil
}

func (p *plain) SetCores(*Spec, []int) error { return nil }

func (p *plain) Remove(spec *Spec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gate := p.gates[spec.ID]; gate != nil {
		gate.Close()
		delete(p.gates, spec.ID)
	}
	p.removed = append(p.removed, spec.ID)
	return nil
}

// world is a server with a client.
type world struct {
	t       *testing.T
	dir     string
	runtime *plain
	client  *Client
	stop    func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "sx")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, runtime: &plain{}, client: NewClient(filepath.Join(dir, "s"))}
	w.serve()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all, err := w.client.List(ctx)
		if err != nil {
			t.Errorf("list at the end: %v", err)
		}
		for _, c := range all {
			if err := w.client.Delete(ctx, c.ID); err != nil {
				t.Errorf("delete %s: %v", c.ID, err)
			}
		}
		w.stop()
		os.RemoveAll(dir)
	})
	return w
}

// serve starts a server on the state directory, as a new executor process would.
func (w *world) serve() {
	w.t.Helper()
	lock, err := LockState(filepath.Join(w.dir, "state"))
	if err != nil {
		w.t.Fatal(err)
	}
	server, err := Open(lock, w.runtime, Features{Version: "test", Cgroup: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, filepath.Join(w.dir, "s")) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("server: %v", err)
		}
		lock.Close()
	}
	w.await("server answers", func() bool { _, err := w.client.Ping(context.Background()); return err == nil })
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (w *world) spec(id, script string) Spec {
	return Spec{ID: id, Command: []string{"/bin/sh", "-c", script}, Root: Root{Kind: RootHost}, Log: Log{Dir: w.dir, Task: id}, MemoryBytes: 64 << 20}
}

func (w *world) wait(id string) Container {
	w.t.Helper()
	var c Container
	w.await("exit of "+id, func() bool {
		var err error
		if c, err = w.client.Get(context.Background(), id); err != nil {
			w.t.Fatal(err)
		}
		return c.State == StateExited
	})
	return c
}

func TestServerLife(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("a", "echo out; echo err >&2; exit 3")
	spec.Labels = map[string]string{"task": "web"}
	c, err := w.client.Start(t.Context(), spec)
	if err != nil || c.State == StateCreated || c.Pid == 0 || c.PidStart == 0 || c.Labels["task"] != "web" {
		t.Fatalf("%+v, %v", c, err)
	}
	c = w.wait("a")
	if c.Exit.Code != 3 || c.Exit.OOM || c.Exit.MemoryLimit != 64<<20 || c.Finished.Before(c.Started) {
		t.Errorf("%+v", c)
	}
	for stream, want := range map[string]string{"stdout": "out\n", "stderr": "err\n"} {
		if data, err := os.ReadFile(filepath.Join(w.dir, "a."+stream+".0")); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", stream, data, err)
		}
	}
	if err := w.client.Signal(t.Context(), "a", 15); err != nil {
		t.Errorf("signal to one that has exited: %v", err)
	}
	if err := w.client.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if all, err := w.client.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestServerReportsKillForMemory(t *testing.T) {
	w := newWorld(t)
	w.runtime.oom = true
	for id, test := range map[string]struct {
		script string
		oom    bool
	}{"killed": {"kill -9 $$", true}, "reports": {"exit 137", true}, "other": {"exit 1", false}, "fine": {"exit 0", false}} {
		if _, err := w.client.Start(t.Context(), w.spec(id, test.script)); err != nil {
			t.Fatal(err)
		}
		if c := w.wait(id); c.Exit.OOM != test.oom {
			t.Errorf("%s: %+v", id, c.Exit)
		}
	}
}

func TestFailedPrepareLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.runtime.fail = errors.New("no such luck")
	if _, err := w.client.Start(t.Context(), w.spec("a", "true")); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("start: %v", err)
	}
	w.runtime.fail = nil
	if len(w.runtime.removed) != 1 {
		t.Errorf("removed: %v", w.runtime.removed)
	}
	if _, err := w.client.Start(t.Context(), w.spec("a", "true")); err != nil {
		t.Errorf("second try: %v", err)
	}
}

// TestWhatIsBeingMadeExistsOnceItIsMade: an agent that died while it asked for a container is followed by one that asks for it
// again. That one hears that it exists when there is something to know about it, not before.
func TestWhatIsBeingMadeExistsOnceItIsMade(t *testing.T) {
	w := newWorld(t)
	first, second := make(chan error, 1), make(chan error, 1)
	w.runtime.mu.Lock()
	go func() { _, err := w.client.Start(t.Context(), w.spec("a", "sleep 1000")); first <- err }()
	w.await("it is being made", func() bool {
		_, err := os.Stat(filepath.Join(w.dir, "state", "containers", "a", "spec.json"))
		return err == nil
	})
	go func() {
		_, err := w.client.Start(t.Context(), w.spec("a", "sleep 1000"))
		if errors.Is(err, ErrExists) {
			_, err = w.client.Get(t.Context(), "a")
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Errorf("the second is answered while the first is under way: %v", err)
		second <- nil
	case <-time.After(100 * time.Millisecond): // enough for an answer that comes too early to be seen mostly
	}
	w.runtime.mu.Unlock()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
}

// What is being made for an agent that died is in the list that its successor gets; what was not begun by then never is.
func TestWhatIsBeingMadeIsListedOnceItIsMade(t *testing.T) {
	w := newWorld(t)
	dies, die := context.WithCancel(t.Context())
	started := make(chan error, 1)
	w.runtime.mu.Lock()
	go func() { _, err := w.client.Start(dies, w.spec("a", "sleep 1000")); started <- err }()
	w.await("it is being made", func() bool {
		_, err := os.Stat(filepath.Join(w.dir, "state", "containers", "a", "spec.json"))
		return err == nil
	})
	die()
	if err := <-started; err == nil {
		t.Fatal("the agent that died has heard of its container")
	}
	listed := make(chan []Container, 1)
	go func() {
		all, err := w.client.List(t.Context())
		if err != nil {
			t.Error(err)
		}
		listed <- all
	}()
	select {
	case all := <-listed:
		t.Fatalf("listed while it is being made: %v", all)
	case <-time.After(100 * time.Millisecond): // enough for an answer that comes too early to be seen mostly
	}
	w.runtime.mu.Unlock()
	if all := <-listed; len(all) != 1 || all[0].ID != "a" || all[0].Pid == 0 {
		t.Errorf("listed: %+v", all)
	}

	// The call of one that is gone by the time it is read.
	conn, err := net.Dial("unix", filepath.Join(w.dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	late := w.spec("late", "sleep 1000")
	if err := writeJSON(conn, kindCall, call{Version: Version, Verb: verbStart, Spec: &late}); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	kind, payload, err := readFrame(conn)
	if err != nil || kind != kindAnswer {
		t.Fatal(kind, err)
	}
	if _, err := readAnswer(payload); !errors.Is(err, ErrState) {
		t.Errorf("start for one that has gone: %v", err)
	}
	conn.Close()
	if all, err := w.client.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("listed: %+v, %v", all, err)
	}
}

// A command that cannot be executed ends the process that was to become it. Whoever asked for the start is told why; the end of
// that process is no exit of a task.
func TestExitOfWhatNeverRanIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.runtime.refuse = func(id string) error {
		c, err := w.client.Get(context.Background(), id)
		if err != nil {
			return err
		}
		if err := unix.Kill(c.Pid, unix.SIGKILL); err != nil {
			return err
		}
		w.wait(id)
		if id == "late" {
			return nil
		}
		return Errorf(CodeCommand, "command not found")
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 10)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = w.client.Exits(ctx, Cursor{}, func(e ExitEvent) error { told <- e.Container.ID; return nil })
	}()
	defer func() { cancel(); <-over }()
	if _, err := w.client.Start(t.Context(), w.spec("never", "true")); !errors.Is(err, ErrCommand) {
		t.Errorf("start: %v", err)
	}
	// One that ended before its start was over is told, afterwards.
	if _, err := w.client.Start(t.Context(), w.spec("late", "true")); err != nil {
		t.Fatal(err)
	}
	select {
	case id := <-told:
		if id != "late" {
			t.Errorf("the exit of %q is told", id)
		}
	case <-time.After(patience):
		t.Error("no exit is told")
	}
}

func TestServerRestartAdopts(t *testing.T) {
	w := newWorld(t)
	before, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.serve()
	after, err := w.client.Get(t.Context(), "a")
	if err != nil || after.State != before.State || after.Pid != before.Pid {
		t.Fatalf("%+v, %v; before %+v", after, err, before)
	}
	if err := w.client.Kill(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	// The first server lives in the same process, and may reap it first: then the kernel has to tell, and an old one does not.
	if c := w.wait("a"); c.Exit.Signal != 9 && !c.Exit.Unknown {
		t.Errorf("%+v", c.Exit)
	}
}

func TestLockIsExclusive(t *testing.T) {
	w := newWorld(t)
	if lock, err := LockState(filepath.Join(w.dir, "state")); err == nil {
		lock.Close()
		t.Error("a second executor got the lock")
	} else if !strings.Contains(err.Error(), "another executor") {
		t.Error(err)
	}
}

func TestExecOverTheWire(t *testing.T) {
	w := newWorld(t)
	if _, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("0123456789\n", 100_000)
	var out bytes.Buffer
	exit, err := w.client.Exec(t.Context(), "a", ExecSpec{Command: []string{"cat"}}, Streams{Stdin: strings.NewReader(big), Stdout: &out})
	if err != nil || !exit.Success() || out.String() != big {
		t.Errorf("exit %v, %v, %d bytes of %d", exit, err, out.Len(), len(big))
	}
}

// endless is input without end, which tells when it has given so much.
type endless struct {
	given, tell int
	told        chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	before := e.given
	e.given += len(p)
	if before < e.tell && e.given >= e.tell {
		close(e.told)
	}
	return len(p), nil
}

// A signal passes by input that the process does not read, and the input is not taken without bound.
func TestASignalPassesByTheInput(t *testing.T) {
	w := newWorld(t)
	if _, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	const pipe = 64 << 10
	input := &endless{tell: pipe + credit.Window, told: make(chan struct{})}
	signals := make(chan int, 1)
	go func() {
		<-input.told
		signals <- int(unix.SIGTERM)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exit, err := w.client.Exec(ctx, "a", ExecSpec{Command: []string{"sleep", "1000"}}, Streams{Stdin: input, Signals: signals})
	if err != nil || exit.Signal != int(unix.SIGTERM) {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

func TestInvalidSpecsAreRefused(t *testing.T) {
	w := newWorld(t)
	change := map[string]func(*Spec){
		"use the characters": func(s *Spec) { s.ID = "../up" },
		"container id":       func(s *Spec) { s.ID = ".." },
		"at most":            func(s *Spec) { s.ID = strings.Repeat("a", 300) },
		"name a program":     func(s *Spec) { s.Command = nil },
		"reserved":           func(s *Spec) { s.Env = []string{"_LIBCONTAINER_INITPIPE=3"} },
		"NAME=value":         func(s *Spec) { s.Env = []string{"nonsense"} },
		"root kind":          func(s *Spec) { s.Root.Kind = "floppy" },
		"at least one layer": func(s *Spec) { s.Root.Kind = RootLayers },
		"no layers that":     func(s *Spec) { s.Root.UserXattr = true },
		"colon":              func(s *Spec) { s.Root.Writable = "/a:/b" },
		"belongs to":         func(s *Spec) { s.Mounts = []Mount{{"/a", "/proc/sys", false}} },
		"below /":            func(s *Spec) { s.Mounts = []Mount{{"/a", "/x/..", false}} },
		"network":            func(s *Spec) { s.Network = "bridge" },
		"negative":           func(s *Spec) { s.CPUMillis = -1 },
		"below memory":       func(s *Spec) { s.MemoryMaxBytes = 1 },
		"cgroup parent":      func(s *Spec) { s.CgroupParent = "../../.." },
		"log task":           func(s *Spec) { s.Log.Task = "../../etc/passwd" },
	}
	for want, f := range change {
		spec := w.spec("a", "true")
		f(&spec)
		if _, err := w.client.Start(t.Context(), spec); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestStrangeCallers(t *testing.T) {
	w := newWorld(t)
	say := func(data []byte) (answer, error) {
		conn, err := net.Dial("unix", filepath.Join(w.dir, "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		var a answer
		_, payload, err := readFrame(conn)
		if err == nil {
			err = json.Unmarshal(payload, &a)
		}
		return a, err
	}
	frame := func(k kind, v any) []byte {
		var b bytes.Buffer
		if err := writeJSON(&b, k, v); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if _, err := say([]byte("GET / HTTP/1.0\r\n\r\n")); err == nil {
		t.Error("an HTTP request got an answer")
	}
	for name, test := range map[string]struct {
		data []byte
		code Code
	}{
		"newer":    {frame(kindCall, call{Version: Version + 2, Verb: verbPing}), CodeUnsupported},
		"unknown":  {frame(kindCall, call{Version: Version, Verb: "dance"}), CodeUnsupported},
		"kind":     {frame(kindStdin, "x"), CodeInvalid},
		"no spec":  {frame(kindCall, call{Version: Version, Verb: verbStart}), CodeInvalid},
		"no exec":  {frame(kindCall, call{Version: Version, Verb: verbExec, ID: "a"}), CodeInvalid},
		"no json":  {[]byte("\x00\x00\x00\x01c{"), CodeInvalid},
		"nobody":   {frame(kindCall, call{Version: Version, Verb: verbGet, ID: "nobody"}), CodeNotFound},
		"signal 0": {frame(kindCall, call{Version: Version, Verb: verbSignal, ID: "a"}), CodeInvalid},
	} {
		if a, err := say(test.data); err != nil || a.Error == nil || a.Error.Code != test.code {
			t.Errorf("%s: %+v, %v", name, a.Error, err)
		}
	}
	if _, err := w.client.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestShutdownLeavesContainersAlone(t *testing.T) {
	w := newWorld(t)
	c, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stop()
	if err := unix.Kill(c.Pid, 0); err != nil {
		t.Errorf("container went with the executor: %v", err)
	}
	w.serve()
}

func TestManyExitsAllTold(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- w.client.Exits(ctx, Cursor{}, func(e ExitEvent) error { told <- e.Container.ID; return nil })
	}()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if _, err := w.client.Start(t.Context(), w.spec(fmt.Sprintf("c%d", i), "true")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	timeout := time.After(patience)
	for len(seen) < 30 {
		select {
		case id := <-told:
			if seen[id] {
				t.Errorf("%s told twice", id)
			}
			seen[id] = true
		case <-timeout:
			t.Fatalf("only %d of 30 exits were told", len(seen))
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
