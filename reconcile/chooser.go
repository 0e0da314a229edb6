package reconcile

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// chooser looks for the best choice, node after node.
type chooser struct {
	w       *world
	j       *job
	step    *rollout.Step
	request *place.Request
	limits  []shortfall // of quotas and guarantees: the same on every node
	byName  bool        // the placement asks for devices or cores
	best    *choice
	seen    map[string]bool // nodes by all that a choice on them depends on
	key     []byte

	node   int
	faulty bool
	rows   []shortfall // what is missing on the node in hand, only amounts above zero
	kinds  []kind      // who could go, of those that are not too important
	most   [][]int64   // the most that one of kinds[i:] gives of each row
	picked []int       // how many of each kind
	budget map[*app]int
	tries  int
	found  bool // a choice at the level of importance in hand
}

// shortfall is an amount that is missing for the placement, and what a victim gives of it: more than that it does not.
type shortfall struct {
	short int64
	gives func(v *victim) int64
}

// kind is victims that nothing tells apart but their names.
type kind struct {
	victims []victim
	gives   []int64 // of each row
}

// maxTries bounds how many sets of victims are tried on one node at one level of importance. Beyond it whoever helps
// most goes first, and who turns out not to be needed stays: nobody goes in vain, but fewer might have done.
const maxTries = 4096

// readLimits finds what quotas and guarantees lack for one more allocation.
func (c *chooser) readLimits() {
	roles := c.w.roles
	p, delta := roles.byApp[c.j.x], roles.delta(c.j, c.step)
	for q := p; q != nil; q = q.parent {
		for d := range q.quota {
			if short := q.used[d] + delta[d] - q.quota[d]; q.quota[d] >= 0 && delta[d] > 0 && short > 0 {
				c.limits = append(c.limits, shortfall{short, func(v *victim) int64 {
					if roles.byApp[v.x].under(q) {
						return v.need[d]
					}
					return 0
				}})
			}
		}
	}
	for d := range delta {
		if spare, kept := roles.spare(p, d); kept && delta[d] > spare {
			c.limits = append(c.limits, shortfall{delta[d] - spare, func(v *victim) int64 { return v.need[d] }})
		}
	}
}

// couldBeBest reports whether a choice on the node in hand with a victim of that priority could be better than the best
// so far.
func (c *chooser) couldBeBest(priority int) bool {
	if c.best == nil || c.best.faulty != c.faulty {
		return c.best == nil || c.best.faulty
	}
	return priority <= c.best.highest
}

// likeAnother reports whether a node before this one lacks as much, and has the like of its victims: then a choice on
// this one is no better.
func (c *chooser) likeAnother(list []victim) bool {
	if c.byName || c.w.reserved != nil || len(c.j.version.app.Network.Ports) > 0 {
		return false
	}
	c.key = binary.AppendVarint(c.key[:0], 0)
	if c.faulty {
		c.key[0] = 1
	}
	capacity, used := c.w.fleet.Capacity(c.node), c.w.fleet.Used(c.node)
	for d, short := range c.w.fleet.Short(c.node, c.j.version.need) {
		c.key = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(c.key, short), capacity[d]), used[d])
	}
	for i := range list {
		v := &list[i]
		if c.couldBeBest(v.priority) {
			c.key = append(binary.AppendVarint(c.key, int64(len(v.x.name))), v.x.name...)
			for _, n := range v.need {
				c.key = binary.AppendVarint(c.key, n)
			}
		}
	}
	if c.seen[string(c.key)] {
		return true
	}
	c.seen[string(c.key)] = true
	return false
}

// look tries a node: the least important victims alone, then those of the next priority as well, until a choice is found
// or could only be worse than the best so far.
func (c *chooser) look(list []victim) {
	c.readRows()
	if len(c.rows) == 0 && !c.byName {
		return // it has all that its victims could give
	}
	c.kinds, c.found = c.kinds[:0], false
	for i := 0; i < len(list) && !c.found; {
		level := list[i].priority
		if !c.couldBeBest(level) {
			return
		}
		for ; i < len(list) && list[i].priority == level; i++ {
			c.add(list[i])
		}
		c.search()
	}
}

// readRows finds what the node lacks: resources, with what reservations keep, and ports by number.
func (c *chooser) readRows() {
	fleet, need := c.w.fleet, c.j.version.need
	c.rows = append(c.rows[:0], c.limits...)
	for d, short := range fleet.Short(c.node, need) {
		if need[d] > 0 {
			short += c.w.reserved.keptFrom(c.j.x, c.node, d)
		}
		if short > 0 {
			c.rows = append(c.rows, shortfall{short, func(v *victim) int64 { return v.need[d] }})
		}
	}
	for _, p := range c.j.version.app.Network.Ports {
		if p.Static != 0 && !fleet.HasPort(c.node, p.Static, p.Protocol) {
			c.rows = append(c.rows, shortfall{1, func(v *victim) int64 {
				if slices.ContainsFunc(v.a.Ports, func(o spec.Port) bool { return o.Number == p.Static && o.Protocol == p.Protocol }) {
					return 1
				}
				return 0
			}})
		}
	}
}

// add takes a victim into consideration, if it gives anything that is missing.
func (c *chooser) add(v victim) {
	gives, helps := make([]int64, len(c.rows)), false
	for i := range c.rows {
		gives[i] = c.rows[i].gives(&v)
		helps = helps || gives[i] > 0
	}
	alone := c.byName && len(v.a.Devices)+len(v.a.Cores) > 0 // what it has is like nothing else
	if !helps && !alone || c.w.promised(&v, c.j.x) {
		return
	}
	if n := len(c.kinds) - 1; n >= 0 && !alone && c.kinds[n].victims[0].x == v.x && slices.Equal(c.kinds[n].victims[0].need, v.need) && slices.Equal(c.kinds[n].gives, gives) {
		c.kinds[n].victims = append(c.kinds[n].victims, v)
		return
	}
	c.kinds = append(c.kinds, kind{[]victim{v}, gives})
}

