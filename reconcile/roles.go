package reconcile

import (
	"strings"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// roles is who has how much: a tree of the roles and, as its leaves, the apps. shares.go says from it who is served
// next, limits.go who may not have more.
type roles struct {
	w     *world
	total []int64 // what the nodes that take allocations have
	root  *party
	byApp map[*app]*party
	told  int // blocked apps of which it was told who was served first
}

// party is a role or an app.
type party struct {
	name      string
	app       *app // nil: it is a role
	weight    uint64
	quota     []int64 // nil: no limit; negative entries: none for that resource
	guarantee []int64 // nil: none
	keeps     bool    // it or a role below it has a guarantee
	used      []int64
	parent    *party
	children  []*party // roles and apps
	stand     standing // how it stands while shares are compared
	placed    int      // allocations that the plan placed for it and those below it
}

func (w *world) newRoles() *roles {
	d := len(w.before)
	r := &roles{w: w, total: make([]int64, d), byApp: make(map[*app]*party, len(w.apps))}
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			sum(r.total, w.fleet.Capacity(n))
		}
	}
	r.root = &party{weight: 1, used: make([]int64, d)}
	byName := map[spec.RoleName]*party{}
	for i := range w.in.Desired.Roles {
		role := &w.in.Desired.Roles[i]
		p := r.role(byName, role.Name)
		p.weight = uint64(max(1, role.Weight))
		if role.Quota != nil {
			p.quota = w.quota(*role.Quota)
		}
		if role.Guarantee != nil {
			p.guarantee = w.fleet.Vector(*role.Guarantee)
			for q := p; q != nil; q = q.parent {
				q.keeps = true
			}
		}
	}
	for _, x := range w.apps {
		if x.desired == nil {
			r.count(x, r.root) // what it has, nobody else can have
			continue
		}
		parent := r.role(byName, roleOf(x.desired.app))
		p := &party{name: string(x.name), app: x, weight: 1, used: make([]int64, d), parent: parent}
		parent.children = append(parent.children, p)
		r.byApp[x] = p
		r.count(x, p)
	}
	return r
}

// roleOf is the role that pays for the app.
func roleOf(a *spec.App) spec.RoleName {
	if a.Role == "" {
		return spec.DefaultRole
	}
	return a.Role
}

// quota is a vector in which resources that the quota does not name have no limit.
func (w *world) quota(q spec.Resources) []int64 {
	v := w.fleet.Vector(q)
	for d := range v {
		if v[d] == 0 {
			v[d] = -1
		}
	}
	for _, name := range q.Names() {
		if q.Named[name] == 0 {
			v[w.fleet.Dimension(name)] = 0
		}
	}
	return v
}

// role returns the party of a role, made with its parents when it is not there yet.
func (r *roles) role(byName map[spec.RoleName]*party, name spec.RoleName) *party {
	if p := byName[name]; p != nil {
		return p
	}
	parent := r.root
	if i := strings.LastIndexByte(string(name), '/'); i >= 0 {
		parent = r.role(byName, name[:i])
	}
	p := &party{name: string(name), weight: spec.DefaultWeight, used: make([]int64, len(r.total)), parent: parent}
	parent.children = append(parent.children, p)
	byName[name] = p
	return p
}

// count adds what the app has and keeps: what the plan stops at once is not counted.
func (r *roles) count(x *app, p *party) {
	if x.calm && len(x.changes) == 0 {
		p.add(x.version.need, int64(len(x.views)))
		return
	}
	total := make([]int64, len(r.total))
	stops := map[spec.AllocationID]bool{}
	for i := range x.changes {
		if c := &x.changes[i]; c.Kind == spec.ChangeStop && c.Now {
			stops[c.Old] = true
		}
	}
	var v *version
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop || len(stops) > 0 && stops[a.ID] {
			continue
		}
		if v == nil || v.hash != a.Version {
			v = r.w.known(a.Version)
		}
		if v != nil {
			sum(total, v.need)
		}
	}
	p.add(total, 1)
}

func (p *party) add(need []int64, sign int64) {
	for q := p; q != nil; q = q.parent {
		for d, v := range need {
			q.used[d] += sign * v
		}
	}
}

// delta returns what a step adds to what its app has: a successor replaces what its old allocation had.
func (r *roles) delta(j *job, s *rollout.Step) []int64 {
	if s.Old == nil || !s.Old.Live() {
		return j.version.need
	}
	old := r.w.known(s.Old.Version)
	if old == nil {
		return j.version.need
	}
	d := make([]int64, len(old.need))
	for k := range d {
		d[k] = j.version.need[k] - old.need[k]
	}
	return d
}

// take counts a placement.
func (r *roles) take(j *job, s *rollout.Step) {
	p := r.byApp[j.x]
	if p == nil {
		return
	}
	p.add(r.delta(j, s), 1)
	for ; p != nil; p = p.parent {
		p.placed++
	}
}

// give counts an allocation that is preempted, or with a sign of 1 one that is not preempted after all.
func (r *roles) give(x *app, need []int64, sign int64) {
	if p := r.byApp[x]; p != nil {
		p.add(need, sign)
	}
}

func (p *party) each(f func(*party)) {
	f(p)
	for _, c := range p.children {
		c.each(f)
	}
}
