package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// reserved is what reservations keep on each node, and for whom. It follows from what is on the nodes and remembers
// nothing: where a role uses what is kept for it, that much less is kept.
type reserved struct {
	w      *world
	owners []*owner // by role
	// kept is what somebody cannot have on each node, a row of all resources for each: by the owner that is nearest above
	// who asks; nil is everybody else.
	kept map[*owner][]int64
}

// owner is a role with reservations.
type owner struct {
	role   spec.RoleName
	above  *owner
	below  []*owner
	amount []int64 // on each node, a row of all resources
	used   []int64 // likewise: what allocations of the role and those below it have there
	parts  []keptPart
}

// keptPart is one reservation of an owner.
type keptPart struct {
	reservation *spec.Reservation
	each        []int64
	nodes       []int32 // that its constraints accept
}

// readReserved reads the reservations, and who uses them. Without any it returns nil, and all that asks costs nothing.
func (w *world) readReserved() *reserved {
	list := w.in.Desired.Reservations
	if len(list) == 0 {
		return nil
	}
	size := w.fleet.Len() * len(w.before)
	r := &reserved{w: w, kept: map[*owner][]int64{}}
	for i := range list {
		k := slices.IndexFunc(r.owners, func(o *owner) bool { return o.role == list[i].Role })
		if k < 0 {
			k = len(r.owners)
			r.owners = append(r.owners, &owner{role: list[i].Role, amount: make([]int64, size), used: make([]int64, size)})
		}
		o := r.owners[k]
		match := w.fleet.Matcher(&spec.App{Constraints: list[i].Constraints, Pool: spec.AllPools})
		part := keptPart{&list[i], w.fleet.Vector(list[i].Resources), match.Takes()}
		for _, n := range part.nodes {
			sum(o.amount[int(n)*len(part.each):], part.each)
		}
		o.parts = append(o.parts, part)
	}
	slices.SortFunc(r.owners, func(a, b *owner) int { return cmp.Compare(a.role, b.role) }) // who is above comes first
	for i, o := range r.owners {
		if o.above = nearest(r.owners[:i], parentOf(o.role)); o.above != nil {
			o.above.below = append(o.above.below, o)
		}
	}
	for _, x := range w.apps {
		for i := range x.views {
			a, node := &x.views[i], w.nodeOf[x.first+i]
			if v := w.known(a.Version); !a.State.Terminal() && a.Want == spec.WantRun && node >= 0 && v != nil {
				r.count(x, int(node), v.need, 1)
			}
		}
	}
	return r
}

func parentOf(r spec.RoleName) spec.RoleName {
	return r[:max(0, strings.LastIndexByte(string(r), '/'))]
}

// nearest returns the owner of the role, or of the nearest one above it, or nil.
func nearest(owners []*owner, role spec.RoleName) *owner {
	for ; role != ""; role = parentOf(role) {
		for _, o := range owners {
			if o.role == role {
				return o
			}
		}
	}
	return nil
}

func (r *reserved) ownerOf(x *app) *owner {
	if x.desired == nil {
		return nil
	}
	return nearest(r.owners, roleOf(x.desired.app))
}

// count tells that an app has more on a node, or less.
func (r *reserved) count(x *app, node int, need []int64, sign int64) {
	if r == nil {
		return
	}
	o := r.ownerOf(x)
	if o == nil {
		return
	}
	d := len(need)
	for ; o != nil; o = o.above {
		for k, v := range need {
			o.used[node*d+k] += sign * v
		}
	}
	for _, who := range append(slices.Clone(r.owners), nil) {
		if rows := r.kept[who]; rows != nil {
			for k := node * d; k < (node+1)*d; k++ {
				rows[k] = r.from(who, k)
			}
			r.w.fleet.Touch(node)
		}
	}
}

// unused is what is still kept for an owner: what its role does not use, and at least what those below it do not.
func (o *owner) unused(at int) int64 {
	below := int64(0)
	for _, c := range o.below {
		below += c.unused(at)
	}
	return max(below, o.amount[at]-o.used[at])
}

