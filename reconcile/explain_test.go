package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// homeless counts the slots without a place by app; those that wait for a back-off count too.
func homeless(p spec.Plan) map[spec.AppName]int {
	n := map[spec.AppName]int{}
	for _, a := range p.Apps {
		if a.Blocked != nil {
			n[a.App] = len(a.Blocked.Slots)
		}
	}
	return n
}

// fixesAreTrue does what each fix says and expects the app to have its places, in the plan and when all of it has been
// carried out, and no other app to lose any that it would not have lost anyway. With one step less of the change it must
// not do.
func (l *lab) fixesAreTrue(t *rapid.T, p spec.Plan) (said int) {
	before := homeless(p)
	var anyway map[spec.AppName]int
	ends := func(in reconcile.Input) (map[spec.AppName]int, spec.Plan) {
		end := l.with(in)
		end.rest(t)
		p, _ := strict(t, end.in)
		return homeless(p), p
	}
	does := func(app spec.AppName, edits []spec.Edit) (bool, spec.Plan) {
		in, err := reconcile.Amend(l.in, edits)
		if err != nil {
			t.Fatal(err)
		}
		in.Brief = true
		after, _ := strict(t, in)
		n := homeless(after)
		for other, k := range n {
			if other != app && k > before[other] {
				return false, after
			}
		}
		if n[app] > 0 {
			return false, after
		}
		if n, after = ends(in); n[app] > 0 {
			return false, after
		}
		for other, k := range n {
			if other != app && k > before[other] {
				if anyway == nil {
					anyway, _ = ends(l.in)
				}
				if k > anyway[other] {
					return false, after
				}
			}
		}
		return true, after
	}
	for _, a := range p.Apps {
		if a.Blocked == nil {
			continue
		}
		for i, fix := range a.Blocked.Fixes {
			said++
			if a.Blocked.Fix[i] != fix.Text || i > 0 && fix.Size < a.Blocked.Fixes[i-1].Size {
				t.Fatalf("fixes are not in order: %+v", a.Blocked.Fixes)
			}
			if ok, after := does(a.App, fix.Edits); !ok {
				t.Fatalf("%q does not help %s:\n%s\nbefore:\n%s", fix.Text, a.App, show(after), show(p))
			}
			for k := range fix.Edits {
				if less := oneStepLess(fix.Edits, k); less != nil {
					if ok, _ := does(a.App, less); ok {
						t.Fatalf("%q helps %s, but less would do: %+v\n%s", fix.Text, a.App, less[k], show(p))
					}
				}
			}
		}
	}
	return said
}

// with returns a lab of its own with that input.
func (l *lab) with(in reconcile.Input) *lab {
	in.Nodes = slices.Clone(in.Nodes) // time passes for them
	return &lab{t: l.t, in: in, gen: l.gen}
}

// oneStepLess returns the edits with the k-th a step smaller; nil when it has no steps.
func oneStepLess(edits []spec.Edit, k int) []spec.Edit {
	less := slices.Clone(edits)
	e := &less[k]
	switch {
	case e.Step == 0:
		return nil
	case e.Kind == spec.EditCount, e.Kind == spec.EditResource:
		e.Number += e.Step
	case e.Kind == spec.EditConstraint:
		c := *e.Constraint
		c.Number -= int(e.Step)
		e.Constraint = &c
	default:
		e.Number -= e.Step
	}
	return less
}

// TestFixesAreTrue follows every fix of every plan in the history of random worlds.
func TestFixesAreTrue(t *testing.T) {
	said := 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		if rapid.Bool().Draw(rt, "quota") {
			l.in.Desired.Roles = []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{CPU: 1500}}}
		}
		l.in.Desired.NodeClasses = []spec.NodeClass{{Name: "big", Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB}, Attributes: map[string]string{"zone": "z1"}}}
		for range rapid.IntRange(1, 3).Draw(rt, "turns") {
			p, _ := strict(rt, l.in)
			said += l.fixesAreTrue(rt, p)
			l.turn(rt, always)
			i := rapid.IntRange(0, len(apps)-1).Draw(rt, "which")
			apps[i] = drawApp(rt, string(apps[i].Name), 9)
			l.commit(apps...)
		}
	})
	if said < 50 {
		t.Errorf("only %d fixes were said in all", said)
	}
}

