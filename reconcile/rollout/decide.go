package rollout

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// The reasons, as people read them.
const (
	ReasonNew         = "the slot is new"
	ReasonMissing     = "the slot has no allocation"
	ReasonLost        = "its node is lost"
	ReasonFailed      = "the last allocation failed"
	ReasonOverdue     = "the drain's deadline has passed"
	ReasonDrain       = "its node is draining"
	ReasonChanged     = "the spec changed in what only a new allocation can follow"
	ReasonInPlace     = "the spec changed in what needs no restart"
	ReasonRestart     = "an operator asked for a restart"
	ReasonMoved       = "rebalancing moves it"
	ReasonSurplus     = "the count is lower"
	ReasonDuplicate   = "another allocation of the slot keeps running"
	ReasonFollowed    = "its successor is healthy"
	ReasonReverted    = "its rollout failed"
	ReasonCanary      = "a canary of the new version"
	ReasonCanaryEnd   = "canaries of this version are no longer wanted"
	ReasonPromoted    = "the canary was promoted"
	ReasonNoNode      = "the node no longer takes it"
	ReasonOneEach     = "a system app has one allocation on each node, and this node has another"
	ReasonStuck       = "the rollout failed, and the old allocation works"
	ReasonBackOff     = "waits before the next attempt, as the last one failed"
	ReasonNodeNew     = "every matching node has one, and this one had none"
	AfterSuccessor    = "after its successor is healthy"
	AfterHealthy      = "after %s is healthy"
	AfterMoreHealthy  = "after more of the app is healthy"
	AfterTotal        = "after more of the cluster is healthy, as its budget is used up"
	AfterDependencies = "after %s is healthy"
)

// decision is the work of Decide.
type decision struct {
	a   *App
	out Outcome
	// inflight counts the slots whose allocation of the version is not settled yet, those started now included.
	inflight int
	up       int // slots with an allocation that does its work
	extra    int // slots with an old and a new allocation
	waitsFor []int
	nodes    []spec.NodeID       // of App.Nodes those that no slot has been given
	bound    map[int]spec.NodeID // of a system app: the node of each slot
	spares   []*slot             // of a system app: too many, and still needed
}

// Decide gives the steps that lead from what is to what should be, those that can be taken now and those that wait.
func Decide(a *App) Outcome {
	d := &decision{a: a}
	slots := a.slots()
	gone := map[int]bool{}
	if a.Spec.Kind == spec.KindSystem {
		d.bind(slots, gone)
	} else if n := len(slots) - a.Count; n > 0 {
		gone = a.surplus(slots, n)
	}
	var wanted []*slot
	for _, s := range slots {
		if gone[s.index] {
			d.stopSlot(s)
			continue
		}
		if slices.Contains(d.spares, s) {
			d.stopLater(s)
			continue
		}
		wanted = append(wanted, s)
		if d.counts(s) {
			d.up++
		}
	}
	d.out.Spare = max(0, a.Unavailable-(a.Count-d.up))
	d.addMissing(wanted)
	var candidates []*slot
	for _, s := range wanted {
		if d.settle(s) {
			candidates = append(candidates, s)
		}
	}
	d.replace(candidates)
	d.canaries(wanted)
	slices.SortStableFunc(d.out.Steps, func(x, y Step) int { return cmp.Compare(x.Slot, y.Slot) })
	return d.out
}

func (d *decision) step(s Step) { d.out.Steps = append(d.out.Steps, s) }

func (d *decision) stop(x *Alloc, reason string) {
	d.step(Step{Slot: x.Index, Kind: spec.ChangeStop, Old: x, Now: true, Reason: reason})
}

func (d *decision) stopSlot(s *slot) {
	reason := ReasonSurplus
	if d.a.Spec.Kind == spec.KindSystem {
		reason = d.whyGone(s)
	} else if d.a.Reverted {
		reason = ReasonReverted
	}
	for _, x := range s.live() {
		d.stop(x, reason)
	}
}

// addMissing starts slots that have nothing yet: the lowest unused indexes.
func (d *decision) addMissing(wanted []*slot) {
	used := make(map[int]bool, len(wanted))
	for _, s := range slices.Concat(wanted, d.spares) {
		used[s.index] = true
	}
	next, most := 0, max(d.a.Count-len(wanted), len(d.nodes))
	d.out.Steps, d.waitsFor = slices.Grow(d.out.Steps, max(0, most)), slices.Grow(d.waitsFor, max(0, most))
	start := func(s Step) {
		for used[next] {
			next++
		}
		used[next] = true
		s.Slot, s.Kind, s.Now, s.After = next, spec.ChangeStart, d.a.Waiting == "", d.a.Waiting
		d.step(s)
		d.inflight++
		d.waitsFor = append(d.waitsFor, s.Slot)
	}
	if d.a.Spec.Kind == spec.KindSystem {
		for _, n := range d.nodes {
			start(Step{Reason: ReasonNodeNew, Node: n})
		}
		return
	}
	for n := d.a.Count - len(wanted); n > 0; n-- {
		start(Step{Reason: ReasonNew})
	}
}

// settle deals with all of a slot but the replacement of what is old; it reports whether that is due.
func (d *decision) settle(s *slot) bool {
	for _, x := range s.overdue {
		d.stop(x, ReasonOverdue)
	}
	if len(s.current) > 0 {
		d.settleCurrent(s)
		return false
	}
	if s.complete != nil {
		for _, x := range s.old {
			d.stop(x, ReasonDuplicate)
		}
		d.out.Ready++
		d.out.Stay = append(d.out.Stay, s.complete)
		return false
	}
	if len(s.old) > 0 {
		d.onlyOne(s.old)
		return true
	}
	d.heal(s)
	return false
}

