package control

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// templates are the apps of the followed revision that have runs, sorted by name.
func (d *desired) templates() []runs.Template {
	roots := spec.Roots(d.cluster.Apps)
	var out []runs.Template
	for _, a := range d.cluster.Apps {
		if root := roots[a.Name]; root != "" {
			h, ok := d.hashes[a.Name]
			if !ok {
				h = reconcile.HashApp(a)
			}
			out = append(out, runs.Template{App: a, Hash: h.Version, Root: root})
		}
	}
	return out
}

// onDispatch adds a run that somebody asked for.
func (c *Core) onDispatch(e Dispatch) {
	d := c.following()
	if d == nil || d.app(e.App) == nil {
		c.refuse(e.Request, fmt.Sprintf("there is no app %q in the revision that is followed. See stowage runs.", e.App))
		return
	}
	if e.Token != "" {
		for i := range c.state.Runs {
			if r := c.state.Runs[i]; r.Token == e.Token && r.App == e.App {
				c.act(Answer{Request: e.Request, NoOp: true, Run: &r})
				return
			}
		}
	}
	all := d.templates()
	i := slices.IndexFunc(all, func(t runs.Template) bool { return t.App.Name == e.App })
	if why := c.mayDispatch(e, all, i); why != "" {
		c.refuse(e.Request, why)
		return
	}
	key := ""
	for n := 1; key == "" || runs.Find(c.state.Runs, spec.RunName(e.App, key)) != nil; n++ {
		key = spec.DispatchKey(c.now, n)
	}
	made, versions := runs.Make(&runs.Order{
		Root: &all[i], Templates: all, Now: c.now, Commit: c.state.Following.Revision.Commit, Key: key, Trigger: spec.TriggerDispatch,
		Scheduled: c.now, Parameters: e.Parameters, Token: e.Token, By: e.By,
	})
	c.record(Entry{Dispatched: &Dispatched{Runs: made, Versions: versions}})
	r := *runs.Find(made, spec.RunName(e.App, key))
	by := e.By
	if by == "" {
		by = "an operator"
	}
	c.tell(string(r.Name), "run created", "asked for by "+by)
	c.act(Answer{Request: e.Request, Run: &r})
}

// mayDispatch says why the app with that index among those with runs (-1: it is none) cannot be dispatched, or "".
func (c *Core) mayDispatch(e Dispatch, all []runs.Template, i int) string {
	if i < 0 {
		return fmt.Sprintf("%s has no runs. Give it schedule = {} in the repository to have it run when asked.", e.App)
	}
	t := &all[i]
	if t.Root != e.App {
		return fmt.Sprintf("%s runs after what it depends on. Dispatch %s, from which its runs follow.", e.App, t.Root)
	}
	if len(e.Token) > spec.MaxToken {
		return fmt.Sprintf("the token is %d bytes long, and at most %d are allowed. Take a shorter one.", len(e.Token), spec.MaxToken)
	}
	if why := c.unresolvedRun(all, t.Root); why != "" {
		return why
	}
	if why := runs.CheckValues(t.App, e.Parameters); why != "" {
		return why
	}
	first, n := runs.Active(c.state.Runs, t.Root)
	switch {
	case n > 0 && t.App.Schedule.Overlap == spec.OverlapForbid:
		return fmt.Sprintf("%s is under way, and overlap is forbid. Wait for it, or end it with stowage cancel %s.", first, first)
	case n >= runs.MaxActive(all, t.Root):
		return fmt.Sprintf("%d runs are under way, and no more are allowed. Wait until some have ended.", n)
	}
	return ""
}