// TestUndoingAReasonHelps gives one node of each group all that it is said to lack: then one more slot has its place.
func TestUndoingAReasonHelps(t *testing.T) {
	tried := 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.in.Desired.Preemption, l.in.Desired.Reservations = false, nil // a node that gets more may have to keep it for others
		if i := rapid.IntRange(-1, len(l.in.Nodes)-1).Draw(rt, "drained"); i >= 0 {
			l.in.Drains = []spec.Drain{{Node: l.in.Nodes[i].ID, Since: l.in.Now}}
		}
		l.rest(rt)
		apps[0] = drawApp(rt, string(apps[0].Name), 9)
		l.commit(apps[0])
		l.rest(rt)
		p, _ := strict(rt, l.in)
		b := blocked(p, string(apps[0].Name))
		if b == nil || apps[0].Kind == spec.KindSystem || apps[0].Gang {
			return
		}
		for _, r := range b.Reasons {
			if r.Nodes == b.Nodes && len(r.Names) == 0 {
				return // a quota or a guarantee is in the way as well
			}
		}
		sum := b.Feasible
		for _, g := range b.Groups {
			sum += g.Nodes
			in, ok := l.undo(g, apps[0])
			if !ok {
				continue
			}
			tried++
			in.Brief = true
			after, _ := strict(rt, in)
			if still := blocked(after, string(apps[0].Name)); still != nil && !slices.ContainsFunc(b.Slots, func(i int) bool { return !slices.Contains(still.Slots, i) }) {
				rt.Fatalf("undoing %+v places nothing:\n%s\nbefore:\n%s", g, show(after), show(p))
			}
		}
		if sum != len(l.in.Nodes) || sum != b.Nodes {
			rt.Fatalf("the groups have %d nodes of %d: %+v", sum, len(l.in.Nodes), b.Groups)
		}
	})
	if tried < 20 {
		t.Errorf("only %d groups were tried", tried)
	}
}

// undo gives a node of the group what it lacks; false where it cannot be given.
func (l *lab) undo(g spec.NodeGroup, a *spec.App) (reconcile.Input, bool) {
	in := l.in
	if slices.ContainsFunc(a.Constraints, func(c spec.Constraint) bool { return c.Operator == spec.OpGroupBy }) {
		return in, false // with another node that counts, each group may have fewer
	}
	in.Nodes, in.Drains = slices.Clone(in.Nodes), nil
	id := g.Names[0]
	if len(g.Short) > 0 {
		id = g.Short[0].Node
	}
	i := slices.IndexFunc(in.Nodes, func(n spec.NodeView) bool { return n.ID == id })
	n := &in.Nodes[i]
	attributes := map[string]string{}
	for k, v := range n.Attributes {
		attributes[k] = v
	}
	n.Attributes = attributes
	for _, r := range g.Rules {
		zone, isConstraint := strings.CutPrefix(r, "constraint zone = ")
		switch {
		case strings.HasPrefix(r, "the node is in pool "):
			if n.Pool = a.Pool; a.Pool == spec.AllPools {
				return in, false
			}
		case strings.HasPrefix(r, "the node is "):
			for _, v := range l.in.Versions {
				if v.Kind == spec.KindSystem {
					return in, false // that would come to the node first
				}
			}
			n.State, n.LastSeen = spec.NodeReady, in.Now
		case isConstraint:
			attributes["zone"] = zone
		case l.where(string(a.Name))[id] > 1 && (r == "constraint zone is set" || r == "constraint at most 2 per zone"):
			return in, false // what it has itself would be too many in any zone
		case r == "constraint at most 2 per zone" || r == "constraint zone is set" && a.Constraints[0].Operator == spec.OpMaxPer:
			attributes["zone"] = "another"
		case r == "cpu", r == "memory":
		default:
			return in, false // a port, another's zone: the node cannot be given that
		}
	}
	for _, m := range g.Short {
		switch m.Resource {
		case "cpu":
			n.Capacity.CPU += spec.MilliCPU(m.Amount)
		case "memory":
			n.Capacity.Memory += spec.Bytes(m.Amount)
		}
	}
	return in, true
}

