package sim

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// The invariants, by the names that a violation is told with.
const (
	invariantCapacity   = "capacity: a node never runs more than it has"
	invariantPorts      = "ports: no two allocations of a node share one"
	invariantNamed      = "names: no two allocations of a node have the same device or core"
	invariantSlots      = "slots: nothing runs twice without a reason"
	invariantGeneration = "generations: they only grow"
	invariantForward    = "states: they only move forward"
	invariantStop       = "stops: only what should stop is stopped"
	invariantEnded      = "ends: what has ended is never begun again"
	invariantMemory     = "memory: an end is forgotten by its agent only once the journal has it"
	invariantIdentity   = "identity: an allocation lives on one node"
	invariantReplay     = "replay: the journal gives the state"
	invariantFixpoint   = "fixpoint: when nothing happens, nothing is left to do"
	invariantAlone      = "runs: where they must not overlap, one is active at a time"
	invariantFirings    = "firings: each is run, skipped or missed exactly once"
	invariantApproval   = "approval: where it is manual, nothing takes effect that nobody approved"
	invariantPlan       = "plan: every plan passes the checks"
	invariantBudget     = "budget: what is stopped on purpose leaves as many at work as the app asks for"
)

// violated ends the run.
func (w *world) violated(format string, args ...any) {
	if w.violates == "" {
		w.violates = fmt.Sprintf("at %s: ", w.clock()) + fmt.Sprintf(format, args...)
	}
}

// usage is what runs on a machine, by what the kernel would see.
type usage struct {
	running map[spec.AllocationID]*activity
	used    spec.Resources
	present spec.Resources // used by the containers that run at present
}

// activity is an allocation with running containers.
type activity struct {
	alloc      spec.Allocation
	app        *spec.App
	machine    *machine
	boot       int
	containers int
}

func (a *activity) alive() bool { return a.machine.on && a.machine.boot == a.boot && a.containers > 0 }

// started checks what a new container means.
func (w *world) started(m *machine, k *container) {
	w.starts[k.alloc.Slot]++
	if home, ok := w.homes[k.alloc.ID]; ok && home != m.index {
		w.violated("%s: %s was on %s, and is started on %s", invariantIdentity, k.alloc.ID, w.machines[home].desc.ID, m.desc.ID)
	}
	w.homes[k.alloc.ID] = m.index
	if h := w.master.core.State().Allocations[k.alloc.ID]; h != nil && h.Ended != nil && h.Ended.State != spec.StateLost {
		w.violated("%s: %s is %s, and is started on %s", invariantEnded, k.alloc.ID, h.Ended.State, m.desc.ID)
	}
	if m.usage.running == nil {
		m.usage.running = map[spec.AllocationID]*activity{}
	}
	m.usage.present = m.usage.present.Plus(taskOf(k))
	if over := exceeds(m.usage.present, m.desc.Capacity); over != "" {
		w.violated("%s: %s has too little %s for what runs once %s does", invariantCapacity, m.desc.ID, over, k.run)
	}
	if a := m.usage.running[k.alloc.ID]; a != nil {
		a.containers++
		return
	}
	a := &activity{alloc: k.alloc, app: k.app, machine: m, boot: m.boot, containers: 1}
	w.checkSlot(a)
	w.checkAlone(a)
	w.checkPorts(m, a)
	w.checkNamed(m, a)
	m.usage.running[k.alloc.ID] = a
	m.usage.used = m.usage.used.Plus(k.app.Needs())
	if over := exceeds(m.usage.used, m.desc.Capacity); over != "" {
		w.violated("%s: %s has too little %s for %s", invariantCapacity, m.desc.ID, over, k.alloc.ID)
	}
}

// stopped takes a container away.
func (w *world) stopped(m *machine, k *container) {
	m.usage.present = m.usage.present.Minus(taskOf(k))
	a := m.usage.running[k.alloc.ID]
	if a == nil {
		return
	}
	if a.containers--; a.containers == 0 {
		delete(m.usage.running, k.alloc.ID)
		m.usage.used = m.usage.used.Minus(a.app.Needs())
	}
}

// taskOf is what a container has while it runs.
func taskOf(k *container) spec.Resources {
	for i := range k.app.Tasks {
		if t := &k.app.Tasks[i]; t.Name == k.run.Task {
			return spec.Resources{CPU: t.CPU, Memory: t.Memory, Named: t.Resources}
		}
	}
	return spec.Resources{}
}

