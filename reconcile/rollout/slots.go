package rollout

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// slot is what one slot of an app has.
type slot struct {
	index    int
	current  []*Alloc // fit the version, on firm ground; those to be updated in place among them
	old      []*Alloc // to be followed by a new one: outdated, draining or wished away
	lost     []*Alloc
	overdue  []*Alloc
	complete *Alloc // of a batch app: the work is done
	failed   *Alloc // the newest of the slot, when that has failed
}

// slots sorts the allocations that are meant to be (no canaries, none that stops) into slots, by index.
func (a *App) slots() []*slot {
	// Nearly every slot has one allocation: there is one piece of memory for all slots, and one for their lists.
	all, slots, lists := make([]*slot, 0, len(a.Allocs)), make([]slot, len(a.Allocs)), make([]*Alloc, len(a.Allocs))
	for i := range a.Allocs {
		x := &a.Allocs[i]
		if x.Canary {
			continue
		}
		if len(all) == 0 || all[len(all)-1].index != x.Index {
			slots[i].index = x.Index
			all = append(all, &slots[i])
		}
		all[len(all)-1].add(a, x, lists[i:i:i+1])
	}
	return slices.DeleteFunc(all, func(s *slot) bool { return s.empty() })
}

func (s *slot) empty() bool {
	return len(s.current)+len(s.old)+len(s.lost)+len(s.overdue) == 0 && s.complete == nil && s.failed == nil
}

// add puts an allocation where it belongs; room is the memory for a list that begins with it.
func (s *slot) add(a *App, x *Alloc, room []*Alloc) {
	batch := a.Spec.Kind == spec.KindBatch
	switch {
	case x.State == spec.StateComplete && x.Want == spec.WantRun:
		if batch && x.Fit != Outdated {
			s.complete, s.failed = x, nil
		} else if !batch {
			s.failed = x // a service that ended by itself has failed at being one
		}
	case x.State == spec.StateFailed && x.Want == spec.WantRun:
		s.failed = x
	case !x.Live():
		return
	default:
		s.failed = nil
		list := s.list(a, x)
		if *list == nil {
			*list = room
		}
		*list = append(*list, x)
	}
}

// list is where an allocation that has not ended belongs.
func (s *slot) list(a *App, x *Alloc) *[]*Alloc {
	batch := a.Spec.Kind == spec.KindBatch
	switch {
	case x.Ground == Lost:
		return &s.lost
	case x.Ground == Overdue:
		return &s.overdue
	case x.Fit == Outdated:
		return &s.old
	case x.Promote: // first it becomes the allocation of its slot; what else is wanted of it, the next plan does
	case x.Restart || x.Moving || x.Ground == Draining && !batch && a.Spec.Kind != spec.KindSystem:
		return &s.old
	}
	return &s.current
}

// keep returns the allocation to keep of several for one slot: a healthy one, else the oldest.
func keep(list []*Alloc) *Alloc {
	best := list[0]
	for _, x := range list[1:] {
		if x.up() && !best.up() || x.up() == best.up() && (best.Ground == Silent) && x.Ground != Silent {
			best = x
		}
	}
	return best
}

// main is the allocation that stands for the slot when slots are compared.
func (s *slot) main() *Alloc {
	for _, list := range [][]*Alloc{s.current, s.old, s.overdue} {
		if len(list) > 0 {
			return keep(list)
		}
	}
	switch {
	case len(s.lost) > 0:
		return s.lost[0]
	case s.complete != nil:
		return s.complete
	}
	return s.failed
}

// live returns every allocation of the slot that has not ended.
func (s *slot) live() []*Alloc {
	return slices.Concat(s.current, s.old, s.overdue, s.lost)
}

// up reports whether any allocation of the slot does its work.
func (s *slot) up() bool {
	if s.complete != nil && len(s.old) == 0 {
		return true
	}
	for _, list := range [][]*Alloc{s.current, s.old, s.overdue, s.lost} {
		if slices.ContainsFunc(list, (*Alloc).up) {
			return true
		}
	}
	return false
}

