package view

import (
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
