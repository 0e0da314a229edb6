package reconcile_test

import (
	"fmt"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// lab is a small world that tests change step by step.
type lab struct {
	t   testing.TB
	in  reconcile.Input
	gen spec.Generation

	memory reconcile.Memory // of a master beside this one that remembers
}

func newLab(t testing.TB, nodes int) *lab {
	l := &lab{t: t}
	l.in = reconcile.Input{
		Now:      1_000_000 * spec.Time(spec.Second),
		Desired:  &spec.Cluster{Name: "test", Sync: spec.Sync{Prune: true, MaxPrune: spec.Percent{Value: 100}}, Disruption: spec.Disruption{MaxUnavailable: spec.Percent{Value: 10}}},
		Versions: map[spec.Hash]*spec.App{},
		Commit:   "c1",
	}
	for i := range nodes {
		l.in.Nodes = append(l.in.Nodes, node(fmt.Sprintf("n%02d", i+1), 8000, 16*spec.GiB))
	}
	return l
}

func node(id string, cpu spec.MilliCPU, memory spec.Bytes) spec.NodeView {
	return spec.NodeView{
		Node:  spec.Node{ID: spec.NodeID(id), Address: id, Attributes: map[string]string{}, Capacity: spec.Resources{CPU: cpu, Memory: memory, Disk: 100 * spec.GiB}},
		State: spec.NodeReady, LastSeen: 1_000_000 * spec.Time(spec.Second),
	}
}

func service(name string, count int) *spec.App {
	return &spec.App{
		Name: spec.AppName(name), Kind: spec.KindService, Count: count, Role: spec.DefaultRole, Priority: spec.DefaultPriority,
		Update:     spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1, HealthyFor: 10 * spec.Second, Deadline: 10 * spec.Minute, AutoPromote: true, AutoRevert: true},
		Restart:    spec.Restart{Attempts: 3, Interval: 10 * spec.Minute, Delay: spec.Second, MaxDelay: spec.Minute},
		Reschedule: spec.Reschedule{After: 30 * spec.Second, Delay: spec.Second, MaxDelay: 5 * spec.Minute},
		Network:    spec.Network{Mode: spec.NetworkHost},
		Tasks:      []spec.Task{{Name: "t", Lifecycle: spec.LifecycleMain, Rootfs: spec.RootfsHost, Command: []string{"v1"}, CPU: 100, Memory: 128 * spec.MiB}},
	}
}

// edit returns a changed copy of an app.
func edit(a *spec.App, f func(*spec.App)) *spec.App {
	c := *a
	c.Tasks = append([]spec.Task(nil), a.Tasks...)
	f(&c)
	return &c
}

func (l *lab) commit(apps ...*spec.App) {
	c := *l.in.Desired
	c.Apps = apps
	l.in.Desired = &c
	l.in.Commit += "x"
}

// plan plans, and checks the plan.
func (l *lab) plan() (spec.Plan, reconcile.Report) {
	l.t.Helper()
	p, r := reconcile.Plan(l.in)
	for _, v := range check.Plan(l.in, p, r) {
		l.t.Errorf("%s\n%s", v, show(p))
	}
	return p, r
}

// step plans and records what can be done now.
func (l *lab) step() spec.Plan {
	l.t.Helper()
	p, r := l.plan()
	d := reconcile.Decide(l.in, p, r, l.gen+1)
	if !d.Empty() {
		l.gen++
	}
	l.in = reconcile.Apply(l.in, d)
	return p
}

// world lets the nodes follow: what should run is healthy, what should stop has ended.
func (l *lab) world() {
	for i := range l.in.Current {
		l.follow(&l.in.Current[i])
	}
}

func (l *lab) follow(a *spec.AllocationView) {
	if a.State.Terminal() || l.node(a.Node) == nil || l.node(a.Node).State == spec.NodeUnknown {
		return
	}
	if a.Want == spec.WantStop {
		a.State, a.Healthy, a.HealthySince, a.Since = spec.StateComplete, false, 0, l.in.Now
		return
	}
	if a.State != spec.StateRunning {
		a.State, a.Since = spec.StateRunning, l.in.Now
	}
	if !a.Healthy {
		a.Healthy, a.HealthySince = true, l.in.Now
	}
}

