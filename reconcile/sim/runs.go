package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// runCommands are about the runs of batch apps.
var runCommands = map[string]handler{
	"begin":    {1, (*player).begin},
	"dispatch": {1, (*player).dispatch},
	"cancel":   {1, (*player).cancel},
}

// begin sets the clock at which all begins: the first command only, see scenario.play.
func (p *player) begin(args []string) error {
	if at, err := time.Parse(time.RFC3339, args[0]); err != nil || p.world.now != spec.TimeOf(at) {
		return fmt.Errorf("begin stands first in a scenario, with a time such as 2026-03-28T12:00:00Z")
	}
	return nil
}

// beginning is when a scenario begins.
func (s *scenario) beginning() spec.Time {
	if len(s.commands) > 0 && s.commands[0].args[0] == "begin" && len(s.commands[0].args) > 1 {
		if at, err := time.Parse(time.RFC3339, s.commands[0].args[1]); err == nil && spec.TimeOf(at) >= epoch {
			return spec.TimeOf(at)
		}
	}
	return epoch
}

// dispatch asks for a run. A parameter called token is the token.
func (p *player) dispatch(args []string) error {
	e := control.Dispatch{App: spec.AppName(args[0]), By: "operator"}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			return fmt.Errorf("%q is no parameter: write it as KEY=VALUE", arg)
		case key == "token":
			e.Token = value
			continue
		case e.Parameters == nil:
			e.Parameters = map[string]string{}
		}
		e.Parameters[key] = value
	}
	return p.ask(func(r control.Request) control.Event { e.Request = r; return e })
}

// cancel ends a run by its name, or all of an app that are under way.
func (p *player) cancel(args []string) error {
	names := []spec.AppName{spec.AppName(args[0])}
	if core := p.world.master.core; core.Run(names[0]) == nil && core.App(names[0]) != nil {
		names = nil
		for _, r := range core.State().Runs {
			if string(r.App) == args[0] && !r.State.Ended() {
				names = append(names, r.Name)
			}
		}
	}
	for _, n := range names {
		if err := p.ask(func(r control.Request) control.Event { return control.Cancel{Request: r, Run: n, By: "operator"} }); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) expectRuns(args []string) error {
	return number([]string{args[0], args[2]}, func(app string) int {
		n := 0
		for _, r := range p.world.master.core.State().Runs {
			if string(r.App) == app && string(r.State) == args[1] {
				n += max(1, r.Firings)
			}
		}
		return n
	})
}

func (p *player) expectNext(args []string) error {
	got := "none"
	for _, a := range p.world.master.core.State().Agendas {
		if string(a.App) == args[0] && a.Next != 0 {
			got = a.Next.Std().Format(time.RFC3339)
		}
	}
	if got != args[1] {
		return fmt.Errorf("found %s", got)
	}
	return nil
}

func showRuns(core *control.Core) table {
	t := table{head: []string{"run", "state", "scheduled", "started", "ended", "reason"}}
	clock := func(at spec.Time) string {
		if at == 0 {
			return "-"
		}
		return at.Std().Format(time.RFC3339)
	}
	for _, v := range core.Runs() {
		for _, r := range v.Runs {
			reason := r.Reason
			if r.Firings > 1 {
				reason = strconv.Itoa(r.Firings) + " firings: " + reason
			}
			t.add(r, r.Name, r.State, clock(r.Scheduled), clock(r.Started), clock(r.Ended), reason)
		}
	}
	return t
}

// checkAlone looks for another run of the same beginning that works where the master can see it.
func (w *world) checkAlone(a *activity) {
	run := a.app.Run
	if run == nil || !w.master.up || !w.settledOn(a.machine) {
		return
	}
	root := w.master.core.Run(spec.RunName(run.Root, run.Key))
	if root == nil || !root.Alone {
		return
	}
	for _, m := range w.machines {
		if !w.settledOn(m) {
			continue
		}
		for _, id := range sortedKeys(m.usage.running) {
			if o := m.usage.running[id].app.Run; o != nil && o.Root == run.Root && o.Key != run.Key {
				w.violated("%s: %s is started while %s runs", invariantAlone, a.alloc.ID, id)
			}
		}
	}
}

// checkFirings goes through the journal: whenever an agenda moved on, each firing in between has its record in the same
// entry, once.
func (w *world) checkFirings() {
	agendas, seen := map[spec.AppName]spec.Agenda{}, map[spec.AppName]spec.Time{}
	for i := range w.master.journal {
		e := &w.master.journal[i]
		if e.Decided == nil || e.Decided.Runs == nil {
			continue
		}
		recorded := map[spec.AppName]int{}
		for _, r := range e.Decided.Runs.Put {
			if at, again := seen[r.Name]; r.Trigger != spec.TriggerSchedule || again && at == r.Created {
				continue // it goes on
			} else if again {
				w.violated("%s: %s is made twice", invariantFirings, r.Name)
			}
			seen[r.Name] = r.Created
			recorded[r.App] += max(1, r.Firings)
		}
		for _, a := range e.Decided.Runs.Agendas {
			old := agendas[a.App]
			agendas[a.App] = a
			if old.Handled == 0 || a.Cron != old.Cron || a.Timezone != old.Timezone {
				continue
			}
			if a.Handled < old.Handled {
				w.violated("%s: the agenda of %s went back", invariantFirings, a.App)
			}
			clock, err := cron.Parse(a.Cron, a.Timezone)
			if err != nil {
				w.violated("%s: %v", invariantFirings, err)
				return
			}
			if _, due := clock.Last(old.Handled, a.Handled, 1_000_000); due != recorded[a.App] {
				w.violated("%s: %d firings of %s were due until %s, %d have a record", invariantFirings, due, a.App, a.Handled.Std(), recorded[a.App])
			}
		}
	}
}
