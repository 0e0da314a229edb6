package rollout

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// replace lets new allocations follow old ones, as many at once as the strategy allows; the rest waits.
func (d *decision) replace(candidates []*slot) {
	// Those that do no work come first: replacing them costs nothing. Those on a node that is left come last: there is no
	// place for a successor there, and the others are not to wait for one.
	order := func(s *slot) int {
		switch {
		case d.leaves(s):
			return 2
		case s.up():
			return 1
		}
		return 0
	}
	slices.SortStableFunc(candidates, func(x, y *slot) int { return order(x) - order(y) })
	candidates = d.backOff(candidates)
	pace := d.pace(candidates)
	for _, s := range candidates {
		old := keep(s.old)
		step := Step{Slot: s.index, Kind: spec.ChangeReplace, Old: old, Node: d.bound[s.index], Reason: d.reasonFor(old)}
		d.retry(s, &step)
		if old.Fit != Outdated && !old.Restart {
			// Draining is not part of a rollout: where there is room, all move at once.
			step.Kind, step.Beside, step.Now = spec.ChangeMove, IfNeeded, true
			d.step(step)
			continue
		}
		switch {
		case d.keeps(s, old):
			d.out.Stay = append(d.out.Stay, old)
			continue
		case d.a.Waiting != "":
			step.After, step.Beside = d.a.Waiting, IfNeeded
		default:
			pace.take(d, s, &step)
		}
		d.step(step)
	}
}

// keeps reports whether a slot keeps its old allocation, since the rollout has failed. One on a draining node has to go.
func (d *decision) keeps(s *slot, old *Alloc) bool {
	return d.a.Frozen && old.Ground != Draining || d.a.Stuck && s.works()
}

// backOff takes out the slots whose last attempt at a successor failed a moment ago. They keep their place in the
// rollout: what is being tried counts as being replaced.
func (d *decision) backOff(candidates []*slot) []*slot {
	return slices.DeleteFunc(candidates, func(s *slot) bool {
		step, old := Step{Slot: s.index}, keep(s.old)
		moves := old.Fit != Outdated && !old.Restart
		if !moves && (d.keeps(s, old) || d.a.Waiting != "") || !d.retry(s, &step) {
			return false
		}
		d.step(backedOff(step))
		d.out.Stay = append(d.out.Stay, old)
		d.inflight++
		d.extra++
		d.waitsFor = append(d.waitsFor, s.index)
		return true
	})
}

// pace says how many slots may be replaced at once.
type pace struct {
	all     bool // recreate
	waits   bool // all wait, since the cluster's budget has no room for so many
	byParts bool // min_healthy and surge decide
	surges  bool // new ones may start beside old ones at all
	start   int  // new ones that may start beside old ones now
	stop    int  // working ones that may stop first now
	width   int  // slots per wave
	taken   int
	slots   []int // replaced now or in flight, in order: later ones wait for them
}

func (d *decision) pace(candidates []*slot) *pace {
	u, n := d.a.Spec.Update, d.a.Count
	p := &pace{slots: slices.Clone(d.waitsFor)}
	switch {
	case u.Strategy == spec.StrategyRecreate || d.a.Spec.Kind == spec.KindBatch:
		// Another spec means the work of every slot again, so what the old ones do is in vain; and two that do the same
		// work at once would be in each other's way.
		p.all = true
		p.waits = d.recreated(candidates)
	case u.Strategy == spec.StrategyBlueGreen:
		p.start, p.width = max(1, n), max(1, n) // of a system app no slot may be wanted, and yet some are on nodes that are left
	case u.MinHealthy > 0 || u.Surge > 0:
		least := (int(u.MinHealthy)*n + 999) / 1000
		surge := int(u.Surge) * n / 1000
		if surge == 0 && least >= n {
			surge = 1 // otherwise nothing could ever move
		}
		p.byParts, p.surges = true, surge > 0
		p.start, p.stop = max(0, surge-d.extra), max(0, d.up-least)
		p.width = max(1, surge+n-least)
	default:
		p.width = max(1, u.MaxParallel)
		p.start = max(0, p.width-d.inflight)
		d.out.width, d.out.inflight = p.width, d.inflight
	}
	return p
}

// recreated takes all working candidates at once from the cluster's budget, and reports whether they have to wait for
// that. More of them than the whole budget go when nothing else is missing: half of them would be two versions at once.
func (d *decision) recreated(candidates []*slot) (waits bool) {
	if d.a.Total == nil || d.a.Spec.Kind == spec.KindBatch {
		return false
	}
	n := 0
	for _, s := range candidates {
		if old := keep(s.old); s.up() && (old.Fit == Outdated || old.Restart) {
			n++
		}
	}
	if n > d.a.Total.Left && !d.a.Total.Whole {
		return n > 0
	}
	d.a.Total.take(n)
	return false
}

