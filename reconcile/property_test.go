package reconcile_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// drawNodes makes up to n nodes of various sizes in two zones.
func drawNodes(t *rapid.T, most int) []spec.NodeView {
	var nodes []spec.NodeView
	for i := range rapid.IntRange(1, most).Draw(t, "nodes") {
		n := node(fmt.Sprintf("n%02d", i), spec.MilliCPU(rapid.IntRange(1, 8).Draw(t, "cpu")*500), spec.Bytes(rapid.IntRange(1, 8).Draw(t, "memory"))*512*spec.MiB)
		if z := rapid.IntRange(0, 2).Draw(t, "zone"); z > 0 {
			n.Attributes["zone"] = fmt.Sprint("z", z)
		}
		for d := range rapid.IntRange(0, 4).Draw(t, "devices") {
			n.Devices = append(n.Devices, spec.Device{Kind: "gpu", ID: fmt.Sprint("g", d), Model: []string{"a", "b"}[d%2]})
		}
		if rapid.Bool().Draw(t, "gives cores") {
			n.Cores = []spec.CoreGroup{{NUMA: 0, Cores: []int{0, 1}}, {NUMA: 1, Cores: []int{2, 3}}}
		}
		n.Tidy()
		if rapid.IntRange(0, 3).Draw(t, "pooled") == 0 {
			n.Pool = "gpu"
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// drawRule makes a rule over another app: apart from any, or near one that comes earlier, so that there are no circles.
func drawRule(t *rapid.T, name string) []spec.Constraint {
	c := spec.Constraint{Operator: spec.OpApart, Attribute: rapid.SampledFrom([]string{"node.id", "zone"}).Draw(t, "shared")}
	c.App = spec.AppName(fmt.Sprint("app", rapid.IntRange(0, 3).Draw(t, "other")))
	if c.App < spec.AppName(name) && rapid.Bool().Draw(t, "near") {
		c.Operator = spec.OpNear
	}
	if c.App == spec.AppName(name) {
		return nil
	}
	return []spec.Constraint{c}
}

// drawApp makes an app of any kind, with rules.
func drawApp(t *rapid.T, name string, most int) *spec.App {
	a := asks(name, rapid.IntRange(0, most).Draw(t, "count"), spec.MilliCPU(rapid.IntRange(1, 6).Draw(t, "cpu")*250), spec.Bytes(rapid.IntRange(1, 6).Draw(t, "memory"))*128*spec.MiB)
	a.Priority = rapid.SampledFrom([]int{30, 50, 80}).Draw(t, "priority")
	a.Role = rapid.SampledFrom([]spec.RoleName{"default", "eng", "eng/data"}).Draw(t, "role")
	a.Tasks[0].Command = []string{rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "command")}
	u := &a.Update
	u.Strategy = rapid.SampledFrom([]spec.Strategy{spec.StrategyRolling, spec.StrategyRolling, spec.StrategyCanary, spec.StrategyBlueGreen, spec.StrategyRecreate}).Draw(t, "strategy")
	u.MaxParallel, u.Canary = rapid.IntRange(1, 3).Draw(t, "parallel"), rapid.IntRange(1, 2).Draw(t, "canary")
	if u.Strategy == spec.StrategyRolling {
		u.MinHealthy = rapid.SampledFrom([]spec.Milli{0, 0, 500, 1000}).Draw(t, "min healthy")
	}
	if rapid.Bool().Draw(t, "bursts") {
		a.Tasks[0].MemoryMax = a.Tasks[0].Memory + spec.Bytes(rapid.IntRange(1, 6).Draw(t, "burst"))*128*spec.MiB
	}
	switch rapid.IntRange(0, 9).Draw(t, "named") {
	case 0:
		a.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: rapid.IntRange(1, 2).Draw(t, "gpus")}}
	case 1:
		a.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: 1, Constraints: []spec.Constraint{{Attribute: "model", Operator: spec.OpEqual, Value: "a"}}}}
	case 2:
		a.Tasks[0].Cores = rapid.IntRange(1, 2).Draw(t, "cores")
		a.Tasks[0].CPU = spec.MilliCPU(a.Tasks[0].Cores) * 1000
	}
	if u.Strategy == spec.StrategyBlueGreen || u.Strategy == spec.StrategyRecreate {
		a.Gang = rapid.Bool().Draw(t, "gang")
	}
	a.Pool = rapid.SampledFrom([]spec.PoolName{"", "", "", "gpu"}).Draw(t, "pool")
	switch rapid.IntRange(0, 12).Draw(t, "rule") {
	case 0:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpMaxPer, Number: 2}}
	case 1:
		a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	case 2:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}}
	case 3:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpSame}}
	case 4:
		a.Spreads = []spec.Spread{{Attribute: "zone", Weight: 100}}
	case 5:
		a.Network.Ports = []spec.PortSpec{{Name: "a", Static: 80, Protocol: spec.TCP}, {Name: "b", Protocol: spec.UDP}}
	case 6:
		a.Kind, a.Gang, a.Count = spec.KindSystem, false, 0
		a.Update.Strategy, a.Update.MinHealthy = spec.StrategyRolling, 0
		a.Pool = rapid.SampledFrom([]spec.PoolName{"", "gpu", spec.AllPools}).Draw(t, "system pool")
	case 7:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpGroupBy}}
	case 8, 9:
		a.Constraints = drawRule(t, name)
	}
	return a
}

