package sim_test

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
)

// TestMinimise wants what has nothing to do with a failure left out, and what is left to fail alike.
func TestMinimise(t *testing.T) {
	script := "nodes n[1-3]\nnodes m1 rack=b\ncommit v1\ncrash n3\nadvance 1m\nreturn n3\nsettle\nleader-change\ndrain n1\nsettle\nundrain n1\nsettle\nexpect events 0 placed on\n"
	text, r, err := sim.Minimise([]byte(script+repository), sim.Options{Load: load})
	if err != nil || r.Err == nil || r.Broke != "expect events" {
		t.Fatalf("%v, %+v", err, r)
	}
	body, files, _ := strings.Cut(text, "\n\n")
	if lines := strings.Count(body, "\n"); lines > 4 || !strings.Contains(body, "commit v1\n") || !strings.Contains(files, "-- v1/web.hcl --") {
		t.Errorf("%d commands are left:\n%s", lines, text)
	}
	if again := sim.Run([]byte(text), sim.Options{Load: load}); again.Broke != r.Broke || again.Trace != r.Trace {
		t.Errorf("what is left ends with %v, not with %v", again.Err, r.Err)
	}
	if _, _, err := sim.Minimise([]byte("nodes n1\n"+repository), sim.Options{Load: load}); err == nil {
		t.Error("a scenario that ends well has a shortest one")
	}
}
