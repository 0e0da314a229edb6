package check_test

import (
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// named is the world with devices and cores on n1, and an app that asks for both.
func named() reconcile.Input {
	in := world()
	n := &in.Nodes[0]
	n.Capacity.CPU = 8000
	n.Devices = []spec.Device{{Kind: "gpu", ID: "a", Model: "x"}, {Kind: "gpu", ID: "b", Model: "x"}, {Kind: "gpu", ID: "c", Model: "y"}}
	n.Cores = []spec.CoreGroup{{Cores: []int{0, 1, 2, 3}}}
	n.Tidy()
	app := *in.Desired.Apps[0]
	app.Count, app.Network = 2, spec.Network{}
	app.Tasks = []spec.Task{{Name: "t", CPU: 1000, Cores: 1, Memory: spec.MiB, Command: []string{"v1"},
		Devices: []spec.DeviceAsk{{Kind: "gpu", Count: 1, Constraints: []spec.Constraint{{Attribute: "model", Operator: spec.OpEqual, Value: "x"}}}}}}
	in.Desired.Apps = []*spec.App{&app}
	return in
}

// TestNamedRulesBite breaks what a good plan gives by name, in one place at a time.
func TestNamedRulesBite(t *testing.T) {
	in := named()
	p, r := reconcile.Plan(in)
	if found := lint(in, p, r); found != nil || p.Summary.Start != 2 {
		t.Fatalf("%+v: %v", p.Summary, found)
	}
	for name, spoil := range map[string]func(c []spec.Change){
		"a device twice":             func(c []spec.Change) { c[1].Devices = c[0].Devices },
		"a core twice":               func(c []spec.Change) { c[1].Cores = c[0].Cores },
		"no device":                  func(c []spec.Change) { c[0].Devices = nil },
		"no core":                    func(c []spec.Change) { c[0].Cores = nil },
		"a device that is not there": func(c []spec.Change) { c[0].Devices[0].ID = "z" },
		"a core that is not there":   func(c []spec.Change) { c[0].Cores[0].Cores[0] = 9 },
		"a device of another model":  func(c []spec.Change) { c[0].Devices[0].ID = "c" },
		"for a task that is not there": func(c []spec.Change) {
			c[0].Devices = append(c[0].Devices, spec.DeviceGrant{Task: "u", Kind: "gpu", ID: "c"})
		},
	} {
		p, r := reconcile.Plan(in)
		spoil(p.Apps[0].Changes)
		if found := lint(in, p, r); !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "named" }) {
			t.Errorf("%s is not seen: %v", name, found)
		}
	}
}

// TestNamedHoldersAreWaitedFor: what somebody has is given on only to those who wait for that one.
func TestNamedHoldersAreWaitedFor(t *testing.T) {
	in := named()
	in.Nodes[0].Devices = in.Nodes[0].Devices[:2]
	in.Nodes[0].Tidy()
	p, r := reconcile.Plan(in)
	in = reconcile.Apply(in, reconcile.Decide(in, p, r, 1))
	for i := range in.Current {
		in.Current[i].State, in.Current[i].Healthy, in.Current[i].HealthySince = spec.StateRunning, true, in.Now
	}
	next := *in.Desired.Apps[0]
	next.Tasks = slices.Clone(next.Tasks)
	next.Tasks[0].Command = []string{"v2"}
	in.Desired.Apps = []*spec.App{&next}
	p, r = reconcile.Plan(in)
	if found := lint(in, p, r); found != nil {
		t.Fatal(found)
	}
	waits := 0
	for i := range p.Apps[0].Changes {
		if c := &p.Apps[0].Changes[i]; c.Now && len(c.Takeover) > 0 {
			waits++
			c.Takeover = nil
		}
	}
	if waits == 0 {
		t.Fatal("nothing takes over")
	}
	if found := lint(in, p, r); !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "named" }) {
		t.Errorf("not seen: %v", found)
	}
}

// TestOvercommitBites lowers the bound below what a plan places.
func TestOvercommitBites(t *testing.T) {
	in := world()
	app := *in.Desired.Apps[0]
	app.Tasks = []spec.Task{{Name: "t", CPU: 100, Memory: 300 * spec.MiB, MemoryMax: 500 * spec.MiB, Command: []string{"v1"}}}
	in.Desired.Apps = []*spec.App{&app}
	in.Desired.Overcommit.Memory = 150
	p, r := reconcile.Plan(in)
	if found := lint(in, p, r); found != nil || p.Summary.Start != 3 {
		t.Fatalf("%+v: %v", p.Summary, found)
	}
	in.Desired.Overcommit.Memory = 120
	if found := lint(in, p, r); !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "capacity" }) {
		t.Errorf("not seen: %v", found)
	}
}
