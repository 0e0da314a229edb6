package reconcile

import (
	"fmt"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// One budget serves everything that takes work away on purpose: rollouts, restarts, drains, preemption and rebalancing
// all spend Outcome.Spare of the app and what is left of the cluster's. Both begin with what is missing by itself, so
// that a failure uses budget up like an operator does.

// budget returns how many slots of the app may lack a healthy allocation at once: what the app says of itself, or
// else the cluster's budget.
func (w *world) budget(a *spec.App, count int) int {
	switch {
	case a.Update.Strategy == spec.StrategyRecreate:
		return count
	case a.Update.MinHealthy > 0:
		return count - (int(a.Update.MinHealthy)*count+999)/1000
	}
	return w.in.Desired.Disruption.MaxUnavailable.Of(count)
}

// readTotal finds out what is left of the cluster's budget, if it has one.
func (w *world) readTotal() {
	bound := w.in.Desired.Disruption.MaxTotal
	if bound == nil {
		return
	}
	slots, missing := 0, 0
	for _, x := range w.apps {
		if x.desired == nil || x.desired.app.Kind == spec.KindBatch {
			continue
		}
		n, up := w.working(x)
		slots, missing = slots+n, missing+n-up
	}
	w.total = &rollout.Total{Left: max(0, bound.Of(slots)-missing), Whole: missing == 0}
}

// working counts the slots of an app that have had an allocation, at most as many as it wants, and those of them that
// do their work. What a drain's deadline ends now does not count.
func (w *world) working(x *app) (slots, up int) {
	if x.calm {
		return len(x.views), len(x.views)
	}
	last, works := -1, false
	for i := range x.views {
		a := &x.views[i]
		if a.Canary || a.Want != spec.WantRun {
			continue
		}
		if a.Index != last {
			last, works = a.Index, false
			slots++
		}
		if !works && a.Healthy && !a.State.Terminal() && w.inTouch(a.Node) && !w.overdue[a.Node] {
			works = true
			up++
		}
	}
	if x.version != nil && x.version.app.Kind != spec.KindSystem {
		slots = max(up, min(slots, x.version.app.Count))
	}
	return slots, up
}

func (w *world) inTouch(id spec.NodeID) bool {
	n := w.fleet.Node(id)
	return n >= 0 && w.fleet.State(n) != spec.NodeUnknown && w.fleet.State(n) != spec.NodeDown
}

// spare returns how many more slots of the app may be taken from their work now.
func (w *world) spare(x *app) int {
	if w.total != nil {
		return min(x.out.Spare, w.total.Left)
	}
	return x.out.Spare
}

// spend takes slots of the app from their work, or with a negative n gives them back.
func (w *world) spend(x *app, n int) {
	x.out.Spare -= n
	if w.total != nil {
		w.total.Left -= n
	}
}

// shortOf says in figures why nothing more may be taken from its work.
func (w *world) shortOf(x *app) string {
	if w.total != nil && w.total.Left <= 0 && x.out.Spare > 0 {
		return fmt.Sprintf("max_total = %s of the whole cluster is used up", w.in.Desired.Disruption.MaxTotal)
	}
	count := x.version.app.Count
	if x.version.app.Kind == spec.KindSystem {
		count = w.slotsOf(x, x.version)
	}
	_, up := w.working(x)
	return fmt.Sprintf("%d of %d work, %d have to", up, count, count-w.budget(x.version.app, count))
}
