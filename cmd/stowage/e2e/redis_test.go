package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// TestRedisDriver runs the framework driver of examples/redis with real servers: the primary first, then its replicas,
// which follow it; the driver's process is killed, and its app is held meanwhile and changes nothing.
func TestRedisDriver(t *testing.T) {
	needRoot(t)
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("STOWAGE_REQUIRE_ROOT") != "" {
				t.Fatalf("%s is missing: apt-get install redis-server redis-tools", program)
			}
			t.Skipf("%s is missing: apt-get install redis-server redis-tools", program)
		}
	}
	c := newCluster(t, 3)
	build := exec.Command(filepath.Join("..", "..", "..", "examples", "redis", "build"), c.repo)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build driver: %v\n%s", err, out)
	}
	c.commit("other.hcl", webHCL(1, ""))
	all := c.healthy(4)
	primary := all["cache/primary[0]"]
	if len(primary.Ports) != 1 {
		t.Fatalf("no primary, or none with a port: %+v", all)
	}
	for i := range 2 {
		replica := all[fmt.Sprintf("cache/replica[%d]", i)]
		if replica.Generation <= primary.Generation || replica.Placed < primary.HealthySince {
			t.Errorf("replica %d was placed in generation %d at %v, the primary was healthy since %v (generation %d)",
				i, replica.Generation, replica.Placed, primary.HealthySince, primary.Generation)
		}
	}
	port := func(a spec.AllocationView) string { return strconv.Itoa(a.Ports[0].Number) }
	redis := func(a spec.AllocationView, args ...string) (string, error) {
		out, err := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", port(a)}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := redis(primary, "set", "cargo", "bananas"); err != nil || out != "OK" {
		t.Fatalf("write on the primary: %q %v", out, err)
	}
	for i := range 2 {
		c.eventually("the replica has what was written", func() error {
			out, err := redis(all[fmt.Sprintf("cache/replica[%d]", i)], "get", "cargo")
			if err == nil && out != "bananas" {
				err = fmt.Errorf("it has %q", out)
			}
			return err
		})
	}
	if out, _ := redis(all["cache/replica[0]"], "set", "cargo", "coal"); !strings.Contains(out, "READONLY") {
		t.Errorf("a replica takes writes: %q", out)
	}
	c.killDriver(all)
	// A mistake in the block points at its file and line.
	c.commit("cache.hcl", "framework \"redis\" \"cache\" {\n  replicas = \"many\"\n}\n")
	c.eventually("the mistake is shown", func() error {
		out, err := c.try("status")
		if err == nil && !strings.Contains(out, "cache.hcl line 2") {
			err = errors.New(out)
		}
		return err
	})
	c.settled(0, []string{"nothing"}, all, "", 4)
}

// killDriver kills the driver's process and checks that it is noticed and restarted, and that nothing else changes.
func (c *cluster) killDriver(before map[string]spec.AllocationView) {
	c.t.Helper()
	type plugin struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Pid      int    `json:"pid"`
		Restarts int    `json:"restarts"`
	}
	state := func() (plugin, error) {
		var list []plugin
		if err := c.tryJSON(&list, "plugin", "list", "--json"); err != nil {
			return plugin{}, err
		}
		if len(list) != 1 {
			return plugin{}, fmt.Errorf("plugins: %+v", list)
		}
		return list[0], nil
	}
	first, err := state()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := unix.Kill(first.Pid, unix.SIGKILL); err != nil {
		c.t.Fatalf("kill driver %d: %v", first.Pid, err)
	}
	c.eventually("the driver is started again", func() error {
		now, err := state()
		if err == nil && (now.Pid == first.Pid || now.Pid == 0 || now.Restarts == 0) {
			err = fmt.Errorf("%+v", now)
		}
		return err
	})
	c.settled(0, []string{"the driver"}, before, "", len(before))
	c.noChanges()

	// Killed again and again it stays down for a while: its app is held with the reason, and others go on.
	c.eventually("the app of a driver that is down is held", func() error {
		if now, err := state(); err == nil && now.Pid != 0 {
			_ = unix.Kill(now.Pid, unix.SIGKILL)
		}
		out, err := c.try("why")
		if err == nil && !strings.Contains(out, "held:") {
			err = errors.New(out)
		}
		if err == nil {
			c.t.Logf("while the driver is down, stowage why says:\n%s", out)
		}
		return err
	})
	c.commit("other.hcl", webHCL(2, ""))
	c.healthy(len(before) + 1)
	c.eventually("the app is no longer held", func() error {
		out, err := c.try("why")
		if err == nil && strings.Contains(out, "held:") {
			err = errors.New(out)
		}
		return err
	})
	c.commit("other.hcl", webHCL(1, ""))
	c.settled(0, []string{"the driver, several times"}, before, "", len(before))
}
