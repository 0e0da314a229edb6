package reconcile

import (
	"fmt"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// bar is what keeps an app from having more of a resource, however much the nodes have.
type bar struct {
	party *party // whose quota it is; nil: the room is kept for others
	of    int    // the resource
	spare int64  // what is left when room is kept for others
}

// room returns how many of the steps, from the first, quotas and guarantees allow.
func (r *roles) room(j *job, steps []*rollout.Step) int {
	p := r.byApp[j.x]
	if !r.limited(p) {
		return len(steps)
	}
	total := make([]int64, len(r.total))
	for n, s := range steps {
		delta := r.delta(j, s)
		sum(total, delta)
		if r.bar(p, delta, total) != nil {
			return n
		}
	}
	return len(steps)
}

// limited reports whether anything could keep the app from having more.
func (r *roles) limited(p *party) bool {
	if r.root.keeps {
		return true
	}
	for ; p != nil; p = p.parent {
		if p.quota != nil {
			return true
		}
	}
	return false
}

// bar returns what forbids the app to have total more, of which delta is the last part; nil when nothing does.
func (r *roles) bar(p *party, delta, total []int64) *bar {
	for q := p; q != nil; q = q.parent {
		for d := range q.quota {
			if q.quota[d] >= 0 && delta[d] > 0 && q.used[d]+total[d] > q.quota[d] {
				return &bar{party: q, of: d}
			}
		}
	}
	if !r.root.keeps {
		return nil
	}
	for d := range delta {
		if delta[d] <= 0 {
			continue
		}
		if spare, kept := r.spare(p, d); kept && total[d] > spare {
			return &bar{of: d, spare: spare}
		}
	}
	return nil
}

// kept is what a guarantee still keeps of a resource for the party: what it has not used, and at least what those
// below it have not used of theirs.
func (p *party) kept(d int) int64 {
	if !p.keeps {
		return 0
	}
	below := int64(0)
	for _, c := range p.children {
		below += c.kept(d)
	}
	if p.guarantee == nil {
		return below
	}
	return max(below, p.guarantee[d]-p.used[d])
}

// spare returns how much more of a resource an app can have: what nobody uses, less at each level what is kept for
// others there; but at least what is kept for its own roles, as far as that is not kept further down. It also tells
// whether anything is kept from it: if not, the nodes alone decide.
func (r *roles) spare(p *party, d int) (spare int64, kept bool) {
	if p.parent == nil {
		return r.total[d] - p.used[d], false
	}
	spare, kept = r.spare(p.parent, d)
	for _, c := range p.parent.children {
		if c != p && c.keeps {
			k := c.kept(d)
			spare -= k
			kept = kept || k > 0
		}
	}
	return max(spare, p.kept(d)), kept
}

// promisedTo reports whether an app's role would have less than its guarantee without so much of what the app has, and
// the other app has no part in that guarantee.
func (r *roles) promisedTo(x *app, need []int64, other *app) bool {
	if !r.root.keeps {
		return false
	}
	others := r.byApp[other]
	for p := r.byApp[x]; p != nil && !others.under(p); p = p.parent {
		for d, g := range p.guarantee {
			if need[d] > 0 && p.used[d]-need[d] < g {
				return true
			}
		}
	}
	return false
}

// under reports whether the party is the other one or below it.
func (p *party) under(q *party) bool {
	for ; p != nil; p = p.parent {
		if p == q {
			return true
		}
	}
	return false
}

// keeper is a role that an amount is kept for.
type keeper struct {
	name   string
	amount int64
}

// keepers lists the roles that a resource is kept for, away from the app: those whose guarantees say so.
func (r *roles) keepers(p *party, d int) []keeper {
	var list []keeper
	for ; p.parent != nil; p = p.parent {
		for _, c := range p.parent.children {
			if c != p {
				list = c.keeping(d, list)
			}
		}
	}
	return list
}

func (p *party) keeping(d int, list []keeper) []keeper {
	k := p.kept(d)
	if k == 0 {
		return list
	}
	if p.guarantee != nil && p.guarantee[d]-p.used[d] == k {
		return append(list, keeper{p.name, k})
	}
	for _, c := range p.children {
		list = c.keeping(d, list)
	}
	return list
}

// maxKeepers bounds how many roles a block names that room is kept for.
const maxKeepers = 3

// reasons tells of one more allocation which quota is in its way, or for whom room is kept; nothing when neither is.
func (r *roles) reasons(x *app, need []int64) []spec.Reason { return r.reasonsAfter(x, need, need) }

// reasonsAfter tells the same of the last of several allocations of a gang, which all of them together need total.
func (r *roles) reasonsAfter(x *app, need, total []int64) []spec.Reason {
	p, fleet := r.byApp[x], r.w.fleet
	b := r.bar(p, need, total)
	if b == nil {
		return nil
	}
	name := fleet.Dimensions()[b.of]
	if q := b.party; q != nil {
		rest := total[b.of] - need[b.of]
		detail := fmt.Sprintf("%s of %s are used", fleet.Amount(b.of, q.used[b.of]+rest), fleet.Amount(b.of, q.quota[b.of]))
		if rest > 0 {
			detail += detailGangFits
		}
		return []spec.Reason{{Rule: fmt.Sprintf(ruleQuota, q.name, name), Nodes: fleet.Len(), Detail: detail}}
	}
	var out []spec.Reason
	for i, k := range r.keepers(p, b.of) {
		if i == maxKeepers {
			break
		}
		out = append(out, spec.Reason{
			Rule: fmt.Sprintf(ruleKept, k.name, fleet.Amount(b.of, k.amount), name), Nodes: fleet.Len(),
			Detail: fmt.Sprintf("%s is left for others", fleet.Amount(b.of, max(0, b.spare))),
		})
	}
	return out
}

// The warnings about what is promised to roles.
const (
	warnGuarantee    = "guarantees exceed the cluster"
	detailGuarantees = "roles are guaranteed %s of %s, the nodes have %s"
)

// promised warns of guarantees that the nodes cannot keep all at once.
func (r *roles) promised() []spec.Warning {
	var out []spec.Warning
	for d, total := range r.total {
		if promised := r.root.promised(d); promised > total {
			fleet := r.w.fleet
			out = append(out, spec.Warning{Rule: warnGuarantee, Detail: fmt.Sprintf(detailGuarantees, fleet.Amount(d, promised), fleet.Dimensions()[d], fleet.Amount(d, total))})
		}
	}
	return out
}

func (p *party) promised(d int) int64 {
	below := int64(0)
	for _, c := range p.children {
		if c.keeps {
			below += c.promised(d)
		}
	}
	if p.guarantee == nil {
		return below
	}
	return max(below, p.guarantee[d])
}
