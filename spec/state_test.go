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

// The hint to look at the output of what failed names the task where there are several, and is not given where nothing ran.
func TestWhereTheOutputOfAFailureIs(t *testing.T) {
	side, failed := spec.TaskStatus{Name: "proxy", State: spec.StateComplete, Reason: "stopped", Started: 1}, spec.TaskStatus{Name: "migrate", State: spec.StateFailed, Started: 1}
	never := spec.TaskStatus{Name: "main", State: spec.StateFailed, Reason: "command not found"}
	ill := spec.TaskStatus{Name: "main", State: spec.StateRunning, Started: 1, Checks: []spec.Result{{Check: "up"}}}
	well := spec.TaskStatus{Name: "proxy", State: spec.StateRunning, Started: 1}
	for name, c := range map[string]struct {
		tasks []spec.TaskStatus
		want  string
	}{
		"no task was begun":   {nil, ""},
		"the only one":        {[]spec.TaskStatus{{Name: "main", State: spec.StateFailed, Started: 1}}, "web-0-1"},
		"one of several":      {[]spec.TaskStatus{side, failed}, "web-0-1 --task migrate"},
		"its command is gone": {[]spec.TaskStatus{never}, ""},
		"beside one that ran": {[]spec.TaskStatus{side, never}, ""},
		"fails a check":       {[]spec.TaskStatus{well, ill}, "web-0-1 --task main"},
		"nobody is to blame":  {[]spec.TaskStatus{well}, "web-0-1"},
	} {
		if got := (&spec.AllocationStatus{Tasks: c.tasks}).Logs("web-0-1"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
