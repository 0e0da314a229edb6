package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// row is one line of the table of placements: what there is, what is asked for, and where it goes.
type row struct {
	name    string
	policy  string // "" is binpack
	nodes   []spec.NodeView
	before  []*spec.App // running already
	apps    []*spec.App // of the next commit, together with those before
	want    string      // "a: n1=5 n2=3; b: n1=1"
	blocked string      // "a: 3 of 8: 2 memory; 1 cpu"
}

func (r row) run(t *testing.T) {
	l := cluster(t, r.nodes...)
	l.in.Desired.Policy.Name = r.policy
	if len(r.before) > 0 {
		l.commit(r.before...)
		l.settle()
	}
	var apps []*spec.App
	for _, a := range r.before {
		if !slices.ContainsFunc(r.apps, func(b *spec.App) bool { return b.Name == a.Name }) {
			apps = append(apps, a)
		}
	}
	l.commit(append(apps, r.apps...)...)
	p := l.step()
	var got, none []string
	for _, a := range r.apps {
		var on []string
		for i := range l.in.Nodes {
			if n := l.where(string(a.Name))[l.in.Nodes[i].ID]; n > 0 {
				on = append(on, fmt.Sprintf("%s=%d", l.in.Nodes[i].ID, n))
			}
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %s", a.Name, strings.Join(on, " "))))
		if b := blocked(p, string(a.Name)); b != nil {
			none = append(none, fmt.Sprintf("%s: %d of %d: %s", a.Name, len(b.Slots), b.Of, rules(b)))
		}
	}
	if g, n := strings.Join(got, "; "), strings.Join(none, " | "); g != r.want || n != r.blocked {
		t.Errorf("placed  %q\nwant    %q\nblocked %q\nwant    %q\n%s", g, r.want, n, r.blocked, show(p))
	}
}

// equal makes nodes n1 to nN of one size.
func equal(n int, cpu spec.MilliCPU, memory spec.Bytes) []spec.NodeView {
	var nodes []spec.NodeView
	for i := range n {
		nodes = append(nodes, node(fmt.Sprint("n", i+1), cpu, memory))
	}
	return nodes
}

// with gives nodes an attribute, in turn; "-" is none.
func with(nodes []spec.NodeView, name string, values ...string) []spec.NodeView {
	for i, v := range values {
		if v != "-" {
			nodes[i].Attributes[name] = v
		}
	}
	return nodes
}

func obeying(a *spec.App, attribute string, op spec.Operator, value string, n int) *spec.App {
	return ruled(a, spec.Constraint{Attribute: attribute, Operator: op, Value: value, Number: n})
}

func serving(a *spec.App, ports ...spec.PortSpec) *spec.App {
	return edit(a, func(a *spec.App) { a.Network.Ports = ports })
}

func named(n spec.NodeView, name string, amount spec.Milli) spec.NodeView {
	n.Capacity.Named = map[string]spec.Milli{name: amount}
	return n
}

// The rows of the table about where allocations go, each with the edges of the rule behind it.
func TestTableOfPlacements(t *testing.T) {
	one := func(name string, n int) *spec.App { return asks(name, n, 1000, spec.GiB) }
	small := func(name string, n int) *spec.App { return asks(name, n, 100, spec.MiB) }
	big := func(n int) []spec.NodeView { return equal(n, 64000, spec.TiB) }
	tcp := func(n int) spec.PortSpec { return spec.PortSpec{Name: "p", Static: n, Protocol: spec.TCP} }
	udp := func(n int) spec.PortSpec { return spec.PortSpec{Name: "p", Static: n, Protocol: spec.UDP} }
	gpus := func(name string, n int, amount spec.Milli) *spec.App {
		return edit(small(name, n), func(a *spec.App) { a.Tasks[0].Resources = map[string]spec.Milli{"gpu": amount} })
	}
	ports := func(n spec.NodeView, first, last int) spec.NodeView { n.PortFirst, n.PortLast = first, last; return n }
	even := func(n int, attribute string) *spec.App { return edit(small("a", n), spreads(attribute)) }
	burst := func(n int, memory, most spec.Bytes) *spec.App {
		return edit(asks("a", n, 100, memory*spec.MiB), func(a *spec.App) { a.Tasks[0].MemoryMax = most * spec.MiB })
	}
	cold := func(app, on string) *spec.App { return pinned(one(app, 1), on) }
	tests := []row{
		{"5 equal nodes, spread: 18", "spread", big(5), nil, []*spec.App{small("a", 18)}, "a: n1=4 n2=4 n3=4 n4=3 n5=3", ""},
		{"5 equal nodes, spread: 2 of another app", "spread", big(5), []*spec.App{small("a", 18)}, []*spec.App{small("b", 2)}, "b: n4=1 n5=1", ""},
		{"5 equal nodes, spread: from 18 to 21", "spread", big(5), []*spec.App{small("a", 18)}, []*spec.App{small("a", 21)}, "a: n1=5 n2=4 n3=4 n4=4 n5=4", ""},
		{"spread: fewer than nodes", "spread", big(5), nil, []*spec.App{small("a", 2)}, "a: n1=1 n2=1", ""},
		{"spread: a tie goes to the first by name", "spread", big(3), nil, []*spec.App{small("a", 1)}, "a: n1=1", ""},
		{"spread: the emptier of two without the app", "spread", equal(2, 4000, 4*spec.GiB), []*spec.App{cold("x", "n1")}, []*spec.App{one("a", 1)}, "a: n2=1", ""},
		{"none asked for", "spread", big(2), nil, []*spec.App{small("a", 0)}, "a:", ""},
		{"two that ask for nothing of anything", "", equal(2, 1000, spec.TiB), nil, []*spec.App{asks("a", 2, 0, 0), asks("b", 3, 0, 0)}, "a: n1=2; b: n1=3", ""},
		{"no nodes", "", nil, nil, []*spec.App{small("a", 2)}, "a:", "a: 2 of 2: 0 the cluster has no nodes"},

		{"1 cpu/1 GiB; 2/2 with 1/1 taken, and empty 4/4: binpack", "binpack", []spec.NodeView{node("half", 2000, 2*spec.GiB), node("large", 4000, 4*spec.GiB)}, []*spec.App{cold("x", "half")}, []*spec.App{one("a", 1)}, "a: half=1", ""},
		{"1 cpu/1 GiB; 2/2 with 1/1 taken, and empty 4/4: spread", "spread", []spec.NodeView{node("half", 2000, 2*spec.GiB), node("large", 4000, 4*spec.GiB)}, []*spec.App{cold("x", "half")}, []*spec.App{one("a", 1)}, "a: large=1", ""},
		{"binpack: equal and empty, the first by name", "", equal(3, 2000, 2*spec.GiB), nil, []*spec.App{one("a", 3)}, "a: n1=2 n2=1", ""},
		{"an exact fit is one", "", equal(1, 1000, spec.GiB), nil, []*spec.App{one("a", 1)}, "a: n1=1", ""},
		{"a byte too much is none", "", equal(1, 1000, spec.GiB-1), nil, []*spec.App{one("a", 1)}, "a:", "a: 1 of 1: 1 memory"},
		{"a thousandth of a core too much is none", "", equal(1, 999, spec.GiB), nil, []*spec.App{one("a", 1)}, "a:", "a: 1 of 1: 1 cpu"},
		{"what is not asked for need not be there", "", []spec.NodeView{edited(node("n1", 1000, spec.GiB), func(n *spec.NodeView) { n.Capacity.Disk = 0 })}, nil, []*spec.App{one("a", 1)}, "a: n1=1", ""},
		{"a named resource, to the thousandth", "", []spec.NodeView{named(node("n1", 4000, spec.TiB), "gpu", 1000), node("n2", 64000, spec.TiB)}, nil, []*spec.App{gpus("a", 3, 500)}, "a: n1=2", "a: 1 of 3: 2 gpu"},
		{"a named resource that no node has", "", big(2), nil, []*spec.App{gpus("a", 1, 1)}, "a:", "a: 1 of 1: 2 gpu"},

		{"1,224 MB less 60 reserved; 200 with memory_max 500; count 10", "", equal(1, 8000, (1224-60)*spec.MiB), nil, []*spec.App{burst(10, 200, 500)}, "a: n1=5", "a: 5 of 10: 1 memory"},
		{"the same, exactly full", "", equal(1, 8000, (1224-60)*spec.MiB), nil, []*spec.App{burst(6, 194, 500)}, "a: n1=6", ""},
		{"memory_max above what the node has", "", equal(1, 8000, spec.GiB), nil, []*spec.App{burst(1, 200, 4096)}, "a: n1=1", ""},

		{"max_per rack 2; r1, r2; count 8", "", with(big(3), "rack", "r1", "r1", "r2"), nil, []*spec.App{obeying(small("a", 8), "rack", spec.OpMaxPer, "", 2)}, "a: n1=2 n3=2", "a: 4 of 8: 3 constraint at most 2 per rack"},
		{"max_per: as many as allowed", "", with(big(2), "rack", "r1", "r2"), nil, []*spec.App{obeying(small("a", 4), "rack", spec.OpMaxPer, "", 2)}, "a: n1=2 n2=2", ""},
		{"max_per: a node without the attribute is not used", "", with(big(3), "rack", "r1", "-", "-"), nil, []*spec.App{obeying(small("a", 2), "rack", spec.OpMaxPer, "", 1)}, "a: n1=1", "a: 1 of 2: 2 constraint rack is set; 1 constraint at most 1 per rack"},
		{"max_per: those that run count", "", with(big(2), "rack", "r1", "r2"), []*spec.App{obeying(small("a", 3), "rack", spec.OpMaxPer, "", 2)}, []*spec.App{obeying(small("a", 5), "rack", spec.OpMaxPer, "", 2)}, "a: n1=2 n2=2", "a: 1 of 5: 2 constraint at most 2 per rack"},
		{"max_per: more than the count", "", with(big(2), "rack", "r1", "r2"), nil, []*spec.App{obeying(small("a", 3), "rack", spec.OpMaxPer, "", 9)}, "a: n1=3", ""},
		{"distinct: one for each value", "", with(big(4), "rack", "r1", "r1", "r2", "-"), nil, []*spec.App{obeying(small("a", 3), "rack", spec.OpDistinct, "", 0)}, "a: n1=1 n3=1", "a: 1 of 3: 3 constraint distinct rack; 1 constraint rack is set"},
		{"distinct over nodes: others do not count", "", big(2), []*spec.App{small("b", 2)}, []*spec.App{obeying(small("a", 2), "node.id", spec.OpDistinct, "", 0)}, "a: n1=1 n2=1", ""},

		{"group_by rack, expected 2, five", "", with(big(3), "rack", "r1", "r2", "-"), nil, []*spec.App{obeying(small("a", 5), "rack", spec.OpGroupBy, "", 2)}, "a: n1=3 n2=2", ""},
		{"group_by: nothing expected, as many as there are", "", with(big(3), "rack", "r1", "r2", "r3"), nil, []*spec.App{obeying(small("a", 5), "rack", spec.OpGroupBy, "", 0)}, "a: n1=2 n2=2 n3=1", ""},
		{"group_by: fewer expected than there are", "", with(big(3), "rack", "r1", "r2", "r3"), nil, []*spec.App{obeying(small("a", 6), "rack", spec.OpGroupBy, "", 2)}, "a: n1=2 n2=2 n3=2", ""},
		{"group_by: more expected than there are", "", with(big(2), "rack", "r1", "r2"), nil, []*spec.App{obeying(small("a", 6), "rack", spec.OpGroupBy, "", 3)}, "a: n1=2 n2=2", "a: 2 of 6: 2 constraint grouped by rack"},
		{"group_by: a group without room waits", "", with([]spec.NodeView{node("n1", 64000, spec.TiB), node("n2", 100, spec.TiB)}, "rack", "r1", "r2"), nil, []*spec.App{obeying(small("a", 5), "rack", spec.OpGroupBy, "", 2)}, "a: n1=3 n2=1", "a: 1 of 5: 1 constraint grouped by rack; 1 cpu"},
		{"group_by: no group at all", "", big(2), nil, []*spec.App{obeying(small("a", 1), "rack", spec.OpGroupBy, "", 2)}, "a:", `a: 1 of 1: 2 no node has the attribute "rack"; 2 constraint rack is set`},

		{"not_regexp on an attribute that is missing", "", big(1), nil, []*spec.App{obeying(small("a", 1), "disk", spec.OpNotRegexp, "^s", 0)}, "a: n1=1", ""},
		{"regexp on an attribute that is missing", "", big(1), nil, []*spec.App{obeying(small("a", 1), "disk", spec.OpRegexp, "^s", 0)}, "a:", `a: 1 of 1: 1 no node has the attribute "disk"; 1 constraint disk regexp ^s`},
		{"regexp matches anywhere", "", with(big(2), "disk", "nvme", "ssd"), nil, []*spec.App{obeying(small("a", 1), "disk", spec.OpRegexp, "s.$", 0)}, "a: n2=1", ""},
		{"an empty value is a value", "", with(big(2), "disk", "-", ""), nil, []*spec.App{obeying(small("a", 1), "disk", spec.OpSet, "", 0)}, "a: n2=1", ""},

		{"even spread over 2 zones of 10", "", with(big(2), "zone", "z1", "z2"), nil, []*spec.App{even(10, "zone")}, "a: n1=5 n2=5", ""},
		{"even, though one zone has more nodes", "", with(big(4), "zone", "z1", "z2", "z2", "z2"), nil, []*spec.App{even(10, "zone")}, "a: n1=5 n2=5", ""},
		{"even: an odd count", "", with(big(2), "zone", "z1", "z2"), nil, []*spec.App{even(9, "zone")}, "a: n1=5 n2=4", ""},
		{"even: more zones than allocations", "", with(big(3), "zone", "z1", "z2", "z3"), nil, []*spec.App{even(2, "zone")}, "a: n1=1 n2=1", ""},
		{"even: a full zone keeps nobody waiting", "", with([]spec.NodeView{node("n1", 64000, spec.TiB), node("n2", 200, spec.TiB)}, "zone", "z1", "z2"), nil, []*spec.App{even(10, "zone")}, "a: n1=8 n2=2", ""},
		{"even over nodes", "", big(3), nil, []*spec.App{even(7, "node.id")}, "a: n1=3 n2=2 n3=2", ""},

		{"tcp 53 and udp 53", "", big(1), nil, []*spec.App{serving(small("a", 1), tcp(53)), serving(small("b", 1), udp(53))}, "a: n1=1; b: n1=1", ""},
		{"tcp 53 twice", "", big(1), nil, []*spec.App{serving(small("a", 1), tcp(53)), serving(small("b", 1), tcp(53))}, "a: n1=1; b:", "b: 1 of 1: 1 port 53/tcp is taken"},
		{"a port of one's own on each node", "", big(2), nil, []*spec.App{serving(small("a", 3), tcp(53))}, "a: n1=1 n2=1", "a: 1 of 3: 2 port 53/tcp is taken"},
		{"as many ports as the node gives", "", []spec.NodeView{ports(node("n1", 64000, spec.TiB), 20000, 20002)}, nil, []*spec.App{serving(small("a", 4), spec.PortSpec{Name: "p", Protocol: spec.TCP})}, "a: n1=3", "a: 1 of 4: 1 no dynamic port is free"},
		{"two ports each", "", []spec.NodeView{ports(node("n1", 64000, spec.TiB), 20000, 20002)}, nil, []*spec.App{serving(small("a", 2), spec.PortSpec{Name: "p", Protocol: spec.TCP}, spec.PortSpec{Name: "q", Protocol: spec.UDP})}, "a: n1=1", "a: 1 of 2: 1 no dynamic port is free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

func edited(n spec.NodeView, f func(*spec.NodeView)) spec.NodeView {
	f(&n)
	return n
}

// Numbers are compared as numbers, versions as versions, and the rest as text.
func TestComparisons(t *testing.T) {
	for _, tt := range []struct {
		has   string
		op    spec.Operator
		value string
		list  []string
		want  bool
	}{
		{"9", spec.OpLess, "10", nil, true}, {"1.9", spec.OpLess, "1.10", nil, true}, {"a9", spec.OpLess, "a10", nil, false},
		{"1.10.0", spec.OpEqual, "1.10", nil, true}, {"v2", spec.OpGreater, "1.99.99", nil, true},
		{"2.0-rc9", spec.OpLess, "2.0-rc10", nil, true}, {"2.0-rc.1", spec.OpLess, "2.0", nil, true}, {"2.0-rc1", spec.OpGreaterEqual, "2.0", nil, false},
		{"2.0-alpha", spec.OpLess, "2.0-beta", nil, true}, {"2.0+build7", spec.OpEqual, "2.0", nil, true},
		{"6.1.0-13-amd64", spec.OpGreaterEqual, "6.1", nil, true}, {"6.1.0-13-amd64", spec.OpGreater, "6.1.0-9-amd64", nil, true},
		{"6.1.0-13-amd64", spec.OpEqual, "6.1.0", nil, false}, {"6.1.0-13-amd64", spec.OpLess, "6.1.1", nil, true},
		{"6.6.7-arch1-1", spec.OpGreaterEqual, "6.6.7", nil, true}, {"5.15.90.1-microsoft-standard", spec.OpGreater, "5.15.90", nil, true},
		{"6.1.0", spec.OpIn, "", []string{"5.10", "6.1"}, true}, {"6.1.0", spec.OpNotIn, "", []string{"6.1"}, false},
		{"", spec.OpEqual, "", nil, true}, {"", spec.OpNotEqual, "x", nil, true}, {"1e3", spec.OpEqual, "1000", nil, true},
		{"-1", spec.OpLess, "0", nil, true}, {"99999999999999999999", spec.OpGreater, "9", nil, true},
	} {
		r := row{fmt.Sprintf("%q %s %q%v", tt.has, tt.op, tt.value, tt.list), "", with(equal(1, 1000, spec.TiB), "x", tt.has), nil,
			[]*spec.App{ruled(asks("a", 1, 100, spec.MiB), spec.Constraint{Attribute: "x", Operator: tt.op, Value: tt.value, Values: tt.list})}, "a: n1=1", ""}
		if !tt.want {
			r.want, r.blocked = "a:", "a: 1 of 1: 1 constraint "+r.apps[0].Constraints[0].String()
		}
		t.Run(r.name, r.run)
	}
}
