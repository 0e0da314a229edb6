package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// What a task uses is shown beside what it asked for: the processor that it burns, the memory that it holds, its processes; and a node that
// is away says so in its place.
func TestUsage(t *testing.T) {
	c := newCluster(t, 2)
	c.commit("cluster.hcl", clusterHCL, "burn.hcl", `app "burn" {
  update { healthy_for = "0s" }
  task "main" {
    rootfs  = "host"
    command = ["sh", "-c", "sleep 1000 & x=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done"]
    cpu     = 0.1
    memory  = "128MiB"
  }
}
`)
	a := c.healthy(1)["burn[0]"]
	var got struct {
		Nodes []spec.NodeUsage `json:"nodes"`
		Uses  []struct {
			CPU     spec.MilliCPU  `json:"cpu"`
			Rates   bool           `json:"rates"`
			Node    spec.NodeID    `json:"node"`
			Counted spec.TaskUsage `json:"counted"`
		} `json:"uses"`
	}
	c.eventually("the usage of the task", func() error {
		if err := c.tryJSON(&got, "stats", "burn[0]", "--json"); err != nil {
			return err
		}
		if len(got.Uses) != 1 {
			return fmt.Errorf("%+v", got)
		}
		u := got.Uses[0]
		if !u.Rates || u.CPU <= 0 || u.Node != a.Node || u.Counted.Memory < 20_000_000 || u.Counted.MemoryPeak < u.Counted.Memory || u.Counted.Pids != 2 ||
			u.Counted.CPUAsked != 100 || u.Counted.MemoryAsked != 128*spec.MiB {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	if n := got.Nodes[0]; n.CPUNanos == 0 || n.CPUs == 0 || n.Memory == 0 || n.Total <= n.Memory {
		t.Errorf("the node: %+v", n)
	}
	for _, n := range c.agents {
		if n.name != string(a.Node) {
			n.proc.kill9()
			c.eventually("the node that is away is told", func() error {
				out, err := c.try("top", "--every", "500ms")
				if err == nil && (!strings.Contains(out, "not in touch") || !strings.Contains(out, "burn[0]")) {
					err = fmt.Errorf("%s", out)
				}
				return err
			})
		}
	}
	if _, err := c.try("stats", "nothing"); err == nil {
		t.Error("there are stats of nothing")
	}
}
