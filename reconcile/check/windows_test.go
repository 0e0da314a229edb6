package check_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// kept is the running world with a window that is closed, and the next version committed. The first version is the good one.
func kept(t *testing.T) reconcile.Input {
	t.Helper()
	in := running()
	in.Now = spec.TimeOf(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))
	c := *in.Desired
	c.Windows = []spec.Window{{Name: "nightly", Cron: "0 2 * * *", Duration: 3 * spec.Hour}}
	c.Disruption.Windows = []spec.WindowName{"nightly"}
	c.Disruption.MaxUnavailable = spec.Percent{Value: 100}
	in.Desired = &c
	for i := range in.Rollouts {
		in.Rollouts[i].State = spec.RolloutDone
	}
	for i := range in.Current {
		in.Current[i].HealthySince = in.Now.Add(-spec.Hour)
	}
	return in
}

// bites plans with the windows open, and checks that with them closed.
func bites(t *testing.T, closed, open reconcile.Input) {
	t.Helper()
	p, r := reconcile.Plan(closed)
	if found := lint(closed, p, r); found != nil {
		t.Fatalf("the plan that waits is faulted: %v", found)
	}
	p, r = reconcile.Plan(open)
	if found := lint(open, p, r); found != nil {
		t.Fatalf("the plan in the window is faulted: %v", found)
	}
	if found := lint(closed, p, r); !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "window" }) {
		t.Fatalf("nothing says that the plan does not wait: %v", found)
	}
}

func TestWindowOfARollout(t *testing.T) {
	in := kept(t)
	open := in
	open.AtOnce = true
	bites(t, in, open)
	p, _ := reconcile.Plan(in)
	if len(p.Apps) != 1 || p.Apps[0].Waits == nil || p.Apps[0].Waits.Text != "window nightly opens Fri 02:00 UTC" || p.Summary.Replace != 3 {
		t.Errorf("the plan does not say what waits: %+v", p)
	}
}

func TestWindowOfCanaries(t *testing.T) {
	in := kept(t)
	c := *in.Desired
	a := *c.Apps[0]
	a.Update.Strategy, a.Update.Canary, a.Network, a.Constraints = spec.StrategyCanary, 1, spec.Network{}, nil
	c.Apps = []*spec.App{&a}
	in.Desired = &c
	open := in
	open.AtOnce = true
	bites(t, in, open)
}

func TestWindowOfARemoval(t *testing.T) {
	in := kept(t)
	c := *in.Desired
	other := *c.Apps[0]
	other.Name = "other"
	c.Apps, c.Sync = []*spec.App{&other}, spec.Sync{Prune: true, MaxPrune: spec.Percent{Value: 100}}
	in.Desired = &c
	open := in
	open.AtOnce = true
	bites(t, in, open)
}

func TestWindowOfADrain(t *testing.T) {
	in := kept(t)
	c := *in.Desired
	a := *in.Versions[in.Current[0].Version]
	a.Constraints, a.Network = nil, spec.Network{}
	c.Apps, c.Disruption.Windows = []*spec.App{&a}, nil
	in.Desired = &c
	h := reconcile.HashApp(&a)
	in.Versions = map[spec.Hash]*spec.App{h.Version: &a}
	for i := range in.Current {
		in.Current[i].Version, in.Current[i].Runtime, in.Current[i].Ports = h.Version, h.Runtime, nil
	}
	in.Rollouts = []spec.Rollout{{App: a.Name, Target: h.Version, State: spec.RolloutDone}}
	open := in
	in.Drains = []spec.Drain{{Node: in.Current[0].Node, Window: "nightly"}}
	open.Drains = []spec.Drain{{Node: in.Current[0].Node}}
	bites(t, in, open)
}

// moving is the world at rest, with a rebalancing that wants two of its allocations elsewhere, one at a time.
func moving(t *testing.T) reconcile.Input {
	t.Helper()
	in := kept(t)
	a := *in.Versions[in.Current[0].Version]
	a.Constraints, a.Network = nil, spec.Network{}
	c := *in.Desired
	c.Apps, c.Rebalance = []*spec.App{&a}, &spec.Rebalance{}
	in.Desired = &c
	h := reconcile.HashApp(&a)
	in.Versions = map[spec.Hash]*spec.App{h.Version: &a}
	for i := range in.Current {
		in.Current[i].Version, in.Current[i].Runtime, in.Current[i].Ports = h.Version, h.Runtime, nil
	}
	in.Rollouts = []spec.Rollout{{App: a.Name, Target: h.Version, State: spec.RolloutDone}}
	in.Rebalance = &reconcile.Rebalancing{ID: "r-1", Parallel: 1}
	for i := range in.Current[:2] {
		to := spec.NodeID("n2")
		if in.Current[i].Node == to {
			to = "n1"
		}
		in.Rebalance.Moves = append(in.Rebalance.Moves, reconcile.Move{ID: in.Current[i].ID, Slot: in.Current[i].Slot, From: in.Current[i].Node, To: to, Why: "better"})
	}
	return in
}

// TestWindowOfARebalancing: its moves wait even where the changes of the commit do not.
func TestWindowOfARebalancing(t *testing.T) {
	in := moving(t)
	bites(t, in, anyTime(in))
	in.AtOnce = true
	bites(t, in, anyTime(in))
}

// anyTime lets every app keep to no window.
func anyTime(in reconcile.Input) reconcile.Input {
	c := *in.Desired
	c.Disruption.Windows = nil
	in.Desired = &c
	return in
}

// TestRebalancing: the check bites on moves that begin too many at a time, without being let, or outside of their windows.
func TestRebalancing(t *testing.T) {
	in := anyTime(moving(t))
	p, r := reconcile.Plan(in)
	if found := lint(in, p, r); found != nil || p.Summary.Move != 1 {
		t.Fatalf("%d moves begin: %v", p.Summary.Move, found)
	}
	wants := func(what string, in reconcile.Input, p spec.Plan, r reconcile.Report) {
		t.Helper()
		if found := lint(in, p, r); !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "rebalance" }) {
			t.Errorf("%s: %v", what, found)
		}
	}
	with := func(change func(*reconcile.Rebalancing, *spec.Cluster)) reconcile.Input {
		in, w, c := in, *in.Rebalance, *in.Desired
		w.Moves = slices.Clone(w.Moves)
		change(&w, &c)
		in.Rebalance, in.Desired = &w, &c
		return in
	}
	wants("elsewhere", with(func(w *reconcile.Rebalancing, _ *spec.Cluster) { w.Moves[0].To = "n4" }), p, r)
	wants("not let", with(func(w *reconcile.Rebalancing, c *spec.Cluster) { w.Auto, c.Rebalance = true, nil }), p, r)
	wants("window", with(func(w *reconcile.Rebalancing, c *spec.Cluster) {
		w.Auto, c.Rebalance = true, &spec.Rebalance{Windows: []spec.WindowName{"nightly"}}
	}), p, r)
	more := with(func(w *reconcile.Rebalancing, c *spec.Cluster) {
		w.Parallel = 2
		a := *c.Apps[0]
		a.Update.MaxParallel = 2
		c.Apps = []*spec.App{&a}
	})
	two, r2 := reconcile.Plan(more)
	if two.Summary.Move != 2 {
		t.Fatalf("two may be under way, and %d are", two.Summary.Move)
	}
	wants("too many", in, two, r2)
	first := p
	first.Apps = slices.Clone(p.Apps)
	first.Apps[0].Changes = slices.Clone(p.Apps[0].Changes)
	first.Apps[0].Changes[0].KeepOld = false
	wants("stops first", in, first, r)
}
