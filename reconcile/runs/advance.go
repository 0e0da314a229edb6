package runs

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Template is an app with runs, as the commit has it.
type Template struct {
	App  *spec.App
	Hash spec.Hash
	Root spec.AppName // whose firing or dispatch its runs follow from: itself, or what it depends on
}

// Progress is how far the allocations of a run have come.
type Progress struct {
	Live   int    // that have not ended, wanted or not
	Done   bool   // every slot has done its work
	Failed string // a slot failed too often: how the last time ended; "" otherwise
}

// Facts is everything that runs depend on.
type Facts struct {
	Now       spec.Time
	Commit    spec.Commit
	Templates []Template    // sorted by name
	Runs      []spec.Run    // sorted by name
	Agendas   []spec.Agenda // sorted by app
	Prune     bool          // runs of apps that left the repository are cancelled
	Progress  func(*spec.Run) Progress
	Renamed   func(spec.AppName) spec.AppName // what a moved block calls an app now
	Originals map[spec.Hash]spec.Hash         // by what apps hash to now, what they hashed to before something of them was hidden
}

// Change is what is to be recorded: the records that are new or differ, and the names of those that go.
type Change struct {
	Put     []spec.Run     `json:"put,omitempty"`     // sorted by name
	Drop    []spec.AppName `json:"drop,omitempty"`    // runs
	Agendas []spec.Agenda  `json:"agendas,omitempty"` // sorted by app
	Gone    []spec.AppName `json:"gone,omitempty"`    // agendas
}

// Empty reports whether nothing is to be recorded.
func (c *Change) Empty() bool { return len(c.Put)+len(c.Drop)+len(c.Agendas)+len(c.Gone) == 0 }

// Outcome is what Advance found.
type Outcome struct {
	Change   Change
	Active   []spec.Run // that are running: their apps are wanted
	Ending   []spec.Run // that have ended, and still have allocations
	Versions map[spec.Hash]*spec.App
	Events   []spec.Event
	Next     spec.Time // when something changes by itself, or zero
}

// What happened to a run, as events tell it, and why.
const (
	whatCreated   = "run created"
	whatStarted   = "run started"
	whatEnded     = "run %s"
	whatSkipped   = "firing skipped"
	whatMissed    = "firings missed"
	whyCaughtUp   = "due at %s, made up for within %s"
	whyDue        = "due at %s"
	whyDispatched = "asked for by %s"
	whyFollows    = "it depends on %s"
	whyActive     = "%s is under way, and overlap is forbid"
	whyTooMany    = "%d runs are under way, and no more are allowed"
	whyNoDigest   = "image %s of %s has no digest yet"
	whyReplaced   = "replaced by %s"
	whyLate       = "it was not done within %s"
	whyPruned     = "its app left the repository"
	whyNeeds      = "%s is %s"
	whyPatience   = "waited %s for %s"
	whyMissed     = "nobody led from %s on for longer than catch_up, %s"
)

// machine is the work of one Advance.
type machine struct {
	f       *Facts
	runs    []spec.Run // by name; those that are new among them
	changed map[spec.AppName]bool
	out     Outcome
	seen    map[spec.AppName]Progress
}

// Advance carries all runs and agendas on.
func Advance(f *Facts) Outcome {
	m := &machine{f: f, runs: slices.Clone(f.Runs), changed: map[spec.AppName]bool{}, seen: map[spec.AppName]Progress{}}
	m.out.Versions = map[spec.Hash]*spec.App{}
	m.rename()
	for i := range m.runs {
		if !m.runs[i].State.Ended() {
			m.look(&m.runs[i])
		}
	}
	m.follow()
	m.begin()
	m.sum()
	m.forget()
	return m.out
}

func (m *machine) rename() {
	for i := range m.runs {
		r := &m.runs[i]
		if to := m.f.Renamed(r.App); to != r.App && !r.State.Ended() {
			r.App, r.Root = to, m.f.Renamed(r.Root)
			m.changed[r.Name] = true
		}
	}
}

func (m *machine) tell(subject spec.AppName, what, why string) {
	m.out.Events = append(m.out.Events, spec.Event{Time: m.f.Now, Subject: string(subject), What: what, Why: why})
}

// wake asks for another look at the given moment.
func (m *machine) wake(at spec.Time) {
	if at > m.f.Now && (m.out.Next == 0 || at < m.out.Next) {
		m.out.Next = at
	}
}

