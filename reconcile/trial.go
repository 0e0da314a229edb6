package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

const (
	// trialLooks bounds what all trials of a plan cost together, in units of one look at one node: a few tenths of a second.
	trialLooks = 4_000_000
	// trialCost is the least that a trial counts: building a world costs something too.
	trialCost = 12_000
	// pluginCost is how much more a trial counts when a policy is a program that has to be asked.
	pluginCost = 32
)

// trials plans changed inputs to see whether a change gives the blocked slots of an app their place. It is the planner
// itself that is asked, with a bound on how often.
type trials struct {
	in     Input
	looks  int // left
	cost   int // of one trial
	before map[spec.AppName]int
	asked  map[string]bool
}

// newTrials prepares for trials of changes to the world's input, which has been planned.
func (w *world) newTrials() *trials {
	t := &trials{in: *w.in, looks: trialLooks, before: map[spec.AppName]int{}, asked: map[string]bool{}}
	t.in.Brief = true
	busy, plugin := 0, false
	for _, x := range w.apps {
		if n := x.homeless(); n > 0 {
			t.before[x.name] = n
		}
		if x.desired == nil || x.calm {
			continue
		}
		busy++
		if _, builtIn := place.BuiltIn(w.policyOf(x.desired.app).Name); !builtIn {
			plugin = true
		}
		t.cost += 8 * len(x.out.Steps)
	}
	t.cost = max(trialCost, t.cost+w.fleet.Len()*(busy+4)+2*len(w.current))
	if plugin {
		t.cost *= pluginCost
	}
	if t.in.Hashes == nil {
		t.in.Hashes = make(map[spec.AppName]AppHashes, len(w.apps))
		for _, x := range w.apps {
			if x.desired != nil {
				t.in.Hashes[x.name] = AppHashes{x.desired.hash, x.desired.runtime}
			}
		}
	}
	return t
}

// homeless counts the slots of an app for which there is no place, those that wait after a failure not among them.
func (x *app) homeless() int {
	var slots []int
	for i := range x.missed {
		if s := &x.missed[i]; s.Kind != spec.ChangeBlocked {
			slots = append(slots, s.Slot)
		}
	}
	slices.Sort(slots)
	return len(slices.Compact(slots))
}

// spent reports whether no further trial is possible.
func (t *trials) spent() bool { return t.looks < t.cost }

// works plans the input with the edits and reports whether the app then has a place for every slot and no other app
// lacks more places than before. When the bound is reached it answers false: what was not tried is not said.
func (t *trials) works(app spec.AppName, edits ...spec.Edit) bool {
	if t.spent() {
		return false
	}
	t.looks -= t.cost
	in, err := Amend(t.in, edits)
	if err != nil {
		return false
	}
	if !in.Memory.knows(in.Nodes) {
		in.Memory = nil // what is remembered is of the nodes that there are
	}
	w := newWorld(&in)
	w.trial = true
	w.advance()
	w.steps()
	w.retire()
	w.place()
	for _, x := range w.apps {
		most := t.before[x.name]
		if x.name == app {
			most = 0
		}
		if x.homeless() > most || x.held != "" && w.in.Held[x.name] == "" && most == 0 && x.name == app {
			return false
		}
	}
	return true
}

// least finds the smallest n from low to high with which works answers true, when it is false below and true above.
// The search begins at a guess and needs few questions when that is good. It returns false when there is none, or when
// the bound is reached before the answer is certain.
func (t *trials) least(low, high, guess int, works func(n int) bool) (int, bool) {
	if low > high {
		return 0, false
	}
	no, yes, next := low-1, high+1, min(max(guess, low), high)
	for step := 1; no+1 < yes; step *= 2 {
		if works(next) {
			yes = next
		} else if no = next; t.spent() {
			return 0, false
		}
		switch {
		case yes > high: // nothing has worked yet
			next = min(no+step, high)
		case no < low: // everything has
			next = max(yes-step, low)
		default:
			next = no + (yes-no)/2
		}
	}
	return yes, yes <= high
}
