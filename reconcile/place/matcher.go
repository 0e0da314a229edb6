package place

import (
	"maps"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Matcher is what an app asks of nodes, evaluated once for the whole fleet.
type Matcher struct {
	App           *spec.App
	Need          []int64
	fleet         *Fleet
	reach         *reach
	eligible      []int32 // nodes of the pool that every constraint over attributes accepts and that have what is asked for by name, in order
	filters       []filter
	terms         []nodeTerm
	limits        []limit
	wishes        []wish
	same          []*column
	asks          []ask // devices, task by task
	cores         int   // exclusive ones of all tasks together
	named         bool  // it asks for ports, devices or cores
	wishesDevices bool  // some of asks prefer devices to others
	near          bool  // a rule asks for nodes near another app
}

// filter is a constraint over an attribute, evaluated for each of its values.
type filter struct {
	column *column
	ok     []bool
	absent bool
}

// nodeTerm is an affinity to an attribute: what each value adds.
type nodeTerm struct {
	name   string
	weight spec.Milli
	column *column
	match  []bool
	absent bool
}

// limit is a constraint over the allocations of the app.
type limit struct {
	rule   spec.Constraint
	column *column
}

// wish is a spread.
type wish struct {
	name   string
	column *column
	cost   []spec.Milli // per value; the last is for nodes without the attribute
}

const (
	// AffinityUnit makes an affinity of weight 100 count as much as the whole range of a policy's score.
	AffinityUnit = 10
	// PullWeight keeps an app with those that ask to be near it: twice a policy's range.
	PullWeight spec.Milli = 2_000
	// spreadUnit makes one allocation too many in a group of a spread of the default weight, 50, cost more than a policy's
	// whole range, so that the spread is even and the policy decides inside the groups.
	spreadUnit = 25
	// lastResort is how many even shares an allocation costs where a spread wants none.
	lastResort = 100_000
	// faultyCost is beyond everything else that can be said for a node.
	faultyCost = 1_000_000_000_000
	// groupByCost keeps group_by even while its limit would still allow otherwise.
	groupByCost = 10_000
)

// Matcher finds the nodes that the app's constraints accept.
func (f *Fleet) Matcher(app *spec.App) *Matcher {
	m := &Matcher{App: app, Need: f.Vector(app.Needs()), fleet: f}
	for _, c := range app.Constraints {
		col := f.column(c.Attribute)
		if !overAllocations(c.Operator) {
			ok, absent := constraintRule(c).accept(col)
			m.filters = append(m.filters, filter{col, ok, absent})
			continue
		}
		m.filters = append(m.filters, filter{col, yes(len(col.values)), false})
		switch c.Operator {
		case spec.OpSame:
			m.same = append(m.same, col)
		case spec.OpNear, spec.OpApart: // the planner knows where the other app is: Request.Beside
			m.near = m.near || c.Operator == spec.OpNear
		default:
			m.limits = append(m.limits, limit{c, col})
		}
	}
	m.readAsks()
	m.reach = m.findReach()
	if m.eligible = m.reach.nodes; m.cores+len(m.asks) > 0 {
		m.eligible = m.having()
	}
	m.readWishes()
	return m
}

func (m *Matcher) readWishes() {
	for _, a := range m.App.Affinities {
		if a.App != "" {
			continue // the planner knows where the other app is: Request.Peers
		}
		col := m.fleet.column(a.Attribute)
		ok, absent := rule{a.Attribute, a.Operator, a.Value, a.Values}.accept(col)
		m.terms = append(m.terms, nodeTerm{a.String(), spec.Milli(a.Weight * AffinityUnit), col, ok, absent})
	}
	for k, s := range m.App.Spreads {
		col := m.fleet.column(s.Attribute)
		m.wishes = append(m.wishes, wish{"spread over " + s.Attribute, col, spreadCosts(s, col, m.present(col), len(m.App.Spreads)-1-k)})
	}
}

// maxDoublings bounds how much more than the last the first of many spreads counts.
const maxDoublings = 8

// spreadCosts returns what an allocation costs in each value of the attribute. With even shares all cost the same; a
// value with twice the target costs half. What the targets leave of 100 is divided among the values that they do not
// name and that nodes have. Each spread counts twice the one after it.
func spreadCosts(s spec.Spread, col *column, present []bool, after int) []spec.Milli {
	n, others, rest := 0, 0, 100
	for _, v := range slices.Sorted(maps.Keys(s.Targets)) {
		rest -= s.Targets[v]
	}
	for i, v := range col.values {
		if present[i] {
			n++
			if _, named := s.Targets[v]; !named {
				others++
			}
		}
	}
	n, others = max(n, 1), max(others, 1)
	unit := max(1, s.Weight) * spreadUnit << min(after, maxDoublings)
	// An even share of n values costs the unit: cost = unit * (100/n) / percent.
	cost := func(percent, among int) spec.Milli {
		if percent <= 0 {
			return spec.Milli(unit * lastResort)
		}
		return max(1, spec.Milli(unit*100*among/(n*percent)))
	}
	costs := make([]spec.Milli, len(col.values)+1)
	for i, v := range col.values {
		if t, named := s.Targets[v]; named {
			costs[i] = cost(t, 1)
		} else {
			costs[i] = cost(rest, others)
		}
	}
	costs[len(col.values)] = cost(0, 1) // nodes without the attribute come last
	return costs
}

func constraintRule(c spec.Constraint) rule {
	return rule{c.Attribute, c.Operator, c.Value, c.Values}
}

func yes(n int) []bool {
	all := make([]bool, n)
	for i := range all {
		all[i] = true
	}
	return all
}

// Open returns the nodes that the constraints accept and that take allocations, in order.
func (m *Matcher) Open() []int32 {
	open := make([]int32, 0, len(m.eligible))
	for _, n := range m.eligible {
		if m.fleet.Open(int(n)) {
			open = append(open, n)
		}
	}
	return open
}

// most returns the limit for each group of the column, given that the app has total allocations at once: its count, or
// more while new ones run beside old ones. Groups are those that take allocations: when a whole rack fails, the others
// share what it had.
func (l limit) most(groups, total int) int32 {
	switch l.rule.Operator {
	case spec.OpDistinct:
		return 1
	case spec.OpMaxPer:
		return int32(l.rule.Number)
	}
	n := max(groups, l.rule.Number, 1)
	return int32((total + n - 1) / n)
}

// presence is what Matcher.present is asked for.
type presence struct {
	reach  *reach
	column *column
}

// present tells which values of the column those eligible nodes have that take allocations. The slice must not be changed.
func (m *Matcher) present(col *column) []bool {
	f, key := m.fleet, presence{m.reach, col}
	shared := m.cores+len(m.asks) == 0
	if seen := f.values[key]; shared && seen != nil {
		return seen
	}
	seen := make([]bool, len(col.values))
	for _, node := range m.eligible {
		if v := col.of[node]; v != none && f.Open(int(node)) {
			seen[v] = true
		}
	}
	if shared {
		if f.values == nil {
			f.values = map[presence][]bool{}
		}
		f.values[key] = seen
	}
	return seen
}

// number counts the values that are present.
func number(present []bool) int {
	n := 0
	for _, p := range present {
		if p {
			n++
		}
	}
	return n
}

// Takes returns the nodes that the constraints over attributes accept, whatever their state, in order.
func (m *Matcher) Takes() []int32 { return m.eligible }

// SpreadGroup numbers the group that a node belongs to when the app's allocations should be even: the value of its
// first spread, or the node itself.
func (m *Matcher) SpreadGroup(node int) int {
	if len(m.wishes) > 0 {
		return int(m.wishes[0].column.group(int32(node)))
	}
	return node
}

// SpreadValue returns the value of the app's first spread on a node; false when the node has none, or there is no spread.
func (m *Matcher) SpreadValue(node int) (string, bool) {
	if len(m.wishes) == 0 {
		return "", false
	}
	col := m.wishes[0].column
	if v := col.of[node]; v != none {
		return col.values[v], true
	}
	return "", false
}
