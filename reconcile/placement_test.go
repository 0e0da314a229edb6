package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// cluster is a lab with the given nodes.
func cluster(t *testing.T, nodes ...spec.NodeView) *lab {
	l := newLab(t, 0)
	l.in.Nodes = nodes
	return l
}

// asks makes an app whose single task asks for so much.
func asks(name string, count int, cpu spec.MilliCPU, memory spec.Bytes) *spec.App {
	a := service(name, count)
	a.Tasks[0].CPU, a.Tasks[0].Memory, a.Tasks[0].Disk = cpu, memory, 0
	return a
}

func blocked(p spec.Plan, app string) *spec.Blocked {
	for _, a := range p.Apps {
		if a.App == spec.AppName(app) {
			return a.Blocked
		}
	}
	return nil
}

func rules(b *spec.Blocked) string {
	var names []string
	for _, r := range b.Reasons {
		names = append(names, fmt.Sprintf("%d %s", r.Nodes, r.Rule))
	}
	return strings.Join(names, "; ")
}

func TestFairShares(t *testing.T) {
	gb := spec.Bytes(1_000_000_000)
	mb := spec.Bytes(1_000_000)
	role := func(a *spec.App, name string) *spec.App { a.Role = spec.RoleName(name); return a }
	six := func() (nodes []spec.NodeView) {
		for i := range 6 {
			nodes = append(nodes, node(fmt.Sprint("n", i), 1000, spec.GiB))
		}
		return nodes
	}
	tests := []struct {
		name  string
		nodes []spec.NodeView
		roles []spec.Role
		apps  []*spec.App
		want  []int
	}{
		{"the paper's first example", []spec.NodeView{node("n1", 9000, 18*gb)}, nil,
			[]*spec.App{role(asks("a", 50, 1000, 4*gb), "a"), role(asks("b", 50, 3000, gb), "b")}, []int{3, 2}},
		{"the same without roles: apps share the default role", []spec.NodeView{node("n1", 9000, 18*gb)}, nil,
			[]*spec.App{asks("a", 50, 1000, 4*gb), asks("b", 50, 3000, gb)}, []int{3, 2}},
		{"100 cpu and 10,000 MB", []spec.NodeView{node("n1", 100_000, 10_000*mb)}, nil,
			[]*spec.App{role(asks("a", 90, 2000, 300*mb), "a"), role(asks("b", 90, 6000, 100*mb), "b")}, []int{20, 10}},
		{"weights 1:1", six(), nil,
			[]*spec.App{role(asks("a", 9, 1000, spec.MiB), "a"), role(asks("b", 9, 1000, spec.MiB), "b")}, []int{3, 3}},
		{"weights 1:2", six(), []spec.Role{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}},
			[]*spec.App{role(asks("a", 9, 1000, spec.MiB), "a"), role(asks("b", 9, 1000, spec.MiB), "b")}, []int{2, 4}},
		{"weights 1:2:3", six(), []spec.Role{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}, {Name: "c", Weight: 3}},
			[]*spec.App{role(asks("a", 9, 1000, spec.MiB), "a"), role(asks("b", 9, 1000, spec.MiB), "b"), role(asks("c", 9, 1000, spec.MiB), "c")}, []int{1, 2, 3}},
		{"nested: two teams of one department share its half", []spec.NodeView{node("n1", 8000, spec.TiB)}, nil,
			[]*spec.App{role(asks("a", 9, 1000, spec.MiB), "eng/a"), role(asks("b", 9, 1000, spec.MiB), "eng/b"), role(asks("c", 9, 1000, spec.MiB), "ops")}, []int{2, 2, 4}},
		{"a quota is a hard limit", []spec.NodeView{node("n1", 8000, spec.TiB)}, []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{CPU: 3000}}},
			[]*spec.App{role(asks("a", 9, 1000, spec.MiB), "eng/a"), role(asks("b", 9, 1000, spec.MiB), "eng/b"), role(asks("c", 2, 1000, spec.MiB), "ops")}, []int{2, 1, 2}},
		{"priority comes before shares", []spec.NodeView{node("n1", 3000, spec.TiB)}, nil,
			[]*spec.App{asks("a", 3, 1000, spec.MiB), edit(asks("b", 2, 1000, spec.MiB), func(a *spec.App) { a.Priority = 60 })}, []int{1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, tt.nodes...)
			l.in.Desired.Roles = tt.roles
			l.commit(tt.apps...)
			p := l.step()
			for i, a := range tt.apps {
				if got := len(l.live(string(a.Name))); got != tt.want[i] {
					t.Errorf("%s has %d, want %d\n%s", a.Name, got, tt.want[i], show(p))
				}
				if b := blocked(p, string(a.Name)); a.Count > tt.want[i] && (b == nil || len(b.Slots) != a.Count-tt.want[i]) {
					t.Errorf("%s: blocked %+v, want %d slots", a.Name, b, a.Count-tt.want[i])
				}
			}
		})
	}
}