// search looks for the best choice among the kinds: with one victim, with two, and so on.
func (c *chooser) search() {
	total := 0
	c.budget, c.tries = map[*app]int{}, 0
	for _, k := range c.kinds {
		total += len(k.victims)
		c.budget[k.victims[0].x] = k.victims[0].x.out.Spare
	}
	if c.w.total != nil {
		total = min(total, c.w.total.Left)
	}
	// Those that give most come first: the bounds get tight early.
	slices.SortStableFunc(c.kinds, func(a, b kind) int { return cmp.Compare(c.worth(&b), c.worth(&a)) })
	c.most = slices.Grow(c.most[:0], len(c.kinds)+1)[:len(c.kinds)+1]
	c.most[len(c.kinds)] = make([]int64, len(c.rows))
	for i := len(c.kinds) - 1; i >= 0; i-- {
		c.most[i] = slices.Clone(c.most[i+1])
		for r, g := range c.kinds[i].gives {
			c.most[i][r] = max(c.most[i][r], g)
		}
	}
	c.picked = slices.Grow(c.picked[:0], len(c.kinds))[:len(c.kinds)]
	clear(c.picked)
	short := make([]int64, len(c.rows))
	for i := range c.rows {
		short[i] = c.rows[i].short
	}
	for n := 1; n <= total && !c.found && c.tries < maxTries; n++ {
		c.pick(0, n, short)
	}
	if !c.found && c.tries >= maxTries {
		c.greedily(total)
	}
}

// worth is how much of all that is missing a victim of the kind gives, in thousandths.
func (c *chooser) worth(k *kind) int64 {
	sum := int64(0)
	for i, g := range k.gives {
		sum += min(1000, g*1000/c.rows[i].short)
	}
	return sum
}

// pick tries all sets with n victims more, of kinds[i:].
func (c *chooser) pick(i, n int, short []int64) {
	if c.tries++; c.tries >= maxTries {
		return
	}
	for r := range short {
		if short[r] > int64(n)*c.most[i][r] {
			return
		}
	}
	if n == 0 {
		c.try(c.chosen())
		return
	}
	if i == len(c.kinds) {
		return
	}
	k := &c.kinds[i]
	x := k.victims[0].x
	rest := make([]int64, len(short))
	for take := min(n, len(k.victims), c.budget[x]); take >= 0; take-- {
		for r := range short {
			rest[r] = short[r] - int64(take)*k.gives[r]
		}
		c.picked[i], c.budget[x] = take, c.budget[x]-take
		c.pick(i+1, n-take, rest)
		c.budget[x] += take
	}
	c.picked[i] = 0
}

// chosen lists who is picked.
func (c *chooser) chosen() []victim {
	var list []victim
	for i, n := range c.picked {
		list = append(list, c.kinds[i].victims[:n]...)
	}
	return list
}

// try keeps a set of victims if their going makes the placement fit and it is the best so far.
func (c *chooser) try(list []victim) bool {
	if !c.fits(list) {
		return false
	}
	o := &choice{node: c.node, faulty: c.faulty, victims: list}
	for _, v := range list {
		o.highest, o.sum = max(o.highest, v.priority), o.sum+v.priority
	}
	short, capacity := c.w.fleet.Short(c.node, c.j.version.need), c.w.fleet.Capacity(c.node)
	for d := range short {
		given := int64(0)
		for _, v := range list {
			given += v.need[d]
		}
		if need := max(0, short[d]+c.w.reserved.keptFrom(c.j.x, c.node, d)); given > need && capacity[d] > 0 {
			o.waste += (given - need) * 1000 / capacity[d]
		}
	}
	c.found = true
	if c.best == nil || o.compare(c.best) < 0 {
		c.best = o
	}
	return true
}

// fits reports whether the placement fits once they have gone, and all of them may go.
func (c *chooser) fits(list []victim) bool {
	w, may, n := c.w, true, 0
	for may && n < len(list) {
		if may = !w.promised(&list[n], c.j.x); may {
			w.evict(list[n], 1)
			n++
		}
	}
	may = may && c.roomy()
	for n--; n >= 0; n-- {
		w.evict(list[n], -1)
	}
	return may
}

// roomy reports whether the placement fits with what has gone so far.
func (c *chooser) roomy() bool {
	need := c.j.version.need
	for d, short := range c.w.fleet.Short(c.node, need) {
		if need[d] > 0 && short+c.w.reserved.keptFrom(c.j.x, c.node, d) > 0 {
			return false
		}
	}
	return c.w.fleet.HasRoom(c.node, c.request) && c.w.roles.room(c.j, []*rollout.Step{c.step}) == 1
}

// greedily lets go whoever helps most until it fits, and spares again those without whom it fits too.
func (c *chooser) greedily(most int) {
	var list []victim
	for _, k := range c.kinds {
		for _, v := range k.victims {
			if len(list) == most || c.budget[v.x] == 0 || c.w.promised(&v, c.j.x) {
				break
			}
			c.budget[v.x]--
			c.w.evict(v, 1)
			list = append(list, v)
		}
	}
	fits := c.roomy()
	for _, v := range list {
		c.w.evict(v, -1)
	}
	if !fits {
		return
	}
	slices.SortStableFunc(list, func(a, b victim) int { return cmp.Compare(a.priority, b.priority) })
	for i := len(list) - 1; i >= 0; i-- {
		if without := slices.Delete(slices.Clone(list), i, i+1); c.fits(without) {
			list = without
		}
	}
	c.try(list)
}
