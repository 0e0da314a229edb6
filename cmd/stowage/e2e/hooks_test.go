package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// hooksHCL is an app with something to do before, after, and on the way out. All of it says so in a file of its own: what is
// printed while no executor is there is lost with the process that printed it.
const hooksHCL = `app "hooks" {
  count = %d
  update { healthy_for = "0s" }
  restart {
    attempts  = -1
    delay     = "10ms"
    max_delay = "50ms"
  }
  task "first" {
    lifecycle = "prestart"
    rootfs    = "host"
    command   = ["sh", "-c", "echo ran >>/said; sleep 0.3"]
    memory    = "16MiB"
  }
  task "server" {
    rootfs  = "host"
    command = ["sh", "-c", "trap 'trap : TERM; sleep 0.2; echo ended >>/said; exit 0' TERM; echo ran >>/said; while :; do sleep 0.02; done"]
    memory  = "16MiB"
    stop {
      delay           = "300ms"
      command         = ["sh", "-c", "echo drained >>/said; sleep 0.2"]
      command_timeout = "4m"
      timeout         = "4m"
    }
  }
  task "clean" {
    lifecycle = "poststop"
    rootfs    = "host"
    command   = ["sh", "-c", "echo ran >>/said; sleep 0.3"]
    memory    = "16MiB"
    max_run   = "4m"
  }
}
`

// TestHooksUnderKills takes an allocation through its whole life while its agent, its executor or both are killed again and again. Each of
// the things it has to do is done as often as is promised: before the main task at least once, after it once, the command of its stop at
// least once; so is its signal sent, of which the task heeds the first.
func TestHooksUnderKills(t *testing.T) {
	c := newCluster(t, 1)
	n := c.agents[0]
	c.commit("cluster.hcl", clusterHCL, "hooks.hcl", fmt.Sprintf(hooksHCL, 0))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	// The first kills come close together, so that they hit every stage; then there is time to get on.
	harm := func() {
		if kills++; kills > 12 {
			return
		}
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		what := 1 + random.IntN(3)
		if what&1 != 0 {
			n.proc.kill9()
		}
		if pid, err := executorPid(n); what&2 != 0 && err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if what&1 != 0 {
			n.proc = start(t, n.name, c.dir+"/"+n.name+".log", n.args...)
		}
	}
	for round := range rounds(t)/10 + 1 {
		kills = 0
		c.commit("hooks.hcl", fmt.Sprintf(hooksHCL, 1))
		var id spec.AllocationID
		c.eventually("it is healthy", func() error {
			harm()
			all, err := c.allocations()
			if err != nil {
				return err
			}
			a := all["hooks[0]"]
			if id = a.ID; !a.Healthy {
				return fmt.Errorf("it is %s: %s", a.State, a.Reason)
			}
			return nil
		})
		kills = 0
		c.commit("hooks.hcl", fmt.Sprintf(hooksHCL, 0))
		var ended spec.AllocationView
		c.eventually("it has ended", func() error {
			harm()
			var list []spec.AllocationView
			if err := c.tryJSON(&list, "ps", "--ended", "--json"); err != nil {
				return err
			}
			for _, a := range list {
				if a.ID == id && a.State.Terminal() {
					ended = a
					return nil
				}
			}
			return fmt.Errorf("%s has not ended", id)
		})
		said := func(task string) []string {
			text, err := os.ReadFile(filepath.Join(n.dir, "allocations", string(id), task, "root", "said"))
			if err != nil {
				t.Error(err)
			}
			return strings.Fields(string(text))
		}
		first, server, clean := said("first"), said("server"), said("clean")
		t.Logf("round %d: %v, %v, %v", round, first, server, clean)
		if ended.State != spec.StateComplete || len(first) < 1 || len(clean) != 1 || len(server) < 3 ||
			server[0] != "ran" || server[len(server)-1] != "ended" || server[len(server)-2] != "drained" || strings.Count(strings.Join(server, " "), "ran") != 1 {
			t.Errorf("round %d: %s ended as %s (%s); before it ran %v, it did %v, after it ran %v; its tasks: %+v", round, id, ended.State, ended.Reason, first, server, clean, ended.Tasks)
		}
	}
}
