package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// advance carries all rollouts on, each after those it depends on, and settles which version each app should have.
func (w *world) advance() {
	seen := make(map[*app]bool, len(w.apps))
	var visit func(x *app)
	visit = func(x *app) {
		if seen[x] {
			return
		}
		seen[x] = true
		if x.desired == nil {
			return
		}
		for _, d := range x.desired.app.DependsOn {
			if on := w.byName[d.App]; on != nil {
				visit(on)
			}
		}
		w.advanceApp(x)
	}
	for _, x := range w.apps {
		visit(x)
	}
}

func (w *world) advanceApp(x *app) {
	if x.run != nil {
		w.advanceRun(x)
		return
	}
	if x.calm {
		x.settled, x.rollout, x.version = true, *x.record, x.desired
		return
	}
	if x.held != "" {
		if x.record != nil {
			x.rollout = *x.record
		}
		x.version = x.desired
		w.classify(x, x.desired)
		return
	}
	w.classify(x, x.desired)
	waiting, patient := w.dependencies(x)
	x.good = w.goodOf(x)
	g := w.closed(x)
	f := rollout.Facts{
		Now: w.in.Now, App: x.desired.app, Hash: x.desired.hash, Commit: w.in.Commit, Allocs: x.allocs,
		Waiting: waiting, Patient: patient, Since: x.woke, Wanted: w.wanted(x), Opened: g.since,
	}
	if x.record != nil {
		f.Same = w.known(x.record.Target).same(x.desired)
	} else {
		f.Found = w.found(x)
	}
	f.Known = x.good != nil
	if g.wait != nil {
		f.Closed = g.wait.Text
	}
	if x.record != nil && x.good == nil {
		f.Running = w.running(x)
	}
	f.Back = w.isBack(x)
	r, events, next := rollout.Advance(x.record, &f)
	x.rollout = r
	if x.good == nil {
		x.good = w.known(r.Good)
	}
	w.events = append(w.events, events...)
	w.wake(next)
	w.chooseVersion(x, waiting)
	if g.wait != nil && (r.State == spec.RolloutRolling || r.State == spec.RolloutCanaries) {
		w.waitFor(x, g)
		if r.State == spec.RolloutRolling {
			w.keepVersion(x)
		}
	}
	x.asleep, x.woke = x.asleep || x.waits != nil, max(x.woke, g.since)
	x.settled = w.isSettled(x)
}

// goodOf returns the last version of an app that became healthy, or what was found of it; nil when it is not known.
func (w *world) goodOf(x *app) *version {
	if x.record == nil {
		return w.known(w.found(x))
	}
	if x.record.Target != x.desired.hash && x.record.State == spec.RolloutDone {
		return w.known(x.record.Target)
	}
	return w.known(x.record.Good)
}

// chooseVersion settles what the app's slots should have.
func (w *world) chooseVersion(x *app, waiting string) {
	r := &x.rollout
	x.version = x.desired
	switch r.State {
	case spec.RolloutCanaries:
		x.version, x.canary = x.good, x.desired
	case spec.RolloutReverting:
		x.version = x.good
	case spec.RolloutFailed:
		if x.good != nil && r.Good != "" {
			x.version = x.good
			x.frozen = !x.desired.app.Update.AutoRevert
		}
		x.stuck = r.Good == ""
		if r.Progress == 0 && x.version == x.desired {
			x.waiting, x.gaveUp = r.Reason, true
		}
	}
	if r.State == spec.RolloutRolling && r.Progress == 0 {
		x.waiting = waiting
	}
	if x.version != x.desired {
		w.classify(x, x.version)
	}
	w.markCanaries(x)
}

// markCanaries tells canaries from allocations of slots.
func (w *world) markCanaries(x *app) {
	for i := range x.allocs {
		a := &x.allocs[i]
		if !a.AllocationView.Canary {
			continue
		}
		fit := w.known(a.Version).fit(x.desired)
		if x.rollout.Promoted && x.canary == nil && fit != rollout.Outdated && x.version == x.desired {
			a.Promote, a.Canary = a.Live(), false
			continue
		}
		a.Canary, a.Fit = true, fit
	}
}

