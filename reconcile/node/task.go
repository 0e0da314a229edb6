package node

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// onProgressed tells what an allocation waits for. It is not worth a write to the disk.
func (c *Core) onProgressed(e Progressed) {
	a := c.allocations[e.ID]
	if a != nil && a.prepare == preparing && a.Status.State == spec.StatePreparing && a.Status.Reason != e.What {
		a.Status.Reason, a.changed = e.What, true
	}
}

// onPrepared takes the answer of a Prepare.
func (c *Core) onPrepared(e Prepared) {
	a := c.allocations[e.ID]
	if a == nil || a.prepare != preparing {
		return
	}
	a.prepare = prepared
	if e.Err != "" {
		a.prepare = unprepared
		why := spec.Printable(e.Err) // images and registries have a word in it
		reason := "could not be prepared: " + why
		if a.terminal() || a.ending() && !a.owes() {
			a.unsaved = true
		} else if a.ending() {
			a.skipLast("could not be run: " + why)
		} else if wait, ok := a.Prepare.again(a.App.Restart, c.now, string(e.ID)); !ok {
			a.Failing = a.Prepare.tried(reason, a.App.Restart)
		} else {
			c.explain(a, fmt.Sprintf("%s; tried again after %s", reason, wait))
		}
		a.unsaved = true
	} else if a.Status.State == spec.StatePreparing {
		a.Prepare = Retry{}
	}
	c.advance(a)
}

// skipLast gives up on the poststop tasks that have not run.
func (a *allocation) skipLast(reason string) {
	for i := range a.Tasks {
		if a.lifecycle(i) == spec.LifecyclePoststop && !a.Tasks[i].Finished && !a.alive(i) {
			a.Tasks[i].Finished = true
			a.Status.Tasks[i].State, a.Status.Tasks[i].Reason = spec.StateFailed, reason
			a.touch()
		}
	}
}

// present returns the allocation and task of a run, if it is the present one.
func (c *Core) present(r Run) (*allocation, int, bool) {
	a := c.allocations[r.ID]
	if a == nil {
		return nil, 0, false
	}
	i := a.task(r.Task)
	return a, i, i >= 0 && a.Tasks[i].Attempt == r.Attempt && a.alive(i)
}

// onStarted takes the answer of a Start.
func (c *Core) onStarted(e Started) {
	a, i, ok := c.present(e.Run)
	switch {
	case !ok && e.Err == "" && (a == nil || i < 0 || a.Tasks[i].Attempt != e.Run.Attempt):
		c.act(Kill{e.Run}) // nobody waits for it any more
		return
	case !ok:
		return // its exit was told first
	case e.Err == "":
		c.began(a, i, e.Pid, e.At)
	default:
		a.Tasks[i].Begun = false
		a.Status.Tasks[i].Output = ""
		c.over(a, i, "could not be started: "+spec.Printable(e.Err), false)
	}
	c.advance(a)
	c.park(a, i)
}

// began notes that a task runs.
func (c *Core) began(a *allocation, i int, pid int, at spec.Time) {
	st := &a.Status.Tasks[i]
	st.Pid, st.Started = pid, at
	if a.Tasks[i].Asked == 0 {
		st.State, st.Reason = spec.StateRunning, ""
	}
	if !hasStart(&a.App.Tasks[i]) {
		a.Tasks[i].Up = true
	}
	c.probe(a, i)
	c.arrive(a)
	c.judge(a)
	a.touch()
}

// onExited takes the end of a container. One that is known already, or is of an earlier run, is only removed.
func (c *Core) onExited(e Exited) {
	a, i, ok := c.present(e.Run)
	if !ok {
		c.act(Remove{e.Run})
		return
	}
	c.exit(a, i, e)
	c.advance(a)
}

// exit notes how a run ended.
func (c *Core) exit(a *allocation, i int, e Exited) {
	st, exit := &a.Status.Tasks[i], e.Exit
	if st.Pid == 0 {
		st.Started = e.At // the answer to its Start comes late, or was lost
	}
	// The next run shares the writable layer, so this one is removed before that is made; what is parked is made, and must not wait.
	remove, parked := Remove{a.run(i)}, a.live[i].parked != 0
	if !parked {
		c.act(remove)
	}
	c.unprobe(a, i)
	a.Tasks[i].Begun = false
	st.Exit, st.Finished, st.Pid, st.Checks = &exit, e.At, 0, nil
	st.Output = lastLine(e.Output)
	c.arrive(a)
	c.over(a, i, exit.String(), !exit.Unknown && exit.Code == 0)
	if parked {
		c.advance(a)
		c.act(remove)
	}
}

