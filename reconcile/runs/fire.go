package runs

import (
	"fmt"
	"slices"
	"time"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// MaxCounted bounds how many missed firings are counted one by one.
const MaxCounted = 1000

// follow brings the agendas up to now.
func (m *machine) follow() {
	byApp := make(map[spec.AppName]spec.Agenda, len(m.f.Agendas))
	for _, a := range m.f.Agendas {
		to := m.f.Renamed(a.App)
		if m.template(to) == nil || to != a.App {
			m.out.Change.Gone = append(m.out.Change.Gone, a.App)
		}
		a.App = to
		byApp[to] = a
	}
	for i := range m.f.Templates {
		t := &m.f.Templates[i]
		old, known := byApp[t.App.Name]
		a := m.agenda(t, old, known)
		if !known || a != old || m.isNew(a.App) {
			m.out.Change.Agendas = append(m.out.Change.Agendas, a)
			m.out.Versions[t.Hash] = t.App
		}
		m.wake(a.Next)
	}
}

// isNew reports whether the agenda of that name is not among the old ones: a moved block renamed it.
func (m *machine) isNew(app spec.AppName) bool {
	_, ok := slices.BinarySearchFunc(m.f.Agendas, app, func(a spec.Agenda, n spec.AppName) int { return compareNames(a.App, n) })
	return !ok
}

// agenda follows one app: it fires what is due.
func (m *machine) agenda(t *Template, old spec.Agenda, known bool) spec.Agenda {
	a := old
	a.App, a.Version = t.App.Name, t.Hash
	s := t.App.Schedule
	if s == nil || s.Cron == "" || !s.Enabled {
		a.Cron, a.Timezone, a.Handled, a.Next = "", "", 0, 0
		return a
	}
	same := known && a.Cron == s.Cron && a.Timezone == s.Timezone && a.Handled != 0
	if same && m.f.Now < a.Next {
		return a
	}
	clock, err := cron.Parse(s.Cron, s.Timezone)
	if err != nil { // refused when the commit was read; a framework driver may know better
		a.Next = 0
		return a
	}
	if same {
		m.due(t, clock, a.Handled)
	}
	a.Cron, a.Timezone, a.Handled = s.Cron, s.Timezone, m.f.Now
	a.Next, _ = clock.Next(m.f.Now)
	return a
}

// due deals with all firings after handled and up to now: the newest that can be made up for fires, the others are missed.
func (m *machine) due(t *Template, clock *cron.Schedule, handled spec.Time) {
	s := t.App.Schedule
	from := max(handled, m.f.Now.Add(-s.CatchUp)-1)
	missed, n := clock.Last(handled, from, MaxCounted)
	newest, k := clock.Last(from, m.f.Now, MaxCounted)
	if k > 1 {
		n += k - 1
		missed, _ = clock.Last(from, newest-1, MaxCounted)
	}
	if n > 0 {
		m.miss(t, missed, n, handled)
	}
	if k > 0 {
		m.fire(t, newest)
	}
}

func (m *machine) miss(t *Template, last spec.Time, n int, since spec.Time) {
	why := fmt.Sprintf(whyMissed, clockText(since), t.App.Schedule.CatchUp)
	m.put(spec.Run{
		Name: spec.RunName(t.App.Name, spec.FiringKey(last)), App: t.App.Name, Key: spec.FiringKey(last), Root: t.Root,
		Trigger: spec.TriggerSchedule, Scheduled: last, State: spec.RunMissed, Created: m.f.Now, Ended: m.f.Now, Reason: why, Firings: n,
	})
	m.tell(t.App.Name, whatMissed, fmt.Sprintf("%d until %s: %s", n, clockText(last), why))
}

func clockText(at spec.Time) string { return at.Std().Format(time.RFC3339) }

// fire makes a firing a run, unless an earlier one stands in the way.
func (m *machine) fire(t *Template, at spec.Time) {
	key, s := spec.FiringKey(at), t.App.Schedule
	name := spec.RunName(t.App.Name, key)
	first, n := Active(m.runs, t.Root)
	why := ""
	switch {
	case m.run(name) != nil:
		return // a firing of the same minute under another expression
	case s.Overlap == spec.OverlapForbid && n > 0:
		why = fmt.Sprintf(whyActive, first)
	case n >= MaxActive(m.f.Templates, t.Root) && s.Overlap == spec.OverlapAllow:
		why = fmt.Sprintf(whyTooMany, n)
	default:
		why = m.unresolved(t.Root)
	}
	if why != "" {
		m.put(spec.Run{
			Name: name, App: t.App.Name, Key: key, Root: t.Root, Trigger: spec.TriggerSchedule, Scheduled: at,
			State: spec.RunSkipped, Created: m.f.Now, Ended: m.f.Now, Reason: why,
		})
		m.tell(t.App.Name, whatSkipped, fmt.Sprintf(whyDue, clockText(at))+": "+why)
		return
	}
	if s.Overlap == spec.OverlapReplace {
		for i := range m.runs {
			if r := &m.runs[i]; r.Root == t.Root && !r.State.Ended() {
				m.end(r, spec.RunCancelled, fmt.Sprintf(whyReplaced, name))
			}
		}
	}
	made, versions := Make(&Order{
		Root: t, Templates: m.f.Templates, Now: m.f.Now, Commit: m.f.Commit, Key: key, Trigger: spec.TriggerSchedule, Scheduled: at,
		Originals: m.f.Originals,
	})
	for h, app := range versions { // any order: copied key by key
		m.out.Versions[h] = app
	}
	for i := range made {
		m.put(made[i])
		m.wake(made[i].Deadline)
	}
	why = fmt.Sprintf(whyDue, clockText(at))
	if m.f.Now.Sub(at) > spec.MinCatchUp {
		why = fmt.Sprintf(whyCaughtUp, clockText(at), s.CatchUp)
	}
	m.tell(name, whatCreated, why)
}

// unresolved says which image by tag keeps runs of a root from being made, as nobody knows what it is: a run keeps the
// version that it begins with. "" when there is none.
func (m *machine) unresolved(root spec.AppName) string {
	for i := range m.f.Templates {
		if a := m.f.Templates[i].App; m.f.Templates[i].Root == root && len(a.Unpinned()) > 0 {
			return fmt.Sprintf(whyNoDigest, a.Unpinned()[0], a.Name)
		}
	}
	return ""
}

// MaxActive is how many runs that follow from a root may be under way at once: spec.MaxRuns of each app.
func MaxActive(templates []Template, root spec.AppName) int {
	n := 0
	for i := range templates {
		if templates[i].Root == root {
			n++
		}
	}
	return n * spec.MaxRuns
}

// put adds a record.
func (m *machine) put(r spec.Run) {
	m.runs = Put(m.runs, r)
	m.changed[r.Name] = true
}
