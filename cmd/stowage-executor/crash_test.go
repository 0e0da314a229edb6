package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// An executor that dies while it creates containers leaves each either whole or not at all.
func TestCrashWhileStarting(t *testing.T) {
	n := newNode(t)
	for round := range fewer(t, 4) {
		var wg sync.WaitGroup
		var acknowledged sync.Map
		started := make(chan struct{}, 64)
		for worker := range 4 {
			wg.Go(func() {
				for i := range 16 {
					spec := n.host(fmt.Sprintf("c%d-%d-%d", round, worker, i), "")
					spec.Command = []string{"sleep", "1000"}
					if i%2 == 0 {
						spec.Root.Writable = filepath.Join(n.dir, "upper", spec.ID)
					}
					if _, err := n.client.Start(context.Background(), spec); err != nil {
						return // the crash
					}
					acknowledged.Store(spec.ID, true)
					started <- struct{}{}
				}
			})
		}
		for range 3 + 2*round {
			<-started
		}
		n.crash()
		wg.Wait()
		n.start()
		all, err := n.client.List(t.Context())
		if err != nil || len(all) < 3 {
			t.Fatalf("%d containers, %v", len(all), err)
		}
		known := map[string]bool{}
		for _, c := range all {
			known[c.ID] = true
			if _, told := acknowledged.Load(c.ID); c.State != executor.StateRunning {
				// One that was about to be released may have ended with the executor. Its exit is told; its start never was.
				if told {
					t.Errorf("%s is %s, %v", c.ID, c.State, c.Exit)
				}
				continue
			}
			// A release that was cut off has been finished: it runs its command.
			n.await(c.ID+" runs its command", func() bool {
				data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.Pid))
				if err != nil || len(data) == 0 {
					now, err := n.client.Get(t.Context(), c.ID)
					_, told := acknowledged.Load(c.ID)
					return err == nil && now.State == executor.StateExited && !told
				}
				return strings.HasPrefix(string(data), "sleep")
			})
		}
		for _, pattern := range []string{
			"/sys/fs/cgroup/*/" + n.parent + "/*/cgroup.procs", "/sys/fs/cgroup/" + n.parent + "/*/cgroup.procs",
			filepath.Join(n.dir, "state/runtime/state/*"), filepath.Join(n.dir, "state/containers/*"),
		} {
			found, _ := filepath.Glob(pattern)
			for _, path := range found {
				if !known[filepath.Base(strings.TrimSuffix(path, "/cgroup.procs"))] {
					t.Errorf("left of a container that is not known: %s", path)
				}
			}
		}
		for _, c := range all {
			if err := n.client.Delete(t.Context(), c.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

// An executor that is killed while a task prints takes nothing of that with it.
func TestCrashLosesNoOutput(t *testing.T) {
	n := newNode(t)
	const lines, times = 200_000, 30
	spec := n.host("loud", fmt.Sprintf("seq %d > /all; for i in $(seq %d); do cat /all; done; exec sleep 1000", lines, times)) // faster than anybody reads it
	spec.CPUMillis, spec.Log.MaxBytes, spec.Root.Writable = 1000, 64<<20, filepath.Join(n.dir, "upper")
	if _, err := n.client.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(filepath.Join(n.dir, "logs/loud.stdout.0"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	crashes, want := 0, bytes.NewBuffer(nil)
	for i := range lines {
		fmt.Fprintln(want, i+1)
	}
	want = bytes.NewBuffer(bytes.Repeat(want.Bytes(), times))
	for step := int64(want.Len()) / 12; crashes < 10; crashes++ {
		n.await("it prints on", func() bool { return size() > int64(crashes+1)*step })
		n.crash()
		n.start()
	}
	n.await("all is in the log", func() bool { return size() >= int64(want.Len()) })
	got, err := os.ReadFile(filepath.Join(n.dir, "logs/loud.stdout.0"))
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes are in the log, %d were printed; %v", len(got), want.Len(), err)
	}
}

// callerDir makes of the test program one that asks the executor of a folder for containers until it is killed.
const callerDir = "STOWAGE_TEST_CALLER"

const callerStarts = 12

func startMany(dir string) {
	n := &node{dir: dir}
	client := executor.NewClient(n.socket())
	var wg sync.WaitGroup
	for i := range callerStarts {
		wg.Go(func() {
			spec := n.host(fmt.Sprintf("c%d", i), "exec sleep 1000")
			if _, err := client.Start(context.Background(), spec); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			fmt.Println(spec.ID)
		})
	}
	wg.Wait()
	select {} // until it is killed
}

// An agent is killed while it starts containers. What its successor is told then is all that there will be: no container comes later.
func TestNothingComesAfterTheList(t *testing.T) {
	n := newNode(t)
	for range 3 {
		caller := exec.Command("/proc/self/exe")
		caller.Env = append(os.Environ(), callerDir+"="+n.dir)
		caller.Stderr = os.Stderr
		out, err := caller.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := caller.Start(); err != nil {
			t.Fatal(err)
		}
		_, err = out.Read(make([]byte, 1)) // the first is started, others are being made, others wait for their turn
		_ = caller.Process.Kill()
		_ = caller.Wait()
		if err != nil {
			t.Fatal(err)
		}
		told, err := n.client.List(t.Context())
		if err != nil || len(told) == 0 {
			t.Fatalf("%d containers, %v", len(told), err)
		}
		if _, err := n.client.Start(t.Context(), n.host("after", "exec sleep 1000")); err != nil { // is made after all that were asked for before
			t.Fatal(err)
		}
		all, err := n.client.List(t.Context())
		if err != nil || len(all) != len(told)+1 {
			t.Errorf("%d containers are there, told of %d of %d, %v", len(all)-1, len(told), callerStarts, err)
		}
		for _, c := range all {
			if err := n.client.Delete(t.Context(), c.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

// The executor died after a container went on, but before it removed the FIFO at which the container had waited.
func TestReleaseThatWasCutOff(t *testing.T) {
	n := newNode(t)
	if _, err := n.client.Start(t.Context(), n.host("one", "echo on; exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	n.await("output", func() bool { return n.log("one", "stdout") != "" })
	n.crash()
	fifo := filepath.Join(n.dir, "state/runtime/state/one/exec.fifo")
	if err := unix.Mkfifo(fifo, 0o622); err != nil {
		t.Fatal(err)
	}
	n.start()
	if c, err := n.client.Get(t.Context(), "one"); err != nil || c.State != executor.StateRunning {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := os.Stat(fifo); !os.IsNotExist(err) {
		t.Errorf("the FIFO is still there: %v", err)
	}
}