func exceeds(used, has spec.Resources) string {
	switch {
	case used.CPU > has.CPU:
		return "cpu"
	case used.Memory > has.Memory:
		return "memory"
	case used.Disk > has.Disk:
		return "disk"
	}
	for _, name := range used.Names() {
		if used.Named[name] > has.Named[name] {
			return name
		}
	}
	return ""
}

func (w *world) checkPorts(m *machine, a *activity) {
	if len(a.alloc.Ports) == 0 {
		return
	}
	for _, id := range sortedKeys(m.usage.running) {
		for _, p := range m.usage.running[id].alloc.Ports {
			for _, q := range a.alloc.Ports {
				if p.Number == q.Number && p.Protocol == q.Protocol {
					w.violated("%s: %s and %s on %s have %s port %d", invariantPorts, id, a.alloc.ID, m.desc.ID, p.Protocol, p.Number)
				}
			}
		}
	}
}

// checkNamed looks at the devices and cores of what runs on a machine already.
func (w *world) checkNamed(m *machine, a *activity) {
	if len(a.alloc.Devices)+len(a.alloc.Cores) == 0 {
		return
	}
	mine := spec.AllCores(a.alloc.Cores)
	for _, id := range sortedKeys(m.usage.running) {
		other := &m.usage.running[id].alloc
		for _, d := range other.Devices {
			if slices.ContainsFunc(a.alloc.Devices, func(g spec.DeviceGrant) bool { return g.Kind == d.Kind && g.ID == d.ID }) {
				w.violated("%s: %s and %s on %s have %s %s", invariantNamed, id, a.alloc.ID, m.desc.ID, d.Kind, d.ID)
			}
		}
		for _, c := range spec.AllCores(other.Cores) {
			if slices.Contains(mine, c) {
				w.violated("%s: %s and %s on %s have core %d", invariantNamed, id, a.alloc.ID, m.desc.ID, c)
			}
		}
	}
}

// checkSlot allows two of one slot among those that the master still wants and whose nodes it reaches, for a
// replacement; of a batch app only one: the same work is never done twice at once.
func (w *world) checkSlot(a *activity) {
	slot := a.alloc.Slot
	others := w.active[slot]
	kept := others[:0]
	wanted := 0
	for _, o := range others {
		if !o.alive() {
			continue
		}
		kept = append(kept, o)
		h := w.master.core.State().Allocations[o.alloc.ID]
		if h != nil && h.Allocation.Want == spec.WantRun && h.Ended == nil && w.settledOn(o.machine) && alike(a, o, &h.Allocation) {
			wanted++
		}
	}
	w.active[slot] = append(kept, a)
	limit := 1
	if a.app.Kind == spec.KindBatch {
		limit = 0
	}
	if wanted > limit && w.master.up && w.settledOn(a.machine) {
		w.violated("%s: %s is started beside %d others of its slot", invariantSlots, a.alloc.ID, wanted)
	}
}

// alike reports whether two allocations of a slot may not be there at once for long. Canaries are extra: they count
// among themselves, as long as they are not promoted.
func alike(a, other *activity, now *spec.Allocation) bool {
	if a.alloc.Canary {
		return now.Canary
	}
	return !other.alloc.Canary
}

// reunion is how long after a node came back two of one slot are no mistake.
const reunion = spec.Minute

// well reports whether nothing keeps a machine from doing at once what it is told.
func (m *machine) well() bool {
	return !m.mute && !m.deaf && m.lag == 0 && !m.full && len(m.stuck) == 0
}

// settledOn reports whether the master has been in touch with a machine for so long that it should have put it in order.
func (w *world) settledOn(m *machine) bool {
	n, ok := w.master.core.Node(m.desc.ID)
	return ok && w.master.core.Reachable(n.ID) && n.Since.Add(reunion) < w.now && m.session != 0 && !m.frozen && m.well() && m.since.Add(reunion) < w.now
}

// checkForward looks at every status that a master hears of.
func (w *world) checkForward(m *machine, ra *spec.ReportAllocation) {
	rank := ra.Status.State.Rank()
	if old, ok := w.ranks[ra.ID]; ok && rank < old {
		w.violated("%s: %s on %s went back to %s", invariantForward, ra.ID, m.desc.ID, ra.Status.State)
	}
	w.ranks[ra.ID] = rank
	if ra.Gone {
		delete(w.ranks, ra.ID)
	}
}

