package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

func TestParkedContainer(t *testing.T) {
	n := newNode(t)
	c, err := n.client.Prepare(t.Context(), n.host("parked", "echo ran"))
	if err != nil || c.State != executor.StateCreated || c.Pid == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if out := n.log("parked", "stdout"); out != "" {
		t.Errorf("it ran before it was released: %q", out)
	}
	if c, err = n.client.Release(t.Context(), "parked"); err != nil || c.State == executor.StateCreated {
		t.Fatalf("%+v, %v", c, err)
	}
	if c := n.wait("parked"); !c.Exit.Success() || n.log("parked", "stdout") != "ran\n" {
		t.Errorf("exit %v, output %q", c.Exit, n.log("parked", "stdout"))
	}
	if _, err := n.client.Prepare(t.Context(), n.host("never", "echo ran")); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Delete(t.Context(), "never"); err != nil {
		t.Fatal(err)
	}
	if out := n.log("never", "stdout"); out != "" {
		t.Errorf("a deleted container ran: %q", out)
	}
}

// What is parked ends with its executor: it has not begun, and costs little to make again.
func TestParkedContainerEndsWithExecutor(t *testing.T) {
	n := newNode(t)
	made, err := n.client.Prepare(t.Context(), n.host("parked", "echo ran"))
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.start()
	if c := n.wait("parked"); !c.Started.IsZero() || n.log("parked", "stdout") != "" {
		t.Errorf("%+v printed %q, and should never have begun", c, n.log("parked", "stdout"))
	}
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", made.Pid)); len(line) > 0 { // nobody may reap it here
		t.Errorf("its process is still there: %q", line)
	}
	// A start finds what is left of it, and makes another one.
	if c, out := n.run(n.host("parked", "echo ran")); c.Pid == made.Pid || out != "ran\n" {
		t.Errorf("%+v printed %q", c, out)
	}
}

// kept is a spec with a writable root that the runs of a task share.
func (n *node) kept(id, script string) executor.Spec {
	spec := n.host(id, script)
	spec.Root.Writable, spec.Root.Kept = filepath.Join(n.dir, "task", "root"), true
	return spec
}

// succeed starts a run and parks another one behind it.
func (n *node) succeed(present, next executor.Spec) (parked executor.Container) {
	n.t.Helper()
	if _, err := n.client.Start(n.t.Context(), present); err != nil {
		n.t.Fatal(err)
	}
	parked, err := n.client.PrepareNext(n.t.Context(), next, present.ID)
	if err != nil || parked.State != executor.StateCreated {
		n.t.Fatalf("%+v, %v", parked, err)
	}
	return parked
}

