package master

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// loopSnapshot is an app with one slot that had these allocations, oldest first, seen an hour after the beginning.
func loopSnapshot(list ...spec.AllocationView) *snapshot {
	app := &spec.App{Name: "web", Kind: spec.KindService, Count: 1, Update: spec.Update{HealthyFor: 10 * spec.Second}, Reschedule: spec.Reschedule{Delay: spec.Second, MaxDelay: 5 * spec.Minute}}
	for i := range list {
		a := &list[i]
		a.Slot, a.Node, a.Generation = spec.Slot{App: "web"}, "n1", spec.Generation(i+1)
		a.ID = spec.AllocationID("web-0-" + string(rune('1'+i)))
		if a.Want == "" {
			a.Want = spec.WantRun
		}
	}
	return &snapshot{at: spec.Time(spec.Hour), apps: []control.AppView{{App: "web", Kind: spec.KindService, Desired: 1}}, specs: []*spec.App{app}, allocations: list}
}

// A slot whose tasks end again and again is told of at every moment: while it waits for its restart, while it runs between two ends,
// after it was placed anew, and in the back-off before that. What has recovered is history, and one restart may happen to anybody.
func TestWhatEndsAgainAndAgainIsAProblemAtEveryMoment(t *testing.T) {
	now := spec.Time(spec.Hour)
	ago := func(d spec.Duration) spec.Time { return now.Add(-d) }
	view := func(state spec.State, attempt int, placed spec.Duration, task spec.TaskStatus) spec.AllocationView {
		task.Name = "server"
		var v spec.AllocationView
		v.State, v.Attempt, v.Placed, v.Tasks, v.Restarts, v.Since = state, attempt, ago(placed), []spec.TaskStatus{task}, task.Restarts, ago(placed/2)
		return v
	}
	exit := &spec.Exit{Code: 3}
	failed := view(spec.StateFailed, 0, 2*spec.Minute, spec.TaskStatus{State: spec.StateFailed, Restarts: 3, Exit: exit, Finished: ago(spec.Minute), Output: "no database"})
	failed.Reason = `task "server": exit code 3, after 3 restarts within 10m`
	again := failed
	again.Attempt, again.Placed, again.Since = 1, ago(50*spec.Second), ago(spec.Second)
	stopped := failed
	stopped.Want = spec.WantStop
	other := failed
	other.Version = "an older one"
	running := spec.TaskStatus{State: spec.StateRunning, Started: ago(spec.Second)}
	restarted := func(n int, started spec.Duration) spec.TaskStatus {
		return spec.TaskStatus{State: spec.StateRunning, Restarts: n, Started: ago(started), Finished: ago(started + spec.Second), Exit: exit, Output: "no database"}
	}
	waiting := restarted(3, spec.Minute)
	waiting.State, waiting.Reason = spec.StateStarting, "exit code 3; started again after 2s"
	for name, c := range map[string]struct {
		list  []spec.AllocationView
		ends  int // 0: no problem
		since spec.Duration
		next  bool
	}{
		"waits for its restart":            {[]spec.AllocationView{view(spec.StateRunning, 0, spec.Minute, waiting)}, 3, spec.Minute, false},
		"runs between two ends":            {[]spec.AllocationView{view(spec.StateRunning, 0, spec.Minute, restarted(2, spec.Second))}, 2, spec.Minute, false},
		"placed anew":                      {[]spec.AllocationView{failed, view(spec.StateRunning, 1, spec.Second, running)}, 4, 2 * spec.Minute, false},
		"being prepared anew":              {[]spec.AllocationView{failed, view(spec.StatePreparing, 1, spec.Second, spec.TaskStatus{})}, 4, 2 * spec.Minute, false},
		"in back-off":                      {[]spec.AllocationView{failed}, 4, 2 * spec.Minute, true},
		"in back-off again":                {[]spec.AllocationView{failed, again}, 8, 2 * spec.Minute, true},
		"restarted once":                   {[]spec.AllocationView{view(spec.StateRunning, 0, spec.Minute, restarted(1, spec.Second))}, 0, 0, false},
		"recovered":                        {[]spec.AllocationView{failed, view(spec.StateRunning, 1, spec.Hour, restarted(2, restless))}, 0, 0, false},
		"stopped":                          {[]spec.AllocationView{stopped}, 0, 0, false},
		"another version failed before it": {[]spec.AllocationView{other, view(spec.StateRunning, 0, spec.Second, running)}, 0, 0, false},
	} {
		s := loopSnapshot(c.list...)
		list := new(Master).problems(s, &api.Status{}, nil)
		if c.ends == 0 {
			if len(list) > 0 || s.countWork().Looping != 0 {
				t.Errorf("%s: %+v", name, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Loop == nil {
			t.Errorf("%s: %+v", name, list)
			continue
		}
		l := list[0].Loop
		if l.Ends != c.ends || l.Since != ago(c.since) || (l.Next != 0) != c.next || l.Said != "no database" || l.Logs == "" || s.countWork().Looping != 1 {
			t.Errorf("%s: %+v", name, l)
		}
		if !strings.Contains(list[0].What, "exit code 3") || !strings.Contains(list[0].What, "it said last: no database") {
			t.Errorf("%s: %s", name, list[0].What)
		}
		// and it is among what is listed, with a reason
		shown := s.pick("", "", false)
		s.sayLoops(shown, now)
		if len(shown) != 1 || shown[0].Trouble() == "" || c.next && !strings.Contains(shown[0].Reason, "; tried again ") {
			t.Errorf("%s: listed is %+v", name, shown)
		}
	}
}