// classify says of each allocation how it stands to the version and on its node.
func (w *world) classify(x *app, to *version) {
	x.allocs = slices.Grow(x.allocs[:0], len(x.views))
	var v *version
	var last spec.Hash
	var fit rollout.Fit
	after := to.app.Reschedule.After
	restart := w.restartBefore(x)
	for i := range x.views {
		a := &x.views[i]
		if i == 0 || a.Version != last {
			v, last = w.known(a.Version), a.Version
			fit = v.fit(to)
		}
		x.allocs = append(x.allocs, rollout.Alloc{
			AllocationView: a, Fit: fit, Ground: w.ground(x.views, i, after), Canary: a.Canary,
			Restart: restart > 0 && a.Generation < restart && !a.State.Terminal(), Moving: w.moving[a.ID],
			Bound: v != nil && v.app.Kind == spec.KindSystem,
		})
	}
}

func (w *world) restartBefore(x *app) spec.Generation {
	var before spec.Generation
	for _, r := range w.in.Restarts {
		if r.App == x.name {
			before = max(before, r.Before)
		}
	}
	return before
}

// ground says how the node of an allocation stands.
func (w *world) ground(views []spec.AllocationView, i int, after spec.Duration) rollout.Ground {
	a := &views[i]
	node := w.fleet.Node(a.Node)
	if node < 0 {
		return rollout.Lost
	}
	switch w.fleet.State(node) {
	case spec.NodeReady:
		return rollout.Firm
	case spec.NodeDraining, spec.NodeDrained:
		if w.overdue[a.Node] {
			return rollout.Overdue
		}
		if w.patient[a.Node] != nil && !leaves(views, i) {
			return rollout.Firm
		}
		return rollout.Draining
	case spec.NodeUnknown:
		at := w.fleet.LastSeen(node).Add(after)
		if w.in.Now >= at {
			return rollout.Lost
		}
		if !a.State.Terminal() {
			w.wake(at)
		}
		return rollout.Silent
	}
	return rollout.Lost
}

// afterGathering is what the first steps of a new cluster wait for, as people read it.
const afterGathering = "when the new cluster's %d nodes have joined, %d so far, or none has for %s"

// dependencies says what this app waits for, and how long it may wait at most: the nodes of a new cluster, or the first app that
// it depends on. One whose deadline has passed is not waited for any more where the app says so.
func (w *world) dependencies(x *app) (string, spec.Duration) {
	waiting, patient := "", spec.Duration(0)
	x.asleep, x.through, x.woke = false, nil, 0
	if g := w.in.Gathering; g != nil {
		w.wake(g.Until)
		return fmt.Sprintf(afterGathering, g.Expected, g.Joined, spec.GatherFor), spec.MaxDuration
	}
	for _, d := range x.desired.app.DependsOn {
		on := w.byName[d.App]
		if on == nil || on.desired == nil || on.settled {
			continue
		}
		x.asleep, x.woke, x.through = x.asleep || on.asleep, max(x.woke, on.woke), cmp.Or(x.through, on.waits, on.through)
		if d.OnFailure == spec.OnFailureContinue {
			if !on.asleep {
				at := max(w.waitsSince(x), on.woke).Add(d.Deadline)
				if w.in.Now >= at {
					continue
				}
				w.wake(at)
			}
			if waiting == "" {
				waiting = fmt.Sprintf(rollout.AfterDependencies, d.App)
			}
			continue
		}
		if waiting == "" {
			waiting = fmt.Sprintf(rollout.AfterDependencies, d.App)
		}
		if patient == 0 || d.Deadline < patient {
			patient = d.Deadline
		}
	}
	if waiting != "" && (patient == 0 || x.asleep) {
		patient = spec.MaxDuration // all of it goes on by itself
	}
	return waiting, patient
}

