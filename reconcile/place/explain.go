package place

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

const (
	// maxNames bounds how many nodes a reason or a group names.
	maxNames = 3
	// maxGroups bounds how many groups of nodes are told; the rest is counted in the last.
	maxGroups = 32
)

// Explanation says why nodes take no more of a request.
type Explanation struct {
	Reasons  []spec.Reason    // each rule that some node fails, most nodes first; a node counts for every rule it fails
	Groups   []spec.NodeGroup // the nodes by the set of rules that they fail, largest first: each node once
	Places   []spec.Missing   // for each resource the node that is nearest to having enough
	Feasible int              // nodes that fail nothing
	// Usable are the nodes that fail nothing but amounts, and Scarce the resources that those lack: whoever took of them
	// there is why no more fits.
	Usable []int32
	Scarce []string
}

// Explain evaluates the rules of the request, and any more that the caller has, on every node, or on the nodes of
// Request.Only.
func (f *Fleet) Explain(r *Request, more ...Rule) Explanation {
	e := &explanation{fleet: f, byKey: map[string]*nodeGroup{}}
	for _, rule := range append(f.Rules(r), more...) {
		if k := slices.IndexFunc(e.rules, func(o Rule) bool { return o.Name == rule.Name }); k >= 0 {
			e.rules[k] = either(e.rules[k], rule)
		} else {
			e.rules = append(e.rules, rule)
		}
	}
	e.scarce = make([]bool, len(e.rules))
	e.near, e.reasons = make([]nearest, len(e.rules)), make([]spec.Reason, len(e.rules))
	for k := range e.rules {
		e.reasons[k].Rule, e.near[k].node = e.rules[k].Name, none
	}
	if r.Only != nil {
		for _, node := range r.Only {
			e.look(int(node))
		}
	} else {
		for node := range f.ids {
			e.look(node)
		}
	}
	return e.finish()
}

type explanation struct {
	fleet    *Fleet
	rules    []Rule
	reasons  []spec.Reason // of each rule
	near     []nearest     // of each rule that is an amount
	byKey    map[string]*nodeGroup
	groups   []*nodeGroup
	feasible int
	usable   []int32
	scarce   []bool // of each rule: a usable node fails it
	key      []byte
	failed   []int
	lacks    []int64
}

// nodeGroup is nodes that fail the same rules.
type nodeGroup struct {
	rules []int
	nodes int
	names []spec.NodeID
	near  int // the node that is nearest to having enough of everything
	far   int64
	lacks []int64 // what it lacks of each of rules
}

// nearest is the node that is nearest to having enough: it fails fewest other rules, then lacks least.
type nearest struct {
	node   int
	others int
	lacks  int64
}

func (n *nearest) see(node, others int, lacks int64) {
	if n.node == none || others < n.others || others == n.others && lacks < n.lacks {
		*n = nearest{node, others, lacks}
	}
}

func (e *explanation) look(node int) {
	e.key, e.failed, e.lacks = e.key[:0], e.failed[:0], e.lacks[:0]
	far := int64(0)
	for k := range e.rules {
		fails, lacks := e.rules[k].fails(node)
		if !fails {
			continue
		}
		e.key = binary.AppendUvarint(e.key, uint64(k))
		e.failed, e.lacks = append(e.failed, k), append(e.lacks, lacks)
		if lacks > 0 {
			far = max(far, mulDiv(lacks, 1000, max(1, e.rules[k].Need)))
		}
		r := &e.reasons[k]
		r.Nodes++
		if len(r.Names) < maxNames {
			r.Names = append(r.Names, e.fleet.ids[node])
		}
	}
	e.use(node)
	if len(e.failed) == 0 {
		e.feasible++
		return
	}
	if e.fleet.states[node] == spec.NodeReady {
		for i, k := range e.failed {
			if e.lacks[i] > 0 {
				e.near[k].see(node, len(e.failed), e.lacks[i])
			}
		}
	}
	e.count(node, far)
}

// use notes the node in hand as usable, if it fails nothing but amounts.
func (e *explanation) use(node int) {
	for _, lacks := range e.lacks {
		if lacks <= 0 {
			return
		}
	}
	e.usable = append(e.usable, int32(node))
	for _, k := range e.failed {
		e.scarce[k] = true
	}
}

