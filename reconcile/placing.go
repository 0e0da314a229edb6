package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// Bounds on how far ahead a rollout is foreseen wave by wave, each with the room that the one before leaves; beyond
// them what remains is foreseen at once. Large clusters look less far: each wave looks at every node.
const (
	maxWaves      = 64
	foreseenLooks = 320_000
)

func (w *world) waves() int { return max(8, min(maxWaves, foreseenLooks/max(1, w.fleet.Len()))) }

func (w *world) matcher(x *app, v *version) *place.Matcher {
	if m, ok := x.matchers[v]; ok {
		return m
	}
	if x.matchers == nil {
		x.matchers = map[*version]*place.Matcher{}
	}
	m := w.fleet.Matcher(v.app)
	x.matchers[v] = m
	return m
}

// retire takes all stops and updates of the plan, so that what is placed afterwards sees who leaves.
func (w *world) retire() {
	for _, x := range w.apps {
		if x.held != "" || x.calm {
			continue
		}
		w.ownOf(x)
		x.changes = make([]change, 0, len(x.out.Steps))
		for i := range x.out.Steps {
			s := &x.out.Steps[i]
			switch s.Kind {
			case spec.ChangeStop:
				c := change{old: s.Old, stopsOld: true}
				c.Change = spec.Change{Slot: s.Old.Slot, Kind: s.Kind, Old: s.Old.ID, From: s.Old.Node, Reason: s.Reason, Now: s.Now, After: s.After}
				x.changes = append(x.changes, c)
				if s.Now {
					w.leave(x, s.Old)
				}
			case spec.ChangeUpdate:
				c := change{old: s.Old, version: x.version, promote: s.Promote}
				c.Change = spec.Change{Slot: s.Old.Slot, Kind: s.Kind, Old: s.Old.ID, From: s.Old.Node, Node: s.Old.Node, Reason: s.Reason, Version: x.version.hash, Now: s.Now, After: s.After}
				x.changes = append(x.changes, c)
			}
		}
	}
}

// ownOf lists the nodes of the allocations that count for the app's limits.
func (w *world) ownOf(x *app) []int32 {
	if x.counted {
		return x.own
	}
	x.counted = true
	x.own = make([]int32, 0, len(x.views)+len(x.out.Steps))
	for i := range x.views {
		a := &x.views[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
			continue
		}
		if n := w.nodeOf[x.first+i]; n >= 0 && w.fleet.State(int(n)) != spec.NodeDown && (i >= len(x.allocs) || x.allocs[i].Ground != rollout.Lost) {
			x.own = append(x.own, n)
		}
	}
	w.findGoing(x)
	return x.own
}

// findGoing lists the nodes of those of x.own that are to be followed by others, now or later.
func (w *world) findGoing(x *app) {
	x.going, x.ending = nil, nil
	for i := range x.out.Steps {
		s := &x.out.Steps[i]
		if s.Old == nil || s.Old.Ground == rollout.Lost || s.Kind == spec.ChangeStop && s.Now || !s.Places() && s.Kind != spec.ChangeStop {
			continue
		}
		node := w.fleet.Node(s.Old.Node)
		if node < 0 || s.Old.State.Terminal() || s.Old.Want == spec.WantStop || w.fleet.State(node) == spec.NodeDown {
			continue
		}
		if x.ending == nil {
			x.ending = map[*rollout.Alloc]bool{}
		}
		x.ending[s.Old] = true
		x.going = append(x.going, int32(node))
	}
}

// disown takes an allocation out of what counts for the app's limits.
func (x *app) disown(a *rollout.Alloc, node int) {
	x.own = without(x.own, node)
	if x.ending[a] {
		x.going = without(x.going, node)
	}
}

// own takes an allocation back that was disowned.
func (x *app) reown(a *rollout.Alloc, node int) {
	x.own = append(x.own, int32(node))
	if x.ending[a] {
		x.going = append(x.going, int32(node))
	}
}

