package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// world is the input in the form that planning needs. It lives for one plan.
type world struct {
	in        *Input
	nodes     []spec.NodeView // by ID, as the fleet has them; drains are known to the fleet alone
	fleet     *place.Fleet
	versions  map[spec.Hash]*version
	apps      []*app // those desired and those that still run, by name
	byName    map[spec.AppName]*app
	current   []spec.AllocationView // Input.Current with moved blocks applied
	renamed   []Rename
	drains    map[spec.NodeID]*spec.Drain
	overdue   map[spec.NodeID]bool
	roles     *roles
	reserved  *reserved                  // nil without reservations
	moving    map[spec.AllocationID]bool // that a rebalancing moves, and whose successor is on its way
	movesDone []spec.AllocationID
	total     *rollout.Total // what is left of the cluster's budget; nil: it has none
	next      spec.Time
	windows   map[spec.WindowName]*cron.Window
	opens     spec.Time                        // of the windows that something waits for
	patient   map[spec.NodeID]*spec.WindowWait // nodes whose drain waits
	events    []spec.Event
	before    []int64 // used on ready nodes before the plan
	pools     map[spec.PoolName]*filling
	preempted map[spec.AllocationID]bool
	related   bool            // apps have rules or wishes over one another
	nodeOf    []int32         // of each of current that has not ended, or -1
	templates []runs.Template // apps with runs, by name; nil when there are none
	runs      runs.Outcome
	trial     bool // it is asked only whether all have a place: nothing is explained
	step      bool // it is asked only what can be done now: nothing is foreseen
}

// app is one app during planning.
type app struct {
	name     spec.AppName
	desired  *version // nil when the commit does not have it
	version  *version // that the slots should have: the desired one, or the last good one
	good     *version // the last good one, when it is known
	canary   *version // not nil while canaries are wanted
	frozen   bool
	stuck    bool // see rollout.App
	waiting  string
	tight    bool             // the budget kept a slot from stopping first
	gaveUp   bool             // what it waits for did not come in time: nothing of it is foreseen
	waits    *spec.WindowWait // what its change waits for; nil: for no window
	asleep   bool             // it waits for a window, or for an app that does
	through  *spec.WindowWait // what an app waits for that it waits for
	woke     spec.Time        // since when it waits no longer; 0: it never did
	held     string
	record   *spec.Rollout
	rollout  spec.Rollout
	views    []spec.AllocationView // of the app, by slot and generation
	first    int                   // of views in world.current
	calm     bool                  // all is as it should be: nothing to decide
	counted  bool                  // own is filled in
	allocs   []rollout.Alloc       // of views, with Fit against version
	out      rollout.Outcome
	own      []int32                 // the node of each allocation that counts for limits
	going    []int32                 // those of own that are to be followed by others
	ending   map[*rollout.Alloc]bool // the allocations that going stands for
	faulty   []int32
	keptOff  []link // rules of other apps that keep this one away from them
	wantedBy []link // rules of other apps that want to be near this one
	changes  []change
	blocked  *spec.Blocked
	why      *spec.Blocked  // what was in the way of the first slot that found no place, when its turn came
	missed   []rollout.Step // steps for which there is no place
	settled  bool           // every slot has a settled allocation of the desired version
	matchers map[*version]*place.Matcher
	run      *spec.Run // it is the app of a run
}

// change is a change with what planning must remember of it.
type change struct {
	spec.Change
	old      *rollout.Alloc
	version  *version // of the new allocation, or of the update
	promote  bool
	stopsOld bool // Old ends in the course of this change
}

// version is one version of an app.
type version struct {
	app     *spec.App
	hash    spec.Hash
	runtime spec.Hash
	seen    spec.Hash // what an agent can tell apart; computed when asked for
	need    []int64
}

func newWorld(in *Input) *world {
	w := &world{in: in, byName: map[spec.AppName]*app{}, preempted: map[spec.AllocationID]bool{}, versions: make(map[spec.Hash]*version, len(in.Versions)+8)}
	w.nodes = w.nodesByID()
	w.fleet = w.layout(w.nodes).Fleet(w.nodes)
	for i := range in.Drains {
		if n := w.fleet.Node(in.Drains[i].Node); n >= 0 {
			w.fleet.Drain(n)
		}
	}
	w.before = make([]int64, len(w.fleet.Vector(spec.Resources{})))
	w.readWindows()
	w.readDrains()
	w.readDesired()
	w.readMoved()
	w.readCurrent()
	w.readRuns()
	w.readMoves()
	w.fillFleet()
	w.readFailures()
	w.reserved = w.readReserved()
	return w
}