// TestEveryKindOfFix has one small world for each kind, with what is said and in which order.
func TestEveryKindOfFix(t *testing.T) {
	rule := func(c ...spec.Constraint) func(*spec.App) { return func(a *spec.App) { a.Constraints = c } }
	none := func(*spec.App) {}
	racks := []spec.NodeView{attribute(node("n1", 8000, 16*spec.GiB), "rack", "r1"), attribute(node("n2", 8000, 16*spec.GiB), "rack", "r2")}
	kernels := []spec.NodeView{attribute(node("n1", 8000, 16*spec.GiB), "kernel.version", "5.4"), attribute(node("n2", 8000, 16*spec.GiB), "kernel.version", "5.10")}
	tests := []struct {
		name  string
		nodes []spec.NodeView
		roles []spec.Role
		app   *spec.App
		edit  func(*spec.App)
		other *spec.App
		want  string
	}{
		{"fewer, or less", []spec.NodeView{node("n1", 4000, 4*spec.GiB)}, nil, asks("a", 4, 1000, 1250*spec.MiB), none, nil,
			`memory = "1GiB"; count = 3; one more node like n1`},
		{"two resources at once", []spec.NodeView{node("n1", 1000, spec.GiB)}, nil, asks("a", 1, 1500, 1500*spec.MiB), none, nil,
			`cpu = 1 and memory = "1GiB"`},
		{"max_per loosened", racks, nil, asks("a", 6, 100, spec.MiB), rule(spec.Constraint{Attribute: "rack", Operator: spec.OpMaxPer, Number: 2}), nil,
			"at most 3 per rack instead of at most 2 per rack; count = 4"},
		{"distinct loosened", racks, nil, asks("a", 3, 100, spec.MiB), rule(spec.Constraint{Attribute: "rack", Operator: spec.OpDistinct}), nil,
			"at most 2 per rack instead of distinct rack; count = 2"},
		{"an older kernel would do", kernels, nil, asks("a", 2, 100, spec.MiB), rule(spec.Constraint{Attribute: "kernel.version", Operator: spec.OpGreaterEqual, Value: "6.1"}), nil,
			"kernel.version >= 5.10 instead of kernel.version >= 6.1"},
		{"another rack too", racks, nil, asks("a", 2, 100, spec.MiB), rule(spec.Constraint{Attribute: "rack", Operator: spec.OpEqual, Value: "r9"}), nil,
			"rack in [r9, r1] instead of rack = r9"},
		{"a rule too many", racks, nil, asks("a", 1, 100, spec.MiB), rule(spec.Constraint{Attribute: "gpu", Operator: spec.OpSet}), nil,
			"no constraint gpu is set"},
		{"a quota", racks, []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{CPU: 1000}}}, asks("a", 3, 500, spec.MiB), func(a *spec.App) { a.Role = "eng/data" }, nil,
			"count = 2; cpu = 0.3; quota of role eng: cpu = 1.5"},
		{"another app", []spec.NodeView{node("n1", 4000, 4*spec.GiB)}, nil, asks("a", 1, 2000, 100*spec.MiB), none, asks("b", 3, 1000, 100*spec.MiB),
			"cpu = 1; count = 2 of b; one more node like n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, tt.nodes...)
			l.in.Desired.Roles = tt.roles
			if tt.other != nil {
				l.commit(tt.other)
				l.settle()
				l.commit(tt.other, edit(tt.app, tt.edit))
			} else {
				l.commit(edit(tt.app, tt.edit))
			}
			p, _ := l.plan()
			b := blocked(p, "a")
			if b == nil || strings.Join(b.Fix, "; ") != tt.want {
				t.Errorf("%+v\nwant %s", b, tt.want)
			}
			l.in.Brief = true
			if p, _ := l.plan(); len(blocked(p, "a").Fix) > 0 {
				t.Error("a brief plan looks for fixes")
			}
		})
	}
}

