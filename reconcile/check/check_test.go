package check_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func world() reconcile.Input {
	node := func(id string, state spec.NodeState) spec.NodeView {
		return spec.NodeView{State: state, Node: spec.Node{ID: spec.NodeID(id), Attributes: map[string]string{"zone": "z1"}, Capacity: spec.Resources{CPU: 2000, Memory: spec.GiB}}}
	}
	app := &spec.App{
		Name: "web", Kind: spec.KindService, Count: 3, Role: spec.DefaultRole,
		Constraints: []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}, {Attribute: "zone", Operator: spec.OpMaxPer, Number: 3}},
		Update:      spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1},
		Network:     spec.Network{Ports: []spec.PortSpec{{Name: "http", Protocol: spec.TCP}}},
		Tasks:       []spec.Task{{Name: "t", CPU: 500, Memory: spec.MiB, Command: []string{"v1"}}},
	}
	in := reconcile.Input{
		Now: spec.Time(spec.Hour), Versions: map[spec.Hash]*spec.App{},
		Desired: &spec.Cluster{Apps: []*spec.App{app}, Disruption: spec.Disruption{MaxUnavailable: spec.Percent{Value: 10}}},
		Nodes:   []spec.NodeView{node("n1", spec.NodeReady), node("n2", spec.NodeReady), node("n3", spec.NodeDown), node("n4", spec.NodeReady)},
	}
	in.Nodes[1].Attributes = map[string]string{}
	in.Nodes[3].Pool = "gpu"
	return in
}

// related is the world with three apps that have rules over one that runs on n1: apart from it, near it, and kept off by it.
// Their changes stand in one app of the plan, so that a test finds them by number.
func related() reconcile.Input {
	in := world()
	one := func(name string, rules ...spec.Constraint) *spec.App {
		a := *in.Desired.Apps[0]
		a.Name, a.Count, a.Constraints, a.Network = spec.AppName(name), 1, rules, spec.Network{}
		return &a
	}
	near := func(app string, op spec.Operator) spec.Constraint {
		return spec.Constraint{App: spec.AppName(app), Operator: op, Attribute: "node.id"}
	}
	db := one("db", near("c", spec.OpApart), spec.Constraint{Attribute: "node.id", Operator: spec.OpEqual, Value: "n1"})
	c := *in.Desired
	c.Apps = []*spec.App{db}
	in.Desired = &c
	p, r := reconcile.Plan(in)
	in = reconcile.Apply(in, reconcile.Decide(in, p, r, 1))
	c.Apps = []*spec.App{one("a", near("db", spec.OpApart)), one("b", near("db", spec.OpNear)), one("c"), db}
	return in
}

// alone is the world with room on one node only, which has a price, and a failure domain.
func alone() reconcile.Input {
	in := world()
	c := *in.Desired
	c.FailureDomains = []string{"zone"}
	in.Nodes, in.Desired = in.Nodes[:1], &c
	in.Nodes[0].Attributes[spec.AttributePrice] = "0.42"
	return in
}

// running is the world after everything has started, with the next version committed.
func running() reconcile.Input { return started(world()) }

// everywhere is the same with a system app on three nodes.
func everywhere() reconcile.Input {
	in := world()
	in.Nodes[2].State, in.Nodes[3].Pool = spec.NodeReady, ""
	app := in.Desired.Apps[0]
	app.Kind, app.Count, app.Constraints = spec.KindSystem, 0, app.Constraints[:1]
	return started(in)
}

func started(in reconcile.Input) reconcile.Input {
	p, r := reconcile.Plan(in)
	in = reconcile.Apply(in, reconcile.Decide(in, p, r, 1))
	for i := range in.Current {
		in.Current[i].State, in.Current[i].Healthy, in.Current[i].HealthySince = spec.StateRunning, true, in.Now
	}
	c := *in.Desired
	next := *c.Apps[0]
	next.Tasks = []spec.Task{{Name: "t", CPU: 500, Memory: spec.MiB, Command: []string{"v2"}}}
	c.Apps = []*spec.App{&next}
	in.Desired = &c
	return in
}

func TestGoodPlansPass(t *testing.T) {
	for _, in := range []reconcile.Input{world(), running(), everywhere(), related()} {
		p, r := reconcile.Plan(in)
		if len(p.Apps) == 0 {
			t.Fatal("nothing is planned")
		}
		if found := lint(in, p, r); found != nil {
			t.Error(found)
		}
	}
}