// from is how much of a resource is kept on a node from somebody: for everybody that is not above them.
func (r *reserved) from(who *owner, at int) int64 {
	kept := int64(0)
	for _, o := range r.beside(who) {
		kept += o.unused(at)
	}
	return kept
}

// beside lists the owners whose reservations are not for somebody, without those that are counted with another.
func (r *reserved) beside(who *owner) []*owner {
	var list []*owner
	for _, o := range r.owners {
		if o.above == nil && who == nil || who != nil && o.above == who {
			list = append(list, o)
		}
	}
	for ; who != nil; who = who.above {
		for _, o := range r.owners {
			if o.above == who.above && o != who {
				list = append(list, o)
			}
		}
	}
	return list
}

// hide takes what is kept for others out of an app's sight, until what it returns is called.
func (r *reserved) hide(x *app) (show func()) {
	if r == nil {
		return func() {}
	}
	who := r.ownerOf(x)
	rows := r.kept[who]
	if rows == nil {
		rows = make([]int64, r.w.fleet.Len()*len(r.w.before))
		for at := range rows {
			rows[at] = r.from(who, at)
		}
		r.kept[who] = rows
	}
	return r.w.fleet.Withhold(rows)
}

// promisedTo reports whether an app's role would use less of a node than is reserved for it there, without so much of what
// the app has, and the other app has no part in that reservation.
func (r *reserved) promisedTo(x *app, node int, need []int64, other *app) bool {
	if r == nil {
		return false
	}
	above := map[*owner]bool{}
	for o := r.ownerOf(other); o != nil; o = o.above {
		above[o] = true
	}
	for o := r.ownerOf(x); o != nil && !above[o]; o = o.above {
		for k, ask := range need {
			if at := node*len(need) + k; ask > 0 && o.used[at]-ask < o.amount[at] {
				return true
			}
		}
	}
	return false
}

// keptFrom is how much of a resource is kept on a node from an app.
func (r *reserved) keptFrom(x *app, node, d int) int64 {
	if r == nil {
		return 0
	}
	return r.from(r.ownerOf(x), node*len(r.w.before)+d)
}

// keptFromAll is how much of a resource is kept on a node from those that no reservation is for.
func (r *reserved) keptFromAll(node, d int) int64 {
	if r == nil {
		return 0
	}
	return r.from(nil, node*len(r.w.before)+d)
}

// save keeps who uses how much.
func (r *reserved) save() [][]int64 {
	if r == nil {
		return nil
	}
	used := make([][]int64, len(r.owners))
	for i, o := range r.owners {
		used[i] = slices.Clone(o.used)
	}
	return used
}

// restore goes back to what was saved.
func (r *reserved) restore(used [][]int64) {
	if r == nil {
		return
	}
	for i, o := range r.owners {
		o.used = used[i]
	}
	clear(r.kept)
}

// reasons names the reservations without which a node would take one more allocation of the request, with those nodes.
// Nothing is hidden when it is called.
func (r *reserved) reasons(x *app, q *place.Request) []spec.Reason {
	if r == nil {
		return nil
	}
	var out []spec.Reason
	who, need := r.ownerOf(x), q.Match.Need
	for _, n := range r.w.fleet.Acceptable(q) {
		short := r.w.fleet.Short(int(n), need)
		if !covered(short) {
			continue // it has no room at all
		}
		for _, o := range r.blocking(who, int(n), need, short) {
			rule := fmt.Sprintf(ruleReserved, o.names(n), o.role)
			k := slices.IndexFunc(out, func(s spec.Reason) bool { return s.Rule == rule })
			if k < 0 {
				k = len(out)
				out = append(out, spec.Reason{Rule: rule})
			}
			if out[k].Nodes++; len(out[k].Names) < maxReservedNames {
				out[k].Names = append(out[k].Names, r.w.fleet.ID(int(n)))
			}
		}
	}
	return out
}

func covered(short []int64) bool {
	return !slices.ContainsFunc(short, func(v int64) bool { return v > 0 })
}

// maxReservedNames bounds how many nodes a reason names.
const maxReservedNames = 3

