package node

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Reasons that allocations and tasks are told with.
const (
	reasonWorkDone     = "all main tasks exited with 0"
	reasonNeverStarted = "never started"
	reasonStopped      = "stopped"
)

// advance does whatever is due for an allocation. It may be called at any time, any number of times.
func (c *Core) advance(a *allocation) {
	a.due = 0
	switch {
	case a.terminal():
		c.clean(a)
	case !c.ready:
	case a.ending():
		c.end(a)
	default:
		c.begin(a)
	}
	if c.ready {
		c.dropParked(a)
	}
}

// begin takes an allocation that should run one step on: its room free, its files ready, prestart tasks, sidecars, main tasks, and
// once it is healthy poststart tasks.
func (c *Core) begin(a *allocation) {
	if a.Status.State == spec.StatePlaced {
		if other, waits := c.waitsFor(a); waits {
			c.explain(a, "waits for "+string(other)+" to end, whose room it takes over")
			return
		}
		a.move(spec.StatePreparing, c.now, "")
	}
	for i := range a.Tasks {
		c.watch(a, i)
	}
	c.stopForRestart(a)
	if !a.lacks() {
		c.arrive(a)
		return
	}
	if !c.getReady(a) {
		return
	}
	if a.Status.State == spec.StatePreparing {
		a.move(spec.StateStarting, c.now, "")
	}
	if !c.startFirst(a) {
		return
	}
	for i := range a.Tasks {
		if a.main(i) || a.lifecycle(i) == spec.LifecyclePoststart && a.Status.Healthy {
			c.start(a, i)
		}
	}
	c.arrive(a)
}

// startFirst reports whether main tasks may start: the prestart tasks have done their work, one after the other, and the sidecars run.
func (c *Core) startFirst(a *allocation) bool {
	for i := range a.Tasks {
		if a.lifecycle(i) == spec.LifecyclePrestart && !a.Tasks[i].Finished {
			c.start(a, i)
			return false
		}
	}
	sidecars := true
	for i := range a.Tasks {
		if a.lifecycle(i) == spec.LifecycleSidecar {
			c.start(a, i)
			sidecars = sidecars && a.running(i)
		}
	}
	return sidecars || a.Status.State != spec.StateStarting
}

// waitsFor names an allocation on this node that has to end first.
func (c *Core) waitsFor(a *allocation) (spec.AllocationID, bool) {
	for _, id := range a.Decided.After {
		if other := c.allocations[id]; other != nil && !other.terminal() {
			return id, true
		}
	}
	return "", false
}

func (c *Core) explain(a *allocation, reason string) {
	if a.Status.Reason != reason {
		a.Status.Reason = reason
		a.touch()
	}
}

