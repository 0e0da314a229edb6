package reconcile

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// Why apps are held that neither a framework nor a policy holds.
const (
	heldNoPrune = "it left the repository, and prune is off"
)

// steps asks the rollout for the steps of every app.
func (w *world) steps() {
	w.readTotal()
	for _, x := range w.apps {
		switch {
		case x.desired == nil && x.run != nil:
			w.endRun(x)
		case x.desired == nil:
			w.remove(x)
		case x.held == "" && !x.calm:
			w.stepsOf(x)
		}
	}
}

func (w *world) stepsOf(x *app) {
	v := x.version.app
	a := rollout.App{
		Now: w.in.Now, Spec: v, Allocs: x.allocs, Count: w.countOf(x), Frozen: x.frozen, Stuck: x.stuck, Waiting: x.waiting,
		Reverted: x.rollout.State == spec.RolloutReverting || x.rollout.State == spec.RolloutFailed && x.version != x.desired,
		Order:    w.order(x),
		Even:     w.even(x),
	}
	if v.Kind == spec.KindSystem {
		a.Nodes, a.Leaves = w.nodesWithout(x), w.leavers(x)
	}
	if x.waits != nil && v.Kind == x.desired.app.Kind && v.Kind != spec.KindSystem {
		a.Count = x.desired.app.Count // more or fewer of what there is need not wait
	}
	a.Unavailable, a.Total = w.budget(v, a.Count), w.total
	if x.canary != nil {
		a.Canaries = &rollout.Canaries{Spec: x.canary.app, Count: rollout.CanariesOf(&x.rollout, x.canary.app, w.wanted(x))}
	}
	x.out = rollout.Decide(&a)
	if x.waits != nil {
		w.postpone(x, gate{wait: x.waits})
	}
	if x.gaveUp {
		x.out.Steps = slices.DeleteFunc(x.out.Steps, func(s rollout.Step) bool { return !s.Now && s.After == x.waiting })
	}
	w.wake(x.out.Next)
	if ref := w.policyOf(x.desired.app); !w.hasPolicy(ref.Name) && slices.ContainsFunc(x.out.Steps, rollout.Step.Places) {
		w.hold(x, fmt.Sprintf(heldPolicyMissing, ref.Name))
	}
}

// countOf is how many slots the app should have now. A rollout that failed and is not to go back stays where it got to.
func (w *world) countOf(x *app) int {
	n := w.slotsOf(x, x.version)
	if !x.frozen || x.version.app.Kind == spec.KindSystem {
		return n
	}
	slots := map[int]bool{}
	for i := range x.allocs {
		if a := &x.allocs[i]; a.Live() && !a.Canary {
			slots[a.Index] = true
		}
	}
	return min(max(len(slots), min(n, w.wanted(x))), max(n, w.wanted(x)))
}

// order groups allocations for an even scale-down: by the value of the first spread, or by node. For system apps it is
// negative where the node no longer takes the app.
func (w *world) order(x *app) func(*rollout.Alloc) int {
	if x.version.app.Kind == spec.KindSystem {
		m := w.matcher(x, x.version)
		open := map[spec.NodeID]bool{}
		for _, n := range w.allowed(x, x.version.app, m.Takes()) {
			open[w.fleet.ID(int(n))] = true
		}
		others := w.otherWork()
		return func(a *rollout.Alloc) int {
			switch {
			case a.Ground == rollout.Silent:
				return 0
			case !open[a.Node], a.Ground == rollout.Lost && w.fleet.Node(a.Node) < 0:
				return -1
			case (a.Ground == rollout.Draining || a.Ground == rollout.Overdue) && !others[a.Node]:
				return -1
			}
			return 0
		}
	}
	return func(a *rollout.Alloc) int {
		node := w.fleet.Node(a.Node)
		if node < 0 {
			return -1
		}
		return w.matcher(x, x.version).SpreadGroup(node)
	}
}