// checkStop looks at every signal that an agent sends.
func (w *world) checkStop(m *machine, r node.Run, what string) {
	rec, ok := m.disk[r.ID]
	if !ok || rec.Failing != "" || rec.Decided.Want == spec.WantStop || done(&rec) {
		if h := w.master.core.State().Allocations[r.ID]; rec.Decided.Want == spec.WantStop && w.master.up && h != nil && h.Allocation.Want == spec.WantRun && h.Ended == nil {
			w.violated("%s: %s gets %s though the master wants it to run", invariantStop, r, what)
		}
		return
	}
	for i := range rec.Tasks {
		if (rec.Tasks[i].Again != "" || rec.Tasks[i].Ill != "") && rec.App.Tasks[i].Name == r.Task {
			return
		}
	}
	w.violated("%s: %s on %s gets %s", invariantStop, r, m.desc.ID, what)
}

// done reports whether a main task of a batch allocation has finished: then its sidecars are stopped.
func done(r *node.Record) bool {
	for i := range r.Tasks {
		if r.Tasks[i].Finished && r.App.Tasks[i].Lifecycle.Main() {
			return true
		}
	}
	return false
}

// checkForget looks at every allocation that an agent forgets.
func (w *world) checkForget(m *machine, id spec.AllocationID) {
	if !w.master.up || w.master.frozen {
		return
	}
	if h := w.master.core.State().Allocations[id]; h != nil && h.Ended == nil && h.Allocation.Node == m.desc.ID {
		w.violated("%s: %s on %s", invariantMemory, id, m.desc.ID)
	}
}

// checkEntry looks at everything that is decided.
func (w *world) checkEntry(e *control.Entry) {
	if e.Followed != nil {
		w.checkFollowed(e.Followed)
	}
	if e.Decided == nil {
		return
	}
	for i := range e.Decided.Start {
		a := &e.Decided.Start[i]
		if a.Generation <= w.newest {
			w.violated("%s: %s is placed after generation %d", invariantGeneration, a.ID, w.newest)
		}
	}
	if len(e.Decided.Start) > 0 {
		w.newest = e.Decided.Generation
	}
}

// checkFollowed looks at what takes effect by itself: nothing does that a person has to approve.
func (w *world) checkFollowed(f *control.Followed) {
	m := w.master
	before := m.base.Following
	for i := range m.journal {
		if e := m.journal[i].Followed; e == f {
			break
		} else if e != nil {
			before = e
		}
	}
	manual := f.Revision.Cluster.Sync.Approval == spec.ApprovalManual || before != nil && before.Revision.Cluster.Sync.Approval == spec.ApprovalManual
	if f.By == "" && manual && f.Plan.Summary.Changes() > 0 {
		w.violated("%s: commit %s is followed, and %d changes with it", invariantApproval, f.Revision.Commit.Short(), f.Plan.Summary.Changes())
	}
}

// What large worlds are spared: looking at everything after each of very many plans would cost more than planning.
const (
	largeFrom = 5_000 // allocations
	lintEvery = 16    // plans of a large world that are carried out; those that people see are all linted
)

// audit looks at every plan, and at every so many of a large world.
func (w *world) audit(in reconcile.Input, p spec.Plan, r reconcile.Report, d *reconcile.Decision) {
	w.plans++
	if d != nil && len(in.Current) >= largeFrom {
		if d.Empty() {
			return
		}
		if w.decisions++; w.decisions%lintEvery != 0 {
			return
		}
	}
	for _, complaint := range check.Plan(in, p, r) {
		if w.violates == "" {
			saved := reconcile.Save(in, "simulated")
			w.unsound = &saved
		}
		w.violated("%s: %v", invariantPlan, complaint)
	}
	if d != nil && len(d.Stop) > 0 {
		w.checkBudget(&in, d)
	}
	if d != nil {
		w.checkDecision(&in, d)
	}
}

// input is that of the plan that went wrong, or else of one as of now.
func (w *world) input() *reconcile.Saved {
	core := w.master.core
	if f := core.State().Following; w.unsound == nil && w.master.up && f != nil {
		saved := reconcile.Save(core.PreviewInput(f.Revision, control.Answers{}, f.Signed, 0), "simulated")
		return &saved
	}
	return w.unsound
}