// drawRoles makes roles with weights, quotas and guarantees, or none.
func drawRoles(t *rapid.T) []spec.Role {
	var roles []spec.Role
	for _, name := range []spec.RoleName{"eng", "eng/data"} {
		r := spec.Role{Name: name, Weight: rapid.IntRange(1, 3).Draw(t, "weight")}
		if k := rapid.IntRange(0, 9).Draw(t, "quota"); k < 2 {
			r.Quota = &spec.Resources{CPU: spec.MilliCPU(1+k) * 2000, Memory: spec.GiB}
		}
		if k := rapid.IntRange(0, 9).Draw(t, "guarantee"); k < 3 {
			r.Guarantee = &spec.Resources{CPU: spec.MilliCPU(1+k) * 1000, Memory: spec.Bytes(k) * spec.GiB}
		}
		roles = append(roles, r)
	}
	return roles
}

// drawLab makes a world and an app or two, and lets it settle.
func drawLab(t *rapid.T, tb testing.TB) (*lab, []*spec.App) {
	l := newLab(tb, 0)
	l.in.Nodes = drawNodes(t, 6)
	l.in.Desired.Policy.Name = rapid.SampledFrom([]string{"binpack", "spread"}).Draw(t, "policy")
	l.in.Desired.Preemption = rapid.Bool().Draw(t, "preemption")
	l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: rapid.SampledFrom([]int{0, 10, 50}).Draw(t, "unavailable")}
	l.in.Desired.Roles = drawRoles(t)
	if rapid.IntRange(0, 3).Draw(t, "reservations") == 0 {
		l.in.Desired.Reservations = []spec.Reservation{
			{Name: "all", Role: "eng", Resources: spec.Resources{CPU: 500, Memory: 256 * spec.MiB}},
			{Name: "some", Role: "eng/data", Resources: spec.Resources{CPU: 1000}, Constraints: []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}}},
		}
	}
	l.in.Desired.Overcommit.Memory = rapid.SampledFrom([]int{0, 0, 110, 150}).Draw(t, "overcommit")
	var apps []*spec.App
	for i := range rapid.IntRange(1, 4).Draw(t, "apps") {
		apps = append(apps, drawApp(t, fmt.Sprint("app", i), 6))
	}
	l.commit(apps...)
	return l, apps
}

// strict plans and fails the property on any violation.
func strict(t *rapid.T, in reconcile.Input) (spec.Plan, reconcile.Report) {
	p, r := reconcile.Plan(in)
	for _, v := range check.Plan(in, p, r) {
		t.Fatalf("%s\n%s", v, show(p))
	}
	return p, r
}

// turn plans, records and lets the nodes follow; it reports whether anything happened.
func (l *lab) turn(t *rapid.T, healthy func(*spec.AllocationView) bool) bool {
	l.in.Brief = true // as the master does
	p, r := strict(t, l.in)
	l.in.Memory = &l.memory
	if q, s := reconcile.Plan(l.in); q.ID != p.ID || !reflect.DeepEqual(r, s) {
		t.Fatalf("what was remembered of the last plan makes this one different:\n%s\nis not\n%s", show(q), show(p))
	}
	l.in.Brief, l.in.Memory = false, nil
	d := reconcile.Decide(l.in, p, r, l.gen+1)
	if !d.Empty() {
		l.gen++
	}
	l.in = reconcile.Apply(l.in, d)
	for i := range l.in.Current {
		a := &l.in.Current[i]
		if a.Want == spec.WantStop || healthy(a) {
			l.follow(a)
		}
	}
	l.advance(11 * spec.Second)
	return !d.Empty()
}

func always(*spec.AllocationView) bool { return true }

// rest lets the world come to rest.
func (l *lab) rest(t *rapid.T) {
	for range 150 {
		if !l.turn(t, always) {
			l.turn(t, always) // what became healthy a moment ago is settled now
			if !l.turn(t, always) {
				return
			}
		}
	}
	p, _ := reconcile.Plan(l.in)
	t.Fatalf("no rest:\n%s", show(p))
}

