package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
)

// fairTurns bounds how many turns fair sharing takes when not all fits, beyond one for each app: below twice as many
// placements each is a turn of its own and the order is exact; above, a turn serves several allocations of one app, and
// nobody is ahead by more than that.
const fairTurns = 1024

// placeFairly places the jobs that can start now, highest priority first. Within a priority all are placed if all fit;
// if not, shares decide who waits.
func (w *world) placeFairly(jobs []*job) {
	slices.SortStableFunc(jobs, byImportance)
	for len(jobs) > 0 {
		n := 1
		for n < len(jobs) && jobs[n].version.app.Priority == jobs[0].version.app.Priority {
			n++
		}
		more := w.placeBand(jobs[:n:n])
		jobs = append(jobs[n:len(jobs):len(jobs)], more...)
		slices.SortStableFunc(jobs, byImportance)
	}
}

// placeBand places jobs of one priority, and returns those that preemption makes.
func (w *world) placeBand(jobs []*job) []*job {
	var saved *saved
	if len(jobs) > 1 {
		saved = w.save(jobs)
	}
	missed := make([][]*rollout.Step, len(jobs))
	some, all := false, true
	for _, t := range w.turns(jobs) {
		lost := w.placeJob(&job{x: jobs[t.job].x, version: jobs[t.job].version, steps: t.steps})
		missed[t.job] = append(missed[t.job], lost...)
		some = some || len(lost) < len(t.steps)
		all = all && len(lost) == 0
		if saved != nil && some && !all {
			break // shares decide
		}
	}
	if saved != nil && some && !all {
		w.restore(saved)
		missed = w.share(jobs)
	}
	var more []*job
	for i, j := range jobs {
		left := missed[i]
		if w.in.Desired.Preemption && len(left) > 0 && j.x.held == "" {
			var victims []*job
			left, victims = w.preempt(j, left)
			more = append(more, victims...)
		}
		for _, s := range left {
			j.x.missed = append(j.x.missed, *s)
		}
	}
	return more
}

// share serves the jobs in turns: each time the app that is next in the order of shares gets something.
func (w *world) share(jobs []*job) [][]*rollout.Step {
	waiting := map[*party][]int{}
	total := 0
	for i, j := range jobs {
		p := w.roles.byApp[j.x]
		waiting[p] = append(waiting[p], i)
		w.roles.enter(p, len(j.steps), j.version.need)
		total += len(j.steps)
	}
	w.roles.line(w.roles.root)
	chunk := max(1, total/fairTurns)
	missed, done := make([][]*rollout.Step, len(jobs)), make([]int, len(jobs))
	for p := w.roles.next(); p != nil; p = w.roles.next() {
		i := waiting[p][0]
		j := jobs[i]
		n := len(j.steps) - done[i]
		if !j.version.app.Gang { // a gang takes its turn as one
			n = min(chunk, n)
		}
		lost := w.placeJob(&job{x: j.x, version: j.version, steps: j.steps[done[i] : done[i]+n]})
		missed[i] = append(missed[i], lost...)
		done[i] += n
		if rest := j.steps[done[i]:]; len(lost) == n && plain(rest) {
			// What did not fit once does not fit again: all that follow ask for the same.
			missed[i] = append(missed[i], rest...)
			n += len(rest)
			done[i] = len(j.steps)
		}
		if done[i] == len(j.steps) {
			waiting[p] = waiting[p][1:]
		}
		w.roles.advance(p, n)
	}
	return missed
}

// plain reports whether the steps ask for nothing but a node.
func plain(steps []*rollout.Step) bool {
	return !slices.ContainsFunc(steps, func(s *rollout.Step) bool { return s.Old != nil || s.Node != "" })
}

// saved is what placing a band changes, so that it can be taken back.
type saved struct {
	fleet *place.Snapshot
	apps  []savedApp
	used  []int64 // of all parties, one after another, and how many were placed
	total rollout.Total
	kept  [][]int64 // what each owner of reservations uses
}

type savedApp struct {
	x       *app
	changes int
	own     []int32
	going   []int32
	spare   int
	held    string
	beside  []rollout.Beside // of its steps
}

func (w *world) save(jobs []*job) *saved {
	s := &saved{fleet: w.fleet.Save()}
	if w.total != nil {
		s.total = *w.total
	}
	s.kept = w.reserved.save()
	w.roles.root.each(func(p *party) { s.used = append(append(s.used, p.used...), int64(p.placed)) })
	for i, j := range jobs {
		if i > 0 && jobs[i-1].x == j.x {
			continue
		}
		a := savedApp{x: j.x, changes: len(j.x.changes), own: slices.Clone(w.ownOf(j.x)), going: slices.Clone(j.x.going), spare: j.x.out.Spare, held: j.x.held}
		for k := range j.x.out.Steps {
			a.beside = append(a.beside, j.x.out.Steps[k].Beside)
		}
		s.apps = append(s.apps, a)
	}
	return s
}

func (w *world) restore(s *saved) {
	w.fleet.Restore(s.fleet)
	w.reserved.restore(s.kept)
	if w.total != nil {
		*w.total = s.total
	}
	at := 0
	w.roles.root.each(func(p *party) {
		at += copy(p.used, s.used[at:at+len(p.used)])
		p.placed = int(s.used[at])
		at++
	})
	for _, a := range s.apps {
		if a.x.held != a.held {
			continue // its policy failed, and would again
		}
		a.x.changes, a.x.own, a.x.going, a.x.out.Spare = a.x.changes[:a.changes], a.own, a.going, a.spare
		for k := range a.beside {
			a.x.out.Steps[k].Beside = a.beside[k]
		}
	}
}
