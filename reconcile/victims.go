package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// victim is an allocation that could make room.
type victim struct {
	x        *app
	a        *rollout.Alloc
	need     []int64
	priority int
}

// choice is who has to go on a node for one placement, and what that costs.
//
// Of two choices the better is, in this order: the one on a node where the app has not failed again and again; the one
// whose most important victim is less important, since an operator who ranks apps means that the lower one is disturbed
// first, however many of it; the one with fewer victims; the one whose victims have the lower priorities together; the
// one that stops less than it has to. What is left equal goes to the first node by name. Another victim makes none of
// this better, so nobody goes who need not.
type choice struct {
	node    int
	faulty  bool
	highest int   // priority among the victims
	sum     int   // of their priorities
	waste   int64 // what they have beyond what is short, in thousandths of what the node has, over all resources
	victims []victim
}

func (c *choice) compare(o *choice) int {
	if c.faulty != o.faulty {
		if o.faulty {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(c.highest, o.highest), cmp.Compare(len(c.victims), len(o.victims)),
		cmp.Compare(c.sum, o.sum), cmp.Compare(c.waste, o.waste))
}

// victims lists by node what may be preempted for the job, least important first, largest first: what is open to it by
// priority and does not change anyway. A gang is not: the rest of it would be of no use.
func (w *world) victims(j *job) [][]victim {
	priority := j.version.app.Priority
	byNode := make([][]victim, w.fleet.Len())
	for _, x := range w.apps {
		if x == j.x || x.desired == nil || x.held != "" || x.version == nil || x.version.app.Kind == spec.KindSystem || x.version.app.Gang ||
			x.version.app.Priority > priority-spec.PreemptionGap {
			continue
		}
		if x.calm && x.allocs == nil {
			w.classify(x, x.version)
			x.out.Spare = w.budget(x.version.app, x.version.app.Count)
		}
		busy := map[int]bool{}
		for i := range x.out.Steps {
			busy[x.out.Steps[i].Slot] = true
		}
		for i := range x.allocs {
			a := &x.allocs[i]
			node := w.fleet.Node(a.Node)
			if !a.Live() || a.Canary || w.preempted[a.ID] || busy[a.Index] || node < 0 || !w.fleet.Open(node) {
				continue
			}
			if was := w.known(a.Version); was.app.Kind != spec.KindSystem && !was.app.Gang { // which it may be until it is replaced
				byNode[node] = append(byNode[node], victim{x, a, was.need, x.version.app.Priority})
			}
		}
	}
	for _, list := range byNode {
		slices.SortStableFunc(list, func(a, b victim) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.need[0], a.need[0]), cmp.Compare(b.need[1], a.need[1]), cmp.Compare(a.a.ID, b.a.ID))
		})
	}
	return byNode
}

// promised reports whether a victim's going would leave its role with less than it is guaranteed, or has reserved on the
// node, and the other app has no part in that: the room would be kept for the role, and not be there for the other.
func (w *world) promised(v *victim, other *app) bool {
	return w.roles.promisedTo(v.x, v.need, other) || w.reserved.promisedTo(v.x, w.fleet.Node(v.a.Node), v.need, other)
}

// chooseVictims returns the best choice for a step, or nil when nothing helps.
func (w *world) chooseVictims(j *job, s *rollout.Step, r *place.Request, byNode [][]victim) *choice {
	c := &chooser{w: w, j: j, step: s, request: r, seen: map[string]bool{}}
	c.byName = slices.ContainsFunc(j.version.app.Tasks, func(t spec.Task) bool { return t.Cores > 0 || len(t.Devices) > 0 })
	c.readLimits()
	faulty := map[int32]bool{}
	for _, n := range r.Faulty {
		faulty[n] = true
	}
	for _, n := range w.fleet.Allowed(r) {
		c.node, c.faulty = int(n), faulty[n]
		if list := byNode[n]; len(list) > 0 && c.couldBeBest(list[0].priority) && !c.likeAnother(list) {
			c.look(list)
		}
	}
	return c.best
}
