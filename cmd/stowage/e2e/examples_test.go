package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestQuickstart runs examples/quickstart: services become healthy, the batch app completes, the worker waited for the web.
func TestQuickstart(t *testing.T) {
	c := newCluster(t, 3)
	if err := os.CopyFS(c.repo, os.DirFS("../../../examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	c.commit()
	all := c.healthy(5)
	if web, worker := all["shop/web[0]"], all["shop/worker[0]"]; worker.Generation <= web.Generation {
		t.Errorf("the worker (generation %d) did not wait for the web servers (generation %d)", worker.Generation, web.Generation)
	}
	nodes := map[string]bool{}
	for _, a := range all {
		if a.App == "shop/web" {
			nodes[string(a.Node)] = true
		}
	}
	if len(nodes) != 3 {
		t.Errorf("the web servers are on %d nodes, the spread asks for 3", len(nodes))
	}
	c.eventually("the batch app is complete", func() error {
		out, err := c.try("ps", "--ended", "hello")
		if err == nil && !strings.Contains(out, "complete") {
			err = errors.New(out)
		}
		return err
	})
	if out := c.cli("logs", "hello"); !strings.Contains(out, "Ahoy") || !strings.Contains(out, "done") {
		t.Errorf("the batch app printed %q", out)
	}
	c.noChanges()
	for _, args := range [][]string{{"status"}, {"apps"}, {"node", "ls"}, {"node", "show", "n1"}, {"explain", "shop/web[0]"}, {"history"}, {"why"}, {"roles"}, {"events"}, {"token", "ls"}} {
		if out := c.cli(args...); strings.TrimSpace(out) == "" {
			t.Errorf("stowage %s prints nothing", strings.Join(args, " "))
		}
	}
}
