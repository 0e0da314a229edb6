package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

const (
	// rehearsalLooks bounds what a rehearsal costs, in the units of trialLooks: some tenths of a second.
	rehearsalLooks = 1_000_000
	// tightKept is how many apps, and nodes of each, a plan names that have no room on the way.
	tightKept = 20
)

// rehearsal carries a plan out, step by step, as if every allocation became healthy as soon as it can and ended as soon as it
// is told: plan, decide, apply, and again. So it meets what the master will meet: surges beside the old ones, canaries, several
// apps at once, who stops first where there is no room, and who waits.
type rehearsal struct {
	w     *world
	in    Input
	needs map[spec.Hash]amounts
	used  []amounts // of each node
	worst *spec.WorstMoment
	tight map[spec.AppName]*spec.TightApp
	total spec.Resources
}

// rehearse finds the moment at which most of the cluster is in use while the plan is carried out, and who has too little room on
// the way. It returns nil for a plan that starts nothing.
func (w *world) rehearse(p *spec.Plan) *spec.WorstMoment {
	if p.Summary.Start+p.Summary.Replace+p.Summary.Move == 0 {
		return nil
	}
	t := w.newTrials()
	r := &rehearsal{w: w, in: t.in, needs: map[spec.Hash]amounts{}, used: make([]amounts, w.fleet.Len()), worst: &spec.WorstMoment{}, tight: map[spec.AppName]*spec.TightApp{}}
	for i := range w.nodes {
		if n := &w.nodes[i]; w.fleet.Open(i) {
			r.total = r.total.Plus(n.Capacity)
		}
	}
	r.worst.Total = r.total
	final := map[spec.AppName]int{}
	for i := range p.Apps {
		if b := p.Apps[i].Blocked; b != nil {
			final[p.Apps[i].App] = len(b.Slots)
		}
	}
	next, report := *p, w.report()
	for left := rehearsalLooks; ; left -= t.cost {
		if r.worst.Whole = !r.step(&next, report, final); r.worst.Whole || left < t.cost {
			break
		}
		next, report = Plan(r.in)
	}
	for _, a := range r.tight { // any order: sorted below
		slices.Sort(a.Nodes)
		a.Nodes = slices.Compact(a.Nodes)
		a.Nodes = a.Nodes[:min(len(a.Nodes), tightKept)]
		r.worst.Tight = append(r.worst.Tight, *a)
	}
	slices.SortFunc(r.worst.Tight, func(a, b spec.TightApp) int { return cmp.Compare(a.App, b.App) })
	r.worst.Tight = r.worst.Tight[:min(len(r.worst.Tight), tightKept)]
	return r.worst
}

// step does what a plan has to be done now and lets the nodes follow; it reports whether there was anything to do.
func (r *rehearsal) step(p *spec.Plan, report Report, final map[spec.AppName]int) bool {
	d := Decide(r.in, *p, report, r.in.Base.Generation+1)
	if r.worst.Steps == 0 {
		r.in = Apply(r.in, d)
	} else {
		r.in.apply(&d) // what there is belongs to the rehearsal alone
	}
	r.lookAt(p, final)
	moment := r.use()
	if r.worst.Steps == 0 || r.level(moment) > r.level(r.worst.Used) {
		r.worst.Used, r.worst.Step = moment, r.worst.Steps+1
	}
	followed := r.in.follow(r.w.fleet)
	if d.Empty() && !followed {
		return false
	}
	r.worst.Steps++
	return true
}

// level is how much of the scarcer of cpu and memory is in use, in parts of a million.
func (r *rehearsal) level(used spec.Resources) int64 {
	part := func(n, of int64) int64 {
		if of <= 0 {
			return 0
		}
		return int64(float64(n) / float64(of) * 1e6)
	}
	return max(part(int64(used.CPU), int64(r.total.CPU)), part(int64(used.Memory), int64(r.total.Memory)))
}

// lookAt notes who has too little room in a step: who stops before its successor runs though it need not, whose successor waits
// for others to leave, and who has no place at all though it has one in the end.
func (r *rehearsal) lookAt(p *spec.Plan, final map[spec.AppName]int) {
	for i := range p.Apps {
		a := &p.Apps[i]
		first, waits := 0, 0
		var nodes []spec.NodeID
		for k := range a.Changes {
			c := &a.Changes[k]
			if !c.Now || c.Kind != spec.ChangeReplace && c.Kind != spec.ChangeMove && c.Kind != spec.ChangeStart {
				continue
			}
			switch old := r.old(c); {
			case old != nil && !c.KeepOld && old.Healthy && r.stands(old) && r.surges(c):
				first++
				nodes = append(nodes, c.Node)
			case len(c.Takeover) > 0 && !slices.Contains(c.Takeover, c.Old):
				waits++
				nodes = append(nodes, c.Node)
			}
		}
		missing := 0
		if a.Blocked != nil && a.Blocked.After == 0 {
			missing = max(0, len(a.Blocked.Slots)-final[a.App])
		}
		if first+waits+missing == 0 {
			continue
		}
		t := r.tight[a.App]
		if t == nil {
			t = &spec.TightApp{App: a.App}
			r.tight[a.App] = t
		}
		t.StopFirst, t.Waits, t.Missing = t.StopFirst+first, t.Waits+waits, max(t.Missing, missing)
		t.Nodes = append(t.Nodes, nodes...)
	}
}

