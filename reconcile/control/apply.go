package control

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// NewState returns the state before the first entry.
func NewState() *State {
	s := &State{FormatVersion: EntryVersion}
	s.restore()
	return s
}

// restore makes what the encoded form leaves out.
func (s *State) restore() {
	if s.Expansions == nil {
		s.Expansions = map[spec.AppName]*spec.Expansion{}
	}
	if s.Nodes == nil {
		s.Nodes = map[spec.NodeID]*NodeRecord{}
	}
	if s.Allocations == nil {
		s.Allocations = map[spec.AllocationID]*Held{}
	}
	if s.Versions == nil {
		s.Versions = map[spec.Hash]*spec.App{}
	}
	s.references = make(map[spec.Hash]int, len(s.Versions))
	for _, h := range s.Allocations { // any order: they are counted
		s.references[h.Allocation.Version]++
	}
	for i := range s.Rollouts {
		s.refer(&s.Rollouts[i], 1)
	}
	s.referRuns(s.Runs, s.Agendas, 1)
}

// Clone returns a state of its own. Both share what is never changed.
func (s *State) Clone() *State {
	c := *s
	c.Expansions = maps.Clone(s.Expansions)
	c.Nodes = maps.Clone(s.Nodes)
	c.Allocations = maps.Clone(s.Allocations)
	c.Versions = maps.Clone(s.Versions)
	c.Rollouts = slices.Clone(s.Rollouts)
	c.Restarts = slices.Clone(s.Restarts)
	c.Scales = slices.Clone(s.Scales)
	c.Failures = slices.Clone(s.Failures)
	c.Runs, c.Agendas = slices.Clone(s.Runs), slices.Clone(s.Agendas)
	c.History = slices.Clone(s.History)
	c.restore()
	return &c
}

// Apply changes the state as an entry says. Entries come from a core or from the journal; what they name exists.
func (s *State) Apply(e Entry) {
	switch {
	case e.Pending != nil:
		s.Pending = e.Pending
	case e.Dropped != nil:
		s.Pending = nil
	case e.Followed != nil:
		s.follow(e.Followed, e.Time)
	case e.Decided != nil:
		s.decide(e.Decided)
	case e.Ended != nil:
		s.end(e.Ended.Allocations, e.Time)
	case e.Retired != nil:
		for _, id := range e.Retired.IDs {
			s.change(id, func(h *Held) { h.Retired = true })
		}
		s.Generation++
	case e.Forgotten != nil:
		for _, id := range e.Forgotten.IDs {
			s.forget(id)
		}
	case e.Adopted != nil:
		s.adopt(e.Adopted, e.Time)
	case e.Joined != nil:
		s.join(e.Joined, e.Time)
	case e.Removed != nil:
		s.remove(e.Removed.Node, e.Time)
	case e.Drained != nil:
		s.drain(e.Drained.Node, e.Drained)
	case e.Undrained != nil:
		s.drain(e.Undrained.Node, nil)
	case e.Restart != nil:
		s.wish(*e.Restart)
	case e.Scaled != nil:
		s.scale(*e.Scaled)
	case e.Promoted != nil:
		s.promote(e.Promoted.App)
	case e.Rebalance != nil:
		s.Rebalance = e.Rebalance
	case e.Rebalanced != nil:
		s.Rebalance = nil
	case e.Resolved != nil:
		s.resolve(e.Resolved)
	case e.Resumed != nil:
		if s.Following != nil {
			f := *s.Following
			f.Left = ""
			s.Following = &f
		}
	case e.Hastened != nil:
		if f := s.Following; f != nil && f.Revision.Commit == e.Hastened.Commit {
			hastened := *f
			hastened.AtOnce = true
			s.Following = &hastened
		}
	case e.Expanded != nil:
		s.Expansions[e.Expanded.Name] = e.Expanded
	case e.Dispatched != nil:
		s.dispatch(e.Dispatched)
	case e.Cancelled != nil:
		s.cancel(e.Cancelled, e.Time)
	default:
		panic("control: an entry that says nothing")
	}
}

