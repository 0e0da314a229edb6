package node

import (
	"github.com/stowage/stowage/spec"
)

// restore takes up what was remembered.
func (c *Core) restore(m Memory, boot string) {
	c.restored = true
	c.header = m.Header
	c.rebooted = m.Header.Boot != "" && boot != "" && m.Header.Boot != boot
	c.blank = c.rebooted
	if boot != "" && m.Header.Boot != boot {
		c.header.Boot, c.saveHeader = boot, true
	}
	c.header.FormatVersion = MemoryVersion
	for _, r := range m.Records {
		a := newAllocation(r)
		a.Record = a.record() // what was remembered stays the caller's, who shows it to others
		c.insert(a)
		if c.blank {
			c.judge(a)
		}
	}
}

// assign obeys an assignment, if it is newer than what is followed. What it does not list is left alone while it runs,
// and cleaned up when it has ended: then the master has heard of the end.
func (c *Core) assign(as *spec.Assignment) {
	if as.Generation <= c.header.Generation {
		return
	}
	c.header.Generation = as.Generation
	c.saveHeader, c.acknowledge = true, true
	listed := make(map[spec.AllocationID]bool, len(as.Allocations))
	for i := range as.Allocations {
		d := as.Allocations[i]
		listed[d.ID] = true
		c.decided(d, as.Versions[d.Version])
	}
	for _, id := range c.order {
		a := c.allocations[id]
		if !listed[id] && a.terminal() && !a.Cleaning {
			a.Cleaning, a.unsaved = true, true
		}
		c.advance(a)
	}
}

// decided takes one allocation of an assignment.
func (c *Core) decided(d spec.Allocation, app *spec.App) {
	a := c.allocations[d.ID]
	if a == nil {
		if app == nil {
			return // a master that names a version must send it; without it there is nothing to run
		}
		a = newAllocation(placed(d, app, c.now))
		a.touch()
		c.insert(a)
		return
	}
	if a.terminal() {
		return
	}
	if a.Decided.Want == spec.WantStop {
		d.Want, d.StopReason = spec.WantStop, a.Decided.StopReason // it never goes back
	}
	if d.Version != a.Decided.Version {
		if app == nil || d.Runtime != a.Decided.Runtime || len(app.Tasks) != len(a.App.Tasks) {
			d.Version, d.Runtime, d.Commit = a.Decided.Version, a.Decided.Runtime, a.Decided.Commit
		} else {
			c.update(a, app)
		}
	}
	a.Decided, a.unsaved = d, true
}

// update gives a running allocation another version in place: checks, stop and restart rules. Nothing restarts: a task that has started by
// the old rules has started.
func (c *Core) update(a *allocation, app *spec.App) {
	for i := range app.Tasks {
		if a.running(i) && a.up(i) {
			a.Tasks[i].Up = true
		}
	}
	a.App = app
	for i := range app.Tasks {
		keep := a.Status.Tasks[i].Checks[:0:0]
		for _, r := range a.Status.Tasks[i].Checks {
			if checkIndex(app.Tasks[i].Checks, r.Check) >= 0 {
				keep = append(keep, r)
			}
		}
		a.Status.Tasks[i].Checks = keep
		if a.running(i) {
			c.probe(a, i)
		}
	}
	c.judge(a)
	a.touch()
}

// inventory compares what should run with what the executor has.
func (c *Core) inventory(containers []Container) {
	c.ready, c.blank = true, false
	found := make(map[Run]*Container, len(containers))
	for i := range containers {
		k := &containers[i]
		if !k.Parked {
			found[k.Run] = k
			continue
		}
		// An earlier agent parked it. If it was to be released next, the Start that is asked again finds it, or one that it made.
		if _, _, begun := c.present(k.Run); !begun {
			c.act(Remove{k.Run})
		}
	}
	for _, id := range c.order {
		a := c.allocations[id]
		for i := range a.Tasks {
			c.unpark(a, i) // told as parked above, or gone with its executor
			if r := a.run(i); a.alive(i) {
				c.find(a, i, found[r])
				delete(found, r)
			}
		}
	}
	for i := range containers {
		if k := &containers[i]; found[k.Run] == k {
			c.stray(k)
		}
	}
	for _, id := range c.order {
		c.advance(c.allocations[id])
	}
}

// find takes up one task that was begun: it runs, it has ended, or there is no trace of it.
func (c *Core) find(a *allocation, i int, k *Container) {
	st, rec := &a.Status.Tasks[i], &a.Tasks[i]
	switch {
	case k != nil && k.Running:
		a.live[i].commanding = false // what was under way went with the executor
		c.began(a, i, k.Pid, k.Started)
		if rec.Signalled != 0 && rec.Killed == 0 {
			c.act(Signal{a.run(i), a.App.Tasks[i].Stop.Signal}) // the first one may never have been sent
		}
	case k != nil && k.Exit != nil:
		c.exit(a, i, Exited{Exit: *k.Exit, At: k.Ended, Output: k.Output})
	case st.Pid == 0:
		rec.Begun = false // the Start was lost: advance asks again for the same run
	default:
		c.exit(a, i, Exited{Exit: spec.Exit{Unknown: true, Rebooted: c.rebooted}, At: c.now})
	}
}

// stray handles a container that is not the present run of any task. Of an allocation that nobody knows, what runs is
// left alone; an earlier run of a known one has no business to run.
func (c *Core) stray(k *Container) {
	a := c.allocations[k.Run.ID]
	known := a != nil && a.task(k.Run.Task) >= 0
	switch {
	case !k.Running:
		c.act(Remove{k.Run})
	case known:
		c.act(Kill{k.Run})
	}
}

// advanceGated lets those go on that waited for an allocation to end.
func (c *Core) advanceGated() {
	for _, id := range c.order {
		if a := c.allocations[id]; a.Status.State == spec.StatePlaced && len(a.Decided.After) > 0 {
			c.advance(a)
		}
	}
}
