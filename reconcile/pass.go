package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// passOn lets a rollout go on beside slots that find no place. They are new, or have lost what they had, and would find
// none in any version; or they are a system app's on a node that is too full, which says nothing of other nodes. A
// rollout that waited for them would wait for room. So what they take of the app's pace passes to the next in line.
func (w *world) passOn(later []*job) {
	for _, j := range later {
		x := j.x
		if x.held != "" || x.waiting != "" || j.version != x.version {
			continue
		}
		lacking := x.withoutPlace()
		if n := x.out.More(len(lacking)); n > 0 {
			w.passTo(j, lacking, n)
		}
	}
}

// passTo starts up to n of a job's replacements, in their order. Of a service, where one finds no place, none does.
func (w *world) passTo(j *job, lacking []spec.Slot, n int) {
	line := slices.Clone(j.steps)
	slices.SortStableFunc(line, func(a, b *rollout.Step) int { return cmp.Compare(a.Wave, b.Wave) })
	var rest []*rollout.Step
	instead := map[string]string{} // whom the others wait for
	for _, s := range line {
		if n == 0 || s.Kind != spec.ChangeReplace || s.Old == nil {
			rest = append(rest, s)
			continue
		}
		was := *s
		s.Now, s.After, s.Wave = true, "", 0
		if len(w.placeJob(&job{x: j.x, version: j.version, steps: []*rollout.Step{s}})) > 0 {
			*s = was
			rest = append(rest, s)
			if j.version.app.Kind != spec.KindSystem {
				n = 0
			}
			continue
		}
		n--
		if k := len(instead); k < len(lacking) {
			instead[fmt.Sprintf(rollout.AfterHealthy, lacking[k])] = fmt.Sprintf(rollout.AfterHealthy, spec.Slot{App: j.x.name, Index: s.Slot})
		}
	}
	for _, s := range rest {
		if after, ok := instead[s.After]; ok {
			s.After = after
		}
	}
	slices.SortFunc(rest, func(a, b *rollout.Step) int { return cmp.Compare(a.Slot, b.Slot) })
	j.steps = rest
}

// withoutPlace lists the slots whose turn it is and that find no place now: those that have nothing, and those of a
// system app.
func (x *app) withoutPlace() []spec.Slot {
	var slots []spec.Slot
	for i := range x.missed {
		s := &x.missed[i]
		counts := s.Kind == spec.ChangeStart || s.Kind == spec.ChangeReplace && x.version.app.Kind == spec.KindSystem
		if counts && s.Now && !s.Canary {
			slots = append(slots, spec.Slot{App: x.name, Index: s.Slot})
		}
	}
	return slots
}