func (l *lab) node(id spec.NodeID) *spec.NodeView {
	for i := range l.in.Nodes {
		if l.in.Nodes[i].ID == id {
			return &l.in.Nodes[i]
		}
	}
	return nil
}

func (l *lab) advance(d spec.Duration) {
	l.in.Now = l.in.Now.Add(d)
	for i := range l.in.Nodes {
		if l.in.Nodes[i].State != spec.NodeUnknown {
			l.in.Nodes[i].LastSeen = l.in.Now
		}
	}
}

// settle runs until nothing changes any more.
func (l *lab) settle() {
	l.t.Helper()
	for range 200 {
		before := l.gen
		p := l.step()
		l.world()
		l.advance(11 * spec.Second)
		if p.Summary.Changes() == 0 && l.gen == before {
			return
		}
	}
	l.t.Fatalf("the world does not settle; last plan: %+v", l.step())
}

func want(t testing.TB, p spec.Plan, s spec.Summary) {
	t.Helper()
	if p.Summary != s {
		t.Fatalf("plan is %+v, want %+v\n%s", p.Summary, s, show(p))
	}
}

func show(p spec.Plan) string {
	text := ""
	for _, a := range p.Apps {
		text += fmt.Sprintf("%s %s held=%q\n", a.Action, a.App, a.Held)
		for _, c := range a.Changes {
			text += fmt.Sprintf("  %s %s old=%s %s→%s now=%v keep=%v take=%v after=%q: %s\n", c.Kind, c.Slot, c.Old, c.From, c.Node, c.Now, c.KeepOld, c.Takeover, c.After, c.Reason)
		}
		if a.Blocked != nil {
			text += fmt.Sprintf("  blocked %+v\n", *a.Blocked)
		}
	}
	return text
}

func now(p spec.Plan, kind spec.ChangeKind) int {
	n := 0
	for _, a := range p.Apps {
		for _, c := range a.Changes {
			if c.Now && c.Kind == kind {
				n++
			}
		}
	}
	return n
}

// where counts the live allocations of an app by node.
func (l *lab) where(app string) map[spec.NodeID]int {
	n := map[spec.NodeID]int{}
	for i := range l.in.Current {
		if a := &l.in.Current[i]; a.App == spec.AppName(app) && a.Want == spec.WantRun && !a.State.Terminal() {
			n[a.Node]++
		}
	}
	return n
}

// live lists the live allocations of an app.
func (l *lab) live(app string) []*spec.AllocationView {
	var list []*spec.AllocationView
	for i := range l.in.Current {
		if a := &l.in.Current[i]; a.App == spec.AppName(app) && a.Want == spec.WantRun && !a.State.Terminal() {
			list = append(list, a)
		}
	}
	return list
}

// running counts the healthy allocations of an app by the command of their version.
func (l *lab) running(app string) map[string]int {
	n := map[string]int{}
	for _, a := range l.live(app) {
		if a.Healthy {
			n[l.in.Versions[a.Version].Tasks[0].Command[0]]++
		}
	}
	return n
}

// lose makes a node silent for long enough.
func (l *lab) lose(id string) {
	n := l.node(spec.NodeID(id))
	n.State = spec.NodeUnknown
	n.LastSeen = l.in.Now
	l.advance(31 * spec.Second)
}

func (l *lab) drain(id string) {
	l.in.Drains = append(l.in.Drains, spec.Drain{Node: spec.NodeID(id), Since: l.in.Now})
}

func command(v string) func(*spec.App) {
	return func(a *spec.App) { a.Tasks[0].Command = []string{v} }
}

func reconcileFailure(app, node string, at spec.Time) reconcile.Failure {
	return reconcile.Failure{App: spec.AppName(app), Node: spec.NodeID(node), Time: at}
}

func restart(app string, before spec.Generation) reconcile.Restart {
	return reconcile.Restart{App: spec.AppName(app), Before: before, Reason: "wished"}
}