// lacks reports whether a task should run and has no container.
func (a *allocation) lacks() bool {
	for i := range a.Tasks {
		if a.alive(i) || a.Tasks[i].Finished {
			continue
		}
		switch a.lifecycle(i) {
		case spec.LifecyclePoststop:
		case spec.LifecyclePoststart:
			if a.Status.Healthy {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// getReady reports whether files are ready for a start, and sees to it otherwise.
func (c *Core) getReady(a *allocation) bool {
	switch {
	case a.prepare == prepared:
		return true
	case a.prepare == preparing:
	case c.now < a.Prepare.Next:
		a.dueAt(a.Prepare.Next)
	default:
		a.prepare = preparing
		c.act(Prepare{a.Decided, a.App})
	}
	return false
}

// start begins the next run of a task, unless it runs, is done, or has to wait.
func (c *Core) start(a *allocation, i int) {
	rec, st := &a.Tasks[i], &a.Status.Tasks[i]
	switch {
	case rec.Begun || rec.Finished:
	case c.now < rec.Next:
		a.dueAt(rec.Next)
	default:
		rec.Begun, rec.Next, rec.Attempted = true, 0, Attempted{}
		c.unpark(a, i)
		a.live[i] = liveTask{}
		st.State = spec.StateStarting
		a.touch()
		c.act(Start{a.run(i), a.Decided, a.App})
	}
}

// arrive notices that every main task has been started.
func (c *Core) arrive(a *allocation) {
	if a.Status.State != spec.StateStarting {
		return
	}
	for i := range a.Tasks {
		if a.main(i) && a.Status.Tasks[i].Started == 0 {
			return
		}
	}
	a.move(spec.StateRunning, c.now, "")
	c.judge(a)
}

// stopForRestart asks tasks to stop that an operator wants restarted, or that are ill.
func (c *Core) stopForRestart(a *allocation) {
	serving := a.Status.Healthy
	for i := range a.Tasks {
		if (a.Tasks[i].Again != "" || a.Tasks[i].Ill != "") && a.alive(i) {
			c.stop(a, i, serving)
		}
	}
}

// end takes an allocation that should not run one step on: main tasks and those beside them stop, poststop tasks run, sidecars stop,
// then it has ended.
func (c *Core) end(a *allocation) {
	serving := a.Status.Healthy
	if a.Status.State != spec.StateStopping && (a.anyAlive() || a.owes()) {
		a.move(spec.StateStopping, c.now, a.why())
		c.judge(a)
	}
	waiting := false
	for i := range a.Tasks {
		switch a.lifecycle(i) {
		case spec.LifecycleSidecar, spec.LifecyclePoststop:
			continue
		}
		if a.alive(i) {
			waiting = true
			c.stop(a, i, serving)
		}
	}
	if waiting || !c.runLast(a) {
		return
	}
	for i := range a.Tasks {
		if a.alive(i) {
			waiting = true
			c.stop(a, i, false)
		}
	}
	if !waiting {
		c.conclude(a)
	}
}

// owes reports whether a poststop task has to run yet: one has to if anything else ever did.
func (a *allocation) owes() bool {
	return a.nextLast() >= 0 && slices.ContainsFunc(a.Status.Tasks, func(t spec.TaskStatus) bool { return t.Started != 0 })
}

// nextLast is the first poststop task that has not run; -1 when there is none.
func (a *allocation) nextLast() int {
	for i := range a.Tasks {
		if a.lifecycle(i) == spec.LifecyclePoststop && !a.Tasks[i].Finished {
			return i
		}
	}
	return -1
}

// runLast reports whether the poststop tasks have run, one after the other. Each gets one run, whatever comes of it, and no more time
// than its max_run.
func (c *Core) runLast(a *allocation) bool {
	if !a.owes() {
		return true
	}
	i := a.nextLast()
	switch {
	case !a.alive(i):
		if c.getReady(a) {
			c.start(a, i)
		}
	default:
		c.watch(a, i)
		if a.Tasks[i].Ill != "" {
			c.stop(a, i, false)
		}
	}
	return false
}

func (a *allocation) anyAlive() bool {
	for i := range a.Tasks {
		if a.alive(i) {
			return true
		}
	}
	return false
}

// why says why an allocation ends.
func (a *allocation) why() string {
	switch {
	case a.Failing != "":
		return a.Failing
	case a.finished():
		return reasonWorkDone
	case a.Decided.StopReason != "":
		return reasonStopped + ": " + a.Decided.StopReason
	}
	return reasonStopped
}

// conclude ends an allocation of which nothing runs.
func (c *Core) conclude(a *allocation) {
	for i := range a.Status.Tasks {
		st := &a.Status.Tasks[i]
		if !st.State.Terminal() {
			st.State = spec.StateComplete
			if st.Started == 0 {
				st.Reason = reasonNeverStarted
			}
			st.Output = "" // of a run before: it says nothing of a stop that was asked for
		}
	}
	state := spec.StateComplete
	if a.Failing != "" {
		state = spec.StateFailed
	}
	a.move(state, c.now, a.why())
	c.judge(a)
	c.ended = true
}

// clean removes what an ended allocation left, once the master has heard of the end.
func (c *Core) clean(a *allocation) {
	switch {
	case !a.Cleaning || a.cleanAsked:
	case c.now < a.cleanNext:
		a.dueAt(a.cleanNext)
	default:
		a.cleanAsked = true
		c.act(Clean{a.Decided.ID})
	}
}
