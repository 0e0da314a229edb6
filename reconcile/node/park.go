package node

import "github.com/stowage/stowage/spec"

// MaxParked bounds the containers of a node that wait for the one before them to end. Each takes half a MiB, nearly all of it the kernel's.
const MaxParked = 64

// Instant reports whether a run of a task that failed is followed by the next one at once. For such a task the next run is parked behind
// the present one, as soon as it has failed once: most never do.
func Instant(app *spec.App, t *spec.Task) bool {
	return app.Restart.Delay == 0 && app.Restart.Attempts != 0 && (t.Lifecycle.Main() || t.Lifecycle == spec.LifecycleSidecar)
}

// park has the next run of a task made ready behind one that was just started.
func (c *Core) park(a *allocation, i int) {
	rec, rule := &a.Tasks[i], a.App.Restart
	fails := len(rec.Recent) > 0 && (rule.Attempts < 0 || len(rec.Recent) < rule.Attempts)
	if !fails || !a.parks(i) || !a.running(i) || a.live[i].parked != 0 || c.parked >= MaxParked {
		return
	}
	next := a.run(i)
	next.Attempt++
	a.live[i].parked = next.Attempt
	c.parked++
	c.act(Park{Run: next, Present: a.run(i), Allocation: a.Decided, App: a.App})
}

// parks reports whether a run of the task may wait to be released.
func (a *allocation) parks(i int) bool {
	return !a.terminal() && !a.ending() && !a.Tasks[i].Finished && Instant(a.App, &a.App.Tasks[i])
}

// dropParked removes the runs that wait for what will not come.
func (c *Core) dropParked(a *allocation) {
	for i := range a.live {
		if attempt := a.live[i].parked; attempt != 0 && !a.parks(i) {
			c.unpark(a, i)
			c.act(Remove{Run{a.Decided.ID, a.App.Tasks[i].Name, attempt}})
		}
	}
}

// unpark notes that no run of a task waits any more.
func (c *Core) unpark(a *allocation, i int) {
	if a.live[i].parked != 0 {
		a.live[i].parked = 0
		c.parked--
	}
}
