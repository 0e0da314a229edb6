package master

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

const (
	// restless is how long tasks that ended again and again have to run before that is history.
	restless = 10 * spec.Minute
	// patient is how long a task that runs may fail its checks before a person is told.
	patient = 10 * spec.Second
)

// of returns where the allocations of an app begin and end.
func (s *snapshot) of(app spec.AppName) (first, end int) {
	first, _ = slices.BinarySearchFunc(s.allocations, app, func(a spec.AllocationView, n spec.AppName) int { return cmp.Compare(a.App, n) })
	for end = first; end < len(s.allocations) && s.allocations[end].App == app; end++ {
	}
	return first, end
}

// loops returns the slots of an app whose tasks end again and again, also while they run between two ends or wait for their next
// attempt. One restart may happen to anybody; a slot that waits for its next attempt is told of after the first end.
func (s *snapshot) loops(app spec.AppName) (list []api.Loop) {
	first, end := s.of(app)
	for i := first; i < end; {
		j := i + 1
		for j < end && s.allocations[j].Slot == s.allocations[i].Slot {
			j++
		}
		if l, ok := s.loop(i, j); ok {
			list = append(list, l)
		}
		i = j
	}
	return list
}

// loop looks at the allocations of one slot, oldest first.
func (s *snapshot) loop(first, end int) (l api.Loop, ok bool) {
	newest := end - 1
	for newest >= first && s.allocations[newest].Want == spec.WantStop {
		newest--
	}
	if newest < first {
		return l, false
	}
	a := &s.allocations[newest]
	waits := s.retried(newest)
	if a.State.Terminal() && !waits || runsWell(a, s.at) {
		return l, false
	}
	l = api.Loop{Slot: a.Slot, Allocation: a.ID, Node: a.Node, Since: a.Placed}
	if app := s.spec(a.App); waits && app != nil {
		l.Next = rollout.Retry(app, a)
	}
	for k := newest; k >= first; k-- {
		b := &s.allocations[k]
		if b.Want == spec.WantStop || b.Version != a.Version {
			continue
		}
		l.Since = b.Placed
		l.Ends += b.Restarts
		if s.hasFailed(b) {
			l.Ends++
		}
		learn(&l, b)
		if b.Attempt == 0 {
			break
		}
	}
	return l, l.Ends > 1 || waits
}

// learn adds to a loop how an allocation of it ended, as far as no newer one has told.
func learn(l *api.Loop, a *spec.AllocationView) {
	why, said := "", ""
	for i := range a.Tasks {
		t := &a.Tasks[i]
		if t.Exit != nil && (t.Restarts > 0 || a.State.Terminal()) {
			l.Last = max(l.Last, t.Finished)
		}
		if said == "" {
			said = t.Output
		}
		if t.Restarts == 0 || why != "" {
			continue
		}
		if t.State != spec.StateRunning {
			why = t.Reason
		}
		if why == "" && t.Exit != nil {
			why = t.Exit.String()
		}
		if len(a.Tasks) > 1 && why != "" {
			why = "task " + string(t.Name) + ": " + why
		}
	}
	if a.State.Terminal() {
		l.Last = max(l.Last, a.Since)
		why, said = cmp.Or(a.Trouble(), why), cmp.Or(a.Said(), said)
	}
	if l.Why == "" && why != "" {
		l.Why, l.Logs = why, cmp.Or(a.Logs(a.ID), string(a.ID))
	}
	l.Said = cmp.Or(l.Said, said)
}

// runsWell reports whether all tasks of an allocation have run for so long that what was before is history.
func runsWell(a *spec.AllocationView, now spec.Time) bool {
	if a.State != spec.StateRunning {
		return false
	}
	for i := range a.Tasks {
		if t := &a.Tasks[i]; t.State != spec.StateComplete && (t.State != spec.StateRunning || now.Sub(t.Started) < restless) {
			return false
		}
	}
	return true
}

