package main

import (
	"context"
	"errors"
	"fmt"
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

// Execs that meet the end of their container leave nothing behind, and never hold a delete.
func TestExecsRaceExits(t *testing.T) {
	n := newNode(t)
	// The first round warms up: filters, the network poller, the thread pool.
	n.race("warm", 7)
	before := n.traces()
	const workers = 4
	rounds := fewer(t, 75)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range rounds {
				n.race(fmt.Sprintf("c%d-%d", worker, i), i)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	n.awaitTraces(before)
	if left := childrenOf(n.cmd.Process.Pid); len(left) > 0 {
		t.Errorf("children left: %v", left)
	}
}

// race runs execs in a container that exits or is killed at the same time, and deletes it.
func (n *node) race(id string, i int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	spec := n.host(id, fmt.Sprintf("sleep 0.0%d; exit 1", i%5))
	spec.Root.Writable = filepath.Join(n.dir, "upper", id)
	if _, err := n.client.Start(ctx, spec); err != nil {
		n.t.Errorf("start %s: %v", id, err)
		return
	}
	var execs sync.WaitGroup
	for e := range 4 {
		execs.Go(func() {
			_, err := n.client.Exec(ctx, id, executor.ExecSpec{Command: []string{"true"}, Terminal: e == 3}, executor.Streams{})
			// It may fail in many places; it may not hang.
			if errors.Is(err, context.DeadlineExceeded) {
				n.t.Errorf("exec in %s: %v", id, err)
			}
		})
	}
	if i%2 == 0 {
		time.Sleep(time.Duration(i%16) * time.Millisecond)
		if err := n.client.Kill(ctx, id); err != nil {
			n.t.Errorf("kill %s: %v", id, err)
		}
	}
	if i%3 == 0 {
		execs.Wait()
	}
	if err := n.client.Delete(ctx, id); err != nil {
		n.t.Errorf("delete %s: %v", id, err)
	}
	execs.Wait()
}

// childrenOf lists the processes of a parent, dead ones included.
func childrenOf(parent int) []string {
	var children []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		if name, state, of := readStat(file); of == fmt.Sprint(parent) {
			children = append(children, name+" "+state)
		}
	}
	return children
}

// readStat reads the name, the state and the parent of a process; all are empty when it has gone.
func readStat(file string) (name, state, parent string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", ""
	}
	end := strings.LastIndexByte(string(data), ')') + 1
	fields := strings.Fields(string(data[end:]))
	if len(fields) < 2 {
		return "", "", ""
	}
	return string(data[:end]), fields[0], fields[1]
}

// A container whose end is held up, here by somebody outside who does not reap a process inside, makes delete fail in time, and is gone
// with the next delete after that.
func TestDeleteDoesNotWaitForEver(t *testing.T) {
	n := newNode(t)
	c, err := n.client.Start(t.Context(), n.host("held", "sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	outside := exec.Command("nsenter", "--target", fmt.Sprint(c.Pid), "--pid", "sleep", "1000")
	if err := outside.Start(); err != nil {
		t.Skipf("nsenter: %v", err)
	}
	t.Cleanup(func() {
		_ = outside.Process.Signal(syscall.SIGCONT)
		_ = outside.Process.Kill()
		_ = outside.Wait()
	})
	n.await("a process inside", func() bool { return len(childrenOf(outside.Process.Pid)) == 1 })
	if err := outside.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.await("it to stand still", func() bool {
		_, state, _ := readStat(fmt.Sprintf("/proc/%d/stat", outside.Process.Pid))
		return state == "T"
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.client.Delete(ctx, "held"); err == nil || ctx.Err() != nil {
		t.Fatalf("delete of a container that cannot end: %v", err)
	}
	if err := outside.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	n.wait("held")
	if err := n.client.Delete(ctx, "held"); err != nil {
		t.Fatalf("second delete: %v", err)
	}
}
