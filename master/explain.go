package master

import (
	"cmp"
	"context"
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
		e.Story = m.story.about(subjects(string(a.ID), a.Slot.String()), maxStory)
		return e, err
	}
	if e := m.explainRuns(s, of); e != nil {
		return e, nil
	}
	if slot, err := spec.ParseSlot(of); err == nil && s.indexOf(slot.App) >= 0 {
		e := m.explainApp(c, s, slot.App)
		e.Subject = of
		e.Next = s.next(slot, nil)
		e.Story = m.story.about(subjects(of), maxStory)
		return e, nil
	}
	if s.indexOf(spec.AppName(of)) >= 0 {
		e := m.explainApp(c, s, spec.AppName(of))
		e.Story = m.story.about(func(subject string) bool { return subject == of || strings.HasPrefix(subject, of+"[") }, maxStory)
		return e, nil
	}
	if slices.ContainsFunc(s.nodes, func(n spec.NodeView) bool { return string(n.ID) == of }) {
		return api.Explanation{Subject: of, Story: m.story.about(subjects(of, "node "+of), maxStory)}, nil
	}
	return nil, notFound("allocation, slot, app, run or node", of, "see stowage ps, stowage status, stowage runs and stowage node ls")
}

// whole is the last plan of what is followed with all that people read of it: the loop's own leaves that out. It is made
// beside the loop, and only when something is blocked; nil when it cannot be.
func (m *Master) whole(ctx context.Context, s *snapshot) *spec.Plan {
	if s.following == nil || s.plan.Summary.Blocked == 0 {
		return nil
	}
	plan, err := m.preview(ctx, s.following.Revision)
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
	if e.Blocked != nil {
		if p := planOf(m.whole(c.Context(), s), app); p != nil && p.Blocked != nil {
			e.Blocked = p.Blocked
		}
	}
	return e
}

func subjects(names ...string) func(string) bool {
	return func(subject string) bool { return slices.Contains(names, subject) }
}

func (s *snapshot) explain(a *spec.AllocationView) api.Explanation {
	e := s.explainApp(a.App)
	e.Subject, e.Allocation = a.Slot.String(), a
	e.Next = s.next(a.Slot, a)
	e.Blocked = nil
	for _, p := range s.plans() {
		if p.Commit != a.Commit {
			continue
		}
		if app := planOf(p, a.App); app != nil {
			for i := range app.Changes {
				if ch := &app.Changes[i]; ch.Slot == a.Slot && ch.Node == a.Node && ch.Kind != spec.ChangeStop {
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
	}
	if p := planOf(&s.plan, app); p != nil {
		e.Blocked = p.Blocked
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
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	roles := map[spec.RoleName]*api.Role{}
	at := func(name spec.RoleName) *api.Role {
		if roles[name] == nil {
			roles[name] = &api.Role{Name: name, Weight: spec.DefaultWeight}
		}
		return roles[name]
	}
	if s.following != nil {
		for _, r := range s.following.Revision.Cluster.Roles {
			role := at(r.Name)
			role.Weight, role.Quota = r.Weight, r.Quota
		}
	}
	needs, roleOf := s.needs(), map[spec.AppName]spec.RoleName{}
	for i := range s.apps {
		roleOf[s.apps[i].App] = s.apps[i].Role
	}
	for i := range s.allocations {
		if a := &s.allocations[i]; !a.State.Terminal() {
			role := at(cmp.Or(roleOf[a.App], spec.DefaultRole))
			role.Used = role.Used.Plus(needs(a))
			role.Allocations++
		}
	}
	var total spec.Resources
	for i := range s.nodes {
		if st := s.nodes[i].State; st == spec.NodeReady || st == spec.NodeDraining || st == spec.NodeDrained {
			total = total.Plus(s.nodes[i].Capacity)
		}
	}
	list := make([]api.Role, 0, len(roles))
	for _, r := range roles {
		r.Share = dominant(r.Used, total)
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b api.Role) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// dominant is the largest part of any resource, in thousandths.
func dominant(used, total spec.Resources) spec.Milli {
	var share spec.Milli
	part := func(u, t int64) {
		if t > 0 {
			share = max(share, spec.Milli(float64(u)*1000/float64(t)))
		}
	}
	part(int64(used.CPU), int64(total.CPU))
	part(int64(used.Memory), int64(total.Memory))
	part(int64(used.Disk), int64(total.Disk))
	for _, n := range used.Names() {
		part(int64(used.Named[n]), int64(total.Named[n]))
	}
	return share
}
