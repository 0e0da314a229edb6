package node

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// instant is a service whose main task is started again at once, as often as it is said.
func instant(attempts int) *spec.App {
	app := service(task("main"))
	app.Restart = spec.Restart{Attempts: attempts, Interval: 10 * spec.Minute}
	return app
}

// failing brings an allocation so far that its task has failed once, and has another run parked behind it.
func (r *rig) failing(app *spec.App) spec.Allocation {
	a := r.running(app)
	r.want(r.exited(a.ID, "main", 0, 1), "remove web-0-1/main.0, start web-0-1/main.1")
	r.want(r.started(a.ID, "main", 1), "park web-0-1/main.2 behind web-0-1/main.1")
	return a
}

func TestTheNextRunIsParkedOnceATaskHasFailed(t *testing.T) {
	r := newRig(t)
	a := r.failing(instant(-1))
	// What is parked waits for nothing, not even for the run before it to be removed.
	r.want(r.exited(a.ID, "main", 1, 1), "start web-0-1/main.2, remove web-0-1/main.1")
	r.want(r.started(a.ID, "main", 2), "park web-0-1/main.3 behind web-0-1/main.2")
	// A restart by an operator takes it too.
	r.want(r.step(RestartTask{ID: a.ID}), "SIGTERM web-0-1/main.2")
	r.want(r.exited(a.ID, "main", 2, 143), "start web-0-1/main.3, remove web-0-1/main.2")
	r.want(r.started(a.ID, "main", 3), "park web-0-1/main.4 behind web-0-1/main.3")
	// The signal of a stop goes first.
	a.Want = spec.WantStop
	r.want(r.step(assigned(2, instant(-1), a)), "SIGTERM web-0-1/main.3, remove web-0-1/main.4")
	r.want(r.exited(a.ID, "main", 3, 143), "remove web-0-1/main.3")
	r.state(a.ID, spec.StateComplete, "")
}

func TestNothingIsParkedForWhatDoesNotFollowAtOnce(t *testing.T) {
	r := newRig(t)
	slow := service(task("main"))
	a := r.running(slow)
	r.want(r.exited(a.ID, "main", 0, 1), "remove web-0-1/main.0")
	r.want(r.after(2*spec.Second), "start web-0-1/main.1")
	r.want(r.started(a.ID, "main", 1), "")

	r = newRig(t)
	a = r.running(instant(1))
	r.want(r.exited(a.ID, "main", 0, 1), "remove web-0-1/main.0, start web-0-1/main.1")
	r.want(r.started(a.ID, "main", 1), "") // it was the last one
	r.want(r.exited(a.ID, "main", 1, 1), "remove web-0-1/main.1")
	r.state(a.ID, spec.StateFailed, "")

	// The last one that is allowed takes what was parked for it, and has none behind it.
	r = newRig(t)
	a = r.failing(instant(2))
	r.want(r.exited(a.ID, "main", 1, 1), "start web-0-1/main.2, remove web-0-1/main.1")
	r.want(r.started(a.ID, "main", 2), "")

	// One that has done its work leaves none behind.
	r = newRig(t)
	batch := instant(-1)
	batch.Kind = spec.KindBatch
	a = r.failing(batch)
	r.want(r.exited(a.ID, "main", 1, 0), "remove web-0-1/main.2, remove web-0-1/main.1")
	r.state(a.ID, spec.StateComplete, "")

	// Other rules in place of those by which it was parked.
	r = newRig(t)
	a = r.failing(instant(-1))
	changed := instant(-1)
	changed.Restart.Delay, changed.Restart.MaxDelay = spec.Second, spec.Minute
	a.Version = changed.Hash()
	r.want(r.step(assigned(2, changed, a)), "remove web-0-1/main.2")
}

// A new agent, or a new executor, begins without, and what an earlier agent parked goes. The run that is being started stays.
func TestParkedRunsInAnInventory(t *testing.T) {
	r := newRig(t)
	a := r.failing(instant(-1))
	here := Container{Run: run(a.ID, "main", 1), Running: true, Pid: 100, Started: r.now}
	r.step(ExecutorLost{})
	r.want(r.step(Inventory{Containers: []Container{here, {Run: run(a.ID, "main", 2), Parked: true}}}), "remove web-0-1/main.2")
	r.want(r.exited(a.ID, "main", 1, 1), "remove web-0-1/main.1, start web-0-1/main.2")
	r.step(ExecutorLost{})
	r.want(r.step(Inventory{Containers: []Container{{Run: run(a.ID, "main", 2), Parked: true}}}), "start web-0-1/main.2")
	r.want(r.started(a.ID, "main", 2), "park web-0-1/main.3 behind web-0-1/main.2")
	// Of an allocation that nobody knows nothing is kept that has not begun.
	r.want(r.step(Inventory{Containers: []Container{{Run: run("other-0-9", "main", 2), Parked: true}, {Run: run(a.ID, "main", 2), Running: true, Pid: 100, Started: r.now}}}),
		"remove other-0-9/main.2")
}

func TestParkedRunsAreBounded(t *testing.T) {
	r := newRig(t)
	app := instant(-1)
	app.Count = MaxParked + 1
	var all []spec.Allocation
	for slot := range app.Count {
		all = append(all, decided(app, slot, 1))
	}
	r.step(assigned(1, app, all...))
	for round := range 3 {
		parked := 0
		for _, a := range all {
			if round == 0 {
				r.step(Prepared{ID: a.ID})
			} else {
				r.exited(a.ID, "main", round-1, 1)
			}
			r.started(a.ID, "main", round)
		}
		for _, a := range all {
			if c := r.core.allocations[a.ID]; c.live[0].parked == round+1 {
				parked++
			} else if c.live[0].parked != 0 {
				t.Errorf("round %d: %s has attempt %d parked", round, a.ID, c.live[0].parked)
			}
		}
		if want := min(round, 1) * MaxParked; parked != want || r.core.parked != want {
			t.Errorf("round %d: %d are parked and %d counted, want %d", round, parked, r.core.parked, want)
		}
	}
}
