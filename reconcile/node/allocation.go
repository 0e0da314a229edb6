package node

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// allocation is one allocation and what of it need not be remembered.
type allocation struct {
	Record
	prepare prepareState
	// Of clean: a Clean is under way, or has failed and is due again.
	cleanAsked bool
	cleanNext  spec.Time
	live       []liveTask // in the order of Status.Tasks
	due        spec.Time  // when advance has something to do; 0: only after an event
	changed    bool       // to be reported
	unsaved    bool       // to be saved
}

type prepareState int

const (
	unprepared prepareState = iota
	preparing
	prepared
)

// liveTask is what the agent knows of a task while it lives; a new agent finds it out again.
type liveTask struct {
	parked     int  // the attempt of the run that was parked behind the present one; 0: none. A new agent, or executor, begins without
	commanding bool // the command of its stop is under way
	commanded  bool // it has ended
	probing    []spec.Check
}

func newAllocation(r Record) *allocation {
	a := &allocation{Record: r, live: make([]liveTask, len(r.App.Tasks))}
	return a
}

// placed makes the record of an allocation that was never seen before.
func placed(decided spec.Allocation, app *spec.App, now spec.Time) Record {
	r := Record{FormatVersion: MemoryVersion, Decided: decided, App: app}
	r.Status = spec.AllocationStatus{State: spec.StatePlaced, Since: now}
	r.Tasks = make([]TaskRecord, len(app.Tasks))
	for i := range app.Tasks {
		r.Status.Tasks = append(r.Status.Tasks, spec.TaskStatus{Name: app.Tasks[i].Name, State: spec.StatePending})
	}
	return r
}

// status returns a copy that later steps leave alone.
func (a *allocation) status() spec.AllocationStatus {
	s := a.Status
	s.Tasks = slices.Clone(s.Tasks)
	for i := range s.Tasks {
		s.Tasks[i].Checks = slices.Clone(s.Tasks[i].Checks)
	}
	return s
}

// record returns a copy that later steps leave alone.
func (a *allocation) record() Record {
	r := a.Record
	r.Status = a.status()
	r.Tasks = slices.Clone(r.Tasks)
	for i := range r.Tasks {
		r.Tasks[i].Recent = slices.Clone(r.Tasks[i].Recent)
	}
	r.Prepare.Recent = slices.Clone(r.Prepare.Recent)
	return r
}

// move takes the allocation to a later state. States never go back: what would is a bug.
func (a *allocation) move(s spec.State, now spec.Time, reason string) {
	if s.Rank() < a.Status.State.Rank() || a.Status.State.Terminal() {
		panic("node: " + string(a.Decided.ID) + " would go from " + string(a.Status.State) + " to " + string(s))
	}
	if a.Status.State != s {
		a.Status.State, a.Status.Since = s, now
	}
	a.Status.Reason = reason
	a.touch()
}

// touch marks the allocation to be saved and reported.
func (a *allocation) touch() { a.changed, a.unsaved = true, true }

func (a *allocation) terminal() bool { return a.Status.State.Terminal() }

// ending reports whether nothing new is started.
func (a *allocation) ending() bool {
	return a.Decided.Want == spec.WantStop || a.Failing != "" || a.finished()
}

// finished reports whether a batch allocation has done its work.
func (a *allocation) finished() bool {
	if a.App.Kind != spec.KindBatch {
		return false
	}
	mains := 0
	for i := range a.App.Tasks {
		if a.main(i) {
			if !a.Tasks[i].Finished {
				return false
			}
			mains++
		}
	}
	return mains > 0
}

func (a *allocation) main(i int) bool { return a.App.Tasks[i].Lifecycle.Main() }

func (a *allocation) lifecycle(i int) spec.Lifecycle { return a.App.Tasks[i].Lifecycle }

// once reports whether the task has done its work when it exits with 0.
func (a *allocation) once(i int) bool {
	switch a.lifecycle(i) {
	case spec.LifecyclePrestart, spec.LifecyclePoststart:
		return true
	}
	return a.App.Kind == spec.KindBatch && a.main(i)
}

// alive reports whether the task has a container that was not seen to end.
func (a *allocation) alive(i int) bool { return a.Tasks[i].Begun }

// running reports whether the task's process is known to run.
func (a *allocation) running(i int) bool { return a.Tasks[i].Begun && a.Status.Tasks[i].Pid != 0 }

func (a *allocation) run(i int) Run {
	return Run{a.Decided.ID, a.App.Tasks[i].Name, a.Tasks[i].Attempt}
}

// task finds a task by its name; -1 when the app has none of that name.
func (a *allocation) task(name spec.TaskName) int {
	return slices.IndexFunc(a.App.Tasks, func(t spec.Task) bool { return t.Name == name })
}

// dueAt lets advance be called at a time.
func (a *allocation) dueAt(t spec.Time) {
	if a.due == 0 || t < a.due {
		a.due = t
	}
}
