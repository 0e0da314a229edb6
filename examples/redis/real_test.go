package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

// node runs the tasks of the driver's apps as an agent would, on this machine and without containers.
type node struct {
	t   *testing.T
	dir string
}

func (n node) lookup(port int) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "node.address":
			return "127.0.0.1", true
		case "port.redis":
			return strconv.Itoa(port), true
		}
		return "", false
	}
}

// run starts the app's server; it ends with the test, also when that is killed.
func (n node) run(app *spec.App, port int) {
	n.t.Helper()
	dir, err := os.MkdirTemp(n.dir, "data")
	if err != nil {
		n.t.Fatal(err)
	}
	var command []string
	for _, text := range app.Tasks[0].Command {
		command = append(command, spec.Expand(text, n.lookup(port)))
	}
	command[slices.Index(command, "--dir")+1] = dir // there is no root file system of its own here
	var output bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with the children that write snapshots
		_ = cmd.Wait()
		if n.t.Failed() {
			n.t.Logf("%s said:\n%s", app.Name, output.String())
		}
	})
}

// healthy runs the gate check of the app, as an agent would.
func (n node) healthy(app *spec.App, port int) bool {
	task := app.Tasks[0]
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, task.Checks[0].Command[0], task.Checks[0].Command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, text := range task.Env {
		cmd.Env = append(cmd.Env, name+"="+spec.Expand(text, n.lookup(port)))
	}
	return cmd.Run() == nil
}

func (n node) await(what string, condition func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (n node) redis(port int, words ...string) string {
	out, err := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port)}, words...)...).CombinedOutput()
	if err != nil {
		n.t.Logf("redis-cli %v: %v", words, err)
	}
	return strings.TrimSpace(string(out))
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// What the driver says is run with real servers: written on the primary, read on the replicas; and when the primary
// has moved, the replicas that are replaced follow the new one.
func TestRealServersReplicate(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian: apt-get install redis-server)", program)
		}
	}
	n := node{t, t.TempDir()}
	w := newWorld(t, map[string]any{"replicas": 2.0, "persist": true})
	for i := range w.q.Nodes {
		w.q.Nodes[i].Address = "127.0.0.1"
	}
	begin := func(app *spec.App, index int, at spec.NodeID) int {
		t.Helper()
		port := freePort(t)
		i := len(w.q.Allocations)
		w.start(app, index, at, port)
		n.run(app, port)
		n.await(string(app.Name)+" is healthy", func() bool { return n.healthy(app, port) })
		w.at(i).Healthy = true
		return port
	}
	first := begin(w.expand().Apps[0], 0, "n1")
	e := w.expand()
	a, b := begin(e.Apps[1], 0, "n2"), begin(e.Apps[1], 1, "n3")
	if got := n.redis(first, "set", "port", "Rotterdam"); got != "OK" {
		t.Fatalf("set on the primary: %s", got)
	}
	for _, port := range []int{a, b} {
		n.await("the replica has it", func() bool { return n.redis(port, "get", "port") == "Rotterdam" })
		if got := n.redis(port, "set", "port", "Hamburg"); !strings.HasPrefix(got, "READONLY") {
			t.Errorf("a replica took a write: %s", got)
		}
	}
	if e := w.expand(); !e.Steps[0].Done || !e.Steps[1].Done {
		t.Errorf("steps %+v", e.Steps)
	}

	w.at(0).State, w.at(0).Want, w.at(0).Healthy = spec.StateLost, spec.WantStop, false
	second := begin(w.expand().Apps[0], 0, "n3")
	moved := w.expand()
	c := begin(moved.Apps[1], 0, "n2")
	if got := n.redis(second, "set", "port", "Antwerp"); got != "OK" {
		t.Fatalf("set on the new primary: %s", got)
	}
	n.await("the new replica has it", func() bool { return n.redis(c, "get", "port") == "Antwerp" })
	if n.healthy(moved.Apps[1], first) {
		t.Error("the check takes a primary for a replica")
	}
}
