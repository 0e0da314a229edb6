package rollout

import (
	"cmp"
	"fmt"

	"github.com/stowage/stowage/spec"
)

// Facts is what the record of a rollout depends on.
type Facts struct {
	Now     spec.Time
	App     *spec.App // the version that the commit asks for
	Hash    spec.Hash
	Commit  spec.Commit
	Allocs  []Alloc       // of the app, with Fit against App
	Same    bool          // the record's target asks the same of agents as App does
	Known   bool          // the record's good version is known, so that it can be gone back to
	Found   spec.Hash     // without a record: the version of what runs already, or ""
	Running spec.Hash     // another version than App's that all its slots have run healthy for long enough, or ""
	Waiting string        // dependencies that are not healthy yet, or ""
	Patient spec.Duration // the shortest deadline of those
	Wanted  int           // slots that App should have
	Since   spec.Time     // from when on they can be expected to become healthy; 0: from the start
	Closed  string        // what the change waits for: no step of it begins; "": nothing
	Opened  spec.Time     // since when steps may begin; 0: always
	Back    bool          // all slots have a settled allocation of the good version and nothing else
}

// What happened to a rollout, as events tell it.
const (
	whatOvertaken = "rollout overtaken"
	whatDone      = "rollout done"
	whatFailed    = "rollout failed"
	whatReverted  = "rollout reverted"
	whatPromoted  = "canaries promoted"
	whatStarted   = "rollout started"
	whatWaits     = "rollout waits"
	whyNewer      = "a newer commit changes the app"
	whyStuck      = "no allocation became healthy for %s"
	whyLast       = "%s; the last one was %s on %s: %s"
	whyIll        = "%s, not healthy"
	whyCanary     = "a canary failed: %s"
	whyDependency = "waited %s: %s"
)

// Advance carries the record of an app's rollout on, and tells what happened. Next is the moment at which it changes by
// itself, or zero.
func Advance(old *spec.Rollout, f *Facts) (r spec.Rollout, events []spec.Event, next spec.Time) {
	tell := func(what, why string) {
		events = append(events, spec.Event{Time: f.Now, Subject: string(f.App.Name), What: what, Why: why})
	}
	r = begin(old, f, tell)
	if adopt(&r, f) {
		g := *f
		f, g.Known = &g, true
	}
	switch r.State {
	case spec.RolloutDone:
		return r, events, 0
	case spec.RolloutReverting:
		if f.Back {
			r.State = spec.RolloutFailed
			tell(whatReverted, r.Reason)
		}
		return r, events, 0
	case spec.RolloutFailed:
		if r.Progress == 0 && f.Waiting == "" && r.Good == "" {
			r.State, r.Reason, r.Progress = spec.RolloutRolling, "", f.Now // what it waited for came after all
			tell(whatStarted, "")
		} else if r.Good != "" || r.Progress == 0 {
			return r, events, 0
		}
	}
	if f.Closed != "" && r.Progress == 0 {
		if old == nil || old.Target != r.Target {
			tell(whatWaits, f.Closed)
		}
		return r, events, 0
	}
	if f.Waiting != "" && r.Progress == 0 {
		if f.Patient >= spec.MaxDuration {
			return r, events, 0 // what it waits for waits for its window
		}
		if at := max(r.Started, f.Since).Add(f.Patient); f.Now < at {
			return r, events, at
		}
		fail(&r, f, fmt.Sprintf(whyDependency, f.Patient, f.Waiting), tell)
		return r, events, 0
	}
	if r.Progress == 0 {
		r.Progress = f.Now
		if f.Opened > r.Started {
			tell(whatStarted, "")
		}
	}
	next = progress(&r, f, tell)
	return r, events, next
}

// begin returns the record to go on with: the old one, or a new one when the commit asks for another version.
func begin(old *spec.Rollout, f *Facts, tell func(what, why string)) spec.Rollout {
	fresh := spec.Rollout{App: f.App.Name, Target: f.Hash, Commit: f.Commit, State: spec.RolloutRolling, Started: f.Now}
	if old == nil {
		fresh.Good = f.Found
		return fresh
	}
	if old.Target == f.Hash {
		return *old
	}
	failed := old.State == spec.RolloutFailed || old.State == spec.RolloutReverting
	if f.Same && !failed {
		r := *old // the rollout goes on; only what nobody but the planner sees has changed
		r.App, r.Target, r.Commit = f.App.Name, f.Hash, f.Commit
		return r
	}
	fresh.Good = old.Good
	if old.State == spec.RolloutDone {
		fresh.Good = old.Target
	} else if !failed {
		tell(whatOvertaken, whyNewer)
	}
	return fresh
}

