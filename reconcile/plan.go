package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// Plan says what would be done to get from what is to what the commit says: all of it, with Now on the steps that can
// be taken at once. It changes nothing; carrying it out is Decide's part.
func Plan(in Input) (spec.Plan, Report) {
	w := newWorld(&in)
	w.decide()
	w.move()
	p := w.plan()
	p.ID = planID(&p)
	return p, w.report()
}

// decide settles what happens to which slot, and where.
func (w *world) decide() {
	w.advance()
	w.steps()
	w.retire()
	w.place()
}

// plan writes down what was found.
func (w *world) plan() spec.Plan {
	in := w.in
	p := spec.Plan{
		FormatVersion: spec.PlanFormatVersion, Commit: in.Commit, Subject: in.Subject, Signed: in.Signed,
		Base: in.Base, Suppose: in.Suppose, Policies: w.policiesUsed(),
	}
	if !in.Brief {
		p.Base.Nodes = w.nodesHash()
		p.Schedules = w.schedules()
	}
	for _, x := range w.apps {
		w.explainMissed(x)
	}
	if !in.Brief {
		w.fixes()
	}
	for _, x := range w.apps {
		if a, any := w.appPlan(x); any {
			p.Apps = append(p.Apps, a)
		}
	}
	if w.roles != nil {
		p.Warnings = append(p.Warnings, w.roles.promised()...)
	}
	reservations, warnings := w.reserved.states()
	p.Reservations, p.Warnings = reservations, append(p.Warnings, warnings...)
	if !in.Brief {
		p.Warnings = append(p.Warnings, w.idleSpreads()...)
	}
	w.describe(&p)
	return p
}

// appPlan writes down what happens to one app, and whether anything does.
func (w *world) appPlan(x *app) (spec.AppPlan, bool) {
	a := spec.AppPlan{App: x.name, Action: spec.ChangeStay, Held: x.held, Waits: cmp.Or(x.waits, x.through), Steps: w.in.Steps[x.name], Blocked: x.blocked}
	switch {
	case x.desired != nil:
		a.Version, a.Pos = x.desired.hash, x.desired.app.Pos
	case len(x.allocs) > 0:
		a.Version = x.allocs[0].Version
		if v := w.known(a.Version); v != nil {
			a.Pos = v.app.Pos
		}
	}
	a.Run = x.run != nil && !w.pruned(x)
	slices.SortStableFunc(x.changes, func(c, d change) int { return cmp.Compare(c.Index, d.Index) })
	a.Changes = make([]spec.Change, 0, len(x.changes))
	for i := range x.changes {
		a.Changes = append(a.Changes, x.changes[i].Change)
		a.Action = stronger(a.Action, x.changes[i].Kind)
	}
	if x.toForget() {
		a.Forget, a.Action, a.Version = true, spec.ChangeStop, x.record.Target
		if v := w.known(a.Version); v != nil {
			a.Pos = v.app.Pos
		}
	}
	if a.Idle() && !x.unfinished() {
		return a, false
	}
	if a.Blocked != nil && a.Action == spec.ChangeStay {
		a.Action = spec.ChangeBlocked
	}
	if x.desired == nil || x.held != "" {
		return a, true
	}
	if x.run == nil {
		r := x.rollout
		a.Rollout, a.Older = &r, x.older()
	}
	if !w.in.Brief {
		a.Stay = w.stay(x)
		if a.Action == spec.ChangeStart || a.Action == spec.ChangeReplace || a.Action == spec.ChangeMove {
			a.Images = x.desired.app.Pulled()
		}
		if x.run == nil {
			a.Fields = w.fields(x)
		}
	}
	return a, true
}

// toForget reports whether the app left the repository with this commit while nothing of it ran: what is followed has it, as its rollout
// says.
func (x *app) toForget() bool {
	return x.desired == nil && x.run == nil && x.held == "" && x.record != nil && !x.wanted()
}

