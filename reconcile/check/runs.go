package check

import (
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// runs looks at what a plan does with runs: what it records, and that it starts allocations of none but those under way.
func (c *checker) runs(r reconcile.Report) {
	all := map[spec.AppName]spec.Run{}
	for _, x := range c.in.Runs {
		all[x.Name] = x
	}
	if r.Runs != nil {
		c.recorded(r, all)
	}
	scheduled := map[spec.AppName]*spec.App{}
	for _, a := range c.in.Desired.Apps {
		if a.Schedule != nil {
			scheduled[a.Name] = a
		}
	}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !starts(ch) {
			return
		}
		x, isRun := all[ch.App]
		switch app := c.apps[ch.Version]; {
		case scheduled[ch.App] != nil:
			c.report("runs", ch.Slot.String(), "an app with a schedule gets an allocation of its own")
		case isRun && x.State != spec.RunRunning:
			c.report("runs", ch.Slot.String(), "its run is %s, and yet it starts", x.State)
		case isRun && ch.Version != x.Version:
			c.report("runs", ch.Slot.String(), "its run has version %s, and it gets %s", x.Version, ch.Version)
		case !isRun && app != nil && app.Run != nil:
			c.report("runs", ch.Slot.String(), "there is no record of its run")
		}
	})
	c.overlaps(all, scheduled)
}

// recorded looks at each new record beside the old one.
func (c *checker) recorded(r reconcile.Report, all map[spec.AppName]spec.Run) {
	if r.Runs.Empty() {
		c.report("runs", "the plan", "it records nothing of runs, and says so")
	}
	for _, x := range r.Runs.Put {
		old, known := all[x.Name]
		switch {
		case known && old.State.Ended():
			c.report("runs", string(x.Name), "it was %s, and is recorded as %s", old.State, x.State)
		case known && old.State == spec.RunRunning && x.State == spec.RunWaiting:
			c.report("runs", string(x.Name), "it was running, and waits again")
		case known && (old.Version != x.Version || old.Key != x.Key || old.Scheduled != x.Scheduled):
			c.report("runs", string(x.Name), "it became another run")
		case x.State.Ended() && (x.Ended == 0 || x.State != spec.RunComplete && x.Reason == ""):
			c.report("reason", string(x.Name), "it is %s without a time or a reason", x.State)
		case !x.State.Ended() && c.apps[x.Version] == nil:
			c.report("runs", string(x.Name), "its version %s is not known", x.Version)
		case !strings.HasPrefix(string(x.Name), string(x.App)+"/") && !known:
			c.report("runs", string(x.Name), "it is not named after %s", x.App)
		}
		all[x.Name] = x
	}
	for _, n := range r.Runs.Drop {
		if x, ok := all[n]; ok && !x.State.Ended() {
			c.report("runs", string(n), "it is forgotten while it is %s", x.State)
		}
		delete(all, n)
	}
	for _, a := range r.Runs.Agendas {
		if a.Next != 0 && a.Next <= a.Handled {
			c.report("runs", string(a.App), "its next firing has been handled")
		}
	}
}

// overlaps counts the beginnings under way of each schedule that allows one.
func (c *checker) overlaps(all map[spec.AppName]spec.Run, scheduled map[spec.AppName]*spec.App) {
	keys := map[spec.AppName][]string{}
	for _, x := range all { // any order: sets are made
		if x.State == spec.RunRunning && !slices.Contains(keys[x.Root], x.Key) {
			keys[x.Root] = append(keys[x.Root], x.Key)
		}
	}
	for _, a := range c.in.Desired.Apps {
		alone := scheduled[a.Name] != nil && a.Schedule.Overlap != spec.OverlapAllow
		for _, k := range keys[a.Name] {
			alone = alone && all[spec.RunName(a.Name, k)].Alone // those begun under other rules go on
		}
		if n := len(keys[a.Name]); alone && n > 1 {
			c.report("runs", string(a.Name), "%d runs are under way, and overlap is %s", n, a.Schedule.Overlap)
		}
	}
}
