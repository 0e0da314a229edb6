package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// retire takes all stops and updates of the plan, so that what is placed afterwards sees who leaves.
func (w *world) retire() {
	for _, x := range w.apps {
		if x.held != "" || x.calm {
			continue
		}
		w.ownOf(x)
		x.changes = make([]change, 0, len(x.out.Steps))
		for i := range x.out.Steps {
			s := &x.out.Steps[i]
			switch s.Kind {
			case spec.ChangeStop:
				c := change{old: s.Old, stopsOld: true}
				c.Change = spec.Change{Slot: s.Old.Slot, Kind: s.Kind, Old: s.Old.ID, From: s.Old.Node, Reason: s.Reason, Now: s.Now, After: s.After}
				x.changes = append(x.changes, c)
				if s.Now {
					w.leave(x, s.Old)
				}
			case spec.ChangeUpdate:
				c := change{old: s.Old, version: x.version, promote: s.Promote}
				c.Change = spec.Change{Slot: s.Old.Slot, Kind: s.Kind, Old: s.Old.ID, From: s.Old.Node, Node: s.Old.Node, Reason: s.Reason, Version: x.version.hash, Now: s.Now, After: s.After}
				x.changes = append(x.changes, c)
			}
		}
	}
}

// ownOf lists the nodes of the allocations that count for the app's limits.
func (w *world) ownOf(x *app) []int32 {
	if x.counted {
		return x.own
	}
	x.counted = true
	x.own = make([]int32, 0, len(x.views)+len(x.out.Steps))
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
			continue
		}
		if n := w.nodeOf[x.first+i]; n >= 0 && w.fleet.State(int(n)) != spec.NodeDown && (i >= len(x.allocs) || x.allocs[i].Ground != rollout.Lost) {
			x.own = append(x.own, n)
		}
	}
	w.findGoing(x)
	return x.own
}

// findGoing lists the nodes of those of x.own that are to be followed by others, now or later.
func (w *world) findGoing(x *app) {
	x.going, x.ending = nil, nil
	for i := range x.out.Steps {
		s := &x.out.Steps[i]
		if s.Old == nil || s.Old.Ground == rollout.Lost || s.Kind == spec.ChangeStop && s.Now || !s.Places() && s.Kind != spec.ChangeStop {
			continue
		}
		node := w.fleet.Node(s.Old.Node)
		if node < 0 || s.Old.State.Terminal() || s.Old.Want == spec.WantStop || w.fleet.State(node) == spec.NodeDown {
			continue
		}
		if x.ending == nil {
			x.ending = map[*rollout.Alloc]bool{}
		}
		x.ending[s.Old] = true
		x.going = append(x.going, int32(node))
	}
}

// disown takes an allocation out of what counts for the app's limits.
func (x *app) disown(a *rollout.Alloc, node int) {
	x.own = without(x.own, node)
	if x.ending[a] {
		x.going = without(x.going, node)
	}
}

// own takes an allocation back that was disowned.
func (x *app) reown(a *rollout.Alloc, node int) {
	x.own = append(x.own, int32(node))
	if x.ending[a] {
		x.going = append(x.going, int32(node))
	}
}

// without takes one mention of the node off a list.
func without(list []int32, node int) []int32 {
	if i := slices.Index(list, int32(node)); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// leave marks an allocation as on its way out.
func (w *world) leave(x *app, a *rollout.Alloc) {
	node, v := w.fleet.Node(a.Node), w.known(a.Version)
	if node < 0 || v == nil {
		return
	}
	w.ownOf(x)
	given := a.Grant()
	w.fleet.Leave(node, a.ID, v.need, &given, a.After)
	w.reserved.count(x, node, v.need, -1)
	x.disown(a, node)
}

func (w *world) unleave(x *app, a *rollout.Alloc) {
	if node := w.fleet.Node(a.Node); node >= 0 {
		w.fleet.Unleave(node, a.ID)
		if v := w.known(a.Version); v != nil {
			w.reserved.count(x, node, v.need, 1)
		}
		x.reown(a, node)
	}
}

// leaveOld foresees that the old allocations of the changes from the given one on have been followed.
func (w *world) leaveOld(x *app, from int) {
	for i := from; i < len(x.changes); i++ {
		c := &x.changes[i]
		if c.stopsOld && c.old != nil && (c.KeepOld || c.Kind == spec.ChangeStop && !c.Now) {
			w.leave(x, c.old)
		}
	}
}
