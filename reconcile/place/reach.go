package place

import (
	"encoding/binary"

	"github.com/stowage/stowage/spec"
)

// reach is the nodes that pool and constraints over attributes leave to an app, for all apps that ask alike.
type reach struct {
	nodes  []int32 // in order
	orders map[string]*order
	having map[string][]int32 // those of nodes that have some units, by Matcher.unitsKey
}

// maxReaches bounds how many are remembered: a layout may serve many plans, and what apps ask for changes.
const maxReaches = 256

// findReach finds the nodes that the pool and the filters of the app leave.
func (m *Matcher) findReach() *reach {
	f := m.fleet
	pooled := f.divided || m.App.Pool.Or() != spec.DefaultPool
	key := m.reachKey(pooled)
	if r := f.reaches[key]; r != nil {
		return r
	}
	if len(f.reaches) >= maxReaches {
		clear(f.reaches)
	}
	r := &reach{nodes: f.all, orders: map[string]*order{}, having: map[string][]int32{}}
	if pooled || len(m.filters) > 0 {
		r.nodes = m.sift(pooled)
	}
	f.reaches[key] = r
	return r
}

// reachKey is the same for two apps only if they accept the same nodes. Of a rule over allocations, what counts is that
// the attribute is there.
func (m *Matcher) reachKey(pooled bool) string {
	if !pooled && len(m.filters) == 0 {
		return ""
	}
	var key []byte
	text := func(s string) { key = append(binary.AppendUvarint(key, uint64(len(s))), s...) }
	text(string(m.App.Pool.Or()))
	for _, c := range m.App.Constraints {
		text(c.Attribute)
		if overAllocations(c.Operator) {
			text(string(spec.OpSet))
			continue
		}
		text(string(c.Operator))
		text(c.Value)
		key = binary.AppendUvarint(key, uint64(len(c.Values)))
		for _, v := range c.Values {
			text(v)
		}
	}
	return string(key)
}

// sift returns the nodes that the filters let through.
func (m *Matcher) sift(pooled bool) []int32 {
	f := m.fleet
	var nodes []int32
all:
	for i := range f.ids {
		if pooled && !f.Holds(i, m.App.Pool) {
			continue
		}
		for k := range m.filters {
			v := m.filters[k].column.of[i]
			if v == none && !m.filters[k].absent || v != none && !m.filters[k].ok[v] {
				continue all
			}
		}
		nodes = append(nodes, int32(i))
	}
	return nodes
}

// having finds the nodes of the reach that have what the app asks for by name.
func (m *Matcher) having() []int32 {
	key := m.unitsKey()
	if kept, ok := m.reach.having[key]; ok {
		return kept
	}
	if len(m.reach.having) >= maxReaches {
		clear(m.reach.having)
	}
	var kept []int32
	for _, i := range m.reach.nodes {
		if m.cores > 0 && m.fleet.countCores(int(i)) < m.cores || len(m.asks) > 0 && !m.fleet.hasDevices(int(i), m) {
			continue
		}
		kept = append(kept, i)
	}
	m.reach.having[key] = kept
	return kept
}