// adopt makes the version that all slots run healthy the good one of a rollout without: its own rollout was overtaken
// before it had been healthy for long enough, and since then it has. Canaries come before the first replacement, not
// after, so a rollout under way does without.
func adopt(r *spec.Rollout, f *Facts) bool {
	failed := r.State == spec.RolloutFailed && r.Progress != 0
	if r.Good != "" || f.Running == "" || r.State != spec.RolloutRolling && !failed {
		return false
	}
	r.Good, r.Promoted = f.Running, r.Progress != 0
	if failed && f.App.Update.AutoRevert {
		r.State = spec.RolloutReverting
	}
	return true
}

// progress looks at how many allocations of the target are healthy.
func progress(r *spec.Rollout, f *Facts, tell func(what, why string)) spec.Time {
	c := census(f, r)
	if c.settled > r.Healthy {
		r.Healthy, r.Progress = c.settled, f.Now
	}
	if c.outdated == 0 && (c.settledSlots >= c.wanted || placed(r, f, &c)) {
		r.State, r.Reason = spec.RolloutDone, ""
		tell(whatDone, "")
		return 0
	}
	if r.State == spec.RolloutFailed {
		return 0
	}
	canaries := wantCanaries(r, f, c)
	if canaries > 0 {
		r.State = spec.RolloutCanaries
		if c.canaryFailed != "" {
			fail(r, f, fmt.Sprintf(whyCanary, c.canaryFailed), tell)
			return 0
		}
		if f.Closed != "" {
			return c.next // promotion is a step
		}
		if c.canaries >= canaries {
			if !f.App.Update.AutoPromote && !r.Promoted {
				return 0 // a person decides; there is no deadline for that
			}
			canaries, r.Promoted = 0, true
		}
	}
	if canaries == 0 && r.State == spec.RolloutCanaries {
		r.State, r.Promoted, r.Progress = spec.RolloutRolling, true, f.Now
		tell(whatPromoted, "")
	}
	if f.App.Update.Deadline == 0 || c.ailing == 0 || f.Closed != "" && c.halfway == 0 {
		return c.next // what is missing waits for room or for a window, and neither is an illness
	}
	since := max(r.Progress, f.Opened)
	if f.Closed != "" {
		since = max(r.Progress, c.halfway) // only what has begun goes on
	}
	at := since.Add(f.App.Update.Deadline)
	if c.ailing >= at {
		r.Progress = c.ailing // room came late, and the time to become healthy begins with it
		at = r.Progress.Add(f.App.Update.Deadline)
	}
	if f.Now >= at {
		fail(r, f, fmt.Sprintf(whyStuck, f.App.Update.Deadline), tell)
		return 0
	}
	return sooner(at, c.next)
}

// placed reports whether all that has a place is of the target and well. A slot without one waits for room, as it did
// before the rollout; that is no reason to go back.
func placed(r *spec.Rollout, f *Facts, c *counts) bool {
	if f.App.Kind == spec.KindBatch || r.Good == "" || c.settledSlots == 0 {
		return false
	}
	for i := range f.Allocs {
		x := &f.Allocs[i]
		newest := i+1 == len(f.Allocs) || f.Allocs[i+1].Index != x.Index
		if x.Canary || x.Want != spec.WantRun || x.Ground == Lost {
			continue
		}
		ok, _ := x.Settled(f.App, f.Now)
		if !ok && (newest || !x.State.Terminal()) && x.Fit != Outdated {
			return false
		}
	}
	return true
}

// fail ends the rollout, and goes back where there is something to go back to.
func fail(r *spec.Rollout, f *Facts, why string, tell func(what, why string)) {
	if last := culprit(r, f); last != nil && r.State != spec.RolloutCanaries {
		r.Failed, r.Logs = last.ID, last.Logs(last.ID)
		why = fmt.Sprintf(whyLast, why, last.ID, last.Node, cmp.Or(last.Trouble(), fmt.Sprintf(whyIll, last.State)))
	}
	r.State, r.Reason = spec.RolloutFailed, why
	if f.App.Update.AutoRevert && r.Good != "" && f.Known {
		r.State = spec.RolloutReverting
	}
	tell(whatFailed, why)
}