// take decides about the next candidate.
func (p *pace) take(d *decision, s *slot, step *Step) {
	defer func() { p.taken++; p.slots = append(p.slots, s.index) }()
	switch {
	case p.all:
		d.out.Spare = 0
		if step.Beside = StopFirst; p.waits {
			step.After, step.Wave = AfterTotal, 1
			return
		}
		step.Now = true
		return
	case p.byParts && p.start > 0:
		p.start--
		step.Beside, step.Now = Surge, true
		return
	case p.byParts && (p.stop > 0 && d.a.Total.left() > 0 || !s.up()):
		if s.up() {
			p.stop--
			d.out.Spare = max(0, d.out.Spare-1)
			d.a.Total.take(1)
		}
		step.Beside, step.Now = StopFirst, true
		return
	case !p.byParts && p.start > 0:
		p.start--
		step.Beside, step.Now = IfNeeded, true
		return
	}
	step.Beside = IfNeeded
	if p.byParts {
		step.After, step.Wave = AfterMoreHealthy, 1+p.taken/p.width
		if !p.surges {
			step.Beside = StopFirst
		}
		return
	}
	k := len(p.slots) - p.width
	step.Wave = 1 + max(0, k)/p.width
	step.After = fmt.Sprintf(AfterHealthy, spec.Slot{App: d.a.Spec.Name, Index: p.slots[max(0, k)]})
}

// canaries keeps as many extras of the target as wanted beside the lowest slots, stops all others, and makes promoted
// ones the allocations of their slots.
func (d *decision) canaries(wanted []*slot) {
	want := map[int]bool{}
	if c := d.a.Canaries; c != nil {
		for i := 0; i < c.Count; i++ {
			want[canarySlot(wanted, i)] = true
		}
	}
	for i := range d.a.Allocs {
		x := &d.a.Allocs[i]
		if !x.Canary || !x.Live() {
			continue
		}
		if want[x.Index] && x.Ground != Lost && x.Ground != Overdue && x.Fit != Outdated {
			want[x.Index] = false
			d.out.Stay = append(d.out.Stay, x)
			continue
		}
		d.stop(x, ReasonCanaryEnd)
	}
	if c := d.a.Canaries; c != nil {
		d.startCanaries(c, wanted, want)
	}
}

// startCanaries starts those that are missing; of a gang all of them or none.
func (d *decision) startCanaries(c *Canaries, wanted []*slot, missing map[int]bool) {
	var steps []Step
	held := ""
	for i := 0; i < c.Count; i++ {
		k := canarySlot(wanted, i)
		if !missing[k] {
			continue
		}
		step := Step{Slot: k, Kind: spec.ChangeStart, Canary: true, Node: d.bound[k], Now: d.a.Waiting == "", After: d.a.Waiting, Reason: ReasonCanary}
		if f := d.failedCanary(k); f != nil && d.retryAfter(f, &step) {
			step = backedOff(step)
		} else if d.starts(k) {
			// An ID is a slot and a generation: one decision starts one allocation of a slot.
			step.Now, step.After = false, fmt.Sprintf(AfterHealthy, spec.Slot{App: d.a.Spec.Name, Index: k})
			held = step.After
		}
		steps = append(steps, step)
	}
	for _, s := range steps {
		if c.Spec.Gang && held != "" && s.Now {
			s.Now, s.After = false, held
		}
		d.step(s)
	}
}

// failedCanary returns the newest canary of a slot when it has failed.
func (d *decision) failedCanary(slot int) *Alloc {
	var newest *Alloc
	for i := range d.a.Allocs {
		if x := &d.a.Allocs[i]; x.Canary && x.Index == slot && x.Want == spec.WantRun {
			newest = x
		}
	}
	if newest == nil || newest.State != spec.StateFailed && newest.State != spec.StateComplete {
		return nil
	}
	return newest
}

// starts reports whether a new allocation of the slot is already among the steps.
func (d *decision) starts(slot int) bool {
	return slices.ContainsFunc(d.out.Steps, func(s Step) bool {
		return s.Slot == slot && s.Places()
	})
}

// canarySlot returns the slot of the i-th canary: the i-th that exists, or one beyond them all.
func canarySlot(wanted []*slot, i int) int {
	if i < len(wanted) {
		return wanted[i].index
	}
	last := -1
	if len(wanted) > 0 {
		last = wanted[len(wanted)-1].index
	}
	return last + 1 + i - len(wanted)
}