func (s *State) follow(f *Followed, at spec.Time) {
	plan := f.Plan
	s.Following, s.Pending = f, nil
	s.boundScales(f)
	s.Expansions = make(map[spec.AppName]*spec.Expansion, len(f.Expansions))
	for i := range f.Expansions {
		s.Expansions[f.Expansions[i].Name] = &f.Expansions[i]
	}
	before := foldImages(s.History)
	s.History = append(s.History, HistoryEntry{
		Images: imagesSince(before, f.Images),
		Time:   at, Commit: f.Revision.Commit, Subject: f.Revision.Subject, Author: f.Revision.Author, Signed: f.Signed,
		By: f.By, Plan: plan.ID, Shown: f.Shown, Summary: plan.Summary, Nodes: len(s.Nodes), Left: f.Left, Full: &plan,
	})
	s.History = dropOldest(s.History, len(s.History)-MaxHistory)
	if i := len(s.History) - MaxPlans - 1; i >= 0 {
		s.History[i].Full = nil
	}
}

// change replaces the record of an allocation by a changed copy.
func (s *State) change(id spec.AllocationID, f func(*Held)) {
	old, ok := s.Allocations[id]
	if !ok {
		return
	}
	h := *old
	f(&h)
	s.Allocations[id] = &h
}

func (s *State) decide(d *reconcile.Decision) {
	s.Generation = max(s.Generation, d.Generation)
	for hash, app := range d.Versions { // any order: each hash has one value
		s.Versions[hash] = app
	}
	for _, r := range d.Renamed {
		for id, h := range s.Allocations { // any order: each is changed by itself
			if h.Allocation.App == r.From {
				s.change(id, func(h *Held) { h.Allocation.App = r.To })
			}
		}
	}
	for i := range d.Start {
		a := d.Start[i]
		s.Allocations[a.ID] = &Held{Allocation: a}
		s.references[a.Version]++
	}
	for _, u := range d.Update {
		s.change(u.ID, func(h *Held) {
			a := &h.Allocation
			if u.Version != "" && u.Version != a.Version {
				s.references[u.Version]++
				s.release(a.Version)
				a.Version, a.Commit = u.Version, u.Commit
			}
			if u.Promote {
				a.Canary = false
			}
			if u.Why != "" {
				a.Why = u.Why
			}
		})
	}
	for _, p := range d.Stop {
		s.change(p.ID, func(h *Held) {
			if h.Allocation.Want != spec.WantStop {
				h.Allocation.Want, h.Allocation.StopReason = spec.WantStop, p.Reason
			}
		})
	}
	if d.Changed {
		s.setRollouts(d.Rollouts)
	}
	if d.Runs != nil {
		s.setRuns(d.Runs.Apply(s.Runs, s.Agendas))
	}
	s.Rebalance = s.Rebalance.Without(d.Moved)
	for _, done := range d.Done {
		s.Restarts = slices.DeleteFunc(s.Restarts, func(r reconcile.Restart) bool {
			return r.App == done.App && r.Before == done.Before
		})
	}
	for hash := range d.Versions { // any order: each is looked at by itself
		if s.references[hash] == 0 {
			delete(s.Versions, hash)
		}
	}
}

// setRollouts replaces all rollouts. The new ones are referred to first, so that no version goes in between.
func (s *State) setRollouts(rs []spec.Rollout) {
	old := s.Rollouts
	s.Rollouts = slices.Clone(rs)
	for i := range s.Rollouts {
		s.refer(&s.Rollouts[i], 1)
	}
	for i := range old {
		s.refer(&old[i], -1)
	}
}

func (s *State) refer(r *spec.Rollout, sign int) {
	for _, hash := range []spec.Hash{r.Target, r.Good} {
		switch {
		case hash == "":
		case sign > 0:
			s.references[hash]++
		default:
			s.release(hash)
		}
	}
}

