package reconcile

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// What becomes of a move that is given up, as events tell it.
const (
	whatNotMoved   = "not moved to %s"
	whyNoRoom      = "the node has no room for it any more, or its rules no longer allow it there"
	whyNotReady    = "the node takes no allocations now"
	whyGone        = "something else has replaced it, or is about to"
	whyNotHealthy  = "its replacement did not become healthy for %s"
	whyEndedBefore = "its replacement ended: %s"
)

// trip is a move of the wish with how it stands.
type trip struct {
	move *Move
	x    *app
	a    *spec.AllocationView // nil: it is gone
	next *spec.AllocationView // its successor on the way, or nil
	fail string               // why it is given up, or ""
}

// readMoves finds out which allocations are on the move: their slots have two, and the older goes once the younger has
// been healthy for long enough.
func (w *world) readMoves() {
	wish := w.in.Rebalance
	if wish == nil {
		return
	}
	w.moving = map[spec.AllocationID]bool{}
	for i := range wish.Moves {
		if t := w.trip(&wish.Moves[i]); t.fail == "" && t.next != nil {
			w.moving[t.a.ID] = true
			w.wake(w.patience(&t))
		}
	}
}

// patience is when the successor of a move has had long enough to become healthy; zero without a deadline.
func (w *world) patience(t *trip) spec.Time {
	if v := w.known(t.a.Version); v != nil && v.app.Update.Deadline > 0 {
		return t.next.Placed.Add(v.app.Update.Deadline)
	}
	return 0
}

// trip looks at one move of the wish.
func (w *world) trip(m *Move) trip {
	t := trip{move: m, x: w.byName[w.newName(m.Slot.App)]}
	if t.x == nil || t.x.desired == nil {
		t.fail = whyGone
		return t
	}
	for i := range t.x.views {
		a := &t.x.views[i]
		switch {
		case a.ID == m.ID:
			t.a = a
		case a.Index != m.Slot.Index || t.a == nil || a.Canary:
		case a.Want == spec.WantRun && !a.State.Terminal():
			t.next = a
		case a.Want == spec.WantRun && a.Placed >= w.in.Rebalance.Since:
			t.fail = fmt.Sprintf(whyEndedBefore, a.Reason)
		}
	}
	if t.a == nil || t.a.Want != spec.WantRun || t.a.State.Terminal() || w.drains[t.a.Node] != nil {
		t.fail = whyGone
		return t
	}
	if t.next != nil {
		w.judge(&t)
	}
	return t
}

// judge gives a move up whose successor is out of reach or takes too long.
func (w *world) judge(t *trip) {
	if at := w.patience(t); at != 0 && w.in.Now >= at {
		if ok, _ := (&rollout.Alloc{AllocationView: t.next}).Settled(t.x.desired.app, w.in.Now); !ok {
			t.fail = fmt.Sprintf(whyNotHealthy, t.x.desired.app.Update.Deadline)
		}
	}
	if n := w.fleet.Node(t.next.Node); n < 0 || !w.fleet.Open(n) {
		t.fail = whyNotReady
	}
}

// move carries the wish of a rebalancing on: as many allocations as it allows are on their way at a time, and of an app
// as many as a rollout would replace. Replacements come first, and only apps of which nothing is missing are touched.
func (w *world) move() {
	wish := w.in.Rebalance
	if wish == nil {
		return
	}
	under, byApp := 0, map[*app]int{}
	var pending []trip
	for i := range wish.Moves {
		t := w.trip(&wish.Moves[i])
		switch {
		case t.fail != "":
			w.giveUp(&t)
		case t.next != nil:
			under++
			byApp[t.x]++
		default:
			pending = append(pending, t)
		}
	}
	if !w.goesOn(wish) {
		for i := range pending {
			pending[i].fail = whyGone
			w.giveUp(&pending[i])
		}
		return
	}
	waiting := under
	var left []trip
	for i := range pending {
		t := &pending[i]
		if node := w.fleet.Node(t.move.To); node < 0 || !w.fleet.Open(node) {
			t.fail = whyNotReady
			w.giveUp(t)
			continue
		}
		if g := w.gateOf(t.x.desired.app); g.wait != nil {
			w.waitFor(t.x, g)
			waiting++
			continue
		}
		if under >= max(1, wish.Parallel) || byApp[t.x] >= max(1, t.x.desired.app.Update.MaxParallel) || !w.whole(t.x) {
			waiting++
			continue
		}
		if !w.start(t) {
			left = append(left, *t)
			continue
		}
		under++
		waiting++
		byApp[t.x]++
	}
	if waiting > 0 {
		return // those without room wait for what the others leave
	}
	for i := range left {
		left[i].fail = whyNoRoom
		w.giveUp(&left[i])
	}
}

// goesOn reports whether moves of a wish may begin: always if somebody asked for them, else while the commit lets the
// cluster rebalance itself, and in its windows. What does not begin in them is looked at anew in the next one.
func (w *world) goesOn(wish *Rebalancing) bool {
	if !wish.Auto {
		return true
	}
	r := w.in.Desired.Rebalance
	return r != nil && Opens(w.in.Desired, r.Windows, w.in.Now) == w.in.Now
}

// giveUp ends a move; the story tells of it when the allocation stays.
func (w *world) giveUp(t *trip) {
	w.movesDone = append(w.movesDone, t.move.ID)
	if t.fail != whyGone {
		w.tell(t.move.Slot.String(), fmt.Sprintf(whatNotMoved, t.move.To), t.fail)
	}
}

// whole reports whether nothing of an app is missing or about to change, but for what is on the move.
func (w *world) whole(x *app) bool {
	if x.calm {
		return true
	}
	if x.held != "" || x.rollout.State != spec.RolloutDone || x.rollout.Target != x.desired.hash {
		return false
	}
	if slots, up := w.working(x); slots != up || up < x.desired.app.Count {
		return false
	}
	return !slices.ContainsFunc(x.out.Steps, func(s rollout.Step) bool { return s.Old == nil || !s.Old.Moving })
}

// start places the successor of a moved allocation where the wish wants it, if that is still possible.
func (w *world) start(t *trip) bool {
	x := t.x
	if x.allocs == nil {
		w.classify(x, x.version)
	}
	i := slices.IndexFunc(x.allocs, func(a rollout.Alloc) bool { return a.ID == t.a.ID })
	if i < 0 || x.allocs[i].Fit != rollout.Current || x.allocs[i].Ground != rollout.Firm {
		return false
	}
	if w.roles == nil {
		w.roles = w.newRoles()
	}
	s := &rollout.Step{Slot: t.move.Slot.Index, Kind: spec.ChangeMove, Old: &x.allocs[i], Beside: rollout.Surge, Now: true, Reason: t.move.Why}
	j := &job{x: x, version: x.version, steps: []*rollout.Step{s}}
	r := w.request(j, 1)
	r.Only = []int32{int32(w.fleet.Node(t.move.To))}
	return len(w.placeBatch(j, r, j.steps, "")) == 0 && x.held == ""
}
