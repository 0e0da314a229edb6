package node

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// stop asks a task to end. A task that serves works on for the delay of its stop, while everybody can see that it is not healthy any
// more; then the command runs inside it, the signal is sent, after the timeout the whole group is killed, and killed again if even that
// does not end it. Each stage is remembered before it begins. After a crash the stage is repeated, within the time that it had.
func (c *Core) stop(a *allocation, i int, serving bool) {
	rec, rule := &a.Tasks[i], &a.App.Tasks[i].Stop
	if !a.running(i) {
		return // its Start is under way; the answer comes here again
	}
	if rec.Asked == 0 {
		rec.Asked = c.now
		if serving && rule.Delay > 0 {
			rec.Until = c.now.Add(rule.Delay)
		}
		a.Status.Tasks[i].State = spec.StateStopping
		a.touch()
		c.judge(a)
	}
	switch {
	case rec.Killed != 0 && c.now < rec.Killed.Add(KillAgain):
		a.dueAt(rec.Killed.Add(KillAgain))
	case rec.Killed != 0:
		c.kill(a, i)
	case rec.Signalled != 0 && c.now < rec.Signalled.Add(rule.Timeout):
		a.dueAt(rec.Signalled.Add(rule.Timeout))
	case rec.Signalled != 0:
		c.kill(a, i)
	case c.now < rec.Until:
		a.dueAt(rec.Until)
	case len(rule.Command) > 0 && c.command(a, i):
	case rule.Timeout > 0:
		rec.Signalled, a.unsaved = c.now, true
		c.act(Signal{a.run(i), rule.Signal})
		a.dueAt(c.now.Add(rule.Timeout))
	default:
		c.kill(a, i)
	}
}

// command runs the command of a stop, and reports whether its end is waited for.
func (c *Core) command(a *allocation, i int) bool {
	rec, live, rule := &a.Tasks[i], &a.live[i], &a.App.Tasks[i].Stop
	if rec.Commanded == 0 {
		rec.Commanded, a.unsaved = c.now, true
	}
	limit := rule.CommandTimeout
	if limit <= 0 {
		limit = spec.DefaultStopCommandTimeout
	}
	end := rec.Commanded.Add(limit)
	if live.commanded || c.now >= end {
		return false
	}
	if !live.commanding {
		live.commanding = true
		c.act(Command{Run: a.run(i), Allocation: a.Decided, Command: rule.Command, Timeout: end.Sub(c.now)})
	}
	a.dueAt(end)
	return true
}

// onCommanded takes the end of a stop's command. One that failed is told, and the stop goes on.
func (c *Core) onCommanded(e Commanded) {
	a, i, ok := c.present(e.Run)
	if !ok || !a.live[i].commanding || a.Tasks[i].Signalled != 0 || a.Tasks[i].Killed != 0 {
		return
	}
	a.live[i].commanding, a.live[i].commanded = false, true
	if e.Err != "" {
		a.Status.Tasks[i].Reason = "the command of its stop failed: " + firstLine(e.Err)
		a.touch()
	}
	c.advance(a)
}

func (c *Core) kill(a *allocation, i int) {
	a.Tasks[i].Killed, a.unsaved = c.now, true
	c.act(Kill{a.run(i)})
	a.dueAt(c.now.Add(KillAgain))
}

// grace is how long a killed task had been given to end by itself.
func (r *Attempted) grace() spec.Duration {
	if r.Signalled == 0 {
		return 0
	}
	return r.Killed.Sub(r.Signalled)
}

// watch finds a running task ill that has run too long, or has not started in the time it was given.
func (c *Core) watch(a *allocation, i int) {
	rec, st, t := &a.Tasks[i], &a.Status.Tasks[i], &a.App.Tasks[i]
	if !a.running(i) || rec.Asked != 0 || rec.Ill != "" {
		return
	}
	if most := maxRun(t); most > 0 {
		if c.now >= st.Started.Add(most) {
			c.fallIll(a, i, fmt.Sprintf("ran for %s, which is its max_run", most))
			return
		}
		a.dueAt(st.Started.Add(most))
	}
	if rec.Up {
		return
	}
	for k := range t.Checks {
		check := &t.Checks[k]
		if !check.Start || a.passes(i, check.Name) {
			continue
		}
		within := check.Within
		if within <= 0 {
			within = spec.DefaultCheckWithin
		}
		if c.now >= st.Started.Add(within) {
			c.fallIll(a, i, fmt.Sprintf("check %q did not pass within %s", check.Name, within)+a.said(i, check.Name))
			return
		}
		a.dueAt(st.Started.Add(within))
	}
}

// maxRun is the longest that a run of the task may take; 0: no limit.
func maxRun(t *spec.Task) spec.Duration {
	if t.MaxRun == 0 && t.Lifecycle == spec.LifecyclePoststop {
		return spec.DefaultPoststopMaxRun
	}
	return t.MaxRun
}

// fallIll decides that a task stops for a reason of its own.
func (c *Core) fallIll(a *allocation, i int, reason string) {
	a.Tasks[i].Ill = reason
	a.Status.Tasks[i].Reason = reason
	a.touch()
}

// said is the last answer of a check, as the end of a sentence.
func (a *allocation) said(i int, check string) string {
	for _, r := range a.Status.Tasks[i].Checks {
		if r.Check == check && r.Output != "" {
			return ": " + r.Output
		}
	}
	return ""
}