// A run is followed by the one that was parked behind it, which finds the root as the first left it, and keeps it whole when the first is removed.
func TestSuccessor(t *testing.T) {
	n := newNode(t)
	const writes = "echo more >>/etc/hosts; echo $$ >>/pids; "
	first, second, third := n.kept("run-1", writes+"sleep 1000"), n.kept("run-2", writes+"sleep 1000"), n.kept("run-3", "cat /pids; tail -n 2 /etc/hosts")
	parked := n.succeed(first, second)
	n.await("the first has written", func() bool { return n.rootFile("pids") == "1\n" })
	if data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/root/pids", parked.Pid)); string(data) != "1\n" {
		t.Errorf("the parked one sees %q of what the first wrote after it was parked", data)
	}
	if err := n.client.Kill(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	n.wait(first.ID)
	c, err := n.client.Start(t.Context(), second)
	if err != nil || c.Pid != parked.Pid || c.State != executor.StateRunning || c.Started.IsZero() {
		t.Fatalf("%+v, %v: want the one that was parked, %d", c, err, parked.Pid)
	}
	if err := n.client.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.PrepareNext(t.Context(), third, second.ID); err != nil {
		t.Fatal(err)
	}
	n.await("the second has written", func() bool { return n.rootFile("pids") == "1\n1\n" })
	if err := n.client.Kill(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	n.wait(second.ID)
	if err := n.client.Delete(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if _, out := n.run(third); out != "1\n1\nmore\nmore\n" {
		t.Errorf("the third sees %q", out)
	}
	if err := n.client.Delete(t.Context(), third.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.Root.Writable + ".work"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder that the kernel works in is left behind: %v", err)
	}
}

func (n *node) rootFile(name string) string {
	data, _ := os.ReadFile(filepath.Join(n.dir, "task", "root", name))
	return string(data)
}

// What is parked costs memory of its own limit, and not much: no Go runtime waits in it.
func TestParkedContainerIsSmall(t *testing.T) {
	n := newNode(t)
	parked := n.succeed(n.kept("run-1", "sleep 1000"), n.kept("run-2", "sleep 1000"))
	n.await("it waits where it costs little", func() bool {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parked.Pid))
		return strings.Contains(string(line), "stowage-run-parked")
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", parked.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Threads:\t1\n", "SigIgn:\t0000000000000000\n"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("its status lacks %q:\n%s", line, status)
		}
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil || kib > 100 {
		t.Errorf("it has %d KiB of memory: %v", kib, err)
	}
}

// A start takes what is parked only if it would be made the same now.
func TestUnfitSuccessors(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		name, script string // what the first run does last
		change       func(*executor.Spec)
	}{
		{"another environment", ":", func(s *executor.Spec) { s.Env = append(s.Env, "MORE=1") }},
		{"accounts", "sed -i 's/^games:x:[0-9]*:/games:x:4242:/' /etc/passwd", nil},
		{"working directory", "mv /srv /srv.was; mkdir /srv", nil},
		{"dead", ":", func(s *executor.Spec) {
			if err := n.client.Kill(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
			n.wait(s.ID)
		}},
	} {
		first, second := n.kept("run-1", ""), n.kept("run-2", "id -u; pwd; ls -di . /srv | cut -d' ' -f1 | uniq | wc -l")
		first.Command[2] = fmt.Sprintf(`trap "%s; exit" USR1; echo ready; while :; do sleep 0.01; done`, c.script)
		second.User, second.Dir = "games", "/srv"
		parked := n.succeed(first, second)
		n.await("the first is ready", func() bool { return n.log(first.ID, "stdout") != "" })
		n.signal(first.ID, unix.SIGUSR1)
		n.wait(first.ID)
		if c.change != nil {
			c.change(&second)
		}
		got, out := n.run(second)
		uid := "5"
		if c.name == "accounts" {
			uid = "4242"
		}
		if want := uid + "\n/srv\n1\n"; got.Pid == parked.Pid || out != want {
			t.Errorf("%s: %+v printed %q, want %q by another one than the parked %d", c.name, got, out, want, parked.Pid)
		}
		for _, id := range []string{first.ID, second.ID} {
			if err := n.client.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{"task", "logs"} {
			if err := os.RemoveAll(filepath.Join(n.dir, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// None is parked behind a container whose root this executor does not keep: it may be mounted a second time otherwise.
func TestNoSuccessor(t *testing.T) {
	n := newNode(t)
	plain := n.kept("plain", "sleep 1000")
	plain.Root.Kept, plain.Root.Writable = false, filepath.Join(n.dir, "plain")
	for _, spec := range []executor.Spec{plain, n.kept("run-1", "sleep 1000")} {
		if _, err := n.client.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(present string, want error) {
		t.Helper()
		if _, err := n.client.PrepareNext(t.Context(), n.kept("run-2", "echo ran"), present); !errors.Is(err, want) {
			t.Errorf("behind %s: %v, want %v", present, err, want)
		}
		if _, err := n.client.Get(t.Context(), "run-2"); !errors.Is(err, executor.ErrNotFound) {
			t.Errorf("something is left: %v", err)
		}
	}
	refused("nobody", executor.ErrNotFound)
	refused("plain", executor.ErrState)
	n.crash()
	n.start()
	refused("run-1", executor.ErrState)
	if err := n.client.Kill(t.Context(), "run-1"); err != nil {
		t.Fatal(err)
	}
	n.wait("run-1")
	// The run after it has its root mounted anew, and keeps it also from the removal of the one before.
	if _, err := n.client.Start(t.Context(), n.kept("run-2", "echo more >>/etc/hosts; echo ready; sleep 1000")); err != nil {
		t.Fatal(err)
	}
	n.await("it has written", func() bool { return n.log("run-2", "stdout") != "" })
	next := n.kept("run-3", "echo more >>/etc/hosts; tail -n 2 /etc/hosts")
	if _, err := n.client.PrepareNext(t.Context(), next, "run-2"); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Delete(t.Context(), "run-1"); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Kill(t.Context(), "run-2"); err != nil {
		t.Fatal(err)
	}
	n.wait("run-2")
	if _, out := n.run(next); out != "more\nmore\n" {
		t.Errorf("it sees %q", out)
	}
}

// A file of the node that was replaced since, as editors and daemons do, is what a run sees that starts now.
func TestParkedRunSeesTheFilesOfToday(t *testing.T) {
	n := newNode(t)
	name := filepath.Join(n.dir, "config")
	if err := os.WriteFile(name, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, second := n.kept("run-1", "sleep 1000"), n.kept("run-2", "cat /config")
	for _, s := range []*executor.Spec{&first, &second} {
		s.Mounts = []executor.Mount{{Source: name, Target: "/config", ReadOnly: true}}
	}
	n.succeed(first, second)
	if err := os.WriteFile(name+".new", []byte("new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Kill(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	n.wait(first.ID)
	if _, out := n.run(second); out != "new\n" {
		t.Errorf("the run that starts now sees %q", out)
	}
}