func TestSpreadKeepsNodesEven(t *testing.T) {
	l := newLab(t, 5)
	l.in.Desired.Policy.Name = "spread"
	a := service("a", 18)
	l.commit(a)
	l.settle()
	counts := func(app string) (n []int) {
		for i := range l.in.Nodes {
			n = append(n, l.where(app)[l.in.Nodes[i].ID])
		}
		slices.Sort(n)
		return n
	}
	if got := counts("a"); !slices.Equal(got, []int{3, 3, 4, 4, 4}) {
		t.Fatalf("18 on %v", got)
	}
	l.commit(a, service("b", 2))
	l.settle()
	for n, k := range l.where("b") {
		if k != 1 || l.where("a")[n] != 3 {
			t.Errorf("b went to %s, which has %d of a", n, l.where("a")[n])
		}
	}
	l.commit(edit(a, count(21)), service("b", 2))
	l.settle()
	if got := counts("a"); !slices.Equal(got, []int{4, 4, 4, 4, 5}) {
		t.Fatalf("21 on %v", got)
	}
}

func TestBinpackAndSpread(t *testing.T) {
	for policy, want := range map[string]spec.NodeID{"binpack": "half", "spread": "large"} {
		l := cluster(t, node("half", 2000, 2*spec.GiB), node("large", 4000, 4*spec.GiB))
		l.in.Desired.Policy.Name = policy
		first := asks("first", 1, 1000, spec.GiB)
		first.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpEqual, Value: "half"}}
		l.commit(first)
		l.settle()
		l.commit(first, asks("second", 1, 1000, spec.GiB))
		l.settle()
		if w := l.where("second"); w[want] != 1 {
			t.Errorf("%s: on %v, want %s", policy, w, want)
		}
	}
}

func TestMemoryMaxDoesNotCount(t *testing.T) {
	l := cluster(t, node("n1", 8000, (1224-60)*spec.MiB))
	a := asks("a", 10, 100, 200*spec.MiB)
	a.Tasks[0].MemoryMax = 500 * spec.MiB
	l.commit(a)
	p := l.step()
	b := blocked(p, "a")
	if p.Summary.Start != 5 || b == nil || len(b.Slots) != 5 || b.Reasons[0].Rule != "memory" {
		t.Fatalf("%+v, blocked %+v", p.Summary, b)
	}
}

func attribute(n spec.NodeView, name, value string) spec.NodeView {
	n.Attributes = map[string]string{name: value}
	return n
}