// checkBudget looks at what is carried out, whatever the plan says: of each service that some of its last working
// allocations are taken from, enough are left. Where versions ask for different budgets, the larger one counts.
func (w *world) checkBudget(in *reconcile.Input, d *reconcile.Decision) {
	stops := make(map[spec.AllocationID]bool, len(d.Stop))
	for _, s := range d.Stop {
		stops[s.ID] = true
	}
	promoted := map[spec.AllocationID]bool{} // a canary does the work of its slot only from then on
	for _, u := range d.Update {
		promoted[u.ID] = u.Promote
	}
	overdue := map[spec.NodeID]bool{}
	for _, x := range in.Drains {
		overdue[x.Node] = x.Deadline != 0 && in.Now >= x.Deadline
	}
	type count struct{ before, after int }
	counts := map[spec.AppName]*count{}
	for i := 0; i < len(in.Current); {
		works, stays := false, false
		slot := in.Current[i].Slot
		for ; i < len(in.Current) && in.Current[i].Slot == slot; i++ {
			a := &in.Current[i]
			if (!a.Canary || promoted[a.ID]) && a.Want == spec.WantRun && a.Healthy && !a.State.Terminal() && !overdue[a.Node] && w.master.core.Reachable(a.Node) {
				works, stays = true, stays || !stops[a.ID]
			}
		}
		if c := counts[slot.App]; c == nil {
			counts[slot.App] = &count{}
		}
		if works {
			counts[slot.App].before++
		}
		if stays {
			counts[slot.App].after++
		}
	}
	for _, app := range in.Desired.Apps {
		c := counts[app.Name]
		if c == nil || app.Kind != spec.KindService || c.after == c.before {
			continue
		}
		least := leastWorking(app, app.Count, in)
		for _, r := range in.Rollouts {
			for _, h := range []spec.Hash{r.Good, r.Target} {
				if v := in.Versions[h]; r.App == app.Name && v != nil {
					least = min(least, leastWorking(v, min(app.Count, v.Count), in))
				}
			}
		}
		if c.after < min(least, c.before) {
			w.violated("%s: %d slots of %s worked, %d are left, %d have to be", invariantBudget, c.before, app.Name, c.after, least)
		}
	}
}

// leastWorking is how many slots of an app have to work.
func leastWorking(app *spec.App, count int, in *reconcile.Input) int {
	switch {
	case app.Update.Strategy == spec.StrategyRecreate:
		return 0
	case app.Update.MinHealthy > 0:
		return (int(app.Update.MinHealthy)*count + 999) / 1000
	}
	return count - in.Desired.Disruption.MaxUnavailable.Of(count)
}

// checkSettled looks at the world when nothing happens any more.
func (w *world) checkSettled() {
	core := w.master.core
	live, err := core.State().Encode()
	if err != nil {
		w.violated("%s: %v", invariantReplay, err)
		return
	}
	if w.master.durable == len(w.master.journal) {
		w.master.checkReplay(live)
		w.checkFirings()
	}
	f := core.State().Following
	if f == nil {
		return
	}
	in := core.PreviewInput(f.Revision, control.Answers{}, f.Signed, 0)
	in.Brief = true // nobody reads it
	plan, _ := reconcile.Plan(in)
	for _, app := range plan.Apps {
		// Canaries wait for a person; what follows a slot without a place waits for that, and what the cluster's budget
		// has no room for waits for whatever is missing; a change, for its window.
		waits := app.Blocked != nil || app.Waits != nil || app.Rollout != nil && app.Rollout.State == spec.RolloutCanaries
		for _, ch := range app.Changes {
			if (ch.Now || !waits && ch.After != rollout.AfterTotal) && ch.Kind != spec.ChangeStay && ch.Kind != spec.ChangeBlocked && core.Idle() {
				w.violated("%s: %s %s is left, and nothing does it", invariantFixpoint, ch.Kind, ch.Slot)
			}
		}
	}
	for _, m := range w.machines {
		for _, id := range sortedKeys(m.usage.running) {
			a := m.usage.running[id]
			h := core.State().Allocations[id]
			if m.session != 0 && (h == nil || h.Ended != nil || h.Allocation.Want == spec.WantStop) && !w.appBehaviour(a.alloc.App).stubborn {
				w.violated("%s: %s still runs on %s", invariantSlots, id, m.desc.ID)
			}
		}
	}
}
