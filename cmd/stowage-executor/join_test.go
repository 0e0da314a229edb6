package main

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
)

// A container's processes are in its cgroup of every hierarchy that the executor has one in, those that are added later too, and the
// executor is in none.
func TestJoinsEveryCgroup(t *testing.T) {
	n := newNode(t)
	c, err := n.client.Start(t.Context(), n.host("one", "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, line := range memberships(t, c.Pid) {
		hierarchy, dir, _ := strings.Cut(line, "/")
		if path.Base(dir) == "one" {
			want[hierarchy] = true
		} else if strings.Contains(line, "pids") || strings.Contains(line, "devices") || strings.HasPrefix(line, "0::") {
			t.Errorf("the container is not in its cgroup, but in %s", line)
		}
	}
	if len(want) == 0 {
		t.Fatal("the container has no cgroup")
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.client.Exec(t.Context(), "one", executor.ExecSpec{Command: []string{"sleep", "1001"}}, executor.Streams{})
		done <- err
	}()
	var more string
	n.await("a second process", func() bool {
		for _, pid := range n.pids("one") {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if err == nil && string(line) == "sleep\x001001\x00" {
				more = pid
			}
		}
		return more != ""
	})
	var pid int
	if _, err := fmt.Sscan(more, &pid); err != nil {
		t.Fatal(err)
	}
	for _, line := range memberships(t, pid) {
		if hierarchy, dir, _ := strings.Cut(line, "/"); want[hierarchy] && path.Base(dir) != "one" {
			t.Errorf("a process of the container is not in its cgroup, but in %s", line)
		}
	}
	for _, line := range memberships(t, n.cmd.Process.Pid) {
		if strings.Contains(line, n.parent) {
			t.Errorf("the executor is in %s", line)
		}
	}
	if err := n.client.Kill(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	<-done
}

// memberships are the lines of a process that proc_pid_cgroup(5) describes.
func memberships(t *testing.T, pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}