// settleCurrent deals with a slot that has an allocation of the right version.
func (d *decision) settleCurrent(s *slot) {
	x := d.onlyOne(s.current)
	if d.a.Stuck && !x.Healthy && s.works() {
		d.stop(x, ReasonStuck)
		d.out.Stay = append(d.out.Stay, d.onlyOne(s.old))
		return
	}
	ready, at := x.Settled(d.a.Spec, d.a.Now)
	if ready {
		d.out.Ready++
	} else {
		d.inflight++
		d.waitsFor = append(d.waitsFor, s.index)
		d.out.Next = sooner(d.out.Next, at)
		if len(s.old) > 0 {
			d.extra++
		}
	}
	if x.Promote {
		d.step(Step{Slot: s.index, Kind: spec.ChangeUpdate, Old: x, Promote: true, Now: true, Reason: ReasonPromoted})
	} else if x.Fit == InPlace {
		d.step(Step{Slot: s.index, Kind: spec.ChangeUpdate, Old: x, Now: d.a.Waiting == "", After: d.a.Waiting, Reason: ReasonInPlace})
	} else {
		d.out.Stay = append(d.out.Stay, x)
	}
	for _, old := range s.old {
		if ready && d.reverts(old) {
			d.stop(old, ReasonReverted)
		} else if ready {
			d.stop(old, ReasonFollowed)
		} else {
			d.step(Step{Slot: s.index, Kind: spec.ChangeStop, Old: old, After: AfterSuccessor, Reason: d.reasonFor(old), Wave: 1})
		}
	}
}

// onlyOne keeps one of several allocations of a slot and stops the others.
func (d *decision) onlyOne(list []*Alloc) *Alloc {
	best := keep(list)
	for _, x := range list {
		if x != best {
			d.stop(x, ReasonDuplicate)
		}
	}
	return best
}

// heal starts an allocation for a slot that has none that could do its work.
func (d *decision) heal(s *slot) {
	step := Step{Slot: s.index, Kind: spec.ChangeStart, Now: true, Reason: ReasonMissing}
	switch {
	case len(s.lost) > 0:
		step.Reason, step.Old = ReasonLost, s.lost[len(s.lost)-1]
	case len(s.overdue) > 0:
		step.Reason = ReasonOverdue
	case s.failed != nil:
		step.Reason = ReasonFailed
		if d.a.Spec.Kind == spec.KindSystem {
			step.Old = s.failed
		}
	}
	step.Node = d.bound[s.index]
	if d.retry(s, &step) {
		d.step(backedOff(step))
	} else {
		d.step(step)
	}
	d.inflight++
	d.waitsFor = append(d.waitsFor, s.index)
}

// retry counts the attempts of a slot and reports whether the next one has to wait.
func (d *decision) retry(s *slot, step *Step) bool {
	if s.failed == nil {
		step.Attempt = s.carried()
		return false
	}
	return d.retryAfter(s.failed, step)
}

// retryAfter makes a step an attempt after one that failed, and reports whether it has to wait. What failed in another
// version is no reason to wait: a commit that mends the app is followed at once.
func (d *decision) retryAfter(failed *Alloc, step *Step) bool {
	if failed.Fit == Outdated {
		return false
	}
	step.Attempt, step.Until = failed.attempts(d.a.Spec)+1, Retry(d.a.Spec, failed.AllocationView)
	if d.a.Now >= step.Until {
		return false
	}
	d.out.Next = sooner(d.out.Next, step.Until)
	return true
}

// backedOff is the step that waits in place of the one given.
func backedOff(s Step) Step {
	return Step{Slot: s.Slot, Kind: spec.ChangeBlocked, Canary: s.Canary, Reason: ReasonBackOff, Attempt: s.Attempt, Until: s.Until}
}

// carried returns the attempt of a slot whose newest allocation is to be followed before it was healthy: attempts go on
// counting, though the node is to blame for this one.
func (s *slot) carried() int {
	var newest *Alloc
	for _, x := range s.live() {
		if newest == nil || x.Generation > newest.Generation {
			newest = x
		}
	}
	if newest == nil || newest.Healthy || newest.Fit == Outdated {
		return 0
	}
	return newest.Attempt
}

// attempts returns how many attempts in a row have failed before this one: none, when it did its work for longer than
// any back-off lasts. The work of a run is not done by working for long: there, all attempts count.
func (a *Alloc) attempts(app *spec.App) int {
	if app.Run == nil && a.Since.Sub(a.Placed) > app.Update.HealthyFor+app.Reschedule.MaxDelay {
		return 0
	}
	return a.Attempt
}

// Retry is when the slot of an allocation that failed is placed again, if there is room.
func Retry(app *spec.App, failed *spec.AllocationView) spec.Time {
	a := Alloc{AllocationView: failed}
	return failed.Since.Add(BackOff(app.Reschedule, a.attempts(app)))
}

// BackOff returns how long to wait after the given attempt failed: the delay, doubled for each attempt before.
func BackOff(r spec.Reschedule, attempt int) spec.Duration {
	delay := r.Delay
	for i := 0; i < attempt && delay < r.MaxDelay; i++ {
		delay *= 2
	}
	return max(r.Delay, min(delay, r.MaxDelay))
}

// reverts reports whether the allocation is of the version whose rollout failed.
func (d *decision) reverts(old *Alloc) bool { return d.a.Reverted && old.Fit == Outdated }

func (d *decision) reasonFor(old *Alloc) string {
	switch {
	case d.reverts(old):
		return ReasonReverted
	case old.Fit == Outdated:
		return ReasonChanged
	case old.Ground == Draining || old.Ground == Overdue:
		return ReasonDrain
	case old.Moving && !old.Restart:
		return ReasonMoved
	case !old.Restart:
		return ReasonOneEach
	}
	return ReasonRestart
}
