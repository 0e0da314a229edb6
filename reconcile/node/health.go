package node

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// probe sees to it that exactly the spec's checks of a running task are asked.
func (c *Core) probe(a *allocation, i int) {
	want := a.App.Tasks[i].Checks
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

func same(a, b spec.Check) bool {
	if !slices.Equal(a.Command, b.Command) {
		return false
	}
	a.Command, b.Command = nil, nil
	return a.Name == b.Name && a.Type == b.Type && a.Port == b.Port && a.Path == b.Path && a.Interval == b.Interval &&
		a.Timeout == b.Timeout && a.Failures == b.Failures && a.Gate == b.Gate
}

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
	if r < 0 {
		st.Checks = append(st.Checks, spec.Result{Check: e.Check, Passing: e.Passing, Output: firstLine(e.Output), Since: c.now})
		c.judge(a)
		a.changed = true
		return
	}
	result := &st.Checks[r]
	if result.Passing != e.Passing {
		result.Passing, result.Since, result.Output = e.Passing, c.now, firstLine(e.Output)
		c.judge(a)
		a.changed = true
	} else if out := firstLine(e.Output); !e.Passing && out != result.Output {
		result.Output, a.changed = out, true
	}
}

// maxOutput bounds what is told of a check's answer, in bytes.
const maxOutput = 200

func firstLine(text string) string {
	for i := range text {
		if text[i] == '\n' || text[i] == '\r' {
			text = text[:i]
			break
		}
	}
	if len(text) <= maxOutput {
		return text
	}
	cut := maxOutput
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		cut--
	}
	return text[:cut]
}

// judge says whether the allocation is healthy: it runs with all its main tasks, and every gate check passes.
func (c *Core) judge(a *allocation) {
	healthy := a.Status.State == spec.StateRunning && !c.blank
	for i := range a.Tasks {
		if !healthy {
			break
		}
		if a.main(i) && !a.running(i) && !a.Tasks[i].Finished {
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
