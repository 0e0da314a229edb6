package spec_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestTroubleIsWhatIsWrong: of an allocation that is not healthy it names the task or the check that is to blame, and never one that has done
// its work; what is said of it is what a task that failed printed.
func TestTroubleIsWhatIsWrong(t *testing.T) {
	done := spec.TaskStatus{Name: "migrate", State: spec.StateComplete, Reason: "exit code 0"}
	for _, c := range []struct {
		status        spec.AllocationStatus
		trouble, said string
	}{
		{spec.AllocationStatus{State: spec.StateRunning, Healthy: true, Tasks: []spec.TaskStatus{done}}, "", ""},
		{spec.AllocationStatus{State: spec.StateRunning, Tasks: []spec.TaskStatus{done, {Name: "server", State: spec.StateStarting, Reason: "exit code 3", Output: "no such file"}}},
			"task server: exit code 3", "no such file"},
		{spec.AllocationStatus{State: spec.StateRunning, Tasks: []spec.TaskStatus{done, {Name: "server", State: spec.StateRunning, Output: "of a run before this",
			Checks: []spec.Result{{Check: "up", Passing: true, Output: "ok"}, {Check: "ready", Output: "refused"}}}}}, "check ready: refused", ""},
		{spec.AllocationStatus{State: spec.StateFailed, Reason: `task "server": exit code 3`, Tasks: []spec.TaskStatus{{Name: "server", State: spec.StateFailed, Output: "no such file"}}},
			`task "server": exit code 3`, "no such file"},
	} {
		if trouble, said := c.status.Trouble(), c.status.Said(); trouble != c.trouble || said != c.said {
			t.Errorf("of %+v: trouble %q, said %q; want %q, %q", c.status, trouble, said, c.trouble, c.said)
		}
	}
}
