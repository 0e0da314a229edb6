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
	if err != nil || r.Err == nil || !strings.HasPrefix(r.Broke, "expect events 0 placed on: found ") {
		t.Fatalf("%v, %+v", err, r)
	}
	body, files, _ := strings.Cut(text, "\n\n")
	if lines := strings.Count(body, "\n"); lines > 5 || !strings.Contains(body, "commit v1\n") || !strings.Contains(files, "-- v1/web.hcl --") {
		t.Errorf("%d commands are left:\n%s", lines, text)
	}
	if again := sim.Run([]byte(text), sim.Options{Load: load}); again.Broke != r.Broke || again.Trace != r.Trace {
		t.Errorf("what is left ends with %v, not with %v", again.Err, r.Err)
	}
	if _, _, err := sim.Minimise([]byte("nodes n1\n"+repository), sim.Options{Load: load}); err == nil {
		t.Error("a scenario that ends well has a shortest one")
	}
}

// TestMinimiseKeepsTheFault wants what is left out not to be the fault: as much is found as before, and where that is
// nothing, it is in a world that could have had more.
func TestMinimiseKeepsTheFault(t *testing.T) {
	for script, want := range map[string][]string{
		"nodes n[1-2]\nnodes n3\ncommit v1\nsettle\nlag n1 1s\nexpect allocations web 3\n":              {"commit v1\n", ": found 2\n"},
		"nodes n1\nnodes n2\nlag n1 1s\nstart web never\ncommit v1\nsettle\nexpect allocations web 2\n": {"nodes n1\n", "nodes n2\n", "start web never\n", "commit v1\n", "settle\n", ": found 0\n"},
	} {
		text, r, err := sim.Minimise([]byte(script+repository), sim.Options{Load: load})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "\nlag") {
			t.Errorf("lag has nothing to do with it:\n%s", text)
		}
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("without %q it is another fault (%v):\n%s", line, r.Err, text)
			}
		}
	}
}
