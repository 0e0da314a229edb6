package reconcile

import "github.com/stowage/stowage/spec"

// FailureBothWays returns what losses would do after the plan of the input: with what is remembered between losses, and with
// a look at every node for every allocation.
func FailureBothWays(in Input) (fast, slow *spec.FailureImpact) {
	for _, all := range []bool{false, true} {
		w := newWorld(&in)
		w.advance()
		w.steps()
		w.retire()
		w.place()
		w.move()
		residents := w.residents()
		w.fleet.Clear()
		for _, r := range residents {
			w.fleet.Take(r.node, r.v.need, r.given)
		}
		f := w.newFailures(residents)
		if !all {
			fast = f.impact()
			continue
		}
		for v := range f.seekers { // any order: all
			f.seekers[v] = nil
		}
		clear(f.counts)
		slow = f.impact()
	}
	return fast, slow
}

// Places is of how many apps it is remembered where their allocations are.
func (m *Memory) Places() int { return len(m.places) }
