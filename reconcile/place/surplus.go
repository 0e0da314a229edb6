package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// pile is the allocations that share all groups, those that go first in front.
type pile struct {
	groups []int32
	list   []int
}

// Surplus picks n of an app's allocations, given by their nodes and in the order in which they would rather go, so that
// the rest is as even as the app's spreads and its group_by ask: what is taken away each time is that which costs most
// where it is, as a placement goes where it costs least. Those whose node is gone, below zero, go before all others.
func (m *Matcher) Surplus(nodes []int32, n int) []int {
	gs := m.spreading(nodes)
	var piles []pile
	known := map[string]int{}
	out := make([]int, 0, n)
	for i, node := range nodes {
		if node < 0 {
			if len(out) < n {
				out = append(out, i)
			}
			continue
		}
		groups, key := make([]int32, len(gs)), make([]byte, 0, 4*len(gs))
		for k := range gs {
			v := gs[k].column.group(node)
			groups[k], key = v, append(key, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		p, ok := known[string(key)]
		if !ok {
			p = len(piles)
			known[string(key)] = p
			piles = append(piles, pile{groups: groups})
		}
		piles[p].list = append(piles[p].list, i)
	}
	for len(out) < n {
		p := dearest(gs, piles)
		if p < 0 {
			break
		}
		out = append(out, piles[p].list[0])
		piles[p].list = piles[p].list[1:]
		for k := range gs {
			gs[k].have[piles[p].groups[k]]--
		}
	}
	return out
}

// spreading counts the nodes by every attribute over which the app is spread.
func (m *Matcher) spreading(nodes []int32) groupings {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n int32) bool { return n < 0 })
	var gs groupings
	for _, l := range m.limits {
		if l.rule.Operator == spec.OpGroupBy {
			gs = append(gs, grouping{column: l.column, have: count(l.column, nodes), cost: m.evenCosts(l.column)})
		}
	}
	for _, w := range m.wishes {
		gs = append(gs, grouping{column: w.column, have: count(w.column, nodes), cost: w.cost})
	}
	return gs
}

// dearest returns the pile of which one more costs most where it is, the one whose next goes first among equals, or -1.
func dearest(gs groupings, piles []pile) int {
	best, most := -1, spec.Milli(0)
	for p := range piles {
		if len(piles[p].list) == 0 {
			continue
		}
		cost := spec.Milli(0)
		for k := range gs {
			v := piles[p].groups[k]
			cost += gs[k].cost[v] * spec.Milli(gs[k].have[v])
		}
		if best < 0 || cost > most || cost == most && piles[p].list[0] < piles[best].list[0] {
			best, most = p, cost
		}
	}
	return best
}
