package reconcile

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// A gang is of no use in part: everything of it that is missing gets a place in one plan, or nothing of it does. What
// runs of it is left alone while the rest waits, since stopping it would not make the rest fit.

// placeGang gives all steps of a gang's job a place, or returns them all. Old allocations that are followed by stopping
// make room before anything is placed, so that the gang may settle anew on the nodes it had; those that could stop do
// so only when there is no room beside them and the budget allows it for all at once.
func (w *world) placeGang(j *job) []*rollout.Step {
	var must, could []*rollout.Step
	working := 0
	for _, s := range j.steps {
		switch {
		case s.Old == nil:
		case s.Beside == rollout.StopFirst:
			must = append(must, s)
		case s.Beside == rollout.IfNeeded:
			could = append(could, s)
			if s.Old.Healthy && s.Old.Ground != rollout.Lost && s.Old.Ground != rollout.Silent {
				working++
			}
		}
	}
	if w.placeAll(j, must) || j.x.held != "" {
		return nil
	}
	if len(could) > 0 && working <= w.spare(j.x) && w.placeAll(j, slices.Concat(must, could)) {
		w.spend(j.x, working)
		return nil
	}
	if j.x.held != "" {
		return nil
	}
	return j.steps
}

// placeAll places all steps of the job on what is free once the old allocations of some of them have left, or none.
func (w *world) placeAll(j *job, leaving []*rollout.Step) bool {
	before := make([]rollout.Beside, len(leaving))
	for i, s := range leaving {
		before[i], s.Beside = s.Beside, rollout.StopFirst
		w.leave(j.x, s.Old)
	}
	for _, wait := range []bool{false, true} {
		r := w.request(j, len(j.steps))
		r.Wait = wait
		if len(w.placeBatch(j, r, j.steps, "")) == 0 && j.x.held == "" {
			return true
		}
	}
	for i, s := range leaving {
		s.Beside = before[i]
		w.unleave(j.x, s.Old)
	}
	return false
}

// waitsForItself reports whether a slot of a gang waits before its next attempt: then the others wait with it.
func (x *app) waitsForItself() bool {
	return x.version != nil && x.version.app.Gang && slices.ContainsFunc(x.out.Steps, func(s rollout.Step) bool { return s.Kind == spec.ChangeBlocked })
}

// preemptGang finds room for all steps of a gang by stopping allocations of lower priority, or stops none.
func (w *world) preemptGang(j *job, steps []*rollout.Step) (left []*rollout.Step, again []*job) {
	saved := w.save([]*job{j})
	left, again, gone := w.preemptEach(j, steps)
	if len(left) == 0 {
		return nil, again
	}
	w.restore(saved)
	for _, v := range gone {
		delete(w.preempted, v.a.ID)
		v.x.out.Spare++ // what restore has put back is the total
		if node := w.fleet.Node(v.a.Node); node >= 0 {
			v.x.reown(v.a, node)
		}
	}
	return steps, nil
}

// explainGang tells how much of a gang that is blocked would fit, and then why no more does. It returns what the role
// would have to be allowed beside what it has for one more.
func (w *world) explainGang(x *app, want *version, b *spec.Blocked, e *place.Explanation) []int64 {
	saved, own, going := w.fleet.Save(), slices.Clone(x.own), slices.Clone(x.going)
	j := &job{x: x, version: want}
	for i := range x.missed {
		s := &x.missed[i]
		j.steps = append(j.steps, s)
		if s.Old == nil || s.Beside != rollout.StopFirst {
			continue
		}
		if node, v := w.fleet.Node(s.Old.Node), w.known(s.Old.Version); node >= 0 && v != nil {
			given := s.Old.Grant()
			w.fleet.Leave(node, s.Old.ID, v.need, &given, s.Old.After)
			x.disown(s.Old, node)
		}
	}
	r := w.request(j, w.roles.room(j, j.steps))
	r.Wait = true
	if r.Count > 0 {
		batch := w.fleet.Batch(r)
		for _, p := range place.Fill(batch, place.Binpack) {
			node := w.fleet.At(p.Node)
			w.fleet.Claim(node, want.need, nil, "")
			r.Own = append(slices.Clip(r.Own), int32(node))
			b.Fits++
		}
	}
	if b.Fits < len(j.steps) {
		r.Count = 1
		*e = w.fleet.Explain(r)
		b.Reasons, b.Groups, b.Places, b.Feasible = e.Reasons, e.Groups, e.Places, e.Feasible
	}
	w.fleet.Restore(saved)
	x.own, x.going = own, going
	rule := spec.Reason{Rule: fmt.Sprintf(ruleGang, b.Fits, len(j.steps))}
	if b.Fits > 0 && b.Fits < len(b.Slots) {
		rule.Detail = fmt.Sprintf(detailGang, slots(x.name, b.Slots[:b.Fits]), slots(x.name, b.Slots[b.Fits:]))
	}
	b.Reasons = append([]spec.Reason{rule}, b.Reasons...)
	next := make([]int64, len(want.need))
	for _, s := range j.steps[:min(b.Fits+1, len(j.steps))] {
		sum(next, w.roles.delta(j, s))
	}
	return next
}

// slots names slots of one app, in order, as people write them.
func slots(app spec.AppName, list []int) string {
	first, last := list[0], list[len(list)-1]
	if first == last {
		return spec.Slot{App: app, Index: first}.String()
	}
	if last-first == len(list)-1 {
		return fmt.Sprintf("%s[%d..%d]", app, first, last)
	}
	return fmt.Sprintf("%d slots of %s", len(list), app)
}