// blocking lists the owners, and those below them, that something is kept for of what would be short.
func (r *reserved) blocking(who *owner, node int, need, short []int64) []*owner {
	var list []*owner
	d := len(need)
	tight := func(k int) bool { return need[k] > 0 && short[k]+r.from(who, node*d+k) > 0 }
	var visit func(o *owner)
	visit = func(o *owner) {
		for k := range need {
			if at := node*d + k; tight(k) && o.amount[at]-o.used[at] > 0 {
				list = append(list, o)
				return
			}
		}
		for _, c := range o.below {
			visit(c)
		}
	}
	for _, o := range r.beside(who) {
		visit(o)
	}
	return list
}

// names lists the owner's reservations on a node.
func (o *owner) names(node int32) string {
	var names []string
	for _, p := range o.parts {
		if _, there := slices.BinarySearch(p.nodes, node); there {
			names = append(names, p.reservation.Name)
		}
	}
	return strings.Join(names, ", ")
}

// ReservedOn tells what reservations keep on a node, by name, and how much of each the role does not use there.
func ReservedOn(in Input, id spec.NodeID) []spec.NodeReservation {
	w := newWorld(&in)
	node := w.fleet.Node(id)
	if w.reserved == nil || node < 0 {
		return nil
	}
	var list []spec.NodeReservation
	for _, o := range w.reserved.owners {
		for _, p := range o.parts {
			if _, there := slices.BinarySearch(p.nodes, int32(node)); there {
				list = append(list, spec.NodeReservation{Name: p.reservation.Name, Role: o.role, Amount: p.reservation.Resources, Unused: w.fleet.Resources(o.unusedOf(&p, node))})
			}
		}
	}
	slices.SortFunc(list, func(a, b spec.NodeReservation) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// unusedOf is how much of one of the owner's reservations its role does not use on a node.
func (o *owner) unusedOf(p *keptPart, node int) []int64 {
	unused := make([]int64, len(p.each))
	for k := range unused {
		at := node*len(unused) + k
		unused[k] = min(p.each[k], max(0, o.amount[at]-o.used[at]))
	}
	return unused
}

// states tells of each reservation where it is and how much of it nobody uses yet, and warns of those that no node can
// keep.
func (r *reserved) states() (list []spec.ReservationState, warnings []spec.Warning) {
	if r == nil {
		return nil, nil
	}
	fleet, d := r.w.fleet, len(r.w.before)
	for _, o := range r.owners {
		for _, p := range o.parts {
			s := spec.ReservationState{Name: p.reservation.Name, Role: o.role, Each: p.reservation.Resources}
			unused, fits := make([]int64, d), false
			for _, n := range p.nodes {
				if !fleet.Open(int(n)) {
					continue
				}
				s.Nodes++
				large := true
				for k := range unused {
					large = large && p.each[k] <= fleet.Capacity(int(n))[k]
				}
				sum(unused, o.unusedOf(&p, int(n)))
				fits = fits || large
			}
			s.Unused = fleet.Resources(unused)
			list = append(list, s)
			switch {
			case s.Nodes == 0:
				warnings = append(warnings, spec.Warning{Rule: fmt.Sprintf(warnOnNoNode, s.Name), Detail: detailOnNoNode, Pos: p.reservation.Pos})
			case !fits:
				warnings = append(warnings, spec.Warning{Rule: fmt.Sprintf(warnTooLarge, s.Name), Detail: fmt.Sprintf(detailTooLarge, s.Nodes), Pos: p.reservation.Pos})
			}
		}
	}
	slices.SortFunc(list, func(a, b spec.ReservationState) int { return cmp.Compare(a.Name, b.Name) })
	return list, warnings
}

// What a plan warns of about reservations.
const (
	warnOnNoNode   = "reservation %s is on no node"
	detailOnNoNode = "no node that takes allocations meets its constraints"
	warnTooLarge   = "reservation %s is larger than any of its nodes"
	detailTooLarge = "on the %d nodes that its constraints accept nothing is left for others, and it is not kept in full"
)