func TestRulesOverAllocations(t *testing.T) {
	racks := []spec.NodeView{
		attribute(node("n1", 8000, spec.TiB), "rack", "r1"), attribute(node("n2", 8000, spec.TiB), "rack", "r1"),
		attribute(node("n3", 8000, spec.TiB), "rack", "r2"), node("n4", 8000, spec.TiB),
	}
	rack := func(op spec.Operator, n int) func(*spec.App) {
		return func(a *spec.App) { a.Constraints = []spec.Constraint{{Attribute: "rack", Operator: op, Number: n}} }
	}
	tests := []struct {
		name   string
		count  int
		edit   func(*spec.App)
		want   map[string]int
		reason string
	}{
		{"max_per 2", 8, rack(spec.OpMaxPer, 2), map[string]int{"r1": 2, "r2": 2}, "constraint at most 2 per rack"},
		{"distinct", 3, rack(spec.OpDistinct, 0), map[string]int{"r1": 1, "r2": 1}, "constraint distinct rack"},
		{"group_by, expected 2", 5, rack(spec.OpGroupBy, 2), map[string]int{"r1": 3, "r2": 2}, ""},
		{"same", 5, rack(spec.OpSame, 0), map[string]int{"r1": 5}, ""},
		{"spread", 10, func(a *spec.App) {
			a.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpSet}}
			a.Spreads = []spec.Spread{{Attribute: "rack", Weight: 100}}
		}, map[string]int{"r1": 5, "r2": 5}, ""},
		{"spread with targets", 10, func(a *spec.App) {
			a.Spreads = []spec.Spread{{Attribute: "rack", Weight: 100, Targets: map[string]int{"r1": 70, "r2": 30}}}
		}, map[string]int{"r1": 7, "r2": 3}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, racks...)
			a := asks("a", tt.count, 100, spec.MiB)
			tt.edit(a)
			l.commit(a)
			p := l.step()
			got, sum := map[string]int{}, 0
			for n, k := range l.where("a") {
				got[l.node(n).Attributes["rack"]] += k
				sum += k
			}
			for v, k := range tt.want {
				if got[v] != k {
					t.Errorf("%v, want %v\n%s", got, tt.want, show(p))
				}
			}
			b := blocked(p, "a")
			if (b != nil) != (sum < tt.count) || b != nil && !strings.Contains(rules(b), tt.reason) {
				t.Errorf("blocked %+v", b)
			}
		})
	}
}

func TestOperators(t *testing.T) {
	tests := []struct {
		operator spec.Operator
		value    string
		values   []string
		has      string // of the node; "-" for a missing attribute
		want     bool
	}{
		{spec.OpEqual, "6.1", nil, "6.1", true}, {spec.OpEqual, "6.1", nil, "6.2", false}, {spec.OpEqual, "x", nil, "-", false},
		{spec.OpNotEqual, "a", nil, "b", true}, {spec.OpNotEqual, "a", nil, "a", false}, {spec.OpNotEqual, "a", nil, "-", true},
		{spec.OpLess, "6.10", nil, "6.9", true}, {spec.OpLess, "6.9", nil, "6.10", false}, {spec.OpLess, "1", nil, "-", false},
		{spec.OpLessEqual, "6.9", nil, "6.9", true}, {spec.OpGreater, "5", nil, "10", true}, {spec.OpGreater, "10", nil, "5", false},
		{spec.OpGreaterEqual, "5.10", nil, "6.1.0-13-amd64", true}, {spec.OpGreaterEqual, "6.2", nil, "6.1.0-13-amd64", false},
		{spec.OpIn, "", []string{"a", "b"}, "b", true}, {spec.OpIn, "", []string{"a", "b"}, "c", false}, {spec.OpIn, "", []string{"a"}, "-", false},
		{spec.OpNotIn, "", []string{"a", "b"}, "c", true}, {spec.OpNotIn, "", []string{"a", "b"}, "a", false}, {spec.OpNotIn, "", []string{"a"}, "-", true},
		{spec.OpRegexp, "^s", nil, "ssd", true}, {spec.OpRegexp, "^s", nil, "hdd", false}, {spec.OpRegexp, "^s", nil, "-", false},
		{spec.OpNotRegexp, "^s", nil, "hdd", true}, {spec.OpNotRegexp, "^s", nil, "ssd", false}, {spec.OpNotRegexp, "^s", nil, "-", true},
		{spec.OpSet, "", nil, "x", true}, {spec.OpSet, "", nil, "-", false}, {spec.OpUnset, "", nil, "-", true}, {spec.OpUnset, "", nil, "x", false},
	}
	for _, tt := range tests {
		n := node("n1", 8000, spec.TiB)
		if tt.has != "-" {
			n = attribute(n, "x", tt.has)
		}
		l := cluster(t, n)
		a := asks("a", 1, 100, spec.MiB)
		a.Constraints = []spec.Constraint{{Attribute: "x", Operator: tt.operator, Value: tt.value, Values: tt.values}}
		l.commit(a)
		if p := l.step(); (p.Summary.Start == 1) != tt.want {
			t.Errorf("%q %s %q%v: placed %v, want %v", tt.has, tt.operator, tt.value, tt.values, p.Summary.Start == 1, tt.want)
		}
	}
}

