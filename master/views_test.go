package master

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// What stands where its rules no longer allow is a problem though it is well, once for each app.
func TestMisplacedAppsAreProblems(t *testing.T) {
	stands := func(app spec.AppName, i int) spec.Misplaced {
		return spec.Misplaced{Slot: spec.Slot{App: app, Index: i}, Node: "n4", Rules: []string{"constraint near cache"}}
	}
	s := &snapshot{apps: []control.AppView{{App: "api"}, {App: "web"}}}
	list := new(Master).problems(s, &api.Status{}, []spec.Misplaced{stands("api", 0), stands("api", 2), stands("web", 1)})
	if len(list) != 2 || list[0].What != "api[0] on n4 no longer meets constraint near cache; so does 1 more" || list[1].Subject != "web" || !strings.HasSuffix(list[1].Remedy, "stowage restart web") {
		t.Errorf("%+v", list)
	}
}

// A slot that an app does not have is no app: the answer says which it has.
func TestSlotsThatThereAreNot(t *testing.T) {
	s := &snapshot{apps: []control.AppView{{App: "hello", Kind: spec.KindService, Desired: 5}, {App: "logs", Kind: spec.KindSystem, Desired: 2}, {App: "one", Desired: 1}}}
	for slot, want := range map[spec.Slot]string{{App: "hello", Index: 4}: "", {App: "logs", Index: 7}: "", {App: "hello", Index: 9}: "slots are hello[0..4]", {App: "one", Index: 1}: "the only one is one[0]"} {
		got := ""
		if err := s.hasSlot(slot); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", slot, got, want)
		}
	}
}

// What fails its checks is a problem once it had some time.
func TestAilingAppsAreProblems(t *testing.T) {
	now := spec.Time(spec.Hour)
	ago := func(d spec.Duration) spec.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		task spec.TaskStatus
		want string // part of the problem; "" for none
	}{
		"failing check": {spec.TaskStatus{State: spec.StateRunning, Started: ago(spec.Minute), Checks: []spec.Result{{Check: "up", Output: "refused", Since: ago(spec.Minute)}}}, "fails check up: refused"},
		"slow start":    {spec.TaskStatus{State: spec.StateRunning, Started: ago(spec.Second), Checks: []spec.Result{{Check: "up"}}}, ""},
	} {
		c.task.Name = "server"
		var v spec.AllocationView
		v.Slot, v.Want, v.State, v.Tasks = spec.Slot{App: "web"}, spec.WantRun, spec.StateRunning, []spec.TaskStatus{c.task}
		s := &snapshot{at: now, apps: []control.AppView{{App: "web", Desired: 1}}, allocations: []spec.AllocationView{v}}
		list := new(Master).problems(s, &api.Status{}, nil)
		switch {
		case c.want == "" && len(list) > 0:
			t.Errorf("%s: %+v", name, list)
		case c.want != "" && (len(list) != 1 || !strings.Contains(list[0].What, c.want) || list[0].Remedy != "stowage explain web[0]"):
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// A drain whose window the commit no longer has waits for ever: that is a problem, and one that waits for a window is none.
func TestDrainsWithoutTheirWindowAreProblems(t *testing.T) {
	core := control.New(control.Config{Fresh: true}, control.NewState(), 0)
	now := spec.Time(0)
	step := func(events ...control.Event) {
		now = now.Add(spec.Minute)
		core.Step(now, events...)
	}
	follow := func(id string, windows ...spec.Window) {
		a := &spec.App{Name: "web", Kind: spec.KindService, Count: 1, Role: spec.DefaultRole, Tasks: []spec.Task{{Name: "main", CPU: 100}}}
		c := &spec.Cluster{Name: "test", Sync: spec.Sync{Approval: spec.ApprovalAuto}, Policy: spec.PolicyRef{Name: "binpack"}, Windows: windows, Apps: []*spec.App{a}}
		step(control.NodeSeen{Node: "n1", Session: 1}, control.RevisionSeen{Revision: spec.Revision{Commit: spec.Commit(strings.Repeat(id, 20)), Cluster: c}})
		step(control.NodeSeen{Node: "n1", Session: 1})
	}
	node := spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 4000, Memory: spec.GiB, Disk: spec.GiB}}
	step(control.NodeConnected{Node: "n1", Session: 1}, control.NodeReported{Node: "n1", Session: 1, Report: spec.Report{Full: true, Node: &node}})
	problems := func() []api.Problem {
		return new(Master).problems(&snapshot{drains: core.Drains()}, &api.Status{}, nil)
	}
	follow("aa", spec.Window{Name: "nightly", Cron: "0 2 * * *", Duration: spec.Hour})
	step(control.Drain{Nodes: []spec.NodeID{"n1"}, Window: "nightly"})
	if d := core.Drains(); len(d) != 1 || d[0].Left != 1 || d[0].Wait == nil || len(problems()) != 0 {
		t.Fatalf("the drains are %+v, the problems %+v", d, problems())
	}
	follow("bb")
	list := problems()
	if len(list) != 1 || list[0].Subject != "n1" || list[0].What != "its drain waits for window nightly to open, which the commit no longer has" ||
		!strings.Contains(list[0].Remedy, "stowage undrain n1") {
		t.Fatalf("%+v", list)
	}
	step(control.Drain{Nodes: []spec.NodeID{"n1"}})
	if list := problems(); len(list) != 0 {
		t.Errorf("it is drained without a window: %+v", list)
	}
}

// A failed run is a problem while the app is there: what has left the repository, nobody can mend.
func TestFailedRunsAreProblemsOfAppsThatAreThere(t *testing.T) {
	failed := []spec.Run{{Name: "import/1", State: spec.RunFailed, Reason: "exit code 1"}}
	for name, c := range map[string]struct {
		view control.RunView
		want int
	}{
		"scheduled": {control.RunView{App: "import", Schedule: &spec.Schedule{}, Runs: failed}, 1},
		"follows":   {control.RunView{App: "import", Root: "extract", Runs: failed}, 1},
		"gone":      {control.RunView{App: "import", Runs: failed}, 0},
	} {
		if list := new(Master).problems(&snapshot{runs: []control.RunView{c.view}}, &api.Status{}, nil); len(list) != c.want {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// Completed work holds its slot and is listed; that of runs which have ended only if asked for.
func TestAllocationsOfEndedRunsAreListedWhenAskedFor(t *testing.T) {
	s := &snapshot{runs: []control.RunView{{App: "import", Runs: []spec.Run{{Name: "import/1", State: spec.RunComplete}, {Name: "import/2", State: spec.RunRunning}}}}}
	for _, app := range []spec.AppName{"hello", "import/1", "import/2"} {
		var v spec.AllocationView
		v.Slot, v.Node, v.Want, v.State = spec.Slot{App: app}, "n1", spec.WantRun, spec.StateComplete
		s.allocations = append(s.allocations, v)
	}
	for _, c := range []struct {
		app, node string
		ended     bool
		want      string
	}{
		{"", "", false, "hello import/2"}, {"", "n1", false, "hello import/2"}, {"", "n1", true, "hello import/1 import/2"},
		{"import", "", false, "import/1 import/2"}, {"import/1", "", false, "import/1"},
	} {
		var got []string
		for _, a := range s.pick(c.app, c.node, c.ended) {
			got = append(got, string(a.App))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestRefusalsReadAsOneSentence(t *testing.T) {
	if err := refusal(control.Answer{Err: "there is no run \"x\". See stowage runs."}); err.Error() != `there is no run "x": see stowage runs` {
		t.Error(err)
	}
}