// counts reports whether a slot does its work and may go on with it, as one of those that are wanted.
func (d *decision) counts(s *slot) bool { return s.up() && !s.stops() && !d.leaves(s) }

// leaves reports whether a slot of a system app has nothing but allocations on nodes that Count does not count.
func (d *decision) leaves(s *slot) bool {
	live := s.live()
	return d.a.Leaves != nil && len(live) > 0 && !slices.ContainsFunc(live, func(x *Alloc) bool { return !d.a.Leaves(x) })
}

// stops reports whether all that does the slot's work is stopped in any case, as the deadline of a drain has passed.
func (s *slot) stops() bool {
	return slices.ContainsFunc(s.overdue, (*Alloc).up) && !slices.ContainsFunc(s.current, (*Alloc).up) && !slices.ContainsFunc(s.old, (*Alloc).up)
}

// works reports whether an old allocation of the slot does its work where it can go on doing it.
func (s *slot) works() bool {
	return slices.ContainsFunc(s.old, func(x *Alloc) bool { return x.up() && x.Ground != Draining })
}

// The order in which slots go when there are too many.
const (
	rankUnreachable = iota
	rankEnded
	rankNotRunning
	rankLeaving
	rankRunning
)

func (s *slot) rank() int {
	m := s.main()
	switch {
	case !s.up() && (m.Ground == Lost || m.Ground == Silent):
		return rankUnreachable
	case !s.up() && len(s.live()) == 0:
		return rankEnded
	case !s.up():
		return rankNotRunning
	case m.Ground == Draining || m.Ground == Overdue:
		return rankLeaving
	}
	return rankRunning
}

// surplus picks n slots to give up: unreachable ones first, then those of which nothing is left (a slot given up before
// stays given up), then those not yet running, then those whose going keeps the spread even, then those that would have
// to be replaced, then the youngest, then the last.
func (a *App) surplus(slots []*slot, n int) map[int]bool {
	rest := slices.Clone(slots)
	slices.SortFunc(rest, func(x, y *slot) int {
		if c := x.rank() - y.rank(); c != 0 {
			return c
		}
		if old := len(x.current) == 0; old != (len(y.current) == 0) {
			if old {
				return -1
			}
			return 1
		}
		mx, my := x.main(), y.main()
		if mx.Generation != my.Generation {
			if mx.Generation > my.Generation {
				return -1
			}
			return 1
		}
		return y.index - x.index
	})
	gone := make(map[int]bool, n)
	k := 0
	for ; k < len(rest) && n > 0 && rest[k].rank() != rankRunning; k, n = k+1, n-1 {
		gone[rest[k].index] = true
	}
	for _, s := range a.evenly(rest[k:], n) {
		gone[s.index] = true
	}
	return gone
}

// evenly picks n slots, each from the group that then has most; within a group in the order given.
func (a *App) evenly(slots []*slot, n int) []*slot {
	if a.Even != nil && n > 0 {
		list, out := make([]*Alloc, len(slots)), make([]*slot, 0, n)
		for i, s := range slots {
			list[i] = s.main()
		}
		for _, i := range a.Even(list, n) {
			out = append(out, slots[i])
		}
		return out
	}
	byGroup := map[int][]*slot{}
	var groups []int
	for _, s := range slots {
		g := 0
		if a.Order != nil {
			g = a.Order(s.main())
		}
		if _, ok := byGroup[g]; !ok {
			groups = append(groups, g)
		}
		byGroup[g] = append(byGroup[g], s)
	}
	rank := make(map[*slot]int, len(slots))
	for i, s := range slots {
		rank[s] = i
	}
	var out []*slot
	for ; n > 0; n-- {
		best := -1
		for _, g := range groups {
			list := byGroup[g]
			if len(list) == 0 {
				continue
			}
			if best < 0 || len(list) > len(byGroup[best]) || len(list) == len(byGroup[best]) && rank[list[0]] < rank[byGroup[best][0]] {
				best = g
			}
		}
		if best < 0 {
			break
		}
		out = append(out, byGroup[best][0])
		byGroup[best] = byGroup[best][1:]
	}
	return out
}
