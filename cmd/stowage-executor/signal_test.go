package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// begin starts a container and waits until it has said ready.
func (n *node) begin(id, script string) {
	n.t.Helper()
	if _, err := n.client.Start(n.t.Context(), n.host(id, script)); err != nil {
		n.t.Fatal(err)
	}
	n.await(id+" is ready", func() bool { return n.log(id, "stdout") != "" })
}

func (n *node) signal(id string, sig unix.Signal) {
	n.t.Helper()
	if err := n.client.Signal(n.t.Context(), id, int(sig)); err != nil {
		n.t.Fatalf("signal %d to %s: %v", sig, id, err)
	}
}

// command names the program of a container's only process.
func (n *node) command(id string) string {
	pids := n.pids(id)
	if len(pids) != 1 {
		return ""
	}
	name, _ := os.ReadFile("/proc/" + pids[0] + "/comm")
	return strings.TrimSpace(string(name))
}

// A first process without a handler ends by a signal as it would outside a container.
func TestDefaultActionIsCarriedOut(t *testing.T) {
	n := newNode(t)
	for name, sig := range map[string]unix.Signal{"term": unix.SIGTERM, "int": unix.SIGINT, "hup": unix.SIGHUP, "usr1": unix.SIGUSR1, "quit": unix.SIGQUIT, "last": 64} {
		n.begin(name, "echo ready; exec sleep 1000")
		// The shell has handlers of its own, of SIGINT for one; what it caught before exec is lost with them.
		n.await(name+" is no shell any more", func() bool { return n.command(name) == "sleep" })
		n.signal(name, sig)
		if c := n.wait(name); c.Exit.Signal != int(sig) || c.Exit.Code != 128+int(sig) || c.Exit.OOM {
			t.Errorf("%s: exit %+v, want signal %d", name, c.Exit, sig)
		}
	}
}

// The children of a first process without a handler end with it.
func TestDefaultActionTakesChildrenAlong(t *testing.T) {
	n := newNode(t)
	n.begin("family", "sleep 1000 & setsid sleep 1001 & echo ready; wait")
	var pids []string
	n.await("three processes", func() bool { pids = n.pids("family"); return len(pids) == 3 })
	n.signal("family", unix.SIGTERM)
	if c := n.wait("family"); c.Exit.Signal != int(unix.SIGTERM) {
		t.Errorf("exit %+v, want SIGTERM", c.Exit)
	}
	for _, pid := range pids {
		n.await("process "+pid+" gone", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	}
}

// What is not left to its default is the process's to decide, and signals that do not terminate change nothing.
func TestOtherSignalsAreDelivered(t *testing.T) {
	n := newNode(t)
	n.begin("deaf", `trap "" TERM; trap "exit 7" USR2; echo ready; while :; do sleep 0.02; done`)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGWINCH, unix.SIGCHLD, unix.SIGCONT, unix.SIGTSTP} {
		n.signal("deaf", sig)
	}
	// Signals of lower numbers are taken first: were SIGTERM to end it, it would have ended before this one.
	n.signal("deaf", unix.SIGUSR2)
	if c := n.wait("deaf"); c.Exit.Code != 7 || c.Exit.Signal != 0 {
		t.Errorf("exit %+v, want the handler's code 7", c.Exit)
	}
}

func TestSignalToParkedContainer(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Prepare(t.Context(), n.host("parked", "echo ran")); err != nil {
		t.Fatal(err)
	}
	n.signal("parked", unix.SIGTERM)
	if c := n.wait("parked"); c.Exit.Signal != int(unix.SIGTERM) || c.State != executor.StateExited {
		t.Errorf("container %+v, want an end by SIGTERM", c)
	}
	if out := n.log("parked", "stdout"); out != "" {
		t.Errorf("it ran: %q", out)
	}
}

// What those who started the executor ignore or block is nothing to a task, nor to a command inside it: nohup and background jobs leave
// signals ignored, and every process hands that down.
func TestSignalsOfOthersAreForgotten(t *testing.T) {
	n := newNode(t)
	n.crash()
	n.under = []string{"env", "--ignore-signal=HUP,INT,TSTP,USR1", "--block-signal=USR2,TERM"}
	n.start()
	const show = "^Sig(Blk|Ign)"
	spec := n.host("shown", "")
	spec.Command = []string{"grep", "-E", show, "/proc/self/status"}
	_, out := n.run(spec)
	n.begin("sleeps", "echo ready; exec sleep 1000")
	var inside strings.Builder
	if _, err := n.client.Exec(t.Context(), "sleeps", executor.ExecSpec{Command: spec.Command}, executor.Streams{Stdout: &inside}); err != nil {
		t.Fatal(err)
	}
	const none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
	if out != none || inside.String() != none {
		t.Errorf("a task has:\n%sand a command inside:\n%swant none of:\n%s", out, inside.String(), none)
	}
}
