package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// What only a kernel shows whose controllers are all of cgroup v2: that limits limit, beside being written.

// groupOf is the folder of a container's cgroup.
func (n *node) groupOf(id string) string { return filepath.Join(unified, n.parent, id) }

// A hard limit of CPU holds a loop, and how long it was held is told, by the kernel's counter and by its pressure.
func TestHeldToItsCPU(t *testing.T) {
	needV2(t)
	n := newNode(t)
	spec := n.host("loop", "while :; do :; done")
	spec.CPUMaxMillis = 100
	if _, err := n.client.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	var s executor.Stats
	n.await("throttled, and pressed for CPU", func() bool {
		var err error
		if s, err = n.client.Stats(t.Context(), "loop"); err != nil {
			t.Fatal(err)
		}
		return s.ThrottledNanos > 0 && s.Pressure.CPU > 0
	})
	if stat := read(t, n.groupOf("loop"), "cpu.stat"); !strings.Contains(stat, "nr_throttled ") || strings.Contains(stat, "nr_throttled 0\n") {
		t.Errorf("cpu.stat: %s", stat)
	}
	if machine := executor.ReadPressure("/proc/pressure", ""); machine.CPU == 0 {
		t.Errorf("the machine's pressure is %+v", machine)
	}
}

// With swap a task goes on beyond its memory, and no further than that: what swap holds counts for the pressure of memory, and the end of both is told.
func TestSwapBeyondMemory(t *testing.T) {
	needV2(t)
	if data, err := os.ReadFile("/proc/swaps"); err != nil || strings.Count(string(data), "\n") < 2 {
		t.Skip("this machine has no swap")
	}
	n := newNode(t)
	// Each page is touched again and again, so that what was swapped out is waited for.
	script := `my $x = "x" x (%d << 20); $| = 1; print "has it\n"; while (1) { for (my $i = 0; $i < length $x; $i += 4096) { substr($x, $i, 1) = "y" } }`
	within := n.host("within", "")
	within.Command, within.MemoryBytes, within.SwapBytes = []string{"perl", "-e", fmt.Sprintf(script, 24)}, 32<<20, 64<<20
	if _, err := n.client.Start(t.Context(), within); err != nil {
		t.Fatal(err)
	}
	if got := read(t, n.groupOf("within"), "memory.swap.max"); got != "67108864" {
		t.Errorf("memory.swap.max is %s", got)
	}
	n.await("in swap, and pressed for memory", func() bool {
		s, err := n.client.Stats(t.Context(), "within")
		if err != nil {
			t.Fatal(err)
		}
		return s.Pressure.Memory > 0 && read(t, n.groupOf("within"), "memory.swap.current") != "0" && n.log("within", "stdout") != ""
	})
	beyond := n.host("beyond", "")
	beyond.Command, beyond.MemoryBytes, beyond.SwapBytes = []string{"perl", "-e", fmt.Sprintf(script, 96)}, 32<<20, 16<<20
	if c, out := n.run(beyond); !c.Exit.OOM || out != "" {
		t.Errorf("exit %+v: %v, output %q", c.Exit, c.Exit, out)
	}
}

// A cgroup is killed whole: of two processes one takes the memory, and the other does not live on without it.
func TestKilledWhole(t *testing.T) {
	needV2(t)
	n := newNode(t)
	spec := n.host("two", `perl -e 'my $x = "x" x (200 << 20); sleep 1000' & wait; echo the shell lives; sleep 1000`)
	c, out := n.run(spec)
	if !c.Exit.OOM || c.Exit.Signal != int(unix.SIGKILL) || out != "" {
		t.Errorf("exit %+v, output %q", c.Exit, out)
	}
}

// Processes that multiply as fast as they can are ended at once by cgroup.kill.
func TestEndOfAForkBomb(t *testing.T) {
	needV2(t)
	n := newNode(t)
	bomb := n.host("bomb", `f() { sleep 1000 & f 2>/dev/null & f 2>/dev/null; }; f; while :; do f; done`)
	bomb.PidsMax = 120
	if _, err := n.client.Start(t.Context(), bomb); err != nil {
		t.Fatal(err)
	}
	n.await("at its limit", func() bool {
		return !strings.HasPrefix(read(t, n.groupOf("bomb"), "pids.events"), "max 0")
	})
	if err := n.client.Delete(t.Context(), "bomb"); err != nil {
		t.Fatal(err)
	}
	if left := n.pids("bomb"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A container that somebody outside has frozen is looked at and ended as any other.
func TestEndOfAFrozenContainer(t *testing.T) {
	needV2(t)
	n := newNode(t)
	for _, id := range []string{"killed", "deleted"} {
		if _, err := n.client.Start(t.Context(), n.host(id, "trap '' TERM; while :; do sleep 0.01; done")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.groupOf(id), "cgroup.freeze"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		n.await("frozen", func() bool { return strings.Contains(read(t, n.groupOf(id), "cgroup.events"), "frozen 1") })
		if s, err := n.client.Stats(t.Context(), id); err != nil || s.Pids == 0 {
			t.Errorf("%s: %+v, %v", id, s, err)
		}
	}
	if err := n.client.Kill(t.Context(), "killed"); err != nil {
		t.Fatal(err)
	}
	if c := n.wait("killed"); c.Exit.Signal != int(unix.SIGKILL) {
		t.Errorf("exit %+v", c.Exit)
	}
	if err := n.client.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
}

// A rate of writing holds what goes to the disk: so many bytes take at least so long, on the fastest machine too.
func TestHeldToItsRate(t *testing.T) {
	needV2(t)
	n := newNode(t)
	data := filepath.Join(n.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	const rate, written = 1 << 20, 3 << 20
	s := n.host("writes", fmt.Sprintf("while dd if=/dev/zero of=/srv/x bs=64k count=%d oflag=direct 2>/dev/null; do echo written; done", written/65536))
	s.Mounts = []executor.Mount{{Source: data, Target: "/srv"}}
	s.IO, s.IOPath = spec.IO{WriteBPS: rate, ReadIOPS: 1000}, data
	began := time.Now()
	if _, err := n.client.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(data, &stat); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, n.groupOf("writes"), "io.max"), fmt.Sprintf("%d:%d rbps=max wbps=%d riops=1000 wiops=max", unix.Major(stat.Dev), unix.Minor(stat.Dev), rate); got != want {
		t.Errorf("io.max is %q, want %q", got, want)
	}
	n.await("written", func() bool { return n.log("writes", "stdout") != "" })
	// The first slice of the kernel's throttle may be for nothing.
	if took := time.Since(began); took < (written/rate-1)*time.Second {
		t.Errorf("%d bytes were written in %v", written, took)
	}
	n.await("counted, and pressed for its disk", func() bool {
		s, err := n.client.Stats(t.Context(), "writes")
		if err != nil {
			t.Fatal(err)
		}
		return s.WrittenBytes >= written && s.Pressure.IO > 0
	})
}

// The weight of reading and writing goes to the scheduler that heeds it.
func TestWeightOfIO(t *testing.T) {
	needV2(t)
	if out, err := exec.Command("modprobe", "bfq").CombinedOutput(); err != nil {
		t.Skipf("this kernel has no scheduler BFQ: %v: %s", err, out)
	}
	n := newNode(t)
	s := n.host("weighs", "exec sleep 1000")
	s.IO, s.IOPath = spec.IO{Weight: 250}, n.dir
	if _, err := n.client.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := read(t, n.groupOf("weighs"), "io.bfq.weight"); got != "default 250" {
		t.Errorf("io.bfq.weight is %q", got)
	}
}