func TestPortsOfTwoProtocolsDoNotCollide(t *testing.T) {
	l := newLab(t, 1)
	dns := func(name string, p spec.Protocol) *spec.App {
		a := service(name, 1)
		a.Network.Ports = []spec.PortSpec{{Name: "dns", Static: 53, Protocol: p}, {Name: "http", Protocol: spec.TCP}}
		return a
	}
	l.commit(dns("a", spec.TCP), dns("b", spec.UDP), dns("c", spec.UDP))
	p := l.step()
	b := blocked(p, "c")
	if p.Summary.Start != 2 || b == nil || rules(b) != "1 port 53/udp is taken" {
		t.Fatalf("%+v, blocked %+v", p.Summary, b)
	}
}

// TestFaultyNodesComeLast: five failures of an app on a node within five minutes, and it goes there last; not before, not
// for longer, and not for what other apps did.
func TestFaultyNodesComeLast(t *testing.T) {
	for _, tt := range []struct {
		name   string
		nodes  int
		failed int
		app    string
		ago    spec.Duration
		want   spec.NodeID
	}{
		{"five", 2, spec.FaultyFailures, "a", 0, "n02"},
		{"five, nearly five minutes ago", 2, spec.FaultyFailures, "a", spec.FaultyWindow - 1, "n02"},
		{"five, five minutes ago", 2, spec.FaultyFailures, "a", spec.FaultyWindow, "n01"},
		{"four", 2, spec.FaultyFailures - 1, "a", 0, "n01"},
		{"five of another app", 2, spec.FaultyFailures, "b", 0, "n01"},
		{"five, and there is no other node", 1, spec.FaultyFailures, "a", 0, "n01"},
	} {
		l := newLab(t, tt.nodes)
		for range tt.failed {
			l.in.Failures = append(l.in.Failures, reconcileFailure(tt.app, "n01", l.in.Now))
		}
		l.advance(tt.ago)
		l.commit(service("a", 1))
		if l.step(); l.where("a")[tt.want] != 1 {
			t.Errorf("%s: on %v, want %s", tt.name, l.where("a"), tt.want)
		}
	}
	if spec.FaultyFailures != 5 || spec.FaultyWindow != 5*spec.Minute {
		t.Error("the documentation says five failures in five minutes")
	}
}

func TestReasonsNameEveryRule(t *testing.T) {
	l := cluster(t,
		attribute(node("n1", 1000, spec.GiB), "kernel.version", "5.10"), attribute(node("n2", 1000, spec.GiB), "kernel.version", "6.1"),
		attribute(node("n3", 8000, 3*spec.GiB), "kernel.version", "6.1"), node("n4", 8000, 16*spec.GiB))
	l.node("n4").State = spec.NodeDrained
	a := asks("a", 2, 2000, 2*spec.GiB)
	a.Constraints = []spec.Constraint{{Attribute: "kernel.version", Operator: spec.OpGreaterEqual, Value: "6.0"}}
	l.commit(a)
	p, _ := l.plan()
	b := blocked(p, "a")
	want := "3 memory; 2 constraint kernel.version >= 6.0; 2 cpu; 1 the node is drained"
	if b == nil || rules(b) != want || b.Reasons[0].Detail != "n3 is short by 1GiB" {
		t.Fatalf("%+v\nwant %s", b, want)
	}
	fixes := strings.Join(b.Fix, "; ")
	if fixes != `memory = "1.5GiB"; count = 1; one more node like n3` {
		t.Errorf("fix %q", fixes)
	}
	l.in.Desired.Apps[0] = edit(a, func(a *spec.App) { a.Tasks[0].Memory = 1536 * spec.MiB })
	if p, _ := l.plan(); p.Summary.Blocked != 0 {
		t.Errorf("doing what the fix says does not help: %s", show(p))
	}
}