// onCancel ends a run.
func (c *Core) onCancel(e Cancel) {
	r := runs.Find(c.state.Runs, e.Run)
	switch {
	case r == nil:
		c.refuse(e.Request, fmt.Sprintf("there is no run %q. See stowage runs.", e.Run))
		return
	case r.State.Ended():
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	why := "cancelled"
	if e.By != "" {
		why += " by " + e.By
	}
	if e.Reason != "" {
		why += ": " + e.Reason
	}
	c.record(Entry{Cancelled: &Cancelled{Run: e.Run, Why: why}})
	c.tell(string(e.Run), "run cancelled", why)
	c.act(Answer{Request: e.Request})
}

// RunView is an app with runs and what is remembered of them.
type RunView struct {
	App      spec.AppName   `json:"app"`
	Root     spec.AppName   `json:"root,omitempty"` // from whose runs its own follow, when that is another
	Schedule *spec.Schedule `json:"schedule,omitempty"`
	Next     spec.Time      `json:"next,omitempty"`       // the next firing
	Local    string         `json:"next_local,omitempty"` // the same, as a clock of the time zone shows it
	Runs     []spec.Run     `json:"runs,omitempty"`       // oldest first
}

// Runs returns all apps with runs and what is remembered of them, sorted by name: those of the revision that is
// followed, and those whose runs are still remembered.
func (c *Core) Runs() []RunView {
	d := c.following()
	if d == nil {
		return nil
	}
	var out []RunView
	byApp := map[spec.AppName]int{}
	for _, t := range d.templates() {
		v := RunView{App: t.App.Name, Schedule: t.App.Schedule}
		if t.Root != t.App.Name {
			v.Root = t.Root
		}
		byApp[v.App] = len(out)
		out = append(out, v)
	}
	for i := range c.state.Agendas {
		a := &c.state.Agendas[i]
		if k, ok := byApp[a.App]; ok {
			out[k].Next = a.Next
			if zone, err := cron.Zone(a.Timezone); err == nil && a.Next != 0 {
				out[k].Local = a.Next.Std().In(zone).Format("2006-01-02 15:04 MST")
			}
		}
	}
	for i := range c.state.Runs {
		r := c.state.Runs[i]
		k, ok := byApp[r.App]
		if !ok {
			k = len(out)
			byApp[r.App] = k
			out = append(out, RunView{App: r.App})
		}
		out[k].Runs = append(out[k].Runs, r)
	}
	slices.SortStableFunc(out, func(a, b RunView) int { return cmp.Compare(a.App, b.App) })
	for i := range out {
		slices.SortStableFunc(out[i].Runs, func(a, b spec.Run) int { return int(min(1, max(-1, a.Scheduled-b.Scheduled))) })
	}
	return out
}

// Run returns what is remembered of a run, or nil.
func (c *Core) Run(name spec.AppName) *spec.Run {
	if r := runs.Find(c.state.Runs, name); r != nil {
		found := *r
		return &found
	}
	return nil
}

// The state's part.

func (s *State) dispatch(d *Dispatched) {
	for hash, app := range d.Versions { // any order: each hash has one value
		s.Versions[hash] = app
	}
	all := slices.Clone(s.Runs)
	for _, r := range d.Runs {
		all = runs.Put(all, r)
	}
	s.setRuns(all, s.Agendas)
}

func (s *State) cancel(e *Cancelled, at spec.Time) {
	r := runs.Find(s.Runs, e.Run)
	if r == nil || r.State.Ended() {
		return
	}
	ended := *r
	ended.State, ended.Reason, ended.Ended = spec.RunCancelled, e.Why, at
	s.setRuns(runs.Put(slices.Clone(s.Runs), ended), s.Agendas)
}

// setRuns replaces all runs and agendas. The new ones are referred to first, so that no version goes in between.
func (s *State) setRuns(all []spec.Run, agendas []spec.Agenda) {
	old, oldAgendas := s.Runs, s.Agendas
	s.Runs, s.Agendas = all, agendas
	s.referRuns(all, agendas, 1)
	s.referRuns(old, oldAgendas, -1)
}

func (s *State) referRuns(all []spec.Run, agendas []spec.Agenda, sign int) {
	count := func(hash spec.Hash) {
		switch {
		case hash == "":
		case sign > 0:
			s.references[hash]++
		default:
			s.release(hash)
		}
	}
	for i := range all {
		if !all[i].State.Ended() {
			count(all[i].Version)
		}
	}
	for i := range agendas {
		count(agendas[i].Version)
	}
}

// findRuns takes up the runs of adopted allocations that the journal does not know: it was lost. They go on; a firing
// that fell into the time without a journal is not made up for, as nobody knows whether it was followed.
func (s *State) findRuns(a *Adopted, at spec.Time) {
	all := slices.Clone(s.Runs)
	for i := range a.Allocations {
		al := &a.Allocations[i]
		app := s.Versions[al.Version]
		if app == nil || app.Run == nil || runs.Find(all, al.App) != nil {
			continue
		}
		r := *app.Run
		r.Version, r.State, r.Started = al.Version, spec.RunRunning, al.Placed
		all = runs.Put(all, r)
	}
	if len(all) == len(s.Runs) {
		return
	}
	began := s.beginnings()
	for i := range all {
		if r := &all[i]; !r.State.Ended() {
			if by := overtakes(all, r, began); by != "" {
				r.State, r.Reason, r.Ended = spec.RunComplete, fmt.Sprintf(whyOvertaken, by), at
			}
		}
	}
	s.setRuns(all, s.Agendas)
}

const whyOvertaken = "it had ended before %s began; how is not known, as the journal was lost"

// beginnings returns for each app that has allocations the first generation of them.
func (s *State) beginnings() map[spec.AppName]spec.Generation {
	first := map[spec.AppName]spec.Generation{}
	for _, h := range s.Allocations { // any order: the least counts
		a := &h.Allocation
		if g, seen := first[a.App]; !seen || a.Generation < g {
			first[a.App] = a.Generation
		}
	}
	return first
}

// overtakes names a run that began later and is alone with those of its root: all before it had ended by then. It is ""
// when there is none. Generations tell what came first, whatever the clocks of the masters showed.
func overtakes(all []spec.Run, r *spec.Run, began map[spec.AppName]spec.Generation) spec.AppName {
	for i := range all {
		o := &all[i]
		later := began[r.Name] > 0 && began[o.Name] > began[r.Name]
		if o.Root == r.Root && o.App == o.Root && o.Key != r.Key && o.Alone && later {
			return o.Name
		}
	}
	return ""
}

// tellOvertaken tells of the runs that were found to have ended, when the journal had others before.
func (c *Core) tellOvertaken(before []spec.Run) {
	for i := range c.state.Runs {
		r := &c.state.Runs[i]
		if was := runs.Find(before, r.Name); r.State.Ended() && (was == nil || !was.State.Ended()) {
			c.tell(string(r.Name), "run "+string(r.State), r.Reason)
		}
	}
}