// without takes one mention of the node off a list.
func without(list []int32, node int) []int32 {
	if i := slices.Index(list, int32(node)); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// leave marks an allocation as on its way out.
func (w *world) leave(x *app, a *rollout.Alloc) {
	node, v := w.fleet.Node(a.Node), w.known(a.Version)
	if node < 0 || v == nil {
		return
	}
	w.ownOf(x)
	given := a.Grant()
	w.fleet.Leave(node, a.ID, v.need, &given, a.After)
	w.reserved.count(x, node, v.need, -1)
	x.disown(a, node)
}

func (w *world) unleave(x *app, a *rollout.Alloc) {
	if node := w.fleet.Node(a.Node); node >= 0 {
		w.fleet.Unleave(node, a.ID)
		if v := w.known(a.Version); v != nil {
			w.reserved.count(x, node, v.need, 1)
		}
		x.reown(a, node)
	}
}

// job is the steps of one app that ask for nodes in the same way.
type job struct {
	x       *app
	version *version
	steps   []*rollout.Step
}

// place finds nodes: first for all that can start now, most important first, then for what waits.
func (w *world) place() {
	w.readRules()
	var now, later []*job
	for _, x := range w.apps {
		if x.held != "" || x.desired == nil || x.calm {
			continue
		}
		now = append(now, w.jobs(x, true)...)
		later = append(later, w.jobs(x, false)...)
	}
	if len(now)+len(later) == 0 {
		return
	}
	w.roles = w.newRoles()
	now, later = w.peersFirst(now), w.peersFirst(later)
	w.placeFairly(now)
	w.placeNear(now)
	w.passOn(later)
	for _, x := range w.apps {
		if x.held == "" && x.lacking() != nil {
			w.explain(x) // as it is now: what leaves later helps none of these
		}
	}
	slices.SortStableFunc(later, byImportance)
	for _, j := range later {
		w.foresee(j)
	}
	w.foreseeNear(now)
}

func byImportance(a, b *job) int {
	return cmp.Compare(b.version.app.Priority, a.version.app.Priority)
}

// jobs groups the steps of an app that need a node.
func (w *world) jobs(x *app, now bool) []*job {
	main, canary, target := &job{x: x, version: x.version}, &job{x: x, version: x.canary}, &job{x: x, version: x.desired}
	waits := x.waitsForItself()
	for i := range x.out.Steps {
		s := &x.out.Steps[i]
		switch s.Kind {
		case spec.ChangeStart, spec.ChangeMove, spec.ChangeReplace:
		case spec.ChangeBlocked:
			if now {
				x.missed = append(x.missed, *s)
			}
			continue
		default:
			continue
		}
		switch {
		case s.Now != now:
		case waits:
			x.missed = append(x.missed, *s)
		case s.Canary:
			canary.steps = append(canary.steps, s)
		case s.Target:
			target.steps = append(target.steps, s)
		default:
			main.steps = append(main.steps, s)
		}
	}
	var out []*job
	for _, j := range []*job{main, canary, target} {
		if len(j.steps) > 0 {
			out = append(out, j)
		}
	}
	return out
}

// placeJob places the steps of a job now; those that find no place are returned.
func (w *world) placeJob(j *job) []*rollout.Step {
	if j.version.app.Gang {
		return w.placeGang(j)
	}
	var beside, first []*rollout.Step
	for _, s := range j.steps {
		if s.Beside == rollout.StopFirst {
			first = append(first, s)
		} else {
			beside = append(beside, s)
		}
	}
	missed := w.placeSteps(j, beside)
	var still []*rollout.Step
	for _, s := range missed {
		if s.Beside != rollout.IfNeeded || !w.stopFirst(j, s, true) {
			still = append(still, s)
		}
	}
	for _, s := range first {
		if !w.stopFirst(j, s, false) {
			still = append(still, s)
		}
	}
	return still
}

// request starts a request for the job.
func (w *world) request(j *job, count int) *place.Request {
	x, v := j.x, j.version.app
	r := &place.Request{
		Match: w.matcher(x, j.version), Count: count, Total: v.Count, Own: w.ownOf(x), Faulty: x.faulty, Seed: w.in.Seed,
	}
	r.Going = x.going
	if v.Kind == spec.KindSystem {
		r.Total = w.slotsOf(x, j.version)
	}
	r.Beside = w.besides(x, v, w.ownOf)
	r.Peers = w.peers(x, v)
	return r
}

// requestOn starts a request for one step of the job: of a system app, for the node that the step is about.
func (w *world) requestOn(j *job, s *rollout.Step) *place.Request {
	r := w.request(j, 1)
	if node := w.fleet.Node(s.Node); node >= 0 {
		r.Own, r.Going, r.Only = nil, nil, []int32{int32(node)}
	}
	return r
}

// placeSteps places steps beside whatever their old allocations do: on free room first, then, where that is not
// enough, on the room of those who leave.
func (w *world) placeSteps(j *job, steps []*rollout.Step) []*rollout.Step {
	if len(steps) == 0 {
		return nil
	}
	if j.version.app.Kind == spec.KindSystem {
		return w.placeOnNodes(j, steps)
	}
	for _, wait := range []bool{false, true} {
		if len(steps) == 0 || j.x.held != "" {
			break
		}
		r := w.request(j, len(steps))
		r.Wait = wait
		steps = w.placeBatch(j, r, steps, "")
	}
	return steps
}

// placeOnNodes places the steps of a system app, each on its own node.
func (w *world) placeOnNodes(j *job, steps []*rollout.Step) []*rollout.Step {
	var missed []*rollout.Step
	for _, s := range steps {
		if w.fleet.Node(s.Node) < 0 {
			continue
		}
		done := false
		for _, wait := range []bool{false, true} {
			r := w.requestOn(j, s)
			r.Wait = wait
			if done = len(w.placeBatch(j, r, []*rollout.Step{s}, "")) == 0; done {
				break
			}
		}
		if !done {
			missed = append(missed, s)
		}
	}
	return missed
}

// stopFirst lets the old allocation of a slot stop before the new one starts in its room. Unless the strategy says so
// anyway, it is done only where the budget allows and some other allocation keeps the app going.
func (w *world) stopFirst(j *job, s *rollout.Step, asked bool) bool {
	x := j.x
	if s.Old == nil || x.held != "" {
		return false
	}
	elsewhere := s.Node != "" && s.Node != s.Old.Node
	if node := w.fleet.Node(s.Old.Node); elsewhere || node >= 0 && !w.fleet.Open(node) {
		if w.leaveFirst(j, s, asked) {
			return true
		}
		stops := s.Beside == rollout.StopFirst && w.matcher(x, j.version).Limited() // and has been tried so
		return !asked && !stops && len(w.placeSteps(j, []*rollout.Step{s})) == 0
	}
	working := s.Old.Healthy && s.Old.Ground == rollout.Firm
	if asked && working {
		if x.tight = x.tight || w.spare(x) <= 0; w.spare(x) <= 0 || j.version.app.Count > 1 && !w.otherUp(x, s) {
			return false
		}
	}
	node := w.fleet.Node(s.Old.Node)
	if node < 0 {
		return len(w.placeSteps(j, []*rollout.Step{s})) == 0
	}
	beside := s.Beside
	s.Beside = rollout.StopFirst
	w.leave(x, s.Old)
	r := w.request(j, 1)
	r.Only, r.Wait = []int32{int32(node)}, true
	if len(w.placeBatch(j, r, []*rollout.Step{s}, s.Old.ID)) == 0 {
		if asked && working {
			w.spend(x, 1)
		}
		return true
	}
	if !asked && beside == rollout.StopFirst { // elsewhere, and still the old one counts no more: it stops now
		if len(w.placeSteps(j, []*rollout.Step{s})) == 0 {
			return true
		}
		w.unleave(x, s.Old)
		return false
	}
	w.unleave(x, s.Old)
	s.Beside = beside
	return !asked && len(w.placeSteps(j, []*rollout.Step{s})) == 0
}

// leaveFirst lets an allocation stop on a node that takes none any more, so that its successor can start on another one
// from which only the app's own limits keep the two together.
func (w *world) leaveFirst(j *job, s *rollout.Step, asked bool) bool {
	x := j.x
	if s.Old.Ground == rollout.Lost || !w.matcher(x, j.version).Limited() {
		return false
	}
	working := asked && s.Old.Healthy
	if working && (w.spare(x) <= 0 || j.version.app.Count > 1 && !w.otherUp(x, s)) {
		x.tight = x.tight || w.spare(x) <= 0
		return false
	}
	beside := s.Beside
	s.Beside = rollout.StopFirst
	w.leave(x, s.Old)
	if len(w.placeSteps(j, []*rollout.Step{s})) > 0 {
		w.unleave(x, s.Old)
		s.Beside = beside
		return false
	}
	if working {
		w.spend(x, 1)
	}
	return true
}

// otherUp reports whether another allocation of the app works and will go on working.
func (w *world) otherUp(x *app, s *rollout.Step) bool {
	for i := range x.allocs {
		a := &x.allocs[i]
		if a.Index == s.Slot || !a.Live() || !a.Healthy || a.Ground == rollout.Lost || a.Ground == rollout.Silent {
			continue
		}
		if !slices.ContainsFunc(x.changes, func(c change) bool { return c.old == a && c.stopsOld && !c.KeepOld && c.Now }) {
			return true
		}
	}
	return false
}

// placeBatch asks the policy and takes what it answers; the steps that got no node are returned. With prefer, every
// placement waits for that allocation to end.
func (w *world) placeBatch(j *job, r *place.Request, steps []*rollout.Step, prefer spec.AllocationID) []*rollout.Step {
	ref := w.policyOf(j.version.app)
	policy, ok := w.policy(ref.Name)
	if !ok {
		w.hold(j.x, fmt.Sprintf(heldPolicyMissing, ref.Name))
		return nil
	}
	r.Config, r.Prefer = ref.Config, prefer
	if s, ok := policy.(place.Scoring); ok {
		r.Best = &s
	}
	r.Count = min(len(steps), w.roles.room(j, steps))
	if r.Count == 0 || j.version.app.Gang && r.Count < len(steps) {
		return steps
	}
	show := w.reserved.hide(j.x)
	b := w.fleet.Batch(r)
	show()
	if len(b.Nodes) == 0 {
		return steps
	}
	picks, err := policy.Place(b)
	if err == nil {
		err = b.Verify(picks)
	}
	if err != nil {
		w.hold(j.x, fmt.Sprintf(heldPolicy, ref.Name, err))
		return nil
	}
	if j.version.app.Gang && len(picks) < len(steps) {
		return steps
	}
	for k := range picks {
		w.take(j, r, steps[k], w.fleet.At(picks[k].Node), &picks[k].Score, prefer)
	}
	return steps[len(picks):]
}

func (w *world) policyOf(a *spec.App) spec.PolicyRef {
	if a.Policy != nil {
		return *a.Policy
	}
	for i := range w.in.Desired.Pools {
		if p := &w.in.Desired.Pools[i]; p.Name == a.Pool.Or() && p.Policy != nil {
			return *p.Policy
		}
	}
	if w.in.Desired.Policy.Name == "" {
		return spec.PolicyRef{Name: spec.DefaultPolicy}
	}
	return w.in.Desired.Policy
}

// hasPolicy reports whether the policy can be asked.
func (w *world) hasPolicy(name string) bool {
	_, ok := w.policy(name)
	return ok
}

func (w *world) policy(name string) (place.Policy, bool) {
	if p, ok := w.in.Policies[name]; ok {
		return p, true
	}
	return place.BuiltIn(name)
}

// take puts the new allocation of a step on a node and writes the change.
func (w *world) take(j *job, r *place.Request, s *rollout.Step, node int, score *spec.Score, prefer spec.AllocationID) {
	x := j.x
	slot := spec.Slot{App: x.name, Index: s.Slot}
	given := w.fleet.Grant(node, slot, r)
	c := change{old: s.Old, version: j.version}
	c.Change = spec.Change{
		Slot: slot, Kind: s.Kind, Node: w.fleet.ID(node), Ports: given.Ports, Devices: given.Devices, Cores: given.Cores, Score: score, Reason: s.Reason,
		Version: j.version.hash, Canary: s.Canary, Attempt: s.Attempt, Now: s.Now, After: s.After,
	}
	if s.Old != nil {
		c.Old, c.From = s.Old.ID, s.Old.Node
		c.stopsOld = s.Beside != rollout.Alone
		c.KeepOld = s.Beside == rollout.Surge || s.Beside == rollout.IfNeeded
	}
	if r.Wait {
		c.Takeover = w.fleet.Claim(node, j.version.need, &given, prefer)
	} else {
		w.fleet.Take(node, j.version.need, &given)
	}
	x.own = append(w.ownOf(x), int32(node))
	w.roles.take(j, s)
	w.reserved.count(x, node, j.version.need, 1)
	x.changes = append(x.changes, c)
}

// hold leaves an app as it is after all: what was placed for it is taken back.
func (w *world) hold(x *app, why string) {
	x.held = why
	for i := range x.changes {
		c := &x.changes[i]
		if c.Node != "" && c.Kind != spec.ChangeUpdate && len(c.Takeover) == 0 { // what shares room stays counted: too much is safe
			given := c.Grant()
			w.fleet.Release(w.fleet.Node(c.Node), c.version.need, &given)
			w.reserved.count(x, w.fleet.Node(c.Node), c.version.need, -1)
		}
		if c.stopsOld && c.Now && c.From != "" {
			if n := w.fleet.Node(c.From); n >= 0 {
				w.fleet.Unleave(n, c.Old)
			}
		}
	}
	x.changes, x.missed, x.blocked, x.why, x.counted = nil, nil, nil, nil, false
	if x.record != nil {
		x.rollout = *x.record
	}
}

// foresee places what waits: wave after wave, each with the room that the one before it leaves.
func (w *world) foresee(j *job) {
	x := j.x
	if j.version.app.Gang {
		for _, s := range w.placeGang(j) {
			x.missed = append(x.missed, *s)
		}
		return
	}
	steps := slices.Clone(j.steps)
	slices.SortStableFunc(steps, func(a, b *rollout.Step) int { return cmp.Compare(a.Wave, b.Wave) })
	w.leaveOld(x, 0)
	done := len(x.changes)
	most := w.waves()
	for waves := 0; len(steps) > 0 && x.held == ""; waves++ {
		n := 1
		for n < len(steps) && (steps[n].Wave == steps[0].Wave || waves >= most) {
			n++
		}
		var alone, after []*rollout.Step
		for _, s := range steps[:n] {
			if s.Beside == rollout.StopFirst {
				after = append(after, s)
			} else {
				alone = append(alone, s)
			}
		}
		missed := w.placeSteps(j, alone)
		for _, s := range append(missed, after...) {
			if !w.stopFirst(j, s, false) {
				x.missed = append(x.missed, *s)
			}
		}
		steps = steps[n:]
		w.leaveOld(x, done)
		done = len(x.changes)
	}
}

// leaveOld foresees that the old allocations of the changes from the given one on have been followed.
func (w *world) leaveOld(x *app, from int) {
	for i := from; i < len(x.changes); i++ {
		c := &x.changes[i]
		if c.stopsOld && c.old != nil && (c.KeepOld || c.Kind == spec.ChangeStop && !c.Now) {
			w.leave(x, c.old)
		}
	}
}