// release lets go of one reference to a version; with the last one the version goes.
func (s *State) release(hash spec.Hash) {
	if s.references[hash]--; s.references[hash] <= 0 {
		delete(s.references, hash)
		delete(s.Versions, hash)
	}
}

// end notes terminal states. What is lost may run on without anybody's knowledge: agents have to hear that it must not.
func (s *State) end(all []EndedAllocation, at spec.Time) {
	lost := false
	for i := range all {
		e := &all[i]
		lost = lost || e.Status.State == spec.StateLost
		s.change(e.ID, func(h *Held) {
			if h.Ended != nil {
				return
			}
			h.Ended = &e.Status
			if e.Status.State == spec.StateFailed {
				s.Failures = append(s.Failures, reconcile.Failure{App: h.Allocation.App, Node: h.Allocation.Node, Time: at})
			}
		})
	}
	keep := 0
	for keep < len(s.Failures) && (s.Failures[keep].Time.Add(spec.FaultyWindow) < at || len(s.Failures)-keep > MaxFailures) {
		keep++
	}
	s.Failures = slices.Delete(s.Failures, 0, keep)
	if lost {
		s.Generation++
	}
}

func (s *State) forget(id spec.AllocationID) {
	if h, ok := s.Allocations[id]; ok {
		delete(s.Allocations, id)
		s.release(h.Allocation.Version)
	}
}

func (s *State) adopt(a *Adopted, at spec.Time) {
	s.Generation = max(s.Generation, a.Generation) + 1
	for hash, app := range a.Versions { // any order: each hash has one value
		s.Versions[hash] = app
	}
	for i := range a.Allocations {
		al := a.Allocations[i]
		if s.Allocations[al.ID] == nil {
			s.Allocations[al.ID] = &Held{Allocation: al}
			s.references[al.Version]++
		} else {
			s.change(al.ID, func(h *Held) { h.Ended, h.Retired = nil, false }) // it was not lost after all
		}
	}
	s.end(a.Ended, at)
	s.findRuns(a, at)
	for hash := range a.Versions { // any order: each is looked at by itself
		if s.references[hash] == 0 {
			delete(s.Versions, hash)
		}
	}
}

func (s *State) join(n *spec.Node, at spec.Time) {
	r := NodeRecord{Node: *n, Joined: at}
	if old := s.Nodes[n.ID]; old != nil {
		r.Joined, r.Drain = old.Joined, old.Drain
	}
	s.Nodes[n.ID] = &r
}

// remove forgets a node: what ran there is lost, and what it should have cleaned up is nobody's any more.
func (s *State) remove(id spec.NodeID, at spec.Time) {
	delete(s.Nodes, id)
	var lost []EndedAllocation
	var gone []spec.AllocationID
	for key, h := range s.Allocations { // any order: both lists are of independent changes
		switch {
		case h.Allocation.Node != id:
		case h.Retired:
			gone = append(gone, key)
		case h.Ended == nil:
			status := spec.AllocationStatus{State: spec.StateLost, Since: at, Reason: "node " + string(id) + " was removed"}
			lost = append(lost, EndedAllocation{key, status})
		}
	}
	for _, key := range gone {
		s.forget(key)
	}
	s.end(lost, at)
	s.Generation++
}

func (s *State) drain(id spec.NodeID, d *spec.Drain) {
	if old := s.Nodes[id]; old != nil {
		r := *old
		r.Drain = d
		s.Nodes[id] = &r
	}
}

func (s *State) wish(r reconcile.Restart) {
	i, found := slices.BinarySearchFunc(s.Restarts, r, func(a, b reconcile.Restart) int { return cmp.Compare(a.App, b.App) })
	if found {
		s.Restarts[i] = r
		return
	}
	s.Restarts = slices.Insert(s.Restarts, i, r)
}

func (s *State) promote(app spec.AppName) {
	s.Rollouts = slices.Clone(s.Rollouts)
	for i := range s.Rollouts {
		if s.Rollouts[i].App == app {
			s.Rollouts[i].Promoted = true
		}
	}
}