// waitsSince is when the app began to wait for what it depends on.
func (w *world) waitsSince(x *app) spec.Time {
	switch {
	case x.run != nil:
		return x.run.Started
	case x.record != nil && x.record.Target == x.desired.hash:
		return x.record.Started
	}
	return w.in.Now
}

// wanted returns how many slots the app should have.
func (w *world) wanted(x *app) int { return w.slotsOf(x, x.desired) }

// slotsOf returns how many slots a version of the app has.
func (w *world) slotsOf(x *app, v *version) int {
	switch {
	case v.app.Kind == spec.KindSystem:
	case x.desired != nil && x.desired.app.Scaling != nil:
		return x.desired.app.Count // whoever scales it means the app, whatever version it runs
	default:
		return v.app.Count
	}
	return len(w.allowed(x, v.app, w.matcher(x, v).Open()))
}

// running returns a version other than the desired one that all its slots have run healthy for long enough.
func (w *world) running(x *app) spec.Hash {
	var tried []*version
	for i := len(x.allocs) - 1; i >= 0; i-- {
		a := &x.allocs[i]
		v := w.known(a.Version)
		if v == nil || !a.Live() || a.Fit != rollout.Outdated || slices.Contains(tried, v) {
			continue
		}
		tried = append(tried, v)
		if n := w.slotsOf(x, v); n > 0 && w.settledSlots(x, v) >= n {
			return v.hash
		}
	}
	return ""
}

// settledSlots counts the slots with a settled allocation of a version.
func (w *world) settledSlots(x *app, v *version) int {
	n, last := 0, -1
	for i := range x.allocs {
		a := &x.allocs[i]
		if a.Index == last || !a.Live() || w.known(a.Version).fit(v) == rollout.Outdated {
			continue
		}
		ok, at := a.Settled(v.app, w.in.Now)
		if ok {
			n, last = n+1, a.Index
		} else {
			w.wake(at)
		}
	}
	return n
}

// found returns the version of what runs already though there is no record of a rollout: that of the newest allocation
// that is not of the desired version.
func (w *world) found(x *app) spec.Hash {
	var best *rollout.Alloc
	for i := range x.allocs {
		if a := &x.allocs[i]; a.Live() && a.Fit != rollout.Current && (best == nil || a.Generation > best.Generation) {
			best = a
		}
	}
	if best == nil {
		return ""
	}
	return best.Version
}

// isBack reports whether every slot has a settled allocation of the good version again and nothing else runs.
func (w *world) isBack(x *app) bool {
	if x.good == nil || x.record == nil || x.record.State != spec.RolloutReverting {
		return false
	}
	slots := map[int]bool{}
	for i := range x.allocs {
		a := &x.allocs[i]
		if !a.Live() || a.Ground == rollout.Lost {
			continue
		}
		if w.known(a.Version).fit(x.good) == rollout.Outdated {
			return false
		}
		if ok, at := a.Settled(x.good.app, w.in.Now); ok {
			slots[a.Index] = true
		} else {
			w.wake(at)
		}
	}
	return len(slots) >= w.slotsOf(x, x.good)
}

// isSettled reports whether the app is what others may depend on: every slot has a settled allocation of the desired
// version; of a batch app, one that completed.
func (w *world) isSettled(x *app) bool {
	if x.rollout.State != spec.RolloutDone {
		return false
	}
	wanted, last := w.wanted(x), -1
	for i := range x.allocs {
		a := &x.allocs[i]
		if a.Index == last || a.Fit == rollout.Outdated || a.Want != spec.WantRun {
			continue
		}
		ok, _ := a.Settled(x.desired.app, w.in.Now)
		if x.desired.app.Kind == spec.KindBatch {
			ok = a.State == spec.StateComplete
		}
		if ok {
			last = a.Index
			wanted--
		}
	}
	return wanted <= 0
}
