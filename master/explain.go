package master

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// maxStory is how many lines of the story an explanation holds.
const maxStory = 100

// getExplain tells why an allocation, slot, app or node is as it is.
func (m *Master) getExplain(c *server.Call) (any, error) {
	of := cmp.Or(c.PathValue("id"), c.URL.Query().Get("of"))
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	if a := s.find(of); a != nil {
		e := s.explain(a)
		err := m.look(c.Context(), func(core *control.Core) { e.Spec, e.Run = core.Version(a.Version), core.Run(a.App) })
		e.Again = m.again(c.Context(), s, a)
		e.Misplaced = standingOf(m.standing(c.Context(), s), a.App, &a.Slot)
		e.Story = m.story.about(tells(of, a), maxStory)
		return e, err
	}
	if e := m.explainRuns(s, of); e != nil {
		return e, nil
	}
	if slot, err := spec.ParseSlot(of); err == nil && s.indexOf(slot.App) >= 0 {
		if err := s.hasSlot(slot); err != nil {
			return nil, err
		}
		e := m.explainApp(c, s, slot.App)
		e.Subject = of
		e.Next = s.next(slot, nil)
		e.Story = m.story.about(subjects(of), maxStory)
		return e, nil
	}
	if s.indexOf(spec.AppName(of)) >= 0 {
		e := m.explainApp(c, s, spec.AppName(of))
		e.Story = m.story.about(func(e *spec.Event) bool { return e.Subject == of || strings.HasPrefix(e.Subject, of+"[") }, maxStory)
		return e, nil
	}
	if slices.ContainsFunc(s.nodes, func(n spec.NodeView) bool { return string(n.ID) == of }) {
		return api.Explanation{Subject: of, Story: m.story.about(subjects(of, "node "+of), maxStory)}, nil
	}
	return nil, s.notFound("allocation, slot, app, run or node", of, "see stowage ps, stowage apps, stowage runs and stowage node ls")
}

// hasSlot tells which slots an app has where that is not one of them. Those of a system app are its nodes'.
func (s *snapshot) hasSlot(slot spec.Slot) error {
	a := &s.apps[s.indexOf(slot.App)]
	switch {
	case a.Kind == spec.KindSystem || slot.Index < a.Desired:
		return nil
	case a.Desired == 0:
		return notFound("slot", slot.String(), string(a.App)+" has no slots of its own now; see stowage explain "+string(a.App))
	case a.Desired == 1:
		return notFound("slot", slot.String(), "the only one is "+spec.Slot{App: a.App}.String())
	}
	return notFound("slot", slot.String(), fmt.Sprintf("slots are %s[0..%d]", a.App, a.Desired-1))
}

// whole is the last plan of what is followed with all that people read of it: the loop's own leaves that out. It is made
// beside the loop, and only when something is blocked; nil when it cannot be.
func (m *Master) whole(ctx context.Context, s *snapshot) *spec.Plan {
	if s.following == nil || s.plan.Summary.Blocked == 0 {
		return nil
	}
	plan, err := m.preview(ctx, s.following.Revision, false, spec.Supposition{})
	if err != nil {
		return nil // what the loop found is told without it
	}
	return plan
}

// again tells where the slot of a running allocation would be placed if it had to be now; nil when it would not be.
func (m *Master) again(ctx context.Context, s *snapshot, a *spec.AllocationView) *spec.Change {
	if s.following == nil || a.State.Terminal() || a.Want == spec.WantStop {
		return nil
	}
	var in reconcile.Input
	if err := m.look(ctx, func(c *control.Core) { in = c.Input() }); err != nil {
		return nil
	}
	return reconcile.Again(in, a.ID)
}

// explainApp explains an app with the fixes of what is blocked.
func (m *Master) explainApp(c *server.Call, s *snapshot, app spec.AppName) api.Explanation {
	e := s.explainApp(app)
	e.Misplaced = standingOf(m.standing(c.Context(), s), app, nil)
	if e.Blocked != nil {
		if p := planOf(m.whole(c.Context(), s), app); p != nil && p.Blocked != nil {
			e.Blocked = p.Blocked
		}
	}
	return e
}

func subjects(names ...string) func(*spec.Event) bool {
	return func(e *spec.Event) bool { return slices.Contains(names, e.Subject) }
}

// tells picks the events of what was asked for: of a slot all of them, of an allocation those that happened to it and not to those that it
// follows or that follow it.
func tells(of string, a *spec.AllocationView) func(*spec.Event) bool {
	if _, _, err := spec.AllocationID(of).Parse(); err == nil {
		return func(e *spec.Event) bool { return e.Allocation == a.ID }
	}
	return subjects(a.Slot.String())
}

func (s *snapshot) explain(a *spec.AllocationView) api.Explanation {
	e := s.explainApp(a.App)
	e.Subject, e.Allocation = a.Slot.String(), a
	e.Next = s.next(a.Slot, a)
	e.Loops = slices.DeleteFunc(e.Loops, func(l api.Loop) bool { return l.Allocation != a.ID })
	e.Blocked = nil
	for _, p := range s.plans() {
		if p.Commit != a.Commit {
			continue
		}
		if app := planOf(p, a.App); app != nil {
			for i := range app.Changes {
				if ch := &app.Changes[i]; ch.Slot == a.Slot && ch.Node == a.Node && ch.Attempt == a.Attempt && ch.Kind != spec.ChangeStop {
					e.Change, e.Plan = ch, p.ID
					return e
				}
			}
		}
	}
	return e
}

// plans are the whole plans that are kept, newest first.
func (s *snapshot) plans() []*spec.Plan {
	var list []*spec.Plan
	for i := len(s.history) - 1; i >= 0; i-- {
		if p := s.history[i].Full; p != nil {
			list = append(list, p)
		}
	}
	return list
}

func (s *snapshot) explainApp(app spec.AppName) api.Explanation {
	e := api.Explanation{Subject: string(app)}
	if i := s.indexOf(app); i >= 0 {
		e.Spec, e.Rollout, e.Held = s.specs[i], s.apps[i].Rollout, s.apps[i].Held
		e.Scale, e.Loops = s.apps[i].Scale, s.loops(app)
	}
	if p := planOf(&s.plan, app); p != nil {
		e.Blocked, e.Waits = p.Blocked, p.Waits
		if e.Held == "" {
			e.Held = p.Held
		}
	}
	return e
}

// next is what the plan will do to a slot, or to one allocation of it.
func (s *snapshot) next(slot spec.Slot, a *spec.AllocationView) *spec.Change {
	if p := planOf(&s.plan, slot.App); p != nil {
		for i := range p.Changes {
			if c := &p.Changes[i]; c.Slot == slot && (a == nil || c.Old == a.ID) {
				return c
			}
		}
	}
	return nil
}

// getRoles tells who has which share of the nodes that are in touch.
func (m *Master) getRoles(c *server.Call) (any, error) {
	list := []api.Role{}
	err := m.look(c.Context(), func(core *control.Core) {
		for _, v := range core.Roles() {
			list = append(list, api.Role{
				Name: v.Role, Weight: v.Weight, Quota: v.Quota, Guarantee: v.Guarantee, Used: v.Used,
				Share: v.Share, Dominant: v.Dominant, Allocations: v.Allocations,
			})
		}
	})
	return list, err
}
