package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Rule is one thing that a node has to meet to take one more allocation of a request. All that Explain says comes from
// rules: whatever keeps allocations off nodes is explainable as soon as it has one.
type Rule struct {
	Name  string              // as reasons give it; two rules of one name count as one
	Fails func(node int) bool // of a node of the fleet, as it is when Explain is called
	// Lacks is set for an amount: how much the node lacks, in the units of the resource; above zero it fails.
	Lacks  func(node int) int64
	Need   int64                    // what is asked of an amount: the measure of how near a node is
	Amount func(lacks int64) string // prints what Lacks returns, as people write it; nil: Detail says it
	Detail func(node int) string    // how near the node is to meeting the rule, as a sentence
}

// fails evaluates the rule for a node: whether it fails, and for an amount by how much.
func (r *Rule) fails(node int) (bool, int64) {
	if r.Lacks != nil {
		lacks := r.Lacks(node)
		return lacks > 0, lacks
	}
	return r.Fails(node), 0
}

// either is two rules of one name as one: a node fails it when it fails any of them.
func either(a, b Rule) Rule {
	if a.Lacks != nil && b.Lacks != nil {
		c := a
		c.Lacks = func(node int) int64 { return max(a.Lacks(node), b.Lacks(node)) }
		return c
	}
	return Rule{Name: a.Name, Fails: func(node int) bool {
		x, _ := a.fails(node)
		y, _ := b.fails(node)
		return x || y
	}}
}

// The rules that are not constraints, as reasons name them.
const (
	// RuleLater is failed by nodes whose room is taken by allocations that stop, when others wait for it already.
	RuleLater      = "its room is free only after others have stopped"
	ruleState      = "the node is "
	rulePool       = "the node is in pool "
	ruleConstraint = "constraint "
	rulePort       = "port "
	rulePorts      = "no dynamic port is free"
)

// Rules returns everything that a node has to meet to take one more allocation of the request, in the order in which
// people think of it: state, constraints, limits, ports, resources.
func (f *Fleet) Rules(r *Request) []Rule {
	var all []Rule
	for _, s := range f.statesPresent() {
		all = append(all, Rule{Name: ruleState + string(s), Fails: func(i int) bool { return f.states[i] == s }})
	}
	all = append(all, f.poolRules(r)...)
	all = append(all, f.attributeRules(r)...)
	all = append(all, f.limitRules(r)...)
	all = append(all, f.besideRules(r)...)
	all = append(all, f.portRules(r)...)
	all = append(all, f.coreRules(r)...)
	devices := f.deviceRules(r)
	all = append(all, devices...)
	return append(all, f.roomRules(r, devices)...)
}

// Standing returns the rules of the request that an allocation has to go on meeting to be where one like it could be placed:
// those that neither room nor the app's other allocations decide.
func (f *Fleet) Standing(r *Request) []Rule {
	return slices.Concat(f.poolRules(r), f.attributeRules(r), f.besideRules(r))
}

func (f *Fleet) statesPresent() []spec.NodeState {
	var states []spec.NodeState
	for _, s := range f.states {
		if s != spec.NodeReady && !slices.Contains(states, s) {
			states = append(states, s)
		}
	}
	slices.Sort(states)
	return states
}

