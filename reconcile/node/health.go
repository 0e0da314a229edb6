package node

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// probe sees to it that exactly those of the spec's checks are asked of a running task that are due: those that say whether it has started
// until they do, and then the others.
func (c *Core) probe(a *allocation, i int) {
	var want []spec.Check
	for _, check := range a.App.Tasks[i].Checks {
		if check.Start != a.Tasks[i].Up {
			want = append(want, check)
		}
	}
	live := &a.live[i]
	keep := live.probing[:0:0]
	for _, p := range live.probing {
		if checkIndex(want, p.Name) < 0 {
			c.act(Unprobe{a.run(i), p.Name})
			continue
		}
		keep = append(keep, p)
	}
	live.probing = keep
	for _, check := range want {
		k := slices.IndexFunc(live.probing, func(c spec.Check) bool { return c.Name == check.Name })
		switch {
		case k < 0:
			live.probing = append(live.probing, check)
		case same(live.probing[k], check):
			continue
		default:
			live.probing[k] = check
		}
		c.act(Probe{a.run(i), check, a.Decided})
	}
}

func same(a, b spec.Check) bool { return reflect.DeepEqual(a, b) }

func hasStart(t *spec.Task) bool {
	return slices.ContainsFunc(t.Checks, func(c spec.Check) bool { return c.Start })
}

// up reports whether a task has started: every check that says so has passed once.
func (a *allocation) up(i int) bool { return a.Tasks[i].Up || !hasStart(&a.App.Tasks[i]) }

// unprobe ends all checks of a task.
func (c *Core) unprobe(a *allocation, i int) {
	for _, p := range a.live[i].probing {
		c.act(Unprobe{a.run(i), p.Name})
	}
	a.live[i].probing = nil
}

func checkIndex(checks []spec.Check, name string) int {
	return slices.IndexFunc(checks, func(c spec.Check) bool { return c.Name == name })
}

// onChecked takes one verdict of a check.
func (c *Core) onChecked(e Checked) {
	a, i, ok := c.present(e.Run)
	if !ok {
		return
	}
	if !slices.ContainsFunc(a.live[i].probing, func(c spec.Check) bool { return c.Name == e.Check }) {
		return
	}
	st := &a.Status.Tasks[i]
	r := slices.IndexFunc(st.Checks, func(r spec.Result) bool { return r.Check == e.Check })
	now := spec.Result{Check: e.Check, Passing: e.Passing, Output: firstLine(e.Output), Since: c.now, Row: e.Row}
	if r < 0 {
		st.Checks = append(st.Checks, now)
	} else {
		was := st.Checks[r]
		if was.Passing == now.Passing {
			now.Since = was.Since
			if now.Passing {
				now.Output = was.Output
			}
		}
		if was == now {
			return
		}
		st.Checks[r] = now
	}
	a.changed = true
	c.follow(a, i, e)
}

// follow does what follows from the answer of a check.
func (c *Core) follow(a *allocation, i int, e Checked) {
	rec, t := &a.Tasks[i], &a.App.Tasks[i]
	check := &t.Checks[checkIndex(t.Checks, e.Check)]
	if !rec.Up && !slices.ContainsFunc(t.Checks, func(c spec.Check) bool { return c.Start && !a.passes(i, c.Name) }) {
		rec.Up = true
		a.touch()
		c.probe(a, i)
	}
	if check.Restart && !e.Passing && e.Row >= check.Failures && rec.Asked == 0 && rec.Ill == "" && !a.ending() {
		c.fallIll(a, i, fmt.Sprintf("check %q failed %s in a row", check.Name, times(e.Row))+a.said(i, check.Name))
	}
	c.judge(a)
	c.advance(a)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// lastLine is the last line of an output that says something.
func lastLine(text string) string {
	text = strings.TrimRight(text, "\r\n\t ")
	return firstLine(text[strings.LastIndexAny(text, "\r\n")+1:])
}

// firstLine is the first line of what a task or somebody it talks to wrote. It goes to people's terminals: nothing is left in it that these obey.
func firstLine(text string) string {
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		text = text[:i]
	}
	return spec.Saying(text, spec.MaxOutput)
}

// judge says whether the allocation is healthy: it runs with all its main tasks, all of them have started and none stops, and every gate
// check passes.
func (c *Core) judge(a *allocation) {
	healthy := a.Status.State == spec.StateRunning && !c.blank
	for i := range a.Tasks {
		if !healthy {
			break
		}
		if a.main(i) && !(a.running(i) && a.Tasks[i].Asked == 0) && !a.Tasks[i].Finished || a.running(i) && !a.up(i) {
			healthy = false
		}
		for _, check := range a.App.Tasks[i].Checks {
			if check.Gate && !a.passes(i, check.Name) {
				healthy = false
			}
		}
	}
	if healthy == a.Status.Healthy {
		return
	}
	a.Status.Healthy, a.Status.HealthySince = healthy, 0
	if healthy {
		a.Status.HealthySince = c.now
	}
	a.touch()
}

func (a *allocation) passes(i int, check string) bool {
	for _, r := range a.Status.Tasks[i].Checks {
		if r.Check == check {
			return r.Passing
		}
	}
	return false
}
