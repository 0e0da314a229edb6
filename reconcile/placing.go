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
		if !w.trial && x.held == "" && x.lacking() != nil {
			w.explain(x) // as it is now: what leaves later helps none of these
		}
	}
	if w.step {
		return
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