// poolRules are one for each pool that has nodes and is not the app's.
func (f *Fleet) poolRules(r *Request) []Rule {
	var names []spec.PoolName
	for i, p := range f.pools {
		if (f.divided || i == 0) && !f.Holds(i, r.Match.App.Pool) && !slices.Contains(names, p) {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	var all []Rule
	for _, p := range names {
		all = append(all, Rule{Name: rulePool + string(p), Fails: func(i int) bool { return f.pools[i] == p }})
	}
	return all
}

func (f *Fleet) attributeRules(r *Request) []Rule {
	var all []Rule
	for k, c := range r.Match.App.Constraints {
		name := ruleConstraint + c.String()
		if overAllocations(c.Operator) {
			name = ruleConstraint + c.Attribute + " is set"
		}
		fl := &r.Match.filters[k]
		all = append(all, Rule{Name: name, Fails: func(i int) bool {
			v := fl.column.of[i]
			return v == none && !fl.absent || v != none && !fl.ok[v]
		}})
	}
	return all
}

// limitRules are those over the allocations that the app has.
func (f *Fleet) limitRules(r *Request) []Rule {
	var all []Rule
	for _, g := range r.Match.groups(r) {
		if !g.limited {
			continue
		}
		all = append(all, Rule{Name: ruleConstraint + g.name, Fails: func(i int) bool {
			v := g.column.of[i]
			return v != none && g.have[v] >= g.most
		}})
	}
	for _, s := range f.sameHave(r.Match, r) {
		all = append(all, Rule{Name: "same " + s.name, Fails: func(i int) bool {
			v := s.column.of[i]
			return v != none && v != s.value
		}})
	}
	return all
}

func (f *Fleet) portRules(r *Request) []Rule {
	var all []Rule
	var dynamic []spec.PortSpec
	for _, p := range r.Match.App.Network.Ports {
		if p.Static == 0 {
			dynamic = append(dynamic, p)
			continue
		}
		key := portKey(p.Static, p.Protocol)
		all = append(all, Rule{Name: rulePort + portName(p) + " is taken", Fails: func(i int) bool { return !f.available(i, key, r.Wait) }})
	}
	if len(dynamic) > 0 {
		all = append(all, Rule{Name: rulePorts, Fails: func(i int) bool {
			room, _ := f.portRoom(i, dynamic, r.Wait, 1)
			return room == 0
		}})
	}
	return all
}

// roomRules are one for each resource that is asked for. What rules about devices tell of a kind by name, its number says
// no better.
func (f *Fleet) roomRules(r *Request, devices []Rule) []Rule {
	var all []Rule
	for d, ask := range r.Match.Need {
		if ask == 0 {
			continue
		}
		told := func(node int) bool {
			return r.Match.asksFor(f.dims[d]) && slices.ContainsFunc(devices, func(o Rule) bool { fails, _ := o.fails(node); return fails })
		}
		all = append(all, Rule{
			Name: f.dims[d], Need: ask, Amount: func(v int64) string { return f.shortage(d, v) },
			Lacks: func(i int) int64 {
				at := i*len(f.dims) + d
				free := f.capacity[at] - f.used[at]
				if r.Wait {
					free += f.credit[at]
				}
				if lacks := ask - max(0, free); lacks > 0 && !told(i) {
					return lacks
				}
				return 0
			},
		})
	}
	if r.Wait {
		now := *r
		now.Wait = false
		all = append(all, Rule{Name: RuleLater, Fails: func(i int) bool { return f.HasRoom(i, r) && !f.HasRoom(i, &now) }})
	}
	return all
}

// HasRoom reports whether the node has all that one allocation of the request needs of it: resources, ports, devices and
// cores.
func (f *Fleet) HasRoom(node int, r *Request) bool {
	return f.fits(node, r.Match.Need, r.Wait) && (!r.Match.named || f.roomByName(node, r, 1) > 0)
}

// Amount prints an amount of a resource as people write it.
func (f *Fleet) Amount(d int, v int64) string {
	if f.inBytes(d) {
		return spec.Bytes(v).String()
	}
	return spec.Milli(v).String()
}

// inBytes reports whether the column counts bytes.
func (f *Fleet) inBytes(d int) bool { return d == memory || d == disk || f.burst > 0 && d == f.burst }

// shortage prints an amount that is missing, rounded up: with so much more there is enough.
func (f *Fleet) shortage(d int, v int64) string {
	if !f.inBytes(d) {
		return spec.Milli(v).String()
	}
	unit := int64(1)
	for _, u := range []spec.Bytes{spec.KiB, spec.MiB, spec.GiB, spec.TiB} {
		if v >= int64(u) {
			unit = int64(u)
		}
	}
	tenths := (v*10 + unit - 1) / unit
	return spec.Bytes((tenths*unit + 9) / 10).String()
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
