package node

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// The agent shows others what it remembered while its core goes on from it.
func TestRestoringLeavesTheMemoryAlone(t *testing.T) {
	m := Memory{Records: []Record{{
		Decided: spec.Allocation{ID: "a-0-1"}, App: &spec.App{Tasks: []spec.Task{{Name: "t"}}},
		Status: spec.AllocationStatus{Tasks: []spec.TaskStatus{{Checks: []spec.Result{{Check: "c"}}}}}, Tasks: []TaskRecord{{}},
	}}}
	c := New(Config{})
	c.restore(m, "")
	a := c.allocations["a-0-1"]
	a.Status.Tasks[0].Pid, a.Status.Tasks[0].Checks[0].Passing, a.Tasks[0].Attempt = 7, true, 3
	if r := &m.Records[0]; r.Status.Tasks[0].Pid != 0 || r.Status.Tasks[0].Checks[0].Passing || r.Tasks[0].Attempt != 0 {
		t.Errorf("what was remembered is now %+v", r)
	}
}
