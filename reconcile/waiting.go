package reconcile

import (
	"cmp"
	"fmt"
	"slices"

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
	whyShare    = "%s has %s of %s%s, %s %s%s: %d of it in this plan, in the order of shares"
	roleWord    = "role "
)

// served lists who got something in this plan while the app did not get all: first apps of a higher priority, then at
// each level of the tree those it shares with, most served first. Shares are as the plan leaves them, along what the
// app asks for.
func (r *roles) served(x *app, need []int64) []spec.Rival {
	p := r.byApp[x]
	if r.told++; p == nil || r.told > maxTold {
		return nil
	}
	priority := x.version.app.Priority
	var first, beside []spec.Rival
	for _, y := range r.w.apps {
		if q := r.byApp[y]; q != nil && q.placed > 0 && y.version != nil && y.version.app.Priority > priority {
			first = append(first, spec.Rival{
				App: y.name, Placed: q.placed, Priority: y.version.app.Priority,
				Why: fmt.Sprintf(whyPriority, y.name, y.version.app.Priority, x.name, priority, q.placed),
			})
		}
	}
	toward := r.toward(need)
	for mine := p; mine.parent != nil; mine = mine.parent {
		for _, q := range mine.parent.children {
			if n := q.placedAt(priority); q != mine && n > 0 {
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

// rival compares a party that was served with the one that waits.
func (r *roles) rival(mine, q *party, toward []int64, placed int) spec.Rival {
	own, _ := r.share(mine, toward)
	share, of := r.share(q, toward)
	v := spec.Rival{Placed: placed, Share: milliShare(share), Own: milliShare(own), Resource: r.w.fleet.Dimensions()[of], Weight: int(q.weight)}
	if q.app != nil {
		v.App = q.app.name
	} else {
		v.Role = spec.RoleName(q.name)
	}
	v.Why = fmt.Sprintf(whyShare, q.title(), v.Share, v.Resource, q.weighs(mine), mine.title(), v.Own, mine.weighs(q), placed)
	return v
}

// placedAt counts what the plan placed of the apps of a priority.
func (p *party) placedAt(priority int) int {
	if p.app != nil {
		if p.app.version == nil || p.app.version.app.Priority != priority {
			return 0
		}
		return p.placed
	}
	n := 0
	for _, c := range p.children {
		if c.placed > 0 {
			n += c.placedAt(priority)
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
