package reconcile

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Again tells where the slot of a running allocation would be placed if it had to be now: the step of a plan in which
// that allocation is not there, with its score. It is nil when the plan would not place the slot at once. The place of an
// allocation is as good as it was when it was chosen; this says how good it is today.
func Again(in Input, id spec.AllocationID) *spec.Change {
	i := slices.IndexFunc(in.Current, func(a spec.AllocationView) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	slot := in.Current[i].Slot
	in.Current = slices.Delete(slices.Clone(in.Current), i, i+1)
	in.Brief = true
	p, _ := Plan(in)
	for i := range p.Apps {
		for k := range p.Apps[i].Changes {
			if c := &p.Apps[i].Changes[k]; c.Slot == slot && c.Now && c.Score != nil && !c.Canary {
				return c
			}
		}
	}
	return nil
}