// near reports whether the allocation's node is in touch: of others nobody knows how they are, and a node that is lost is no fault
// of what ran there.
func (a *Alloc) near() bool { return a.Ground != Silent && a.Ground != Lost }

// culprit is the allocation that shows best why a rollout does not go on: the newest of the target that has failed or is not
// healthy. nil when all of them are well, or there are none.
func culprit(r *spec.Rollout, f *Facts) *Alloc {
	var last *Alloc
	for i := range f.Allocs {
		x := &f.Allocs[i]
		ill := x.State == spec.StateFailed || !x.State.Terminal() && !x.Healthy
		if x.Fit != Outdated && x.Want == spec.WantRun && ill && x.near() && x.Placed >= r.Started && (last == nil || x.Generation > last.Generation) {
			last = x
		}
	}
	return last
}

// wantCanaries returns how many canaries there should be before the rest is replaced.
func wantCanaries(r *spec.Rollout, f *Facts, c counts) int {
	if r.Promoted || r.Good == "" || !f.Known || c.toReplace == 0 || f.App.Kind == spec.KindBatch {
		return 0
	}
	return canaries(f.App, f.Wanted)
}

// CanariesOf returns how many canaries the rollout of an app that wants so many slots has or waits for.
func CanariesOf(r *spec.Rollout, app *spec.App, wanted int) int {
	if r.State != spec.RolloutCanaries {
		return 0
	}
	return canaries(app, wanted)
}

// canaries returns how many canaries the strategy of an app with so many slots asks for.
func canaries(app *spec.App, wanted int) int {
	switch app.Update.Strategy {
	case spec.StrategyCanary:
		return min(max(1, app.Update.Canary), max(1, wanted))
	case spec.StrategyBlueGreen:
		return wanted
	}
	return 0
}

// counts is how an app's allocations stand against the target.
type counts struct {
	wanted       int
	settled      int // allocations of the target, healthy for long enough
	settledSlots int // slots that have one, canaries not counted
	canaries     int
	outdated     int // live allocations of other versions that can be reached
	toReplace    int // those of them that are no canaries: slots that the target brings new allocations to
	canaryFailed string
	ailing       spec.Time // when the first of those of the target was placed that are not settled, or failed in a slot without one that is; 0: none
	halfway      spec.Time // when the youngest allocation of the target was placed whose slot still has an older one; 0: none
	next         spec.Time
}

func census(f *Facts, r *spec.Rollout) counts {
	c := counts{wanted: f.Wanted}
	last, ailing := -1, spec.Time(0)
	for i := range f.Allocs {
		x := &f.Allocs[i]
		if i > 0 && x.Slot != f.Allocs[i-1].Slot {
			c.ailing, ailing = sooner(c.ailing, ailing), 0
		}
		if x.Canary && x.Fit == Current && x.State == spec.StateFailed && x.Want == spec.WantRun && x.Placed >= r.Started {
			c.canaryFailed = x.AllocationStatus.Reason
			if c.canaryFailed == "" {
				c.canaryFailed = string(x.ID)
			}
		}
		if x.Fit != Outdated && x.Want == spec.WantRun && x.State == spec.StateFailed && x.Placed >= r.Started && x.near() {
			ailing = sooner(ailing, x.Placed)
		}
		if x.Want != spec.WantRun || x.State.Terminal() && !(f.App.Kind == spec.KindBatch && x.State == spec.StateComplete) {
			continue
		}
		if x.Fit == Outdated {
			if x.Ground != Lost && !x.State.Terminal() {
				c.outdated++
				if !x.Canary {
					c.toReplace++
				}
			}
			continue
		}
		ok, at := x.Settled(f.App, f.Now)
		if !ok {
			if x.near() {
				ailing = sooner(ailing, x.Placed)
			}
			c.next = sooner(c.next, at)
			if i > 0 && f.Allocs[i-1].Index == x.Index && f.Allocs[i-1].Live() {
				c.halfway = max(c.halfway, x.Placed)
			}
			continue
		}
		ailing = 0
		c.settled++
		if x.Canary {
			c.canaries++
		} else if x.Index != last {
			last = x.Index
			c.settledSlots++
		}
	}
	c.ailing = sooner(c.ailing, ailing)
	return c
}