// nodesByID returns the nodes in order, and reads the drains.
func (w *world) nodesByID() []spec.NodeView {
	w.drains, w.overdue = map[spec.NodeID]*spec.Drain{}, map[spec.NodeID]bool{}
	for i := range w.in.Drains {
		d := &w.in.Drains[i]
		w.drains[d.Node] = d
		if d.Deadline != 0 && w.in.Now >= d.Deadline {
			w.overdue[d.Node] = true
		}
	}
	if w.in.Memory.knows(w.in.Nodes) || slices.IsSortedFunc(w.in.Nodes, byID) {
		return w.in.Nodes
	}
	nodes := slices.Clone(w.in.Nodes)
	slices.SortFunc(nodes, byID)
	return nodes
}

func byID(a, b spec.NodeView) int { return cmp.Compare(a.ID, b.ID) }

// resourceNames lists the named resources that apps and roles ask for, whether any node has them or not.
func (w *world) resourceNames() []string {
	var names []string
	see := func(a *spec.App) {
		for i := range a.Tasks {
			if len(a.Tasks[i].Resources) > 0 {
				names = append(names, spec.Resources{Named: a.Tasks[i].Resources}.Names()...)
			}
			for k := range a.Tasks[i].Devices {
				names = append(names, a.Tasks[i].Devices[k].Kind)
			}
		}
	}
	for _, a := range w.in.Desired.Apps {
		see(a)
	}
	for i := range w.in.Desired.Roles {
		for _, r := range []*spec.Resources{w.in.Desired.Roles[i].Quota, w.in.Desired.Roles[i].Guarantee} {
			if r != nil {
				names = append(names, r.Names()...)
			}
		}
	}
	for i := range w.in.Desired.Reservations {
		names = append(names, w.in.Desired.Reservations[i].Names()...)
	}
	for _, a := range w.in.Versions { // any order: sorted below
		see(a)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// wake makes the report ask for another plan at the given moment.
func (w *world) wake(at spec.Time) {
	if at > w.in.Now {
		w.next = soonest(w.next, at)
	}
}

// soonest returns the earlier of two moments, zero meaning none.
func soonest(a, b spec.Time) spec.Time {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (w *world) tell(subject, what, why string) {
	w.events = append(w.events, spec.Event{Time: w.in.Now, Subject: subject, What: what, Why: why})
}

func (w *world) readDesired() {
	roots := spec.Roots(w.in.Desired.Apps)
	for _, a := range w.in.Desired.Apps {
		h := w.in.hashes(a)
		if root := roots[a.Name]; root != "" {
			w.templates = append(w.templates, runs.Template{App: a, Hash: h.Version, Root: root})
			continue
		}
		w.app(a.Name).desired = w.addVersion(a, h.Version, h.Runtime)
	}
	for i := range w.in.Rollouts {
		r := &w.in.Rollouts[i]
		w.app(w.newName(r.App)).record = r
	}
}

func (w *world) app(name spec.AppName) *app {
	x := w.byName[name]
	if x == nil {
		x = &app{name: name}
		w.byName[name] = x
		w.apps = append(w.apps, x)
	}
	return x
}

func (w *world) addVersion(a *spec.App, hash, runtime spec.Hash) *version {
	if v, ok := w.versions[hash]; ok {
		return v
	}
	v := &version{app: a, hash: hash, runtime: runtime, need: w.fleet.Vector(a.Needs())}
	w.versions[hash] = v
	return v
}

// known returns the version with that hash, or nil when the input does not have it.
func (w *world) known(h spec.Hash) *version {
	if v, ok := w.versions[h]; ok {
		return v
	}
	if a, ok := w.in.Versions[h]; ok {
		return w.addVersion(a, h, "")
	}
	return nil
}

// newName returns what a moved block now calls the app.
func (w *world) newName(name spec.AppName) spec.AppName {
	for _, r := range w.renamed {
		if r.From == name {
			return r.To
		}
	}
	return name
}

// readMoved finds the moved blocks that still have something to rename.
func (w *world) readMoved() {
	if len(w.in.Desired.Moved) == 0 {
		return
	}
	running := map[spec.AppName]bool{}
	for i := range w.in.Current {
		running[w.in.Current[i].App] = true
	}
	for _, m := range w.in.Desired.Moved {
		name := spec.NewName(w.in.Desired.Moved, m.From, w.isDesired)
		from, to := w.byName[m.From], w.byName[name]
		if running[m.From] && !running[name] && !w.isDesired(m.From) && w.isDesired(name) {
			w.renamed = append(w.renamed, Rename{From: m.From, To: name})
			running[m.From], running[name] = false, true
			w.tell(string(name), "renamed from "+string(m.From), "a moved block says so")
			if from != nil {
				to.record, from.record = from.record, nil
			}
		}
	}
}

// isDesired reports whether the commit has an app of that name.
func (w *world) isDesired(name spec.AppName) bool {
	x := w.byName[name]
	return x != nil && x.desired != nil
}

// readCurrent gives each app its allocations.
func (w *world) readCurrent() {
	w.current = w.in.Current
	if len(w.renamed) > 0 || !w.group() {
		w.current = slices.Clone(w.current)
		for i := range w.current {
			w.current[i].App = w.newName(w.current[i].App)
		}
		SortAllocations(w.current)
		w.group()
	}
	slices.SortFunc(w.apps, func(a, b *app) int { return cmp.Compare(a.name, b.name) })
	for _, x := range w.apps {
		x.held = w.in.Held[x.name]
		w.holdUnknown(x)
	}
}

// group finds the allocations of each app, and reports whether all are sorted by slot, then generation.
func (w *world) group() bool {
	first := 0
	for i := 1; i <= len(w.current); i++ {
		a := &w.current[i-1]
		if i < len(w.current) {
			b := &w.current[i]
			if a.App == b.App {
				if a.Index > b.Index || a.Index == b.Index && a.Generation > b.Generation {
					return false
				}
				continue
			}
			if a.App > b.App {
				return false
			}
		}
		x := w.app(a.App)
		x.views, x.first = w.current[first:i], first
		first = i
	}
	return true
}

// fillFleet puts every allocation that has not ended on its node: those that wait for others last.
func (w *world) fillFleet() {
	var waiting []*spec.AllocationView
	w.nodeOf = make([]int32, len(w.current))
	for _, x := range w.apps {
		waiting = w.fillApp(x, waiting)
	}
	w.remember()
	// Who waits is younger than whom it waits for: in this order everybody finds those who leave.
	slices.SortStableFunc(waiting, func(a, b *spec.AllocationView) int { return cmp.Compare(a.Generation, b.Generation) })
	for _, a := range waiting {
		v, node := w.known(a.Version), w.fleet.Node(a.Node)
		given := a.Grant()
		w.fleet.TakeAfter(node, v.need, &given, a.After)
		if a.Want == spec.WantStop {
			w.fleet.Leave(node, a.ID, v.need, &given, a.After)
		}
	}
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			sum(w.before, w.fleet.Used(n))
		}
	}
	if !w.in.Brief {
		w.pools = w.fillings()
	}
}

// fillApp puts the allocations of one app on their nodes, but for those that wait for others. On the way it finds whether
// the app is exactly as it should be, which is the rule: a large cluster is looked through once, not twice.
func (w *world) fillApp(x *app, waiting []*spec.AllocationView) []*spec.AllocationView {
	var last spec.Hash
	var v *version
	calm, node, guess := w.mayBeCalm(x), -1, w.remembered(x)
	for i := range x.views {
		a := &x.views[i]
		if a.State != spec.StateRunning {
			calm = false
			if a.State.Terminal() {
				w.nodeOf[x.first+i] = -1
				continue
			}
		}
		if v == nil || a.Version != last {
			v, last = w.known(a.Version), a.Version
		}
		if i < len(guess) && guess[i] >= 0 && w.fleet.ID(int(guess[i])) == a.Node {
			node = int(guess[i])
		} else {
			node = w.fleet.NodeNear(node, a.Node)
		}
		w.nodeOf[x.first+i] = int32(node)
		if calm {
			calm = a.Healthy && a.Want == spec.WantRun && !a.Canary && a.Version == x.record.Target &&
				w.in.Now >= a.HealthySince.Add(x.desired.app.Update.HealthyFor) && (i == 0 || a.Index != x.views[i-1].Index) &&
				node >= 0 && w.fleet.Open(node)
		}
		if node < 0 || v == nil {
			continue
		}
		if len(a.After) > 0 {
			waiting = append(waiting, a)
			continue
		}
		held := granted(a)
		w.fleet.Take(node, v.need, held)
		if a.Want == spec.WantStop {
			w.fleet.Leave(node, a.ID, v.need, held, nil)
		}
	}
	x.calm = calm
	return waiting
}

// mayBeCalm reports whether nothing but its allocations could keep the app from being exactly as it should be.
func (w *world) mayBeCalm(x *app) bool {
	r := x.record
	return x.held == "" && x.run == nil && x.desired != nil && r != nil && r.Target == x.desired.hash && r.State == spec.RolloutDone &&
		x.desired.app.Kind == spec.KindService && len(x.views) == x.desired.app.Count && w.restartBefore(x) == 0
}

// readFailures finds the nodes where an app failed so often lately that they come last for it.
func (w *world) readFailures() {
	type place struct {
		app  spec.AppName
		node spec.NodeID
	}
	count := map[place]int{}
	for _, f := range w.in.Failures {
		if w.in.Now.Sub(f.Time) < spec.FaultyWindow {
			p := place{w.newName(f.App), f.Node}
			count[p]++
			if node, x := w.fleet.Node(f.Node), w.byName[p.app]; count[p] == spec.FaultyFailures && node >= 0 && x != nil {
				x.faulty = append(x.faulty, int32(node))
			}
		}
	}
}
