package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	core "github.com/stowage/stowage/reconcile/node"
	"golang.org/x/sys/unix"
)

// TestSuccessorsUnderKills follows a task whose next run is parked behind the present one, while agent and executor are killed: the present run
// goes on, what was parked is gone, the task is restarted as ever, its writable layer is whole, and a stop leaves nothing.
func TestSuccessorsUnderKills(t *testing.T) {
	c := newCluster(t, 1)
	n := c.agents[0]
	c.commit("cluster.hcl", clusterHCL, "web.hcl", strings.Replace(webHCL(1, `restart {
    attempts = -1
    delay    = "0s"
  }`), `["sleep", "1000000"]`, `["sh", "-c", "echo ran >>/said; exec sleep 1000000"]`, 1))
	c.healthy(1)
	client := executor.NewClient(n.dir + "/executor.sock")
	all, err := client.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d containers: %v", len(all), err)
	}
	run, err := core.ParseRun(all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	became := func(run core.Run, state executor.State) (found executor.Container) {
		t.Helper()
		c.eventually(fmt.Sprintf("%s is %q", run, state), func() (err error) {
			found, err = client.Get(t.Context(), run.String())
			if errors.Is(err, executor.ErrNotFound) && state == "" {
				return nil
			}
			if err == nil && found.State != state {
				err = fmt.Errorf("it is %s", found.State)
			}
			return err
		})
		return found
	}
	next := func() core.Run { return core.Run{ID: run.ID, Task: run.Task, Attempt: run.Attempt + 1} }
	runs := 1
	crash := func() {
		t.Helper()
		if err := unix.Kill(became(run, executor.StateRunning).Pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		run, runs = next(), runs+1
		became(run, executor.StateRunning)
	}
	crash()
	parked := became(next(), executor.StateCreated)
	crash()
	if now := became(run, executor.StateRunning); now.Pid != parked.Pid {
		t.Errorf("%s runs as %d, parked was %d", run, now.Pid, parked.Pid)
	}
	for _, killed := range []string{"agent", "executor"} {
		present := became(run, executor.StateRunning)
		parked = became(next(), executor.StateCreated)
		if killed == "agent" {
			n.proc.kill9()
			n.proc = start(t, n.name, c.dir+"/"+n.name+".log", n.args...)
		} else if pid, err := executorPid(n); err != nil || unix.Kill(pid, unix.SIGKILL) != nil {
			t.Fatal("the executor cannot be killed")
		}
		became(next(), "")
		if now := became(run, executor.StateRunning); now.Pid != present.Pid {
			t.Errorf("after the %s was killed, %s runs as %d instead of %d", killed, run, now.Pid, present.Pid)
		}
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parked.Pid)); len(line) > 0 {
			t.Errorf("after the %s was killed, what was parked is still there: %q", killed, line)
		}
		crash()
	}
	became(next(), executor.StateCreated)
	layer := n.dir + "/allocations/" + string(run.ID) + "/" + string(run.Task) + "/root/said"
	c.eventually("every run has written to the layer", func() error {
		said, err := os.ReadFile(layer)
		if want := strings.Repeat("ran\n", runs); err == nil && string(said) != want {
			err = fmt.Errorf("%q, want %q", said, want)
		}
		return err
	})
	c.commit("web.hcl", webHCL(0, ""))
	c.eventually("nothing is left", func() error {
		left, err := client.List(t.Context())
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%+v", left)
		}
		return err
	})
}
