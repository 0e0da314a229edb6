package node

import (
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
}

// begin takes an allocation that should run one step on: its room free, its files ready, sidecars, main tasks.
func (c *Core) begin(a *allocation) {
	if a.Status.State == spec.StatePlaced {
		if other, waits := c.waitsFor(a); waits {
			c.explain(a, "waits for "+string(other)+" to end, whose room it takes over")
			return
		}
		a.move(spec.StatePreparing, c.now, "")
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
	sidecars := true
	for i := range a.Tasks {
		if !a.main(i) {
			c.start(a, i)
			sidecars = sidecars && a.running(i)
		}
	}
	if !sidecars && a.Status.State == spec.StateStarting {
		return
	}
	for i := range a.Tasks {
		if a.main(i) {
			c.start(a, i)
		}
	}
	c.arrive(a)
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
		if !a.alive(i) && !a.Tasks[i].Finished {
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
		rec.Begun, rec.Asked, rec.Killed, rec.Again, rec.Next = true, 0, 0, "", 0
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

// stopForRestart asks tasks to stop that an operator wants restarted.
func (c *Core) stopForRestart(a *allocation) {
	for i := range a.Tasks {
		if a.Tasks[i].Again != "" && a.alive(i) {
			c.stop(a, i)
		}
	}
}

// end takes an allocation that should not run one step on: main tasks stop, then sidecars, then it has ended.
func (c *Core) end(a *allocation) {
	if a.Status.State != spec.StateStopping && a.anyAlive() {
		a.move(spec.StateStopping, c.now, a.why())
		c.judge(a)
	}
	waiting := false
	for i := range a.Tasks {
		if a.main(i) && a.alive(i) {
			waiting = true
			c.stop(a, i)
		}
	}
	if waiting {
		return
	}
	for i := range a.Tasks {
		if a.alive(i) {
			waiting = true
			c.stop(a, i)
		}
	}
	if !waiting {
		c.conclude(a)
	}
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

// stop asks a task to end: its signal, after its timeout the kill of the whole group, and the kill again if even that
// does not end it.
func (c *Core) stop(a *allocation, i int) {
	rec, rule := &a.Tasks[i], a.App.Tasks[i].Stop
	if !a.running(i) {
		return // its Start is under way; the answer comes here again
	}
	switch {
	case rec.Asked == 0:
		rec.Asked = c.now
		a.Status.Tasks[i].State = spec.StateStopping
		a.touch()
		if rule.Timeout > 0 {
			c.act(Signal{a.run(i), rule.Signal})
			a.dueAt(rec.Asked.Add(rule.Timeout))
			return
		}
		c.kill(a, i)
	case rec.Killed == 0 && c.now < rec.Asked.Add(rule.Timeout):
		a.dueAt(rec.Asked.Add(rule.Timeout))
	case rec.Killed == 0 || c.now >= rec.Killed.Add(KillAgain):
		c.kill(a, i)
	default:
		a.dueAt(rec.Killed.Add(KillAgain))
	}
}

func (c *Core) kill(a *allocation, i int) {
	a.Tasks[i].Killed, a.unsaved = c.now, true
	c.act(Kill{a.run(i)})
	a.dueAt(c.now.Add(KillAgain))
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
