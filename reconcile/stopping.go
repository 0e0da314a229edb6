package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
)

// stopFirst lets the old allocation of a slot stop before the new one starts in its room. Unless the strategy says so
// anyway, it is done only where the budget allows and some other allocation keeps the app going.
func (w *world) stopFirst(j *job, s *rollout.Step, asked bool) bool {
	x := j.x
	if s.Old == nil || x.held != "" {
		return false
	}
	elsewhere := s.Node != "" && s.Node != s.Old.Node
	if node := w.fleet.Node(s.Old.Node); elsewhere || node >= 0 && !w.fleet.Open(node) {
		if w.leaveFirst(j, s, asked) {
			return true
		}
		stops := s.Beside == rollout.StopFirst && w.matcher(x, j.version).Limited() // and has been tried so
		return !asked && !stops && len(w.placeSteps(j, []*rollout.Step{s})) == 0
	}
	working := s.Old.Healthy && s.Old.Ground == rollout.Firm
	if asked && working {
		if x.tight = x.tight || w.spare(x) <= 0; w.spare(x) <= 0 || j.version.app.Count > 1 && !w.otherUp(x, s) {
			return false
		}
	}
	node := w.fleet.Node(s.Old.Node)
	if node < 0 {
		return len(w.placeSteps(j, []*rollout.Step{s})) == 0
	}
	beside := s.Beside
	s.Beside = rollout.StopFirst
	w.leave(x, s.Old)
	r := w.request(j, 1)
	r.Only, r.Wait = []int32{int32(node)}, true
	if len(w.placeBatch(j, r, []*rollout.Step{s}, s.Old.ID)) == 0 {
		if asked && working {
			w.spend(x, 1)
		}
		return true
	}
	if !asked && beside == rollout.StopFirst { // elsewhere, and still the old one counts no more: it stops now
		if len(w.placeSteps(j, []*rollout.Step{s})) == 0 {
			return true
		}
		w.unleave(x, s.Old)
		return false
	}
	w.unleave(x, s.Old)
	s.Beside = beside
	return !asked && len(w.placeSteps(j, []*rollout.Step{s})) == 0
}

// leaveFirst lets an allocation stop on a node that takes none any more, so that its successor can start on another one
// from which only the app's own limits keep the two together.
func (w *world) leaveFirst(j *job, s *rollout.Step, asked bool) bool {
	x := j.x
	if s.Old.Ground == rollout.Lost || !w.matcher(x, j.version).Limited() {
		return false
	}
	working := asked && s.Old.Healthy
	if working && (w.spare(x) <= 0 || j.version.app.Count > 1 && !w.otherUp(x, s)) {
		x.tight = x.tight || w.spare(x) <= 0
		return false
	}
	beside := s.Beside
	s.Beside = rollout.StopFirst
	w.leave(x, s.Old)
	if len(w.placeSteps(j, []*rollout.Step{s})) > 0 {
		w.unleave(x, s.Old)
		s.Beside = beside
		return false
	}
	if working {
		w.spend(x, 1)
	}
	return true
}

// otherUp reports whether another allocation of the app works and will go on working.
func (w *world) otherUp(x *app, s *rollout.Step) bool {
	for i := range x.allocs {
		a := &x.allocs[i]
		if a.Index == s.Slot || !a.Live() || !a.Healthy || a.Ground == rollout.Lost || a.Ground == rollout.Silent {
			continue
		}
		if !slices.ContainsFunc(x.changes, func(c change) bool { return c.old == a && c.stopsOld && !c.KeepOld && c.Now }) {
			return true
		}
	}
	return false
}