// over decides what follows the end of a run, or of the try to start one.
func (c *Core) over(a *allocation, i int, reason string, zero bool) {
	st, rec := &a.Status.Tasks[i], &a.Tasks[i]
	if rec.Ill != "" {
		zero, reason = false, rec.Ill
	}
	if zero {
		st.Output = ""
	}
	switch {
	case a.lifecycle(i) == spec.LifecyclePoststop:
		rec.Finished = true
		st.State, st.Reason = spec.StateComplete, reason
		if !zero {
			st.State = spec.StateFailed
		}
	case a.ending():
		st.State, st.Reason = spec.StateComplete, reason
		if rec.Killed != 0 {
			st.Reason = fmt.Sprintf("killed after %s of grace: %s", rec.grace(), reason)
		}
		if rec.Asked != 0 {
			st.Output = "" // what it says when it is asked to end explains nothing
		}
	case rec.Again != "" && rec.Ill == "":
		st.Restarts++
		a.Status.Restarts++
		st.State, st.Reason, st.Output = spec.StateStarting, "restarted: "+rec.Again, ""
		rec.Attempt, rec.Next, rec.Attempted = rec.Attempt+1, 0, Attempted{}
	case zero && a.once(i):
		rec.Finished = true
		st.State, st.Reason = spec.StateComplete, reason
	default:
		c.restart(a, i, reason)
	}
	c.judge(a)
	a.touch()
}

// restart plans the next run of a task that ended though it should not, or fails the allocation.
func (c *Core) restart(a *allocation, i int, reason string) {
	st, rec := &a.Status.Tasks[i], &a.Tasks[i]
	wait, ok := rec.Retry.again(a.App.Restart, c.now, a.run(i).String())
	if !ok {
		st.State, st.Reason = spec.StateFailed, reason
		a.Failing = rec.tried(fmt.Sprintf("task %q: %s", st.Name, reason), a.App.Restart)
		return
	}
	st.Restarts++
	a.Status.Restarts++
	rec.Attempt, rec.Attempted = rec.Attempt+1, Attempted{}
	st.State, st.Reason = spec.StateStarting, fmt.Sprintf("%s; started again after %s", reason, wait)
}

// again counts one more failure and says how long to wait before the next try, or that there is none. The delay grows
// by half each time and starts anew once a whole interval passed without failure. The jitter, a tenth to both sides,
// comes from a hash of the key, so that the same history gives the same times. In the mode delay a try beyond the attempts waits until
// there are fewer within the interval.
func (r *Retry) again(rule spec.Restart, now spec.Time, key string) (spec.Duration, bool) {
	for len(r.Recent) > 0 && r.Recent[0].Add(rule.Interval) <= now {
		r.Recent = r.Recent[1:]
	}
	most := rule.Attempts
	if most < 0 || most > MaxRecent {
		most = MaxRecent
	}
	var least spec.Duration
	if rule.Attempts >= 0 && len(r.Recent) >= most {
		if rule.Mode != spec.RestartDelay || most == 0 {
			return 0, false
		}
		least = r.Recent[len(r.Recent)-most].Add(rule.Interval).Sub(now)
	}
	if len(r.Recent) == 0 {
		r.Delay = rule.Delay
	} else {
		r.Delay = min(r.Delay+r.Delay/2, max(rule.MaxDelay, rule.Delay))
	}
	if len(r.Recent) >= MaxRecent {
		r.Recent = r.Recent[1:]
	}
	wait := r.Delay
	if tenth := wait / 10; tenth > 0 {
		wait = wait - tenth + spec.Duration(hash(key)%uint64(2*tenth+1))
	}
	wait -= wait % spec.Millisecond
	wait = max(wait, least)
	r.Next = now.Add(wait)
	if rule.Mode == spec.RestartDelay {
		r.Recent = append(r.Recent, r.Next) // what is bounded is how often it is started
	} else {
		r.Recent = append(r.Recent, now)
	}
	return wait, true
}

// tried says that there will be no further try.
func (r *Retry) tried(reason string, rule spec.Restart) string {
	switch n := len(r.Recent); n {
	case 0:
		return reason
	case 1:
		return fmt.Sprintf("%s, after one restart within %s", reason, rule.Interval)
	default:
		return fmt.Sprintf("%s, after %d restarts within %s", reason, n, rule.Interval)
	}
}

// hash is FNV-1a with a finish that spreads the last bytes over all bits.
func hash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// onRestart stops tasks that an operator wants started anew. One that waits for its restart starts at once.
func (c *Core) onRestart(e RestartTask) {
	a := c.allocations[e.ID]
	if a == nil || a.terminal() || a.ending() {
		return
	}
	for i := range a.Tasks {
		rec := &a.Tasks[i]
		if (e.Task != "" && a.App.Tasks[i].Name != e.Task) || rec.Finished {
			continue
		}
		if rec.Begun {
			rec.Again = e.Reason
			if rec.Again == "" {
				rec.Again = "an operator asked for it"
			}
		} else {
			rec.Next = 0
		}
		a.touch()
	}
	c.advance(a)
}

// onCleaned takes the answer of a Clean: the allocation is gone for good, or the folder is tried again later.
func (c *Core) onCleaned(e Cleaned) {
	a := c.allocations[e.ID]
	if a == nil || !a.cleanAsked {
		return
	}
	if e.Err != "" {
		a.cleanAsked, a.cleanNext = false, c.now.Add(CleanAgain)
		c.advance(a)
		return
	}
	c.gone = append(c.gone, spec.ReportAllocation{ID: e.ID, Status: a.status(), Gone: true})
	c.forget(e.ID)
}
