package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// passOn lets a rollout go on beside slots that find no place. They are new, or have lost what they had, and would find
// none in any version; a rollout that waited for them would wait for room. So what they take of the app's pace passes to
// the next slots in line.
func (w *world) passOn(later []*job) {
	for _, j := range later {
		x := j.x
		if x.held != "" || j.version != x.version {
			continue
		}
		lacking := x.withoutPlace()
		steps, rest := w.nextInLine(j, x.out.More(len(lacking)))
		if len(steps) == 0 {
			continue
		}
		was := make(map[*rollout.Step]rollout.Step, len(steps))
		for _, s := range steps {
			was[s] = *s
			s.Now, s.After, s.Wave = true, "", 0
		}
		for _, s := range w.placeJob(&job{x: x, version: j.version, steps: steps}) {
			*s = was[s]
			rest = append(rest, s)
		}
		instead := make(map[string]string, len(steps)) // whom the others wait for
		for k, s := range steps[:min(len(steps), len(lacking))] {
			if s.Now {
				instead[fmt.Sprintf(rollout.AfterHealthy, lacking[k])] = fmt.Sprintf(rollout.AfterHealthy, spec.Slot{App: x.name, Index: s.Slot})
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
}

// nextInLine returns the next n of a job's replacements, in their order, and the rest.
func (w *world) nextInLine(j *job, n int) (steps, rest []*rollout.Step) {
	if n <= 0 || j.x.waiting != "" {
		return nil, j.steps
	}
	line := slices.Clone(j.steps)
	slices.SortStableFunc(line, func(a, b *rollout.Step) int { return cmp.Compare(a.Wave, b.Wave) })
	for _, s := range line {
		if len(steps) < n && s.Kind == spec.ChangeReplace && s.Old != nil {
			steps = append(steps, s)
		} else {
			rest = append(rest, s)
		}
	}
	return steps, rest
}

// withoutPlace lists the slots that have nothing and find no place now.
func (x *app) withoutPlace() []spec.Slot {
	var slots []spec.Slot
	for i := range x.missed {
		if s := &x.missed[i]; s.Kind == spec.ChangeStart && s.Now && !s.Canary {
			slots = append(slots, spec.Slot{App: x.name, Index: s.Slot})
		}
	}
	return slots
}
