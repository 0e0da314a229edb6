package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// The gains, as people read them.
const (
	gainRules = "%s no longer meets the rules of %s"
	gainRoom  = "makes room for %s on %s"
	gainEven  = "spreads %s over %s: %s → %s"
	gainNode  = "frees %s whole"
)

// mendRules moves allocations away from nodes that the constraints of their app no longer accept: those of a node or of
// a commit have changed since they were placed.
func (r *rebalancer) mendRules() {
	for _, x := range r.apps {
		takes := r.w.matcher(x, x.version).Takes()
		if len(takes) == r.w.fleet.Len() {
			continue
		}
		for _, m := range r.movers[x] {
			if _, ok := slices.BinarySearch(takes, int32(m.node)); ok || r.full() {
				continue
			}
			if d, ok := r.try(m, takes, r.policyOf(x)); ok {
				r.keep([]done{d}, fmt.Sprintf(gainRules, r.w.fleet.ID(d.from), x.name), worthRules)
			}
		}
	}
}

// makeRoom finds places for slots that have none, most important first, by moving others out of the way.
func (r *rebalancer) makeRoom() {
	var blocked []*app
	for _, x := range r.w.apps {
		if x.desired != nil && x.held == "" && len(x.missed) > 0 && x.desired.app.Kind != spec.KindSystem {
			blocked = append(blocked, x)
		}
	}
	slices.SortStableFunc(blocked, func(a, b *app) int { return cmp.Compare(b.desired.app.Priority, a.desired.app.Priority) })
	looked := 0
	for _, x := range blocked {
		for i := range x.missed {
			s := &x.missed[i]
			slot := spec.Slot{App: x.name, Index: s.Slot}
			if !s.Places() || s.Canary || r.failed[slot.String()] || looked >= maxBlocked || r.full() {
				continue
			}
			looked++
			r.failed[slot.String()] = true // found or not, once is enough
			r.roomFor(x, slot)
		}
	}
}

// roomFor tries the nodes where least has to go. What is freed is taken at once, so that nobody else counts on it.
func (r *rebalancer) roomFor(x *app, slot spec.Slot) {
	w := r.w
	j := &job{x: x, version: x.version}
	if x.desired.app.Gang || len(w.roles.reasons(x, j.version.need)) > 0 {
		return // a gang needs room for all; a role that has no more, none
	}
	type chance struct {
		node  int
		going []*mover
	}
	var chances []chance
	show := w.reserved.hide(x)
	for _, n := range w.fleet.Acceptable(w.request(j, 1)) {
		if going := r.enough(int(n), j.version.need); going != nil {
			chances = append(chances, chance{int(n), going})
		}
	}
	show()
	slices.SortStableFunc(chances, func(a, b chance) int { return cmp.Compare(len(a.going), len(b.going)) })
	for _, c := range chances[:min(len(chances), maxTried)] {
		others := r.open(func(n int) bool { return n != c.node })
		var list []done
		for _, m := range c.going {
			d, ok := r.try(m, others, place.Binpack)
			if !ok {
				break
			}
			list = append(list, d)
		}
		if len(list) < len(c.going) {
			r.undo(list)
			continue
		}
		if !r.keep(list, fmt.Sprintf(gainRoom, slot, w.fleet.ID(c.node)), worthRoom) {
			continue
		}
		given := w.fleet.Grant(c.node, slot, w.request(j, 1))
		w.fleet.Take(c.node, j.version.need, &given)
		w.reserved.count(x, c.node, j.version.need, 1)
		x.own = append(w.ownOf(x), int32(c.node))
		return
	}
}

// enough returns the fewest movers of a node whose going makes room for the need, as far as taking the most helpful
// first finds them; nil when all of them are not enough, or there is room already.
func (r *rebalancer) enough(node int, need []int64) []*mover {
	short := r.w.fleet.Short(node, need)
	var going []*mover
	for len(going) <= worthRoom {
		if covered(short) {
			return going
		}
		var best *mover
		most := int64(0)
		for _, m := range r.at[node] {
			if m.moved || slices.Contains(going, m) {
				continue
			}
			if h := helpsBy(short, m.x.version.need); h > most {
				best, most = m, h
			}
		}
		if best == nil {
			return nil
		}
		for d, v := range best.x.version.need {
			short[d] -= v
		}
		going = append(going, best)
	}
	return nil
}

// thousandths returns which part a is of b, which is above zero.
func thousandths(a, b int64) int64 { return int64(scale(uint64(a), 1000, uint64(b))) }

// helpsBy returns how much of what is short a need would free, in thousandths of it summed over the resources.
func helpsBy(short, need []int64) int64 {
	sum := int64(0)
	for d := range short {
		if short[d] > 0 {
			sum += thousandths(min(need[d], short[d]), short[d])
		}
	}
	return sum
}

// evenOut moves allocations from the fullest failure domain to the emptiest, for apps whose spread has no targets.
func (r *rebalancer) evenOut() {
	for _, x := range r.apps {
		if a := x.desired.app; len(a.Spreads) > 0 && len(a.Spreads[0].Targets) == 0 && a.Count > 1 && !r.full() {
			r.evenOutApp(x)
		}
	}
}