// count adds the node in hand to the group of those that fail the same.
func (e *explanation) count(node int, far int64) {
	g := e.byKey[string(e.key)]
	if g == nil {
		g = &nodeGroup{rules: slices.Clone(e.failed), near: none}
		e.byKey[string(e.key)] = g
		e.groups = append(e.groups, g)
	}
	g.nodes++
	if len(g.names) < maxNames {
		g.names = append(g.names, e.fleet.ids[node])
	}
	if far > 0 && (g.near == none || far < g.far) {
		g.near, g.far, g.lacks = node, far, slices.Clone(e.lacks)
	}
}

func (e *explanation) finish() Explanation {
	x := Explanation{Feasible: e.feasible, Usable: e.usable}
	for k := range e.reasons {
		if e.scarce[k] {
			x.Scarce = append(x.Scarce, e.rules[k].Name)
		}
		r := &e.reasons[k]
		if n := &e.near[k]; n.node != none {
			r.Detail = e.detail(k, n.node, n.lacks)
			if e.rules[k].Amount != nil {
				x.Places = append(x.Places, e.missing(k, n.node, n.lacks))
			}
		}
		if r.Nodes > 0 {
			x.Reasons = append(x.Reasons, *r)
		}
	}
	slices.SortStableFunc(x.Reasons, func(a, b spec.Reason) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Rule, b.Rule))
	})
	x.Groups = e.nodeGroups()
	return x
}

// nodeGroups writes the groups down, largest first; beyond maxGroups the rest is one group without rules of its own.
func (e *explanation) nodeGroups() []spec.NodeGroup {
	slices.SortStableFunc(e.groups, func(a, b *nodeGroup) int {
		return cmp.Or(cmp.Compare(b.nodes, a.nodes), cmp.Compare(len(a.rules), len(b.rules)), cmp.Compare(a.names[0], b.names[0]))
	})
	var out []spec.NodeGroup
	for i, g := range e.groups {
		if i >= maxGroups {
			last := &out[maxGroups]
			last.Nodes += g.nodes
			continue
		}
		n := spec.NodeGroup{Nodes: g.nodes, Names: g.names}
		for _, k := range g.rules {
			n.Rules = append(n.Rules, e.rules[k].Name)
		}
		e.tell(g, &n)
		if out = append(out, n); i == maxGroups-1 && len(e.groups) > maxGroups {
			out = append(out, spec.NodeGroup{Rules: []string{ruleOthers}})
		}
	}
	return out
}

// tell says of a group what its nearest node lacks.
func (e *explanation) tell(g *nodeGroup, n *spec.NodeGroup) {
	var amounts, texts []string
	for j, k := range g.rules {
		switch {
		case g.near == none || g.lacks[j] <= 0:
		case e.rules[k].Amount == nil:
			texts = append(texts, e.detail(k, g.near, g.lacks[j]))
		default:
			m := e.missing(k, g.near, g.lacks[j])
			n.Short = append(n.Short, m)
			amounts = append(amounts, m.Short+" of "+m.Resource)
		}
	}
	switch {
	case len(amounts) == 1 && len(g.rules) == 1:
		texts = append(texts, string(n.Short[0].Node)+" is short by "+n.Short[0].Short)
	case len(amounts) > 0:
		texts = append(texts, string(n.Short[0].Node)+" is short by "+strings.Join(amounts, " and "))
	}
	n.Detail = strings.Join(texts, ", ")
}

func (e *explanation) missing(rule, node int, lacks int64) spec.Missing {
	r := &e.rules[rule]
	return spec.Missing{Node: e.fleet.ids[node], Resource: r.Name, Short: r.Amount(lacks), Amount: lacks}
}

// detail says how near the node is to meeting the rule.
func (e *explanation) detail(rule, node int, lacks int64) string {
	if r := &e.rules[rule]; r.Amount == nil {
		return r.Detail(node)
	}
	return string(e.fleet.ids[node]) + " is short by " + e.rules[rule].Amount(lacks)
}

// ruleOthers stands for what the nodes fail that are in none of the groups told.
const ruleOthers = "other sets of these rules"