// TestEveryRuleBites breaks a good plan in one place at a time.
func TestEveryRuleBites(t *testing.T) {
	tests := []struct {
		name  string
		rule  string
		in    reconcile.Input
		spoil func(p *spec.Plan, c []spec.Change)
	}{
		{"a node that does not meet a constraint", "constraint", world(), func(_ *spec.Plan, c []spec.Change) { c[0].Node = "n2" }},
		{"a node that is down", "state", world(), func(_ *spec.Plan, c []spec.Change) { c[0].Node = "n3" }},
		{"a node of another pool", "pool", world(), func(_ *spec.Plan, c []spec.Change) { c[0].Node = "n4" }},
		{"beside one that it wants to be apart from", "between", related(), func(_ *spec.Plan, c []spec.Change) { c[0].Node = "n1" }},
		{"not near the one that it wants to be near to", "between", related(), func(_ *spec.Plan, c []spec.Change) { c[1].Node = "n2" }},
		{"beside one that wants to be apart from it", "between", related(), func(_ *spec.Plan, c []spec.Change) { c[2].Node = "n1" }},
		{"one slot twice", "slots", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Slot = c[0].Slot }},
		{"one port twice", "ports", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Ports = c[0].Ports }},
		{"no port", "ports", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Ports = nil }},
		{"no reason", "reason", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Reason = "" }},
		{"no score", "reason", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Score = nil }},
		{"waits for nothing", "reason", world(), func(_ *spec.Plan, c []spec.Change) { c[1].Now = false }},
		{"a wrong count", "counts", world(), func(p *spec.Plan, _ []spec.Change) { p.Summary.Start++ }},
		{"a worst moment that is none", "worst", running(), func(p *spec.Plan, _ []spec.Change) { p.Worst.Used = spec.Resources{} }},
		{"a step that is not taken", "worst", running(), func(p *spec.Plan, _ []spec.Change) { p.Worst.Step = 99 }},
		{"more in use than there is", "worst", running(), func(p *spec.Plan, _ []spec.Change) { p.Worst.Used.CPU += p.Worst.Total.CPU }},
		{"more money than there is", "costs", alone(), func(p *spec.Plan, _ []spec.Change) { p.Cost.Idle += 1_000_000 }},
		{"an app that is paid", "costs", alone(), func(p *spec.Plan, _ []spec.Change) { p.Cost.Apps[0].After = -1 }},
		{"other prices than before", "costs", alone(), func(p *spec.Plan, _ []spec.Change) { p.Cost.Before++ }},
		{"a loss that displaces more", "losses", world(), func(p *spec.Plan, _ []spec.Change) { p.Failure.Nodes[0].Displaced++ }},
		{"a home that nobody has", "losses", alone(), func(p *spec.Plan, _ []spec.Change) { p.Failure.Nodes[0].Homeless, p.Failure.Homeless = 0, 0 }},
		{"another loss is the worst", "losses", world(), func(p *spec.Plan, _ []spec.Change) { p.Failure.Displaced++ }},
		{"more values than there are", "losses", alone(), func(p *spec.Plan, _ []spec.Change) { p.Failure.Domains[0].Looked = 9 }},
		{"a healthy one too many stops", "budget", running(), func(_ *spec.Plan, c []spec.Change) {
			for i := range c {
				c[i].Now, c[i].After, c[i].KeepOld = true, "", false
			}
		}},
		{"a system app stops on too many nodes", "budget", everywhere(), func(_ *spec.Plan, c []spec.Change) {
			for i := range c {
				c[i].Now, c[i].After, c[i].KeepOld = true, "", false
			}
		}},
		{"more than max_per", "limit", running(), func(_ *spec.Plan, c []spec.Change) {
			for i := range c {
				c[i].Now, c[i].After, c[i].KeepOld = true, "", true
			}
		}},
		{"more than the node has", "capacity", running(), func(_ *spec.Plan, c []spec.Change) {
			for i := range c {
				c[i].Now, c[i].KeepOld, c[i].Takeover = true, true, nil
			}
		}},
	}
	for _, tt := range tests {
		p, r := reconcile.Plan(tt.in)
		var broken spec.Plan
		b, _ := json.Marshal(&p)
		if err := json.Unmarshal(b, &broken); err != nil {
			t.Fatal(err)
		}
		changes := broken.Apps[0].Changes
		if len(broken.Apps) > 1 {
			changes = slices.Concat(changes, broken.Apps[1].Changes, broken.Apps[2].Changes)
		}
		tt.spoil(&broken, changes)
		for i := 0; len(broken.Apps) > 1 && i < 3; i++ {
			broken.Apps[i].Changes[0] = changes[i]
		}
		found := false
		for _, v := range lint(tt.in, broken, r) {
			found = found || v.Rule == tt.rule
		}
		if !found {
			t.Errorf("%s: %s did not notice: %v", tt.name, tt.rule, lint(tt.in, broken, r))
		}
	}
}
