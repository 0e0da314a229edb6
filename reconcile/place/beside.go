package place

import (
	"cmp"

	"github.com/stowage/stowage/spec"
)

// Beside is a rule over where another app runs: near it a node must share the attribute's value with one of its nodes,
// apart from it with none. A node without the attribute shares nothing.
type Beside struct {
	Name      string // the rule as people write it
	Detail    string // what reasons add to it, or ""
	Attribute string
	Apart     bool
	Nodes     []int32 // where the other app runs
}

// Peer is a wish over where another app runs: nodes that share the attribute's value with one of its nodes score Weight
// more.
type Peer struct {
	Name      string
	Attribute string // "" is AttributeID
	Weight    spec.Milli
	Nodes     []int32
}

func (p *Peer) attribute() string { return cmp.Or(p.Attribute, AttributeID) }

// neighbours is the values of an attribute that some nodes have.
type neighbours struct {
	column *column
	has    []bool
}

func (f *Fleet) neighbours(attribute string, nodes []int32) neighbours {
	n := neighbours{column: f.column(attribute)}
	n.has = make([]bool, len(n.column.values)+1)
	for _, i := range nodes {
		n.has[n.column.group(i)] = true
	}
	n.has[len(n.column.values)] = false
	return n
}

// share reports whether the node has one of the values.
func (n neighbours) share(node int32) bool { return n.has[n.column.group(node)] }

// obey keeps the nodes that meet every rule over other apps.
func (r *Request) obey(nodes []int32) []int32 {
	for i := range r.Beside {
		b := &r.Beside[i]
		n := r.Match.fleet.neighbours(b.Attribute, b.Nodes)
		kept := make([]int32, 0, len(nodes))
		for _, node := range nodes {
			if n.share(node) != b.Apart {
				kept = append(kept, node)
			}
		}
		nodes = kept
	}
	return nodes
}

// Obeys returns those of the nodes that meet the rules over other apps.
func (f *Fleet) Obeys(nodes []int32, rules []Beside) []int32 {
	return (&Request{Match: &Matcher{fleet: f}, Beside: rules}).obey(nodes)
}

// peerTerms evaluates the wishes over other apps for the rows of a batch.
func (f *Fleet) peerTerms(peers []Peer, rows []int32) []Term {
	terms := make([]Term, 0, len(peers))
	for _, p := range peers {
		n := f.neighbours(p.attribute(), p.Nodes)
		value := make([]spec.Milli, len(rows))
		for i, node := range rows {
			if n.share(node) {
				value[i] = p.Weight
			}
		}
		terms = append(terms, Term{p.Name, value})
	}
	return terms
}

// besideRules are those over other apps. A node without the attribute fails the rule that it be set, not these.
func (f *Fleet) besideRules(r *Request) []Rule {
	var all []Rule
	for k := range r.Beside {
		b := &r.Beside[k]
		n := f.neighbours(b.Attribute, b.Nodes)
		all = append(all, Rule{Name: ruleConstraint + b.Name, Fails: func(i int) bool {
			return n.column.of[i] != none && n.share(int32(i)) == b.Apart
		}})
	}
	return all
}
