package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// maxPreemptions bounds how many placements of one app a plan preempts for; the next plan goes on.
const maxPreemptions = 256

// victim is an allocation that could make room.
type victim struct {
	x        *app
	a        *rollout.Alloc
	need     []int64
	priority int
}

// preempt finds room for steps by stopping allocations of lower priority: on the node where fewest have to go, then the
// least important, and only where their going makes the placement fit. It returns the steps that found none, and jobs
// to place the victims again.
func (w *world) preempt(j *job, steps []*rollout.Step) (left []*rollout.Step, again []*job) {
	if j.version.app.Gang {
		return w.preemptGang(j, steps)
	}
	left, again, _ = w.preemptEach(j, steps)
	return left, again
}

// preemptEach preempts for one step after the other, and also returns who goes.
func (w *world) preemptEach(j *job, steps []*rollout.Step) (left []*rollout.Step, again []*job, gone []victim) {
	byNode := w.victims(j)
	for n, s := range steps {
		if s.Beside != rollout.Alone || n >= maxPreemptions {
			left = append(left, s)
			continue
		}
		if j.version.app.Gang && w.placeAll(&job{x: j.x, version: j.version, steps: []*rollout.Step{s}}, nil) {
			continue
		}
		node, chosen := w.chooseVictims(j, s, byNode)
		if chosen == nil {
			left = append(left, steps[n:]...)
			break
		}
		for _, v := range chosen {
			w.evict(v, 1)
			byNode[node] = slices.DeleteFunc(byNode[node], func(o victim) bool { return o.a == v.a })
		}
		r := w.request(j, 1)
		r.Only, r.Wait = []int32{int32(node)}, true
		if len(w.placeBatch(j, r, []*rollout.Step{s}, "")) > 0 {
			left = append(left, s)
			for _, v := range chosen {
				w.evict(v, -1)
			}
			continue
		}
		gone = append(gone, chosen...)
		again = append(again, w.displaced(j, s, chosen)...)
	}
	return left, again, gone
}

// evict lets a victim leave, or with a negative n stay after all: its room, its app's budget, its role's share.
func (w *world) evict(v victim, n int) {
	if n > 0 {
		w.leave(v.x, v.a)
	} else {
		w.unleave(v.x, v.a)
	}
	w.spend(v.x, n)
	w.roles.give(v.x, v.need, int64(-n))
}

// displaced writes the victims into the change they make room for, and asks for new places for them.
func (w *world) displaced(j *job, s *rollout.Step, chosen []victim) []*job {
	c := &j.x.changes[len(j.x.changes)-1]
	var again []*job
	for _, v := range chosen {
		w.preempted[v.a.ID] = true
		c.Victims = append(c.Victims, spec.Victim{ID: v.a.ID, Priority: v.priority})
		if !slices.Contains(c.Takeover, v.a.ID) {
			c.Takeover = append(c.Takeover, v.a.ID)
		}
		step := &rollout.Step{Slot: v.a.Index, Kind: spec.ChangeStart, Now: true, Reason: fmt.Sprintf(reasonDisplaced, spec.Slot{App: j.x.name, Index: s.Slot})}
		again = append(again, &job{x: v.x, version: v.x.version, steps: []*rollout.Step{step}})
	}
	return again
}

// victims lists by node what may be preempted for the job, least important first, largest first. A gang is not: the
// rest of it would be of no use. Nor is what a guarantee or reservation of its role covers:
// the room would be kept for it.
func (w *world) victims(j *job) [][]victim {
	priority := j.version.app.Priority
	byNode := make([][]victim, w.fleet.Len())
	for _, x := range w.apps {
		if x.desired == nil || x.held != "" || x.version == nil || x.version.app.Kind == spec.KindSystem || x.version.app.Gang ||
			x.version.app.Priority > priority-spec.PreemptionGap || w.roles.covered(x, j.x) {
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
			need := w.known(a.Version).need
			if w.reserved.covers(x, node, need, j.x) {
				continue
			}
			byNode[node] = append(byNode[node], victim{x, a, need, x.version.app.Priority})
		}
	}
	for _, list := range byNode {
		slices.SortStableFunc(list, func(a, b victim) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.need[0], a.need[0]), cmp.Compare(b.need[1], a.need[1]), cmp.Compare(a.a.ID, b.a.ID))
		})
	}
	return byNode
}

// chooseVictims returns the node where least has to go, and what; nil when nothing helps.
func (w *world) chooseVictims(j *job, s *rollout.Step, byNode [][]victim) (int, []victim) {
	best, bestNode := []victim(nil), -1
	r := w.request(j, 1)
	if node := w.fleet.Node(s.Node); node >= 0 { // a system app's
		r.Own, r.Only = nil, []int32{int32(node)}
	}
	defer w.reserved.hide(j.x)()
	for _, n := range w.fleet.Acceptable(r) {
		node := int(n)
		chosen := w.enough(node, j.version.need, byNode[node])
		if chosen != nil && (best == nil || lessVictims(chosen, best)) {
			best, bestNode = chosen, node
		}
	}
	return bestNode, best
}

// enough returns the fewest and least important victims on a node that make room for the need, or nil.
func (w *world) enough(node int, need []int64, list []victim) []victim {
	short := w.fleet.Short(node, need)
	spare := map[*app]int{}
	var chosen []victim
	for _, v := range list {
		if covered(short) {
			break
		}
		if _, ok := spare[v.x]; !ok {
			spare[v.x] = v.x.out.Spare
		}
		if spare[v.x] <= 0 || w.total != nil && len(chosen) >= w.total.Left || !helps(short, v.need) {
			continue
		}
		spare[v.x]--
		for d := range short {
			short[d] -= v.need[d]
		}
		chosen = append(chosen, v)
	}
	if !covered(short) || len(chosen) == 0 {
		return nil
	}
	// Spare again, most important first, those without whom it fits too.
	for i := len(chosen) - 1; i >= 0; i-- {
		fits := true
		for d := range short {
			fits = fits && short[d]+chosen[i].need[d] <= 0
		}
		if fits {
			for d := range short {
				short[d] += chosen[i].need[d]
			}
			chosen = slices.Delete(chosen, i, i+1)
		}
	}
	return chosen
}

func covered(short []int64) bool {
	return !slices.ContainsFunc(short, func(v int64) bool { return v > 0 })
}

func helps(short, need []int64) bool {
	for d := range short {
		if short[d] > 0 && need[d] > 0 {
			return true
		}
	}
	return false
}

// lessVictims reports whether a costs less than b: fewer, then less important ones.
func lessVictims(a, b []victim) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	sum := func(list []victim) (n int) {
		for _, v := range list {
			n += v.priority
		}
		return n
	}
	return sum(a) < sum(b)
}