func (r *rebalancer) evenOutApp(x *app) {
	match := r.w.matcher(x, x.version)
	byValue := map[string][]int32{}
	var values []string
	for _, n := range match.Open() {
		if v, ok := match.SpreadValue(int(n)); ok {
			if byValue[v] == nil {
				values = append(values, v)
			}
			byValue[v] = append(byValue[v], n)
		}
	}
	slices.Sort(values)
	count := map[string]int{}
	for _, m := range r.movers[x] {
		v, _ := match.SpreadValue(m.node)
		count[v]++
	}
	before := counts(values, count)
	var list []done
	for closed := map[string]bool{}; len(r.out.Moves)+len(list) < r.terms.Moves; {
		low, going := r.leaving(x, match, values, count, closed, r.terms.Moves-len(r.out.Moves)-len(list))
		if len(going) == 0 {
			break
		}
		went := r.tryAll(going, byValue[low], r.policyOf(x))
		for _, d := range went {
			v, _ := match.SpreadValue(d.from)
			count[v]--
			count[low]++
		}
		list = append(list, went...)
		if len(went) < len(going) {
			closed[low] = true // it has no more room
		}
	}
	r.keep(list, fmt.Sprintf(gainEven, x.name, x.desired.app.Spreads[0].Attribute, before, counts(values, count)), worthEven*len(list))
}

// extremes returns the values with most and, of those not closed, with fewest allocations.
func extremes(values []string, count map[string]int, closed map[string]bool) (high, low string) {
	found := false
	for i, v := range values {
		if i == 0 || count[v] > count[high] {
			high = v
		}
		if !closed[v] && (!found || count[v] < count[low]) {
			low, found = v, true
		}
	}
	if !found {
		return "", ""
	}
	return high, low
}

// leaving picks what is to go to the domain that has fewest, until another one has: each from the domain that then has
// most, the youngest first.
func (r *rebalancer) leaving(x *app, match *place.Matcher, values []string, count map[string]int, closed map[string]bool, most int) (to string, going []*mover) {
	count = maps.Clone(count)
	rest := map[string][]*mover{}
	for _, m := range slices.Backward(r.movers[x]) {
		if v, ok := match.SpreadValue(m.node); ok && !m.moved {
			rest[v] = append(rest[v], m)
		}
	}
	for len(going) < most {
		high, low := extremes(values, count, closed)
		if high == "" || count[high]-count[low] < 2 || len(going) > 0 && low != to || len(rest[high]) == 0 {
			break
		}
		to, going = low, append(going, rest[high][0])
		rest[high] = rest[high][1:]
		count[high]--
		count[low]++
	}
	return to, going
}

func counts(values []string, count map[string]int) string {
	const most = 8
	var parts []string
	for i, v := range values {
		if i == most {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, strconv.Itoa(count[v]))
	}
	return strings.Join(parts, "/")
}

// freeNodes empties nodes of which everything fits elsewhere, the least used first, where the cluster packs. It never
// brings more of an app onto a node, or into a failure domain, than there was where it came from.
func (r *rebalancer) freeNodes() {
	if p := r.w.in.Desired.Policy.Name; p != "" && p != place.Binpack.Name {
		return
	}
	nodes := r.open(func(n int) bool { return r.work(n) > 0 && r.work(n) == len(r.at[n]) && len(r.at[n]) <= worthNode })
	used := func(n int32) int64 { // the fullest resource, in thousandths
		most := int64(0)
		for d, v := range r.w.fleet.Used(int(n)) {
			if c := r.w.fleet.Capacity(int(n))[d]; c > 0 {
				most = max(most, thousandths(v, c))
			}
		}
		return most
	}
	slices.SortStableFunc(nodes, func(a, b int32) int {
		return cmp.Or(cmp.Compare(len(r.at[a]), len(r.at[b])), cmp.Compare(used(a), used(b)))
	})
	for _, n := range nodes[:min(len(nodes), maxTried)] {
		if !r.full() && r.work(int(n)) == len(r.at[n]) {
			r.free(int(n))
		}
	}
}

// free empties a node, or leaves it as it is.
func (r *rebalancer) free(node int) {
	going := slices.Clone(r.at[node])
	slices.SortFunc(going, bySize)
	others := r.open(func(n int) bool { return n != node && r.work(n) > 0 })
	var list []done
	for _, m := range going {
		d, ok := done{}, false
		if r.w.policyOf(m.x.desired.app).Name == place.Binpack.Name {
			d, ok = r.try(m, r.fitting(m, others), place.Binpack)
		}
		if !ok {
			r.undo(list)
			return
		}
		list = append(list, d)
	}
	r.keep(list, fmt.Sprintf(gainNode, r.w.fleet.ID(node)), worthNode)
}

// fitting are those of the nodes on which the app has fewer than where the allocation is, and stays as evenly spread as it
// is when the allocation moves there.
func (r *rebalancer) fitting(m *mover, nodes []int32) []int32 {
	spreads := m.x.desired.app.Spreads
	if len(spreads) > 1 || len(spreads) == 1 && len(spreads[0].Targets) > 0 {
		return nil
	}
	own, groups := map[int32]int{}, map[int]int{}
	match := r.w.matcher(m.x, m.x.version)
	for _, n := range r.w.ownOf(m.x) {
		own[n]++
		groups[match.SpreadGroup(int(n))]++
	}
	from, most := match.SpreadGroup(m.node), own[int32(m.node)]
	out := make([]int32, 0, len(nodes))
	for _, n := range nodes {
		if own[n] >= most {
			continue
		}
		if to := match.SpreadGroup(int(n)); len(spreads) == 0 || to == from || groups[to] < groups[from] {
			out = append(out, n)
		}
	}
	return out
}
