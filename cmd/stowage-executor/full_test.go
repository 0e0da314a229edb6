package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// fill leaves no room on the file system of dir, and returns how to make room again.
func fill(t *testing.T, dir string) func() {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill: %v", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// small mounts a file system of 512 KiB on dir until the test ends.
func small(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=512k,mode=711"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestStateDiskFull(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "sx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	small(t, filepath.Join(dir, "state"))
	n := startNode(t, dir)

	if _, err := n.client.Start(t.Context(), n.host("before", `trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done`)); err != nil {
		t.Fatal(err)
	}
	n.await("ready", func() bool { return n.log("before", "stdout") != "" })
	room := fill(t, filepath.Join(dir, "state"))
	_, err = n.client.Start(t.Context(), n.host("during", "exit 0"))
	if !errors.Is(err, executor.ErrStorage) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("start on a full disk: %v", err)
	}
	if _, err := n.client.Get(t.Context(), "during"); !errors.Is(err, executor.ErrNotFound) {
		t.Errorf("half a container is left: %v", err)
	}
	if c, err := n.client.Get(t.Context(), "before"); err != nil || c.State != executor.StateRunning {
		t.Errorf("the running container: %+v, %v", c, err)
	}
	if err := n.client.Signal(t.Context(), "before", int(unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if c := n.wait("before"); c.Exit.Code != 3 {
		t.Errorf("exit on a full disk: %v", c.Exit)
	}
	room()
	if c, _ := n.run(n.host("after", "exit 4")); c.Exit.Code != 4 {
		t.Errorf("after there is room: %v", c.Exit)
	}
	// The exit that found no room is on disk in the end, so the next executor knows it.
	record := filepath.Join(dir, "state/containers/before/record.json")
	n.await("record of the exit", func() bool {
		data, err := os.ReadFile(record)
		return err == nil && strings.Contains(string(data), `"exited"`)
	})
	n.crash()
	n.start()
	if c := n.wait("before"); c.Exit.Code != 3 || c.Exit.Unknown {
		t.Errorf("exit after a crash: %+v", c.Exit)
	}
}

func TestLogDiskFull(t *testing.T) {
	n := newNode(t)
	logs := filepath.Join(n.dir, "logs")
	small(t, logs)
	gate := filepath.Join(n.dir, "gate")
	if err := os.Mkdir(gate, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := n.host("loud", `echo first; until [ -e /gate/1 ]; do sleep 0.01; done; head -c 300000 /dev/zero; touch /gate/2; until [ -e /gate/3 ]; do sleep 0.01; done; echo last`)
	spec.Mounts = []executor.Mount{{Source: gate, Target: "/gate"}}
	if _, err := n.client.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	n.await("first line", func() bool { return n.log("loud", "stdout") == "first\n" })
	room := fill(t, logs)
	open := func(name string) {
		if err := os.WriteFile(filepath.Join(gate, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open("1")
	n.await("the task goes on", func() bool { _, err := os.Stat(filepath.Join(gate, "2")); return err == nil })
	n.await("drops counted", func() bool {
		c, err := n.client.Get(t.Context(), "loud")
		// A page of the first line's file still had room.
		return err == nil && c.DroppedBytes >= 300000-4096
	})
	room()
	open("3")
	c := n.wait("loud")
	if out := n.log("loud", "stdout"); !c.Exit.Success() || !strings.HasSuffix(out, "last\n") || int64(len(out))+c.DroppedBytes != 300000+11 {
		t.Errorf("exit %v, %d bytes in the log, %d dropped", c.Exit, len(out), c.DroppedBytes)
	}
}
