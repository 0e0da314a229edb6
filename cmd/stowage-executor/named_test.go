package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// aDevice is a device file of this machine that no container has by itself, and that can be opened without hardware.
func aDevice(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/dev/loop-control", "/dev/fuse", "/dev/net/tun"} {
		if fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			return path
		}
	}
	t.Skip("this machine has no device to try it with")
	return ""
}

func TestDevicesOfATask(t *testing.T) {
	n := newNode(t)
	device := aDevice(t)
	script := fmt.Sprintf(`if [ -e %[1]s ]; then exec 3<>%[1]s && echo "device: opened"; else echo "device: absent"; fi
exec 4</dev/zero && echo "zero: opened"
echo x >/dev/full 2>/dev/null || echo "full: full"
[ "$(readlink /dev/stdout)" = /proc/self/fd/1 ] && echo "stdout: a link"
touch /dev/x 2>/dev/null || echo "dev: read-only"
[ -d /dev/pts ] && [ -d /dev/shm ] && touch /dev/shm/x && echo "shm: there"`, device)
	want := map[string]string{"device": "opened", "zero": "opened", "full": "full", "stdout": "a link", "dev": "read-only", "shm": "there"}
	for _, test := range []struct {
		id      string
		mapped  bool
		devices []string
		device  string
	}{
		{"with", false, []string{device}, "opened"},
		{"without", false, nil, "absent"},
	} {
		spec := n.host(test.id, script)
		spec.Devices, spec.UserNamespace = test.devices, test.mapped
		got := fields(n.inside(spec))
		want["device"] = test.device
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s: %s is %q, want %q", test.id, key, got[key], value)
			}
		}
	}
	// The node's file is root's, and root of a user namespace is not that.
	mapped := n.host("mapped", "[ -c "+device+" ] && echo there")
	mapped.Devices, mapped.UserNamespace = []string{device}, true
	if f := n.features(); f.UserNamespace {
		if out := n.inside(mapped); out != "there\n" {
			t.Errorf("with a user namespace: %q", out)
		}
	}
	for name, bad := range map[string]string{"not there": "/dev/stowage-nothing", "no device": "/dev/shm", "not below /dev": "/etc/passwd", "a way out": "/dev/../etc/passwd"} {
		spec := n.host("bad", "true")
		spec.Devices = []string{bad}
		if _, err := n.client.Start(t.Context(), spec); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

// allowed is where the first process of a container may run.
func (n *node) allowed(id string) string {
	n.t.Helper()
	c, err := n.client.Get(n.t.Context(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	return fields(string(data))["Cpus_allowed_list"]
}

func TestCoresOfATask(t *testing.T) {
	n := newNode(t)
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	if f := n.features(); !f.Cores || !set.IsSet(0) || !set.IsSet(1) || set.Count() != 2 {
		t.Skipf("cores: %v; this needs a cpuset controller and just the processors 0 and 1", f.Cores)
	}
	start := func(id string, cores ...int) error {
		spec := n.host(id, "exec sleep 1000")
		spec.Cores = cores
		_, err := n.client.Start(t.Context(), spec)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wants := func(when string, list map[string]string) {
		t.Helper()
		for id, want := range list {
			if got := n.allowed(id); got != want {
				t.Errorf("%s: %s runs on %s, want %s", when, id, got, want)
			}
		}
	}
	must(start("before"))
	wants("nothing is reserved", map[string]string{"before": "0-1"})
	must(n.client.Reserve(t.Context(), []int{1}))
	must(start("alone", 1))
	must(start("after"))
	wants("1 is reserved", map[string]string{"before": "0", "alone": "1", "after": "0"})

	n.crash()
	n.start()
	must(start("later"))
	wants("a new executor", map[string]string{"before": "0", "alone": "1", "later": "0"})

	if err := n.client.Reserve(t.Context(), []int{0, 1}); err == nil || !strings.Contains(err.Error(), "all are reserved") {
		t.Errorf("nothing is left for those that share: %v", err)
	}
	if err := start("never"); err == nil || !strings.Contains(err.Error(), "no core to run on") {
		t.Errorf("started without a core: %v", err)
	}
	must(n.client.Delete(t.Context(), "alone"))
	must(n.client.Reserve(t.Context(), nil))
	must(start("last"))
	wants("nothing is reserved any more", map[string]string{"before": "0-1", "after": "0-1", "last": "0-1"})
	if left, _ := filepath.Glob("/sys/fs/cgroup/cpuset/" + n.parent + "/alone"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func (n *node) features() executor.Features {
	n.t.Helper()
	f, err := n.client.Ping(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	return f
}