// TestAnyHistory lets commits, lost nodes, drains and illness come at any moment: no plan may ever break a rule, and
// once the trouble ends the world comes to rest.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		ill := map[spec.AllocationID]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "turns") {
			switch rapid.IntRange(0, 7).Draw(rt, "event") {
			case 0, 1:
				i := rapid.IntRange(0, len(apps)-1).Draw(rt, "which")
				apps[i] = drawApp(rt, string(apps[i].Name), 6)
				l.commit(apps...)
			case 2:
				n := &l.in.Nodes[rapid.IntRange(0, len(l.in.Nodes)-1).Draw(rt, "node")]
				n.State, n.LastSeen = spec.NodeUnknown, l.in.Now
			case 3:
				for i := range l.in.Nodes {
					l.in.Nodes[i].State, l.in.Nodes[i].LastSeen = spec.NodeReady, l.in.Now
				}
			case 4:
				n := l.in.Nodes[rapid.IntRange(0, len(l.in.Nodes)-1).Draw(rt, "node")].ID
				if !slices.ContainsFunc(l.in.Drains, func(d spec.Drain) bool { return d.Node == n }) {
					l.in.Drains = append(l.in.Drains, spec.Drain{Node: n, Since: l.in.Now})
				}
			case 5:
				l.in.Drains = nil
			case 6:
				if len(l.in.Current) > 0 {
					a := &l.in.Current[rapid.IntRange(0, len(l.in.Current)-1).Draw(rt, "ill")]
					ill[a.ID], a.Healthy = true, false
				}
			case 7:
				if len(l.in.Current) > 0 {
					a := &l.in.Current[rapid.IntRange(0, len(l.in.Current)-1).Draw(rt, "failed")]
					if !a.State.Terminal() && a.State != spec.StatePlaced {
						a.State, a.Healthy, a.Since = spec.StateFailed, false, l.in.Now
					}
				}
			}
			l.turn(rt, func(a *spec.AllocationView) bool { return !ill[a.ID] && a.Generation%3 != 2 })
		}
		l.in.Drains = nil
		for i := range l.in.Nodes {
			l.in.Nodes[i].State, l.in.Nodes[i].LastSeen = spec.NodeReady, l.in.Now
		}
		l.rest(rt)
	})
}

func TestOrderOfListsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		for range 2 {
			l.turn(rt, always)
		}
		apps[0] = drawApp(rt, string(apps[0].Name), 6)
		l.commit(apps...)
		first, _ := json.Marshal(planOf(l.in))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "shuffle"), 1))
		in := l.in
		in.Nodes, in.Current = slices.Clone(in.Nodes), slices.Clone(in.Current)
		r.Shuffle(len(in.Nodes), func(i, j int) { in.Nodes[i], in.Nodes[j] = in.Nodes[j], in.Nodes[i] })
		r.Shuffle(len(in.Current), func(i, j int) { in.Current[i], in.Current[j] = in.Current[j], in.Current[i] })
		second, _ := json.Marshal(planOf(in))
		if string(first) != string(second) {
			rt.Fatalf("the order of the input matters:\n%s\n%s", first, second)
		}
	})
}

func planOf(in reconcile.Input) spec.Plan {
	p, _ := reconcile.Plan(in)
	return p
}

func TestAnEmptyNodeMovesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, _ := drawLab(rt, t)
		l.in.Desired.Roles = nil // a system app wants one more there, and may not have it
		l.rest(rt)
		before := planOf(l.in)
		n := node("zz", 64000, 256*spec.GiB)
		n.LastSeen = l.in.Now
		l.in.Nodes = append(slices.Clone(l.in.Nodes), n)
		p, _ := strict(rt, l.in)
		if p.Summary.Move+p.Summary.Replace+p.Summary.Stop+p.Summary.Update > 0 || p.Summary.Blocked > before.Summary.Blocked {
			rt.Fatalf("an empty node moves something:\n%s", show(p))
		}
	})
}

func TestOneAppLeavesOthersAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.in.Desired.Preemption = false
		l.rest(rt)
		waiting := map[spec.AppName]bool{}
		for _, a := range planOf(l.in).Apps {
			waiting[a.App] = true
		}
		apps[0] = drawApp(rt, string(apps[0].Name), 6)
		l.commit(apps...)
		p, _ := strict(rt, l.in)
		for _, a := range p.Apps {
			if a.App != apps[0].Name && !waiting[a.App] {
				rt.Fatalf("%s changes though only %s did:\n%s", a.App, apps[0].Name, show(p))
			}
		}
	})
}

func TestThereAndBackAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.rest(rt)
		slots := func() map[spec.AppName]int {
			n := map[spec.AppName]int{}
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.Want == spec.WantRun && !a.State.Terminal() {
					n[a.App]++
				}
			}
			return n
		}
		if planOf(l.in).Summary.Blocked > 0 {
			return // who fits when not all do depends on who was there first
		}
		before := slots()
		l.commit(append([]*spec.App{edit(apps[0], command("other"))}, apps[1:]...)...)
		l.turn(rt, always)
		l.commit(apps...)
		l.rest(rt)
		if after := slots(); fmt.Sprint(before) != fmt.Sprint(after) {
			rt.Fatalf("before %v, after %v", before, after)
		}
		for i := range l.in.Current {
			a := &l.in.Current[i]
			if a.Want == spec.WantRun && !a.State.Terminal() && l.in.Versions[a.Version].Tasks[0].Command[0] == "other" {
				rt.Fatalf("%s still has the version in between", a.ID)
			}
		}
	})
}
