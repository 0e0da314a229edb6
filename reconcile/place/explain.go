package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// maxNames bounds how many nodes a reason names.
const maxNames = 3

// Explain returns every rule that keeps one more allocation of the request off each node, most nodes first, and for
// resources how far the nearest node is from having room. A node counts for each rule it fails; nodes that fail nothing
// do not count. It returns nothing when some node is feasible and all is well.
func (f *Fleet) Explain(r *Request) ([]spec.Reason, []spec.Missing) {
	e := &explanation{fleet: f, request: r, byRule: map[string]int{}, short: make([]shortage, len(f.dims))}
	m := r.Match
	groups := m.groups(r)
	own := slices.Clone(f.countOwn(r.Own))
	f.clearOwn(r.Own)
	same := f.sameHave(m, r)
	e.lacks = make([]int64, len(f.dims))
	for i := range r.Beside {
		e.near = append(e.near, f.neighbours(r.Beside[i].Attribute, r.Beside[i].Nodes))
	}
	for _, c := range m.App.Constraints {
		name := ruleConstraint + c.String()
		if overAllocations(c.Operator) {
			name = ruleConstraint + c.Attribute + " is set"
		}
		e.rules = append(e.rules, name)
	}
	for _, g := range groups {
		e.groupOf = append(e.groupOf, ruleConstraint+g.name)
	}
	for i := range f.ids {
		e.failed = 0
		e.attributes(i)
		e.groups(i, groups)
		e.besides(i)
		for _, s := range same {
			if v := s.column.of[i]; v != none && v != s.value {
				e.fail(i, "same "+s.name)
			}
		}
		if r.Single && own[i] > 0 {
			e.fail(i, RuleOnePerNode)
		}
		e.room(i)
	}
	return e.finish()
}

// The rules that are not constraints, as reasons name them.
const (
	RuleOnePerNode = "one per node, and it has one"
	ruleState      = "the node is "
	rulePool       = "the node is in pool "
	ruleConstraint = "constraint "
	rulePort       = "port "
	rulePorts      = "no dynamic port is free"
)

type explanation struct {
	fleet   *Fleet
	request *Request
	byRule  map[string]int
	reasons []spec.Reason
	rules   []string     // the constraints over attributes, as reasons name them
	groupOf []string     // likewise the rules over allocations
	near    []neighbours // of each of request.Beside
	failed  int          // rules that the node in hand fails so far
	lacks   []int64
	short   []shortage
	nearest map[string]nearDevices // by rule: the node where fewest devices or cores are missing
}

// shortage is the node that is nearest to having enough of a resource: it fails fewest other rules, then lacks least.
type shortage struct {
	node   int
	others int // other rules that it fails
	lacks  int64
	any    bool
}

// nearer reports whether a node that fails so many other rules and lacks so much is nearer to having room.
func (s shortage) nearer(others int, lacks int64) bool {
	return !s.any || others < s.others || others == s.others && lacks < s.lacks
}

func (e *explanation) fail(node int, rule string) {
	k, ok := e.byRule[rule]
	if !ok {
		k = len(e.reasons)
		e.byRule[rule] = k
		e.reasons = append(e.reasons, spec.Reason{Rule: rule})
	}
	reason := &e.reasons[k]
	reason.Nodes++
	e.failed++
	if len(reason.Names) < maxNames {
		reason.Names = append(reason.Names, e.fleet.ids[node])
	}
}

func (e *explanation) attributes(i int) {
	f, m := e.fleet, e.request.Match
	if f.states[i] != spec.NodeReady {
		e.fail(i, ruleState+string(f.states[i]))
	}
	if !f.Holds(i, m.App.Pool) {
		e.fail(i, rulePool+string(f.pools[i]))
	}
	for k := range m.filters {
		fl := &m.filters[k]
		if v := fl.column.of[i]; v == none && !fl.absent || v != none && !fl.ok[v] {
			e.fail(i, e.rules[k])
		}
	}
}

func (e *explanation) groups(i int, gs groupings) {
	for k := range gs {
		g := &gs[k]
		if g.most == nil || g.column.of[i] == none {
			continue
		}
		if v := g.column.of[i]; g.have[v] >= g.most[v] {
			e.fail(i, e.groupOf[k])
		}
	}
}

func (e *explanation) room(i int) {
	f, m := e.fleet, e.request.Match
	told := 0 // of the node's shortage of a kind of device by name; its number says nothing more then
	if m.named {
		told = e.byName(i)
	}
	clear(e.lacks)
	capacity, used, credit := f.Capacity(i), f.Used(i), f.row(f.credit, i)
	for d, ask := range m.Need {
		free := capacity[d] - used[d]
		if e.request.Wait {
			free += credit[d]
		}
		if ask == 0 || ask <= free || told > 0 && m.asksFor(f.dims[d]) {
			continue
		}
		e.fail(i, f.dims[d])
		e.lacks[d] = ask - max(0, free)
	}
	if f.states[i] != spec.NodeReady {
		return
	}
	for d, lacks := range e.lacks {
		if s := &e.short[d]; lacks > 0 && s.nearer(e.failed, lacks) {
			*s = shortage{i, e.failed, lacks, true}
		}
	}
}

func (e *explanation) finish() ([]spec.Reason, []spec.Missing) {
	var missing []spec.Missing
	for d, s := range e.short {
		if !s.any {
			continue
		}
		name, short := e.fleet.dims[d], e.fleet.Amount(d, s.lacks)
		missing = append(missing, spec.Missing{Node: e.fleet.ids[s.node], Resource: name, Short: short})
		if k, ok := e.byRule[name]; ok {
			e.reasons[k].Detail = string(e.fleet.ids[s.node]) + " is short by " + short
		}
	}
	e.tellNearest()
	for _, b := range e.request.Beside {
		if k, ok := e.byRule[ruleConstraint+b.Name]; ok && b.Detail != "" {
			e.reasons[k].Detail = b.Detail
		}
	}
	slices.SortStableFunc(e.reasons, func(a, b spec.Reason) int {
		if a.Nodes != b.Nodes {
			return b.Nodes - a.Nodes
		}
		if a.Rule < b.Rule {
			return -1
		}
		return 1
	})
	return e.reasons, missing
}

// Amount prints an amount of a resource as people write it.
func (f *Fleet) Amount(d int, v int64) string {
	if d == memory || d == disk {
		return spec.Bytes(v).String()
	}
	return spec.Milli(v).String()
}

func portName(p spec.PortSpec) string {
	return spec.Milli(p.Static*1000).String() + "/" + string(p.Protocol)
}

// sameAs is a value that all allocations of the app must share with those it has.
type sameAs struct {
	name   string
	column *column
	value  int32
}

// accepts reports whether the node has all the values.
func accepts(same []sameAs, node int) bool {
	for _, s := range same {
		if s.column.of[node] != s.value {
			return false
		}
	}
	return true
}

// sameHave returns the values of the allocations that no drain drives out.
func (f *Fleet) sameHave(m *Matcher, r *Request) []sameAs {
	var all []sameAs
	for _, col := range m.same {
		if best := mostOf(f.staying(col, r), len(col.values)); best != none {
			all = append(all, sameAs{col.name, col, best})
		}
	}
	return all
}
