package rollout

import (
	"math"

	"github.com/stowage/stowage/spec"
)

// Fit says how far an allocation's version is from the one wanted.
type Fit int

// The fits.
const (
	Current  Fit = iota // the agent could not tell the two apart
	InPlace             // differs in what the agent can change without a restart
	Outdated            // only a new allocation will do
)

// Ground says how well the node of an allocation stands.
type Ground int

// The grounds.
const (
	Firm     Ground = iota // in touch
	Silent                 // out of touch, but not for long enough to give the allocation up
	Draining               // to be left, once a replacement runs
	Overdue                // the drain's deadline has passed
	Lost                   // out of touch for reschedule.after, or gone for good
)

// Alloc is one allocation of the app.
type Alloc struct {
	*spec.AllocationView
	Fit     Fit
	Ground  Ground
	Restart bool // an operator wants it replaced
	Moving  bool // it is being moved, and its successor is on its way
	Bound   bool // its version is that of a system app: it is there for its node
	Canary  bool // it is an extra beside the allocation of its slot; Fit is against the version of the canaries
	Promote bool // it was an extra, and is now the allocation of its slot
}

// Live reports whether the allocation is meant to run and has not ended.
func (a *Alloc) Live() bool { return a.Want == spec.WantRun && !a.State.Terminal() }

// App is everything about one app that steps depend on.
type App struct {
	Now         spec.Time
	Spec        *spec.App // the version that slots should have: the target, or the good one
	Allocs      []Alloc   // by slot, then generation; Fit is against Spec
	Count       int       // slots wanted
	Unavailable int       // how many slots may lack a healthy allocation at once
	Total       *Total    // of all apps together; nil: no bound. Decide takes from it
	Frozen      bool      // a failed rollout: slots are kept alive, nothing is replaced
	Stuck       bool      // a failed rollout with nothing to go back to: what works is kept, and not replaced
	Reverted    bool      // Spec is the good version, since the rollout of another failed
	Waiting     string    // why nothing may start yet, or ""
	Order       func(*Alloc) int
	// Even picks which n of the allocations, the first to go first, are to go so that what remains is as even as the app
	// asks; nil: as many of each group of Order.
	Even     func(list []*Alloc, n int) []int
	Canaries *Canaries     // not nil while canaries are wanted
	Nodes    []spec.NodeID // for KindSystem: the nodes that should have an allocation, without those that do
	// Leaves reports, for KindSystem, whether an allocation is there for a node that Count has not: one that is draining, and
	// keeps it for as long as other work is there. Nil: none is.
	Leaves func(*Alloc) bool
}

// Total is what is left of the cluster's budget.
type Total struct {
	Left  int  // slots that may still be taken from their work
	Whole bool // nothing of the cluster is missing
}

func (t *Total) left() int {
	if t == nil {
		return math.MaxInt
	}
	return t.Left
}

func (t *Total) take(n int) {
	if t != nil && n > 0 {
		t.Left, t.Whole = t.Left-n, false
	}
}

// Canaries are the extra allocations of the target beside those of the good version.
type Canaries struct {
	Spec  *spec.App
	Count int
}

// Beside says how a new allocation and the old one of its slot follow one another.
type Beside int

// The ways of following.
const (
	Alone     Beside = iota // there is no old one
	Surge                   // the old one stays until the new one is healthy
	IfNeeded                // likewise, but where there is no room for both the old one may stop first
	StopFirst               // the old one stops at once
)

// Step is what happens to one slot.
type Step struct {
	Slot    int
	Kind    spec.ChangeKind // start, stop, update, move, replace; blocked for a back-off
	Old     *Alloc          // that stops, is updated or is followed by a new one
	Beside  Beside
	Canary  bool // the new allocation is an extra
	Promote bool // an update that makes a canary the allocation of its slot
	Target  bool // the new allocation follows a version that waits, not App.Spec
	Now     bool
	After   string // what it waits for, when not Now
	Wave    int    // steps of a later wave come when those of the one before are healthy
	Reason  string
	Attempt int
	Until   spec.Time   // the end of a back-off
	Node    spec.NodeID // of a system app: where the new one has to be
}

// Places reports whether the step brings a new allocation.
func (s Step) Places() bool {
	return s.Kind == spec.ChangeStart || s.Kind == spec.ChangeMove || s.Kind == spec.ChangeReplace
}

// Outcome is what Decide found.
type Outcome struct {
	Steps []Step
	Stay  []*Alloc // untouched
	// Spare is how many more slots may lose their healthy allocation now.
	Spare int
	// Ready counts the slots with an allocation of Spec that has been healthy for long enough.
	Ready    int
	Next     spec.Time // the earliest moment at which something changes by itself, or zero
	width    int       // how many slots are replaced at once; 0 when that is not what bounds them
	inflight int       // slots that count as being replaced
}

// More returns how many more slots may be replaced now when so many of those that count as being replaced are not, as
// there is no place for them.
func (o *Outcome) More(without int) int {
	if o.width == 0 {
		return 0
	}
	return max(0, o.width-(o.inflight-without)) - max(0, o.width-o.inflight)
}

// sooner returns the earlier of two moments, zero meaning none.
func sooner(a, b spec.Time) spec.Time {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Settled reports whether the allocation has been healthy for as long as asked (or, for a batch app, has completed),
// and otherwise when it will have been if it stays healthy, or zero.
func (a *Alloc) Settled(app *spec.App, now spec.Time) (bool, spec.Time) {
	if app.Kind == spec.KindBatch && a.State == spec.StateComplete {
		return true, 0
	}
	if !a.Healthy || a.State.Terminal() || a.Ground == Silent || a.Ground == Lost {
		return false, 0
	}
	at := a.HealthySince.Add(app.Update.HealthyFor)
	return now >= at, at
}

// up reports whether the allocation does its work.
func (a *Alloc) up() bool {
	return a.Healthy && !a.State.Terminal() && a.Ground != Silent && a.Ground != Lost
}
