package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// A window is a time in which work may be taken from the apps that keep to it. Outside of it a change of such an app
// waits whole: what works is not replaced, and whatever has to start follows the version before. See
// docs/decisions/0016-windows.md.

// The texts about windows, as people read them.
const (
	afterWindow      = "when %s"
	textWindow       = "window %s opens %s"
	heldWindow       = "it keeps to the window %q, which the commit does not have"
	textWindowIsGone = "window %s to open, which the commit no longer has"
)

// gate is how some windows stand now.
type gate struct {
	wait  *spec.WindowWait // nil: one is open, or there are none
	since spec.Time        // open since then; 0: always
}

// after is what a step waits for.
func (g *gate) after() string { return fmt.Sprintf(afterWindow, g.wait.Text) }

// readWindows reads the windows of the commit. Those that cannot be read never open: the loader refuses them.
func (w *world) readWindows() {
	if len(w.in.Desired.Windows) == 0 {
		return
	}
	w.windows = make(map[spec.WindowName]*cron.Window, len(w.in.Desired.Windows))
	for _, x := range w.in.Desired.Windows {
		if r, err := cron.NewWindow(x); err == nil {
			w.windows[x.Name] = r
		}
	}
}

// gate looks at windows. Those that the commit does not have are left out.
func (w *world) gate(names []spec.WindowName) gate {
	var list []*cron.Window
	for _, n := range names {
		if r := w.windows[n]; r != nil {
			list = append(list, r)
		}
	}
	o, open, found := cron.At(list, w.in.Now)
	switch {
	case !found:
		return gate{}
	case open:
		return gate{since: o.From}
	}
	return gate{wait: &spec.WindowWait{Window: o.Window, Opens: o.From, Text: fmt.Sprintf(textWindow, o.Window, o.Says)}}
}

// gateOf looks at the windows of a version of an app. What a commit changes need not wait for them when it is to take effect
// at once; moves of a rebalancing always do.
func (w *world) gateOf(a *spec.App) gate {
	names := w.in.Desired.WindowsOf(a)
	if len(names) == 0 {
		return gate{}
	}
	return w.gate(names)
}

// waitFor notes that something of the app waits for a window.
func (w *world) waitFor(x *app, g gate) {
	x.waits = g.wait
	w.wakeAt(g.wait)
}

// wakeAt asks for a plan when a window opens.
func (w *world) wakeAt(wait *spec.WindowWait) {
	w.opens = soonest(w.opens, wait.Opens)
}

// holdUnknown holds apps that keep to windows which nobody can find: a framework's, as the loader checks the others.
func (w *world) holdUnknown(x *app) {
	if x.desired == nil || x.held != "" || x.run != nil {
		return
	}
	for _, n := range w.in.Desired.WindowsOf(x.desired.app) {
		if w.windows[n] == nil {
			x.held = fmt.Sprintf(heldWindow, n)
			return
		}
	}
}

// closed looks at the windows of an app whose allocations are classified against the version desired. The wait is nil when
// a change of it need not wait: one is open, it has never worked as a whole, or nothing of it follows another version. One
// that does not work at present waits all the same: nobody can tell whether that is the fault of its version.
func (w *world) closed(x *app) gate {
	if w.in.AtOnce {
		return gate{}
	}
	g := w.gateOf(x.desired.app)
	if g.wait == nil || x.good == nil || x.run != nil || !changes(x.allocs, x.desired.app.Kind) {
		return gate{since: g.since}
	}
	return g
}

// changes reports whether a slot has an allocation of another version, or had one last that has failed.
func changes(all []rollout.Alloc, kind spec.Kind) bool {
	for i := range all {
		a := &all[i]
		newest := i+1 == len(all) || all[i+1].Index != a.Index
		if a.Fit == rollout.Outdated && !a.Canary && (a.Live() || newest && a.Want == spec.WantRun && kind != spec.KindBatch) {
			return true
		}
	}
	return false
}

// keepVersion lets an app whose change waits be what it was: what runs stays whatever its version, and what starts
// follows the version before. A slot with a successor on its way to the new version goes on: that has begun.
func (w *world) keepVersion(x *app) {
	x.version = x.good
	w.classify(x, x.version)
	for i := range x.allocs {
		a := &x.allocs[i]
		switch {
		case a.Canary:
		case w.follows(x, a):
			a.Fit = rollout.Current
		case w.overtaken(x, i):
			a.Fit = rollout.Outdated
		case a.Fit == rollout.Outdated:
			a.Fit = rollout.Current
		}
	}
}

// follows reports whether an allocation follows the version desired.
func (w *world) follows(x *app, a *rollout.Alloc) bool {
	return w.known(a.Version).fit(x.desired) != rollout.Outdated
}