// even picks what goes when the count is lower, of an app that says how its allocations are spread.
func (w *world) even(x *app) func([]*rollout.Alloc, int) []int {
	a := x.version.app
	if len(a.Spreads) == 0 && !slices.ContainsFunc(a.Constraints, func(c spec.Constraint) bool { return c.Operator == spec.OpGroupBy }) {
		return nil
	}
	m := w.matcher(x, x.version)
	return func(list []*rollout.Alloc, n int) []int {
		nodes := make([]int32, len(list))
		for i, a := range list {
			nodes[i] = int32(w.fleet.Node(a.Node))
		}
		return m.Surplus(nodes, n)
	}
}

// otherWork tells which nodes have allocations of other apps than system ones: those leave a draining node first.
func (w *world) otherWork() map[spec.NodeID]bool {
	busy := map[spec.NodeID]bool{}
	for _, x := range w.apps {
		if x.desired != nil && x.desired.app.Kind == spec.KindSystem {
			continue
		}
		for i := range x.views {
			if !x.views[i].State.Terminal() {
				busy[x.views[i].Node] = true
			}
		}
	}
	return busy
}

// nodesWithout returns the nodes that should have an allocation of a system app and have none.
func (w *world) nodesWithout(x *app) []spec.NodeID {
	has := map[spec.NodeID]bool{}
	for i := range x.allocs {
		a := &x.allocs[i]
		if a.Live() || a.Want == spec.WantRun && a.State == spec.StateFailed {
			has[a.Node] = true
		}
	}
	var nodes []spec.NodeID
	for _, n := range w.allowed(x, x.version.app, w.matcher(x, x.version).Open()) {
		if id := w.fleet.ID(int(n)); !has[id] {
			nodes = append(nodes, id)
		}
	}
	return nodes
}

// leavers tells which allocations of a system app are on nodes that slotsOf does not count.
func (w *world) leavers(x *app) func(*rollout.Alloc) bool {
	counted := map[spec.NodeID]bool{}
	for _, n := range w.allowed(x, x.version.app, w.matcher(x, x.version).Open()) {
		counted[w.fleet.ID(int(n))] = true
	}
	return func(a *rollout.Alloc) bool { return a.Bound && !counted[a.Node] }
}

// remove stops an app that left the repository, after those that depend on it.
func (w *world) remove(x *app) {
	live := slices.DeleteFunc(slices.Clone(x.views), func(a spec.AllocationView) bool {
		return a.State.Terminal() || a.Want == spec.WantStop
	})
	if len(live) == 0 || x.held != "" {
		return
	}
	if !w.in.Desired.Sync.Prune {
		x.held = heldNoPrune
		return
	}
	after := w.dependents(x)
	if g := w.gateOf(w.lastVersion(x)); g.wait != nil && after == "" && !w.in.AtOnce {
		w.waitFor(x, g)
		after = g.after()
	}
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
			continue
		}
		x.allocs = append(x.allocs, rollout.Alloc{AllocationView: a, Fit: rollout.Outdated})
	}
	for i := range x.allocs {
		a := &x.allocs[i]
		x.out.Steps = append(x.out.Steps, rollout.Step{Slot: a.Index, Kind: spec.ChangeStop, Old: a, Now: after == "", After: after, Reason: reasonPruned})
	}
}

// lastVersion returns the newest version that an app which is to go has run.
func (w *world) lastVersion(x *app) *spec.App {
	for i := len(x.views) - 1; i >= 0; i-- {
		if v := w.known(x.views[i].Version); v != nil {
			return v.app
		}
	}
	return &spec.App{}
}

// dependents names an app that goes too and depends on this one, or "".
func (w *world) dependents(x *app) string {
	for _, y := range w.apps {
		if y == x || y.desired != nil {
			continue
		}
		for i := range y.views {
			a := &y.views[i]
			v := w.known(a.Version)
			if a.State.Terminal() || v == nil {
				continue
			}
			for _, d := range v.app.DependsOn {
				if d.App == x.name {
					return fmt.Sprintf(afterStopped, y.name)
				}
			}
		}
	}
	return ""
}
