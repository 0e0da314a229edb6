package reconcile

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Apply returns the input as it is once the decision has been recorded: what was started is placed, what was stopped
// is told so, and nothing has happened on any node yet. The input given is not changed.
func Apply(in Input, d Decision) Input {
	out := in
	out.Current = slices.Clone(in.Current)
	byID := make(map[spec.AllocationID]int, len(out.Current))
	for i := range out.Current {
		byID[out.Current[i].ID] = i
	}
	for _, s := range d.Stop {
		if i, ok := byID[s.ID]; ok {
			out.Current[i].Want, out.Current[i].StopReason = spec.WantStop, s.Reason
		}
	}
	for _, u := range d.Update {
		if i, ok := byID[u.ID]; ok {
			out.Current[i].Version, out.Current[i].Commit = u.Version, u.Commit
			out.Current[i].Canary = out.Current[i].Canary && !u.Promote
		}
	}
	for _, r := range d.Renamed {
		for i := range out.Current {
			if out.Current[i].App == r.From {
				out.Current[i].App = r.To
			}
		}
	}
	for i := range d.Start {
		out.Current = append(out.Current, spec.AllocationView{
			Allocation:       d.Start[i],
			AllocationStatus: spec.AllocationStatus{State: spec.StatePlaced, Since: d.Time},
		})
	}
	SortAllocations(out.Current)
	if len(d.Versions) > 0 {
		out.Versions = maps.Clone(in.Versions)
		if out.Versions == nil {
			out.Versions = map[spec.Hash]*spec.App{}
		}
		maps.Copy(out.Versions, d.Versions)
	}
	if d.Changed {
		out.Rollouts = d.Rollouts
	}
	if d.Runs != nil {
		out.Runs, out.Agendas = d.Runs.Apply(in.Runs, in.Agendas)
	}
	out.Restarts = slices.DeleteFunc(slices.Clone(in.Restarts), func(r Restart) bool { return slices.Contains(d.Done, r) })
	if in.Rebalance != nil {
		out.Rebalance = in.Rebalance.Without(d.Moved)
	}
	out.Base.Generation = max(in.Base.Generation, d.Generation)
	return out
}

// SortAllocations brings allocations into the order that Input.Current asks for: by slot, then generation.
func SortAllocations(list []spec.AllocationView) {
	slices.SortFunc(list, func(a, b spec.AllocationView) int {
		return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.ID, b.ID))
	})
}
