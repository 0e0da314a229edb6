package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// nextFirings is how many firings of a schedule a plan shows.
const nextFirings = 3

// readRuns carries the runs on and makes each that is under way an app of its own. It costs a cluster without runs
// nothing.
func (w *world) readRuns() {
	if len(w.templates)+len(w.in.Runs)+len(w.in.Agendas) == 0 {
		return
	}
	slices.SortFunc(w.templates, func(a, b runs.Template) int { return cmp.Compare(a.App.Name, b.App.Name) })
	w.runs = runs.Advance(&runs.Facts{
		Now: w.in.Now, Commit: w.in.Commit, Templates: w.templates, Runs: w.in.Runs, Agendas: w.in.Agendas,
		Prune: w.in.Desired.Sync.Prune, Progress: w.progressOf, Renamed: w.nowCalled, Originals: w.in.Originals,
	})
	w.events = append(w.events, w.runs.Events...)
	for i := range w.runs.Active {
		r := &w.runs.Active[i]
		x := w.app(r.Name)
		x.run, x.held = r, w.in.Held[r.App]
		if a := w.runs.Versions[r.Version]; a != nil {
			x.desired = w.addVersion(a, r.Version, "")
		} else {
			x.desired = w.known(r.Version)
		}
	}
	for i := range w.runs.Ending {
		w.app(w.runs.Ending[i].Name).run = &w.runs.Ending[i]
	}
	slices.SortFunc(w.apps, func(a, b *app) int { return cmp.Compare(a.name, b.name) })
}

// nowCalled returns what moved blocks call an app that the commit has no more.
func (w *world) nowCalled(name spec.AppName) spec.AppName {
	if to := spec.NewName(w.in.Desired.Moved, name, w.hasTemplate); w.hasTemplate(to) {
		return to
	}
	return name
}

func (w *world) hasTemplate(name spec.AppName) bool {
	return slices.ContainsFunc(w.templates, func(t runs.Template) bool { return t.App.Name == name })
}

// progressOf looks at the allocations of a run.
func (w *world) progressOf(r *spec.Run) runs.Progress {
	var p runs.Progress
	x := w.byName[r.Name]
	if x == nil {
		return p
	}
	most, done := spec.DefaultMaxAttempts, 0
	v := w.known(r.Version)
	if v != nil && v.app.Reschedule.MaxAttempts > 0 {
		most = v.app.Reschedule.MaxAttempts
	}
	for i := range x.views {
		a := &x.views[i]
		if !a.State.Terminal() {
			p.Live++
		}
		if a.Want != spec.WantRun || i+1 < len(x.views) && x.views[i+1].Index == a.Index {
			continue // not the newest of its slot
		}
		switch {
		case a.State == spec.StateComplete:
			done++
		case a.State == spec.StateFailed && a.Attempt+1 >= most:
			p.Failed = a.Slot.String() + " failed: " + a.Reason
		}
	}
	p.Done = v != nil && done >= v.app.Count
	return p
}

// advanceRun settles what a run waits for outside of its runs. It has one version for good, so there is no rollout. What
// has begun waits no more: what it depends on may be replaced, or fail, while it works.
func (w *world) advanceRun(x *app) {
	x.version = x.desired
	w.classify(x, x.desired)
	waiting, patient := w.dependencies(x)
	if waiting == "" || len(x.views) > 0 {
		return
	}
	x.waiting = waiting
	if at := x.run.Started.Add(patient); w.in.Now < at {
		w.wake(at)
		return
	}
	w.failRun(x, fmt.Sprintf(reasonRunPatience, patient, waiting))
}

// failRun ends a run that the records do not know to have failed yet.
func (w *world) failRun(x *app, why string) {
	x.run.State, x.run.Reason, x.run.Ended = spec.RunFailed, why, w.in.Now
	w.runs.Change.Put = runs.Put(w.runs.Change.Put, *x.run)
	w.tell(string(x.name), "run failed", why)
	x.desired, x.allocs = nil, nil
}

// endRun stops what is left of a run that has ended.
func (w *world) endRun(x *app) {
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
			continue
		}
		x.allocs = append(x.allocs, rollout.Alloc{AllocationView: a, Fit: rollout.Outdated})
	}
	for i := range x.allocs {
		a := &x.allocs[i]
		x.out.Steps = append(x.out.Steps, rollout.Step{Slot: a.Index, Kind: spec.ChangeStop, Old: a, Now: true, Reason: w.whyEnded(x)})
	}
}

func (w *world) whyEnded(x *app) string {
	if x.run.Reason == "" {
		return reasonRunDone
	}
	return "the run has ended: " + x.run.Reason
}

// pruned reports whether a run ends because its app left the repository.
func (w *world) pruned(x *app) bool {
	return x.run != nil && x.run.State == spec.RunCancelled && !w.hasTemplate(x.run.App)
}

// schedules says what the commit does to apps with runs.
func (w *world) schedules() []spec.SchedulePlan {
	var out []spec.SchedulePlan
	had := make(map[spec.AppName]*spec.Agenda, len(w.in.Agendas))
	for i := range w.in.Agendas {
		a := &w.in.Agendas[i]
		had[w.nowCalled(a.App)] = a
		if !w.hasTemplate(w.nowCalled(a.App)) {
			out = append(out, spec.SchedulePlan{App: a.App, Action: spec.ScheduleRemoved, Active: w.activeRuns(a.App)})
		}
	}
	for i := range w.templates {
		t := &w.templates[i]
		p := spec.SchedulePlan{App: t.App.Name, Action: spec.ScheduleNew, Spec: t.App.Schedule, Next: w.firings(t.App.Schedule), Pos: t.App.Pos}
		if t.Root != t.App.Name {
			p.Root = t.Root
		}
		if a := had[t.App.Name]; a != nil {
			if a.Version == t.Hash {
				continue
			}
			p.Action, p.Active = spec.ScheduleChanged, w.activeRuns(t.App.Name)
			if v := w.known(a.Version); v != nil {
				p.Fields = differences(v.app, t.App, func(string) string { return effectNextRun })
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b spec.SchedulePlan) int { return cmp.Compare(a.App, b.App) })
	return out
}

func (w *world) activeRuns(app spec.AppName) []spec.AppName {
	var out []spec.AppName
	for i := range w.in.Runs {
		if r := &w.in.Runs[i]; w.nowCalled(r.App) == w.nowCalled(app) && !r.State.Ended() {
			out = append(out, r.Name)
		}
	}
	return out
}

// firings returns the next firings of a schedule.
func (w *world) firings(s *spec.Schedule) []spec.Time {
	if s == nil || s.Cron == "" || !s.Enabled {
		return nil
	}
	clock, err := cron.Parse(s.Cron, s.Timezone)
	if err != nil {
		return nil
	}
	var out []spec.Time
	at := w.in.Now
	for range nextFirings {
		at, _ = clock.Next(at)
		out = append(out, at)
	}
	return out
}