func (m *machine) template(app spec.AppName) *Template {
	i, ok := slices.BinarySearchFunc(m.f.Templates, app, func(t Template, n spec.AppName) int {
		return compareNames(t.App.Name, n)
	})
	if !ok {
		return nil
	}
	return &m.f.Templates[i]
}

func compareNames(a, b spec.AppName) int { return cmp.Compare(a, b) }

func (m *machine) run(name spec.AppName) *spec.Run { return Find(m.runs, name) }

func (m *machine) progress(r *spec.Run) Progress {
	p, ok := m.seen[r.Name]
	if !ok {
		p = m.f.Progress(r)
		m.seen[r.Name] = p
	}
	return p
}

// end closes a run.
func (m *machine) end(r *spec.Run, state spec.RunState, why string) {
	r.State, r.Reason, r.Ended = state, why, m.f.Now
	m.changed[r.Name] = true
	m.tell(r.Name, fmt.Sprintf(whatEnded, state), why)
}

// look ends a run that is under way and done, or that has been given up.
func (m *machine) look(r *spec.Run) {
	p := m.progress(r)
	switch {
	case r.State == spec.RunRunning && p.Done:
		m.end(r, spec.RunComplete, "")
	case r.State == spec.RunRunning && p.Failed != "":
		m.end(r, spec.RunFailed, p.Failed)
	case m.template(r.App) == nil && m.f.Prune:
		m.end(r, spec.RunCancelled, whyPruned)
	case r.Deadline != 0 && m.f.Now >= r.Deadline:
		m.end(r, spec.RunFailed, fmt.Sprintf(whyLate, r.Deadline.Sub(r.Created)))
	default:
		m.wake(r.Deadline)
	}
}

// begin starts the runs that wait for nothing any more. One that starts, or never will, may let others go on.
func (m *machine) begin() {
	for again := true; again; {
		again = false
		for i := range m.runs {
			if r := &m.runs[i]; r.State == spec.RunWaiting && m.tryBegin(r) {
				again = true
			}
		}
	}
}

// tryBegin reports whether a waiting run went on.
func (m *machine) tryBegin(r *spec.Run) bool {
	if r.Alone && m.othersLeft(r) {
		return false
	}
	waits := false
	for _, d := range r.Needs {
		on, why := m.run(d.App), ""
		switch at := r.Created.Add(d.Deadline); {
		case on == nil:
			why = fmt.Sprintf(whyNeeds, d.App, "not remembered")
		case on.State == spec.RunComplete:
			continue
		case on.State.Ended():
			why = fmt.Sprintf(whyNeeds, d.App, on.State)
		case d.Deadline != 0 && m.f.Now >= at:
			why = fmt.Sprintf(whyPatience, d.Deadline, d.App)
		default:
			if d.Deadline != 0 {
				m.wake(at)
			}
			waits = true
			continue
		}
		if d.OnFailure != spec.OnFailureContinue {
			m.end(r, spec.RunSkipped, why)
			return true
		}
	}
	if waits {
		return false
	}
	r.State, r.Started = spec.RunRunning, m.f.Now
	m.changed[r.Name] = true
	m.tell(r.Name, whatStarted, "")
	return true
}

// othersLeft reports whether anything of another run of the same root that has begun, or comes before, its dependents
// included, is under way or has not ended on its node. What comes before goes by the clocks of those who led, and one that
// led before may have been ahead: what has begun counts whenever that was.
func (m *machine) othersLeft(r *spec.Run) bool {
	for i := range m.runs {
		o := &m.runs[i]
		after := o.Created > r.Created || o.Created == r.Created && o.Key > r.Key
		if o.Root != r.Root || o.Key == r.Key || after && !m.begun(o) {
			continue
		}
		if !o.State.Ended() || m.progress(o).Live > 0 {
			return true
		}
	}
	return false
}

// begun reports whether the run, or the one of its root that it follows from, has begun.
func (m *machine) begun(r *spec.Run) bool {
	root := m.run(spec.RunName(r.Root, r.Key))
	return r.State != spec.RunWaiting || root != nil && root.State != spec.RunWaiting
}

// sum collects what there is to record and to plan.
func (m *machine) sum() {
	for i := range m.runs {
		r := &m.runs[i]
		if m.changed[r.Name] {
			m.out.Change.Put = append(m.out.Change.Put, *r)
		}
		switch {
		case r.State == spec.RunRunning:
			m.out.Active = append(m.out.Active, *r)
		case r.State.Ended() && m.progress(r).Live > 0:
			m.out.Ending = append(m.out.Ending, *r)
		}
	}
}
