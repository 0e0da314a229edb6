package reconcile

import (
	"strings"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// roles is who has how much: a tree of the roles and, as its leaves, the apps. Dominant-resource fairness (Ghodsi et
// al., NSDI 2011), weighted and applied at each level of the tree, says who is served next.
type roles struct {
	w     *world
	total []int64 // what the nodes that take allocations have
	root  *party
	byApp map[*app]*party
}

// party is a role or an app.
type party struct {
	name     string
	weight   int64
	quota    []int64 // nil: no limit; negative entries: none for that resource
	used     []int64
	parent   *party
	children []*party // by name, roles before apps
	pending  int      // placements that it and its children wait for
}

// share is one millionth of the most that a party has of any resource, divided by its weight.
const shareUnit = 1_000_000

func (w *world) newRoles() *roles {
	d := len(w.before)
	r := &roles{w: w, total: make([]int64, d), byApp: map[*app]*party{}}
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			for k, v := range w.fleet.Capacity(n) {
				r.total[k] += v
			}
		}
	}
	r.root = &party{weight: 1, used: make([]int64, d)}
	byName := map[spec.RoleName]*party{}
	for i := range w.in.Desired.Roles {
		role := &w.in.Desired.Roles[i]
		p := r.role(byName, role.Name)
		p.weight = int64(max(1, role.Weight))
		if role.Quota != nil {
			p.quota = w.quota(*role.Quota)
		}
	}
	for _, x := range w.apps {
		if x.desired == nil {
			continue
		}
		name := x.desired.app.Role
		if name == "" {
			name = spec.DefaultRole
		}
		parent := r.role(byName, name)
		p := &party{name: string(x.name), weight: 1, used: make([]int64, d), parent: parent}
		parent.children = append(parent.children, p)
		r.byApp[x] = p
		r.count(x, p)
	}
	return r
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

// count adds what the app has.
func (r *roles) count(x *app, p *party) {
	total := make([]int64, len(r.total))
	var v *version
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
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

func (p *party) wait(n int) {
	for q := p; q != nil; q = q.parent {
		q.pending += n
	}
}

// share returns the party's dominant share in proportion to its weight.
func (r *roles) share(p *party) int64 {
	most := int64(0)
	for d, v := range p.used {
		if r.total[d] > 0 {
			most = max(most, mulDiv(v, shareUnit, r.total[d]))
		}
	}
	return most / p.weight
}

// mulDiv returns a*b/c for values whose product may not fit, with the precision that a share needs.
func mulDiv(a, b, c int64) int64 {
	for a > 1<<40 {
		a, c = a>>10, c>>10
	}
	return a * b / max(1, c)
}

// next returns the app to serve: down the tree, always the child with the lowest share that waits for something.
func (r *roles) next() *party {
	p := r.root
	for p.pending > 0 && len(p.children) > 0 {
		var best *party
		low := int64(0)
		for _, c := range p.children {
			if c.pending == 0 {
				continue
			}
			if s := r.share(c); best == nil || s < low || s == low && c.name < best.name {
				best, low = c, s
			}
		}
		p = best
	}
	if p == r.root {
		return nil
	}
	return p
}

// delta returns what a step adds to what its app has: a successor replaces what its old allocation had.
func (r *roles) delta(j *job, s *rollout.Step) []int64 {
	if s.Old == nil {
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

// room returns how many of the steps, from the first, the quotas of the app's roles allow.
func (r *roles) room(j *job, steps []*rollout.Step) int {
	limited := false
	for p := r.byApp[j.x]; p != nil; p = p.parent {
		limited = limited || p.quota != nil
	}
	if !limited {
		return len(steps)
	}
	sum := make([]int64, len(r.total))
	for n, s := range steps {
		delta := r.delta(j, s)
		for d := range sum {
			sum[d] += delta[d]
		}
		if p, _ := r.over(j, delta, sum); p != nil {
			return n
		}
	}
	return len(steps)
}

// over returns the first role, from the app upwards, whose quota forbids the sum, and the resource.
func (r *roles) over(j *job, delta, sum []int64) (*party, int) {
	for p := r.byApp[j.x]; p != nil; p = p.parent {
		for d := range p.quota {
			if p.quota[d] >= 0 && delta[d] > 0 && p.used[d]+sum[d] > p.quota[d] {
				return p, d
			}
		}
	}
	return nil, 0
}

// take counts a placement.
func (r *roles) take(j *job, s *rollout.Step) {
	if p := r.byApp[j.x]; p != nil {
		p.add(r.delta(j, s), 1)
	}
}
