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
	out.Current = make([]spec.AllocationView, len(in.Current), len(in.Current)+len(d.Start))
	copy(out.Current, in.Current)
	out.apply(&d)
	return out
}

// apply records the decision in an input of which Current belongs to nobody else.
func (in *Input) apply(d *Decision) {
	in.change(d)
	in.start(d)
	if len(d.Versions) > 0 {
		versions := maps.Clone(in.Versions)
		if versions == nil {
			versions = map[spec.Hash]*spec.App{}
		}
		maps.Copy(versions, d.Versions)
		in.Versions = versions
	}
	if d.Changed {
		in.Rollouts = d.Rollouts
	}
	if d.Runs != nil {
		in.Runs, in.Agendas = d.Runs.Apply(in.Runs, in.Agendas)
	}
	in.Restarts = slices.DeleteFunc(slices.Clone(in.Restarts), func(r Restart) bool { return slices.Contains(d.Done, r) })
	if in.Rebalance != nil {
		in.Rebalance = in.Rebalance.Without(d.Moved)
	}
	in.Base.Generation = max(in.Base.Generation, d.Generation)
}

// change records what the decision says of allocations that are there.
func (in *Input) change(d *Decision) {
	if len(d.Stop)+len(d.Update) == 0 {
		return
	}
	at := make(map[spec.AllocationID]int, len(d.Stop)+len(d.Update))
	for i := range d.Stop {
		at[d.Stop[i].ID] = -1
	}
	for i := range d.Update {
		at[d.Update[i].ID] = -1
	}
	for i := range in.Current {
		if _, named := at[in.Current[i].ID]; named {
			at[in.Current[i].ID] = i
		}
	}
	for _, s := range d.Stop {
		if i := at[s.ID]; i >= 0 {
			in.Current[i].Want, in.Current[i].StopReason = spec.WantStop, s.Reason
		}
	}
	for _, u := range d.Update {
		if i := at[u.ID]; i >= 0 {
			a := &in.Current[i]
			a.Version, a.Commit = u.Version, u.Commit
			a.Canary = a.Canary && !u.Promote
		}
	}
}

// start adds the allocations that the decision starts. Nearly always all others are in order already, and the new ones are
// but put among them.
func (in *Input) start(d *Decision) {
	for _, r := range d.Renamed {
		for i := range in.Current {
			if in.Current[i].App == r.From {
				in.Current[i].App = r.To
			}
		}
	}
	there, sorted := len(in.Current), true
	for i := 1; i < there && sorted; i++ {
		sorted = compareAllocation(&in.Current[i-1].Allocation, &in.Current[i].Allocation) <= 0
	}
	in.Current = slices.Grow(in.Current, len(d.Start))[:there+len(d.Start)]
	fresh := make([]*spec.Allocation, len(d.Start))
	for i := range d.Start {
		fresh[i] = &d.Start[i]
	}
	slices.SortFunc(fresh, compareAllocation)
	for to := len(in.Current) - 1; len(fresh) > 0; to-- {
		last := fresh[len(fresh)-1]
		if there > 0 && compareAllocation(&in.Current[there-1].Allocation, last) > 0 {
			there--
			in.Current[to] = in.Current[there]
			continue
		}
		fresh = fresh[:len(fresh)-1]
		in.Current[to] = spec.AllocationView{Allocation: *last, AllocationStatus: spec.AllocationStatus{State: spec.StatePlaced, Since: d.Time}}
	}
	if !sorted {
		SortAllocations(in.Current)
	}
}

// SortAllocations brings allocations into the order that Input.Current asks for: by slot, then generation.
func SortAllocations(list []spec.AllocationView) {
	slices.SortFunc(list, func(a, b spec.AllocationView) int { return compareAllocation(&a.Allocation, &b.Allocation) })
}

func compareAllocation(a, b *spec.Allocation) int {
	return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.ID, b.ID))
}
