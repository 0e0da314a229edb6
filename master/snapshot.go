package master

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// snapshot is what the core showed at one moment. It is shared by all who read, and never changed.
type snapshot struct {
	version     uint64
	at          spec.Time
	status      control.Status
	nodes       []spec.NodeView
	drains      []spec.DrainProgress  // by node
	allocations []spec.AllocationView // by slot, then generation
	apps        []control.AppView     // by name
	specs       []*spec.App           // of apps; nil for those that are leaving
	runs        []control.RunView     // by app
	plan        spec.Plan             // what is still to be done
	pending     *control.Pending
	following   *control.Followed
	history     []control.HistoryEntry // oldest first

	looking   sync.Mutex
	looked    bool // for misplaced, by the first who asks and waits for the answer
	misplaced []spec.Misplaced
}

// standing lists the allocations that run where their rules would not let them be placed now, by slot.
func (m *Master) standing(ctx context.Context, s *snapshot) []spec.Misplaced {
	s.looking.Lock()
	defer s.looking.Unlock()
	if s.looked {
		return s.misplaced
	}
	var in reconcile.Input
	if err := m.look(ctx, func(c *control.Core) { in = c.Input() }); err != nil {
		return nil // the next who asks may get an answer
	}
	s.looked = true
	if in.Desired != nil {
		s.misplaced = reconcile.Misplaced(in)
	}
	return s.misplaced
}

// standingOf are those of an app, or of one slot of it.
func standingOf(list []spec.Misplaced, app spec.AppName, slot *spec.Slot) []spec.Misplaced {
	var out []spec.Misplaced
	for i := range list {
		if m := &list[i]; m.Slot.App == app && (slot == nil || m.Slot == *slot) {
			out = append(out, *m)
		}
	}
	return out
}

// snapshot returns a snapshot that shows everything posted before the call.
func (m *Master) snapshot(ctx context.Context) (*snapshot, error) {
	m.seeing.Lock()
	defer m.seeing.Unlock()
	if m.seen != nil && m.seen.version == m.version.Load() {
		return m.seen, nil
	}
	var s *snapshot
	if err := m.look(ctx, func(c *control.Core) { s = m.take(c) }); err != nil {
		return nil, err
	}
	m.seen = s
	return s, nil
}

// take runs on the loop's goroutine.
func (m *Master) take(c *control.Core) *snapshot {
	s := &snapshot{
		version: m.version.Load(), at: m.now(), status: c.Status(), nodes: c.Nodes(), allocations: c.Allocations(), apps: c.Apps(),
		runs: c.Runs(), plan: c.Last(), pending: c.Pending(), following: c.State().Following, history: c.History(), drains: c.Drains(),
	}
	s.specs = make([]*spec.App, len(s.apps))
	for i := range s.apps {
		s.specs[i] = c.App(s.apps[i].App)
	}
	return s
}

// look lets f look at the core, after everything that was posted before.
func (m *Master) look(ctx context.Context, f func(*control.Core)) error {
	t := m.term.Load()
	if t == nil {
		return m.unavailable(errNoTerm)
	}
	if err := t.look(ctx, f); err != nil {
		return m.unavailable(err)
	}
	return nil
}

// ask has the core decide about a request.
func (m *Master) ask(ctx context.Context, event func(control.Request) control.Event) (control.Answer, error) {
	t := m.term.Load()
	if t == nil {
		return control.Answer{}, m.unavailable(errNoTerm)
	}
	a, err := t.ask(ctx, event)
	if err != nil {
		return a, m.unavailable(err)
	}
	return a, nil
}

// unavailable says why this master cannot answer now.
func (m *Master) unavailable(err error) error {
	if !errors.Is(err, errNoTerm) {
		return err
	}
	e := &api.Error{Status: http.StatusServiceUnavailable, Message: err.Error(), Remedy: "try again in a moment"}
	if t := m.trouble.Load(); t.what != "" {
		e.Message, e.Remedy = t.what, t.remedy
	}
	return e
}

// planOf returns what the plan says of an app; nil when it says nothing.
func planOf(p *spec.Plan, app spec.AppName) *spec.AppPlan {
	if p == nil {
		return nil
	}
	for i := range p.Apps {
		if p.Apps[i].App == app {
			return &p.Apps[i]
		}
	}
	return nil
}

// calm reports whether nothing is left to do: every app has what it asks for, and it is well.
func (s *snapshot) calm() bool {
	if !s.status.Settled || s.following == nil || s.plan.Summary.Changes() > 0 || s.plan.Summary.Blocked > 0 {
		return false
	}
	for i := range s.apps {
		if s.apps[i].Run {
			continue // work that ends: it comes and goes
		}
		if s.specs[i] == nil || s.apps[i].Healthy < s.apps[i].Desired || s.apps[i].Held != "" {
			return false
		}
	}
	return true
}