// old finds the allocation that a change follows.
func (r *rehearsal) old(c *spec.Change) *spec.AllocationView {
	if c.Old == "" {
		return nil
	}
	i, _ := slices.BinarySearchFunc(r.in.Current, c.Slot, func(a spec.AllocationView, s spec.Slot) int { return a.Slot.Compare(s) })
	for ; i < len(r.in.Current) && r.in.Current[i].Slot == c.Slot; i++ {
		if r.in.Current[i].ID == c.Old {
			return &r.in.Current[i]
		}
	}
	return nil
}

// stands reports whether the node of an allocation is there: what is lost with it does not stop for lack of room.
func (r *rehearsal) stands(a *spec.AllocationView) bool {
	n := r.w.fleet.Node(a.Node)
	return n >= 0 && r.w.fleet.State(n) != spec.NodeUnknown && r.w.fleet.State(n) != spec.NodeDown
}

// surges reports whether the app's strategy would have the new allocation run beside the old one.
func (r *rehearsal) surges(c *spec.Change) bool {
	a := r.in.Versions[c.Version]
	if a == nil || a.Kind != spec.KindService {
		return false
	}
	u := &a.Update
	return c.Kind == spec.ChangeMove || u.Strategy != spec.StrategyRecreate && u.MinHealthy == 0 && u.Surge == 0
}

// use adds up the most that may be in use from now until the nodes have followed: what has not ended, and of what waits for
// others to end, by how much it is more than those. Nothing is more than its node has.
func (r *rehearsal) use() spec.Resources {
	waited, leaving := map[spec.AllocationID]int{}, map[spec.AllocationID]amounts{}
	for i := range r.in.Current {
		if a := &r.in.Current[i]; !a.State.Terminal() {
			for _, id := range a.After {
				waited[id]++
			}
		}
	}
	clear(r.used)
	for i := range r.in.Current {
		a := &r.in.Current[i]
		if a.State.Terminal() {
			continue
		}
		if len(waited) > 0 && waited[a.ID] > 0 {
			leaving[a.ID] = r.need(a.Version)
		}
		if n := r.w.fleet.Node(a.Node); len(a.After) == 0 && n >= 0 && r.w.fleet.Open(n) {
			r.used[n].add(r.need(a.Version), 1)
		}
	}
	for i := range r.in.Current {
		a := &r.in.Current[i]
		n := r.w.fleet.Node(a.Node)
		if a.State.Terminal() || len(a.After) == 0 || n < 0 || !r.w.fleet.Open(n) {
			continue
		}
		more, waits := r.need(a.Version), false
		for _, id := range a.After {
			if old, there := leaving[id]; there {
				if waits = true; waited[id] == 1 {
					more.add(old, -1)
				}
			}
		}
		for d := range more {
			if waits {
				more[d] = max(0, more[d])
			}
		}
		r.used[n].add(more, 1)
	}
	var sum amounts
	for n := range r.used {
		if r.w.fleet.Open(n) {
			has := of(r.w.nodes[n].Capacity)
			for d := range sum {
				sum[d] += min(r.used[n][d], max(0, has[d]))
			}
		}
	}
	return spec.Resources{CPU: spec.MilliCPU(sum[0]), Memory: spec.Bytes(sum[1]), Disk: spec.Bytes(sum[2])}
}

// amounts are cpu, memory and disk.
type amounts [3]int64

func of(r spec.Resources) amounts { return amounts{int64(r.CPU), int64(r.Memory), int64(r.Disk)} }

func (a *amounts) add(b amounts, sign int64) {
	for d := range a {
		a[d] += sign * b[d]
	}
}

func (r *rehearsal) need(h spec.Hash) amounts {
	n, ok := r.needs[h]
	if !ok {
		if a := r.in.Versions[h]; a != nil {
			n = of(a.Needs())
		}
		r.needs[h] = n
	}
	return n
}

// follow lets what should stop end, and what should run be healthy for as long as it has to be. Current belongs to nobody else.
func (in *Input) follow(fleet *place.Fleet) (any bool) {
	for i := range in.Current {
		a := &in.Current[i]
		state := stateOf(fleet, a.Node)
		if a.State.Terminal() || state == spec.NodeUnknown || state == "" {
			continue
		}
		if a.Want == spec.WantStop {
			a.State, a.Healthy, a.HealthySince, a.Since, any = spec.StateComplete, false, 0, in.Now, true
			continue
		}
		settled := spec.Time(1)
		if app := in.Versions[a.Version]; app != nil {
			settled = max(1, in.Now.Add(-app.Update.HealthyFor))
		}
		if a.State != spec.StateRunning || !a.Healthy || a.HealthySince > settled {
			a.State, a.Healthy, a.HealthySince, any = spec.StateRunning, true, settled, true
		}
	}
	return any
}

func stateOf(fleet *place.Fleet, id spec.NodeID) spec.NodeState {
	n := fleet.Node(id)
	if n < 0 {
		return ""
	}
	return fleet.State(n)
}