// wanted reports whether an allocation of the app has neither ended nor is to end.
func (x *app) wanted() bool {
	return slices.ContainsFunc(x.views, func(a spec.AllocationView) bool { return !a.State.Terminal() && a.Want == spec.WantRun })
}

// retries reports whether a slot of the app waits for its next attempt: it counts as running for whoever takes the app away.
func (x *app) retries() bool {
	return x.record != nil && slices.ContainsFunc(x.views, func(a spec.AllocationView) bool { return a.State == spec.StateFailed && a.Want == spec.WantRun })
}

// unfinished reports whether the app is not as the commit says, and stays so, as its rollout has failed.
func (x *app) unfinished() bool {
	return x.desired != nil && x.run == nil && x.held == "" && (x.rollout.State == spec.RolloutFailed || x.rollout.State == spec.RolloutReverting)
}

// older is the commit that the version came from to which an app is back, or goes back, after its rollout has failed.
func (x *app) older() spec.Commit {
	if !x.unfinished() || x.version == x.desired {
		return ""
	}
	var newest *rollout.Alloc
	for i := range x.allocs {
		if a := &x.allocs[i]; a.Live() && !a.Canary && a.Fit != rollout.Outdated && (newest == nil || a.Generation > newest.Generation) {
			newest = a
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Commit
}

var strength = map[spec.ChangeKind]int{
	spec.ChangeStay: 0, spec.ChangeUpdate: 1, spec.ChangeMove: 2, spec.ChangeReplace: 3, spec.ChangeStart: 4, spec.ChangeStop: 5, spec.ChangeBlocked: 6,
}

func stronger(a, b spec.ChangeKind) spec.ChangeKind {
	if strength[b] > strength[a] {
		return b
	}
	return a
}

// policiesUsed names the policies that apps of the commit use.
func (w *world) policiesUsed() []spec.PolicyVersion {
	var names []string
	for _, a := range w.in.Desired.Apps {
		if n := w.policyOf(a).Name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var used []spec.PolicyVersion
	for _, n := range names {
		v, ok := w.in.PolicyVersions[n]
		if !ok {
			v = "built in"
		}
		used = append(used, spec.PolicyVersion{Name: n, Version: v})
	}
	return used
}

// planID is "p-" and twelve hexadecimal digits of the SHA-256 over the plan's JSON without the ID: first all but the
// apps, then the apps, each on a line of its own, so that a plan of many is never in memory as text.
func planID(p *spec.Plan) spec.PlanID {
	h := sha256.New()
	e := json.NewEncoder(h)
	add := func(part any) {
		if err := e.Encode(part); err != nil {
			panic("reconcile: a plan of plain fields does not encode: " + err.Error())
		}
	}
	rest := *p
	rest.ID, rest.Apps = "", nil
	add(&rest)
	for i := range p.Apps {
		add(&p.Apps[i])
	}
	return spec.PlanID("p-" + hex.EncodeToString(h.Sum(nil)[:6]))
}

func (w *world) report() Report {
	r := Report{Next: soonest(soonest(w.next, w.runs.Next), w.opens), NextOfApps: w.next, Events: w.events, MovesDone: w.movesDone}
	if !w.runs.Change.Empty() {
		r.Runs, r.Versions = &w.runs.Change, w.runs.Versions
	}
	for _, x := range w.apps {
		if x.rollout.App != "" {
			r.Rollouts = append(r.Rollouts, x.rollout)
		}
	}
	for _, wish := range w.in.Restarts {
		if x := w.byName[wish.App]; x == nil || !x.restarting() {
			r.RestartsDone = append(r.RestartsDone, wish)
		}
	}
	return r
}

// restarting reports whether an allocation that an operator wants replaced still runs.
func (x *app) restarting() bool {
	for i := range x.allocs {
		if a := &x.allocs[i]; a.Restart && a.Want == spec.WantRun {
			return true
		}
	}
	return false
}
