package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// TestTasksTellOfTheirChecksAndEnds shows what an explanation and a list of allocations say of tasks that do not do well.
func TestTasksTellOfTheirChecksAndEnds(t *testing.T) {
	a := spec.AllocationView{Allocation: spec.Allocation{ID: "web-0-1", Slot: spec.Slot{App: "web"}, Node: "n1"}}
	a.AllocationStatus = spec.AllocationStatus{State: spec.StateRunning, Restarts: 2, Tasks: []spec.TaskStatus{
		{Name: "server", State: spec.StateStarting, Restarts: 2, Reason: "exit code 3; started again after 1.5s", Output: "cannot open /etc/app.conf"},
		{Name: "proxy", State: spec.StateRunning, Pid: 12, Checks: []spec.Result{
			{Check: "ready", Row: 8, Output: "connection refused"},
			{Check: "alive", Passing: true, Output: "HTTP status 200 OK"},
		}},
	}}
	golden(t, "task", 0, func(p *Page) {
		p.Explanation(&api.Explanation{Subject: "web[0]", Allocation: &a}, nil)
		p.Allocations([]spec.AllocationView{a})
	})
}

// What tasks, nodes and the state of an earlier master say has no power over the terminal: with colours only those of the page are left, and they end
// with their line.
func TestNothingIsPrintedThatATerminalObeys(t *testing.T) {
	const evil = "x\x1b[2J\x1b]0;title\a\u009b1m\rover\x1b[31mred"
	a := spec.AllocationView{Allocation: spec.Allocation{ID: "web-0-1", Slot: spec.Slot{App: "web"}, Node: "n1"}}
	a.AllocationStatus = spec.AllocationStatus{State: spec.StateFailed, Reason: evil, Tasks: []spec.TaskStatus{
		{Name: "server", State: spec.StateFailed, Reason: evil, Output: evil, Checks: []spec.Result{{Check: "ready", Output: evil}}},
	}}
	for _, coloured := range []bool{false, true} {
		var out bytes.Buffer
		p := &Page{Out: &out, Colour: coloured}
		p.Explanation(&api.Explanation{Subject: "web[0]", Allocation: &a, Story: []spec.Event{{Subject: "web[0]", What: evil, Why: evil}}}, nil)
		p.Allocations([]spec.AllocationView{a})
		p.Status(&api.Status{Problems: []api.Problem{{Subject: "web[0]", What: evil}}})
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			rest := colours.ReplaceAllString(line, "")
			if rest != spec.Printable(rest) || !coloured && rest != line {
				t.Errorf("coloured %v: %q", coloured, line)
			}
			if last := strings.LastIndex(line, "\x1b"); last >= 0 && !strings.HasPrefix(line[last:], plain) {
				t.Errorf("the colour goes on: %q", line)
			}
		}
		if n := strings.Count(out.String(), "over"); n < 7 {
			t.Errorf("it is told %d times:\n%s", n, out.String())
		}
	}
}
