package reconcile

import (
	"maps"
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
	// stepPart is how many steps of a rollout cost as much as a plan of all of it.
	stepPart = 2
)

// trials plans changed inputs to see whether a change gives the blocked slots of an app their place. It is the planner
// itself that is asked, with a bound on how often.
type trials struct {
	in     Input
	looks  int // left
	cost   int // of one trial
	before map[spec.AppName]int
	after  map[spec.AppName]int // nil: not known yet
	rough  bool                 // plans are asked for, and not whether they last
}

// newTrials prepares for trials of changes to the world's input, which has been planned.
func (w *world) newTrials() *trials {
	t := &trials{in: *w.in, looks: trialLooks, before: map[spec.AppName]int{}}
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

// works plans the input with the edits, and carries that out to its end unless only the plan is asked for: it reports
// whether the app has a place for every slot, in the plan and in the end, and no other app lacks more places than before,
// or than it would in the end without the edits. When the bound is reached it answers false: what was not tried is not said.
func (t *trials) works(app spec.AppName, edits ...spec.Edit) bool {
	if t.spent() {
		return false
	}
	in, err := Amend(t.in, edits)
	if err != nil {
		return false
	}
	if !in.Memory.knows(in.Nodes) {
		in.Memory = nil // what is remembered is of the nodes that there are
	}
	w := t.plan(&in)
	if !w.houses(app) || w.robs(app, t.before) != "" {
		return false
	}
	if t.rough {
		return true
	}
	if w = t.end(w); w == nil || !w.houses(app) {
		return false
	}
	other := w.robs(app, t.before)
	return other == "" || t.unchanged() && w.robs(app, t.after) == ""
}

// robs names an app other than the one given that lacks more places than it may; "" when none does.
func (w *world) robs(app spec.AppName, may map[spec.AppName]int) spec.AppName {
	for _, x := range w.apps {
		if x.name != app && x.homeless() > may[x.name] {
			return x.name
		}
	}
	return ""
}

// plan plans an input as far as it tells who has a place.
func (t *trials) plan(in *Input) *world {
	t.looks -= t.cost
	w := newWorld(in)
	w.trial = true
	w.decide()
	return w
}

// step plans an input as far as it tells what can be done now.
func (t *trials) step(in *Input) *world {
	t.looks -= t.cost / stepPart
	w := newWorld(in)
	w.trial, w.step = true, true
	w.decide()
	return w
}

// houses reports whether every slot of the app has a place.
func (w *world) houses(app spec.AppName) bool {
	x := w.byName[app]
	return x != nil && x.homeless() == 0 && (x.held == "" || w.in.Held[app] != "")
}

// end carries out what has been planned until nothing is left to do, as a rehearsal does, with canaries that people look at
// promoted by them, and returns what there is then: a plan foresees no more than the canaries of a rollout that has some,
// and what comes later in others may find its place taken. A window does not open meanwhile. It returns nil when the bound
// is reached before.
func (t *trials) end(w *world) *world {
	in := *w.in
	in.Current = slices.Clone(in.Current)
	if in.Memory == nil {
		in.Memory = new(Memory) // from step to step
	}
	for {
		d := w.due()
		in.apply(&d)
		if followed := in.follow(w.fleet); d.Empty() && !followed {
			if w = t.plan(&in); !in.promote(w) {
				return w
			}
		}
		if t.spent() {
			return nil
		}
		w = t.step(&in)
	}
}

// unchanged finds out how many places each app lacks in the end when nothing is changed, once; false when the bound is
// reached before. What an app lacks now it may lack then.
func (t *trials) unchanged() bool {
	if t.after != nil || t.spent() {
		return t.after != nil
	}
	in := t.in
	w := t.end(t.plan(&in))
	if w == nil {
		return false
	}
	t.after = maps.Clone(t.before)
	for _, x := range w.apps {
		t.after[x.name] = max(t.after[x.name], x.homeless())
	}
	return true
}

// due is what can be done now.
func (w *world) due() Decision {
	w.move()
	p := spec.Plan{Commit: w.in.Commit}
	for _, x := range w.apps {
		if a, any := w.appPlan(x); any {
			p.Apps = append(p.Apps, a)
		}
	}
	return Decide(*w.in, p, w.report(), w.in.Base.Generation+1)
}

// promote lets through the canaries that wait for people to do so; it reports whether there were any.
func (in *Input) promote(w *world) (any bool) {
	in.Rollouts = slices.Clone(in.Rollouts)
	for i := range in.Rollouts {
		r := &in.Rollouts[i]
		if x := w.byName[r.App]; r.State == spec.RolloutCanaries && !r.Promoted && x != nil && x.homeless() == 0 {
			r.Promoted, any = true, true
		}
	}
	return any
}

// least finds the smallest n from low to high with which works answers true, when it is false below and true above.
// Plans are searched first, and what is found with them is carried out: with less, not even the plan would do. The search
// begins at a guess and needs few questions when that is good. It returns false when there is none, or when the bound is
// reached before the answer is certain.
func (t *trials) least(low, high, guess int, works func(n int) bool) (int, bool) {
	t.rough = true
	n, ok := t.search(low, high, guess, works)
	t.rough = false
	if !ok || works(n) {
		return n, ok
	}
	return t.search(n+1, high, n+1, works)
}

func (t *trials) search(low, high, guess int, works func(n int) bool) (int, bool) {
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