// TestNodesOfAClass counts with machines that are not there yet.
func TestNodesOfAClass(t *testing.T) {
	l := cluster(t, attribute(node("n1", 2000, 2*spec.GiB), "disk.type", "hdd"))
	l.in.Desired.NodeClasses = []spec.NodeClass{
		{Name: "big", Capacity: spec.Resources{CPU: 16_000, Memory: 64 * spec.GiB}, Attributes: map[string]string{"disk.type": "ssd"}},
		{Name: "small", Capacity: spec.Resources{CPU: 1000, Memory: spec.GiB}, Attributes: map[string]string{"disk.type": "ssd"}},
	}
	a := asks("a", 3, 1000, spec.GiB)
	a.Constraints = []spec.Constraint{{Attribute: "disk.type", Operator: spec.OpEqual, Value: "ssd"}}
	l.commit(a)
	p, _ := l.plan()
	if b := blocked(p, "a"); b == nil || !slices.Contains(b.Fix, "one more node of class big") {
		t.Fatalf("%+v", b)
	}
}

// TestFixesInALargeWorld: the bound on trials lets the first few kinds of fix be tried; what is said is true there too.
func TestFixesInALargeWorld(t *testing.T) {
	in := big(400, 100, 20)
	in.Desired.Apps[0] = edit(in.Desired.Apps[0], func(a *spec.App) { a.Tasks[0].CPU = 64_000 })
	in.Hashes = nil
	p, _ := reconcile.Plan(in)
	b := blocked(p, string(in.Desired.Apps[0].Name))
	if b == nil || len(b.Slots) != 20 || len(b.Groups) == 0 || b.Groups[0].Rules[0] != "cpu" || len(b.Fixes) == 0 {
		t.Fatalf("%+v", b)
	}
	in.Brief = true
	for _, f := range b.Fixes {
		after, err := reconcile.Amend(in, f.Edits)
		if err != nil {
			t.Fatal(err)
		}
		if p, _ := reconcile.Plan(after); p.Summary.Blocked > 0 {
			t.Errorf("%s does not help", f.Text)
		}
	}
}

// TestFixesHoldForTheWholeRollout: what is planned at first is the canary alone, and it would have its place on one node
// more.
func TestFixesHoldForTheWholeRollout(t *testing.T) {
	gpus := node("n01", 8000, 16*spec.GiB)
	for i := range 3 {
		gpus.Devices = append(gpus.Devices, spec.Device{Kind: "gpu", ID: fmt.Sprint("g", i)})
	}
	gpus.Tidy()
	asks := func(n int) func(*spec.App) {
		return func(a *spec.App) { a.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: n}} }
	}
	for _, tt := range []struct {
		name string
		edit func(*spec.App)
	}{
		{"promoted by itself", asks(2)},
		{"promoted by people", func(a *spec.App) { asks(2)(a); a.Update.AutoPromote = false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, gpus)
			train := edit(service("train", 3), func(a *spec.App) {
				asks(1)(a)
				a.Update.Strategy, a.Update.Canary = spec.StrategyCanary, 1
			})
			l.commit(train)
			l.settle()
			l.commit(edit(train, tt.edit))
			p, _ := l.plan()
			if b := blocked(p, "train"); b == nil || !slices.Contains(b.Fix, "2 more nodes like n01") {
				t.Errorf("%+v\n%s", b, show(p))
			}
		})
	}
}