func TestScoreNamesTheRunnerUp(t *testing.T) {
	l := cluster(t, node("n1", 4000, 4*spec.GiB), node("n2", 2000, 2*spec.GiB))
	l.commit(asks("a", 1, 1000, spec.GiB))
	p := l.step()
	s := p.Apps[0].Changes[0].Score
	if p.Apps[0].Changes[0].Node != "n2" || s.Total != 500 || s.Next != "n1" || s.NextAt != 250 || s.Feasible != 2 || s.NextWhy != "less full afterwards" {
		t.Fatalf("%+v", s)
	}
}

func TestQuotaIsNamed(t *testing.T) {
	l := newLab(t, 2)
	l.in.Desired.Roles = []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{CPU: 1000}}}
	a := asks("a", 3, 500, spec.MiB)
	a.Role = "eng/data"
	l.commit(a)
	b := blocked(l.step(), "a")
	if b == nil || len(b.Slots) != 1 || b.Reasons[0].Rule != "quota of role eng: cpu" || b.Reasons[0].Detail != "1 of 1 are used" {
		t.Fatalf("%+v", b)
	}
	l.settle()
	l.commit(edit(a, func(a *spec.App) { command("v2")(a); a.Count = 2 }))
	l.settle() // a rollout at the edge of its quota goes on: a successor takes the place of the old one
	if r := l.running("a"); r["v2"] != 2 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
}

func TestAffinities(t *testing.T) {
	near := func(weight int) func(*spec.App) {
		return func(a *spec.App) { a.Affinities = []spec.Affinity{{App: "cache", Weight: weight}} }
	}
	for _, tt := range []struct {
		name string
		edit func(*spec.App)
		want string
	}{
		{"near another app", near(80), "n03"},
		{"apart from another app", near(-80), "n01"},
		{"an attribute", func(a *spec.App) {
			a.Affinities = []spec.Affinity{{Attribute: "disk.type", Operator: spec.OpEqual, Value: "ssd", Weight: 50}}
		}, "n02"},
		{"an attribute that is not wanted", func(a *spec.App) {
			a.Affinities = []spec.Affinity{{Attribute: "node.id", Operator: spec.OpIn, Values: []string{"n01", "n03"}, Weight: -50}}
		}, "n02"},
	} {
		l := newLab(t, 3)
		l.in.Nodes[1].Attributes["disk.type"] = "ssd"
		cache := service("cache", 1)
		cache.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpEqual, Value: "n03"}}
		l.commit(cache)
		l.settle()
		l.in.Desired.Policy.Name = "spread"
		l.commit(cache, edit(service("web", 1), tt.edit))
		if l.step(); l.where("web")[spec.NodeID(tt.want)] != 1 {
			t.Errorf("%s: on %v, want %s", tt.name, l.where("web"), tt.want)
		}
	}
}

func TestPlanIDIsItsContent(t *testing.T) {
	l := newLab(t, 3)
	l.commit(service("web", 2))
	a, _ := l.plan()
	b, _ := l.plan()
	l.in.Subject = "another"
	c, _ := l.plan()
	if a.ID != b.ID || a.ID == c.ID || !strings.HasPrefix(string(a.ID), "p-") {
		t.Fatalf("%s %s %s", a.ID, b.ID, c.ID)
	}
}