// hasFailed reports whether an allocation ended that should not have: a service that ends by itself has failed at being one.
func (s *snapshot) hasFailed(a *spec.AllocationView) bool {
	if a.Want != spec.WantRun {
		return false
	}
	app := s.spec(a.App)
	return a.State == spec.StateFailed || a.State == spec.StateComplete && app != nil && app.Kind != spec.KindBatch
}

// retried reports whether an allocation is the one after whose end its slot waits for its next attempt.
func (s *snapshot) retried(i int) bool {
	a := &s.allocations[i]
	if !s.hasFailed(a) || i+1 < len(s.allocations) && s.allocations[i+1].Slot == a.Slot {
		return false
	}
	app := s.spec(a.App)
	return app != nil && (app.Kind == spec.KindSystem || a.Index < app.Count)
}

// spec is the app as it is desired; nil when it is not.
func (s *snapshot) spec(app spec.AppName) *spec.App {
	if i := s.indexOf(app); i >= 0 && i < len(s.specs) {
		return s.specs[i]
	}
	return nil
}

// looping is what is told of slots whose tasks end again and again.
func looping(app spec.AppName, loops []api.Loop) api.Problem {
	l := loops[0] // the worst
	for i := range loops {
		if loops[i].Ends > l.Ends {
			l = loops[i]
		}
	}
	what := fmt.Sprintf("%s keeps ending: %s", l.Slot, l.Why)
	if l.Ends == 1 {
		what = fmt.Sprintf("%s failed on %s and waits for its next attempt: %s", l.Slot, l.Node, l.Why)
	}
	what += saidLast(l.Said)
	if n := len(loops) - 1; n > 0 {
		what += more(n)
	}
	return api.Problem{Subject: string(app), What: what, Remedy: logsOf(l.Logs, "stowage explain "+l.Slot.String()), Loop: &l}
}

// sayLoops gives allocations whose slots are in a loop, and of which nothing else is wrong at this moment, a reason that says so.
func (s *snapshot) sayLoops(list []spec.AllocationView, now spec.Time) {
	for i := 0; i < len(list); {
		loops := s.loops(list[i].App)
		app := list[i].App
		for ; i < len(list) && list[i].App == app; i++ {
			a := &list[i]
			k := slices.IndexFunc(loops, func(l api.Loop) bool { return l.Allocation == a.ID })
			switch {
			case k < 0:
			case loops[k].Next != 0:
				a.Reason += "; tried again " + in(loops[k].Next, now)
			case a.Trouble() == "":
				a.Reason = fmt.Sprintf("keeps ending, %s so far: %s", times(loops[k].Ends), loops[k].Why)
			}
		}
	}
}

// in is a moment to come in a sentence: "in 30s".
func in(at, now spec.Time) string {
	if at <= now {
		return "now"
	}
	left := at.Sub(now)
	return "in " + (left - left%spec.Second + spec.Second).String()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// ailing returns the first slot of an app whose allocation fails its checks, and what is wrong with it; "" when there is none. A check may
// take its time at the beginning.
func (s *snapshot) ailing(app spec.AppName) (slot spec.Slot, what string) {
	first, end := s.of(app)
	for i := first; i < end; i++ {
		a := &s.allocations[i]
		if a.State.Terminal() || a.Want != spec.WantRun {
			continue
		}
		for k := range a.Tasks {
			if what := s.complaint(&a.Tasks[k]); what != "" {
				return a.Slot, fmt.Sprintf("%s: task %s %s", a.Slot, a.Tasks[k].Name, what)
			}
		}
	}
	return slot, ""
}

func (s *snapshot) complaint(t *spec.TaskStatus) string {
	for i := range t.Checks {
		c := &t.Checks[i]
		if t.State == spec.StateRunning && !c.Passing && s.at.Sub(max(c.Since, t.Started)) >= patient {
			return strings.TrimSuffix(fmt.Sprintf("fails check %s: %s", c.Check, c.Output), ": ")
		}
	}
	return ""
}
