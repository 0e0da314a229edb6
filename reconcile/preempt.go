package reconcile

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// maxPreemptions bounds how many placements of one app a plan preempts for; the next plan goes on.
const maxPreemptions = 256

// preempt finds room for steps by stopping allocations of lower priority, one step after the other: each time those
// whose going costs least (see choice), and only where their going makes the placement fit. It returns the steps that
// found none, and jobs to place the victims again.
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
		if (j.version.app.Gang || len(gone) > 0 && j.version.app.Kind != spec.KindSystem) && w.placeAll(&job{x: j.x, version: j.version, steps: []*rollout.Step{s}}, nil) {
			continue
		}
		r := w.requestOn(j, s)
		r.Wait = true
		best := w.chooseVictims(j, s, r, byNode)
		if best == nil {
			left = append(left, s)
			if j.version.app.Kind == spec.KindSystem {
				continue // the next one is for another node
			}
			left = append(left, steps[n+1:]...)
			break
		}
		for _, v := range best.victims {
			w.evict(v, 1)
			byNode[best.node] = slices.DeleteFunc(byNode[best.node], func(o victim) bool { return o.a == v.a })
		}
		r.Only = []int32{int32(best.node)}
		if len(w.placeBatch(j, r, []*rollout.Step{s}, "")) > 0 {
			left = append(left, s)
			for _, v := range best.victims {
				w.evict(v, -1)
			}
			continue
		}
		gone = append(gone, best.victims...)
		again = append(again, w.displaced(j, s, best.victims)...)
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
