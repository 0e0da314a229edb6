package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

const (
	// maxRivals bounds how many of those served first a blocked app names.
	maxRivals = 3
	// maxTold bounds for how many blocked apps of a plan it is told.
	maxTold = 64
)

// Why others were served first, as people read it.
const (
	whyPriority = "%s has priority %d, %s has %d: %d of it came first"
	whyShare    = "%s has %s%s, %s %s%s: %d of it in this plan, in the order of shares"
	shareOf     = "%s of %s"
	shareNone   = "nothing"
	roleWord    = "role "
)

// contest is what an app that waits lacks: who took of it in the plan came first.
type contest struct {
	scarce []int  // resources that the usable nodes are short of
	usable []bool // nodes
	within *party // whose quota is in the way, or all of it where room is kept for others
	of     int    // the resource of that
}

// contestFor tells what one more allocation of the app lacks.
func (w *world) contestFor(x *app, need, total []int64, e *place.Explanation) *contest {
	c := &contest{usable: make([]bool, w.fleet.Len())}
	for _, n := range e.Usable {
		c.usable[n] = true
	}
	for _, name := range e.Scarce {
		if d := slices.Index(w.fleet.Dimensions(), name); d >= 0 {
			c.scarce = append(c.scarce, d)
		}
	}
	if b := w.roles.bar(w.roles.byApp[x], need, total); b != nil {
		c.within, c.of = cmp.Or(b.party, w.roles.root), b.of
	}
	return c
}

// took counts the allocations that the plan places for an app and that take of what is contested.
func (c *contest) took(r *roles, p *party) int {
	if p.app == nil || p.placed == 0 {
		return 0
	}
	inside := false
	for q := p; q != nil && c.within != nil; q = q.parent {
		inside = inside || q == c.within
	}
	n := 0
	for i := range p.app.changes {
		ch := &p.app.changes[i]
		if ch.Node == "" || ch.Kind == spec.ChangeUpdate {
			continue
		}
		need := ch.version.need
		if inside && need[c.of] > 0 || c.usable[r.w.fleet.Node(ch.Node)] && slices.ContainsFunc(c.scarce, func(d int) bool { return need[d] > 0 }) {
			n++
		}
	}
	return n
}

// served lists who took in this plan of what the app lacks: first apps of a higher priority, then at each level of the
// tree those it shares with, most served first. Shares are as the plan leaves them.
func (r *roles) served(x *app, need []int64, c *contest) []spec.Rival {
	p := r.byApp[x]
	if r.told++; p == nil || r.told > maxTold {
		return nil
	}
	priority := x.version.app.Priority
	var first, beside []spec.Rival
	for _, y := range r.w.apps {
		if q := r.byApp[y]; q != nil && y.version != nil && y.version.app.Priority > priority {
			if n := c.took(r, q); n > 0 {
				first = append(first, spec.Rival{
					App: y.name, Placed: n, Priority: y.version.app.Priority,
					Why: fmt.Sprintf(whyPriority, y.name, y.version.app.Priority, x.name, priority, n),
				})
			}
		}
	}
	toward := r.toward(need)
	for mine := p; mine.parent != nil; mine = mine.parent {
		for _, q := range mine.parent.children {
			if n := q.placedAt(r, priority, c); q != mine && n > 0 {
				beside = append(beside, r.rival(mine, q, toward, n))
			}
		}
	}
	most := func(a, b spec.Rival) int { return cmp.Compare(b.Placed, a.Placed) }
	slices.SortStableFunc(first, most)
	slices.SortStableFunc(beside, most)
	all := append(first, beside...)
	return all[:min(len(all), maxRivals)]
}

// rival compares a party that was served with the one that waits: each by what it has of the resource that decides.
func (r *roles) rival(mine, q *party, toward []int64, placed int) spec.Rival {
	share, of := r.has(q, toward)
	own, its := r.has(mine, toward)
	v := spec.Rival{Placed: placed, Share: share, Own: own, Resource: of, Weight: int(q.weight)}
	if its != of {
		v.OwnResource = its
	}
	if q.app != nil {
		v.App = q.app.name
	} else {
		v.Role = spec.RoleName(q.name)
	}
	v.Why = fmt.Sprintf(whyShare, q.title(), shareWords(share, of), q.weighs(mine), mine.title(), shareWords(own, its), mine.weighs(q), placed)
	return v
}

// has returns what a party has of the resource that decides its share, in thousandths of all there is.
func (r *roles) has(p *party, toward []int64) (spec.Milli, string) {
	share, of := r.share(p, toward)
	if share == 0 {
		return 0, ""
	}
	return milliShare(part(p.used[of], r.total[of])), r.w.fleet.Dimensions()[of]
}

func shareWords(share spec.Milli, of string) string {
	if of == "" {
		return shareNone
	}
	return fmt.Sprintf(shareOf, share, of)
}

// placedAt counts what the plan placed of the apps of a priority, of what is contested.
func (p *party) placedAt(r *roles, priority int, contested *contest) int {
	if p.app != nil {
		if p.app.version == nil || p.app.version.app.Priority != priority {
			return 0
		}
		return contested.took(r, p)
	}
	n := 0
	for _, c := range p.children {
		if c.placed > 0 {
			n += c.placedAt(r, priority, contested)
		}
	}
	return n
}

func (p *party) title() string {
	if p.app != nil {
		return p.name
	}
	return roleWord + p.name
}

// weighs names the weight where it makes a difference.
func (p *party) weighs(other *party) string {
	if p.weight == other.weight {
		return ""
	}
	return fmt.Sprintf(" (weight %d)", p.weight)
}

func milliShare(share uint64) spec.Milli { return spec.Milli(scale(share, 1000, shareUnit)) }