// overtaken reports whether a younger allocation of the same slot follows the version desired.
func (w *world) overtaken(x *app, i int) bool {
	for k := i + 1; k < len(x.allocs) && x.allocs[k].Index == x.allocs[i].Index; k++ {
		if a := &x.allocs[k]; a.Live() && !a.Canary && w.follows(x, a) {
			return true
		}
	}
	return false
}

// postpone adds to the steps of an app whose change waits those of the change, so that the plan shows them, and takes back
// those that would begin it.
func (w *world) postpone(x *app, g gate) {
	steps := x.out.Steps
	for i := range steps {
		if s := &steps[i]; s.Canary && s.Kind == spec.ChangeStart {
			s.Now, s.After = false, g.after()
		}
	}
	if x.rollout.State == spec.RolloutCanaries {
		return // what comes after the canaries is not foreseen
	}
	u, stay := &x.desired.app.Update, x.out.Stay[:0:0]
	width := max(1, u.MaxParallel)
	beside := rollout.IfNeeded
	switch {
	case u.Strategy == spec.StrategyRecreate || x.desired.app.Kind == spec.KindBatch:
		width, beside = max(1, len(x.out.Stay)), rollout.StopFirst
	case u.Strategy == spec.StrategyBlueGreen:
		width = max(1, len(x.out.Stay))
	}
	count, n := w.wanted(x), 0
	for _, a := range x.out.Stay {
		if w.follows(x, a) || !a.Live() || x.desired.app.Kind != spec.KindSystem && n >= count {
			stay = append(stay, a)
			continue
		}
		steps = append(steps, rollout.Step{
			Slot: a.Index, Kind: spec.ChangeReplace, Old: a, Beside: beside, After: g.after(), Wave: 1 + n/width, Reason: rollout.ReasonChanged, Target: true,
		})
		n++
	}
	slices.SortStableFunc(steps, func(a, b rollout.Step) int { return cmp.Compare(a.Slot, b.Slot) })
	x.out.Steps, x.out.Stay = steps, stay
}

// Opens returns when the first of some windows of a cluster opens; the moment itself when one is open then, or there are none.
func Opens(c *spec.Cluster, names []spec.WindowName, at spec.Time) spec.Time {
	if len(names) == 0 {
		return at
	}
	w := &world{in: &Input{Desired: c, Now: at}}
	w.readWindows()
	if g := w.gate(names); g.wait != nil {
		return g.wait.Opens
	}
	return at
}

// NextOpening returns when the first of the services of a cluster that a rebalancing leaves out, as their windows are closed,
// may be moved; 0 when there is none.
func NextOpening(c *spec.Cluster, now spec.Time) (next spec.Time) {
	w := &world{in: &Input{Desired: c, Now: now}}
	w.readWindows()
	seen := map[string]bool{} // most apps keep to the same ones
	for _, a := range c.Apps {
		key := fmt.Sprint(c.WindowsOf(a))
		if a.Kind != spec.KindService || a.Pinned || seen[key] {
			continue
		}
		seen[key] = true
		if g := w.gateOf(a); g.wait != nil {
			next = soonest(next, g.wait.Opens)
		}
	}
	return next
}

// DrainWaits says what a drain waits for: its window. Nil: for none, or that is open.
func DrainWaits(c *spec.Cluster, d *spec.Drain, now spec.Time) *spec.WindowWait {
	if d.Window == "" || d.Deadline != 0 && now >= d.Deadline {
		return nil
	}
	w := &world{in: &Input{Desired: c, Now: now}}
	w.readWindows()
	if w.windows[d.Window] == nil {
		return &spec.WindowWait{Window: d.Window, Text: fmt.Sprintf(textWindowIsGone, d.Window)}
	}
	return w.gate([]spec.WindowName{d.Window}).wait
}

// readDrains finds out which drains wait for their window, and when they want to be looked at again.
func (w *world) readDrains() {
	for i := range w.in.Drains {
		d := &w.in.Drains[i]
		wait := DrainWaits(w.in.Desired, d, w.in.Now)
		if wait == nil {
			w.wake(d.Deadline)
			continue
		}
		w.opens = soonest(w.opens, d.Deadline) // it counts from the opening
		if w.patient == nil {
			w.patient = map[spec.NodeID]*spec.WindowWait{}
		}
		w.patient[d.Node] = wait
		if wait.Opens != 0 {
			w.wakeAt(wait)
		}
	}
}

// leaves reports whether an allocation of a node whose drain waits for its window is on its way all the same: its
// successor has been placed.
func leaves(views []spec.AllocationView, i int) bool {
	for k := i + 1; k < len(views) && views[k].Index == views[i].Index; k++ {
		if a := &views[k]; a.Want == spec.WantRun && !a.State.Terminal() && !a.Canary {
			return true
		}
	}
	return false
}
