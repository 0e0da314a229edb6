package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// This file has the rules between apps. They hold when a place is chosen, in both directions: who wants to be apart from
// another keeps that other away too. What runs is not moved when the other app goes elsewhere.

// maxNearRounds bounds how long a chain of apps, each near the next, one plan places.
const maxNearRounds = 8

// What reasons and steps say of another app.
const (
	ruleKeptOff   = "%s, which asks for it"
	detailNowhere = "%s runs nowhere"
	afterPlaced   = "after %s is placed"
)

// link is a rule of one app over another.
type link struct {
	from      *app
	attribute string
}

// readRules finds for each app the rules that others have over it.
func (w *world) readRules() {
	for _, x := range w.apps {
		if x.desired == nil {
			continue
		}
		w.readRulesOf(x, x.desired)
		if x.version != nil && x.version != x.desired {
			w.readRulesOf(x, x.version)
		}
	}
}

func (w *world) readRulesOf(x *app, v *version) {
	for i := range v.app.Constraints {
		c := &v.app.Constraints[i]
		if c.App == "" {
			continue
		}
		w.related = true
		peer, l := w.peer(c.App), link{x, c.Attribute}
		switch {
		case peer == nil || peer == x:
		case c.Operator == spec.OpNear && !slices.Contains(peer.wantedBy, l):
			peer.wantedBy = append(peer.wantedBy, l)
		case c.Operator == spec.OpApart && v.app.Kind != spec.KindSystem && !slices.Contains(peer.keptOff, l):
			// A system app gives way itself: it runs where the other one does not.
			peer.keptOff = append(peer.keptOff, l)
		}
	}
	w.related = w.related || slices.ContainsFunc(v.app.Affinities, func(a spec.Affinity) bool { return a.App != "" })
}

// peer finds the app that a rule names, under the name that a moved block gave it since.
func (w *world) peer(name spec.AppName) *app {
	return w.byName[spec.NewName(w.in.Desired.Moved, name, w.isDesired)]
}

// besides returns the rules that an allocation of a version of the app has to meet, its own and those of others over it.
// On tells where another app runs.
func (w *world) besides(x *app, a *spec.App, on func(*app) []int32) []place.Beside {
	if !w.related {
		return nil
	}
	rules := w.ownRules(x, a, on)
	for _, l := range x.keptOff {
		c := spec.Constraint{Attribute: l.attribute, Operator: spec.OpApart, App: l.from.name}
		rules = append(rules, place.Beside{Name: fmt.Sprintf(ruleKeptOff, c), Attribute: l.attribute, Apart: true, Nodes: on(l.from)})
	}
	return rules
}

// ownRules returns the rules that the app itself has over others.
func (w *world) ownRules(x *app, a *spec.App, on func(*app) []int32) []place.Beside {
	var rules []place.Beside
	for i := range a.Constraints {
		c := &a.Constraints[i]
		if c.App == "" {
			continue
		}
		b := place.Beside{Name: c.String(), Attribute: c.Attribute, Apart: c.Operator == spec.OpApart}
		if peer := w.peer(c.App); peer != nil && peer != x {
			if b.Nodes = on(peer); !b.Apart {
				b.Nodes = stays(b.Nodes, peer.going)
			}
		}
		if !b.Apart && len(b.Nodes) == 0 {
			b.Detail = fmt.Sprintf(detailNowhere, c.App)
		}
		rules = append(rules, b)
	}
	return rules
}

// stays leaves out the nodes of those that are about to go, unless that is all of them.
func stays(nodes, going []int32) []int32 {
	if len(going) == 0 {
		return nodes
	}
	rest := slices.Clone(nodes)
	for _, n := range going {
		rest = without(rest, int(n))
	}
	if len(rest) == 0 {
		return nodes
	}
	return rest
}

// allowed returns those of the nodes where a system app may be as other apps stand now: it follows them by a plan.
func (w *world) allowed(x *app, a *spec.App, nodes []int32) []int32 {
	if rules := w.ownRules(x, a, w.standing); len(rules) > 0 {
		return w.fleet.Obeys(nodes, rules)
	}
	return nodes
}

// standing returns where the app is meant to run as of now.
func (w *world) standing(x *app) []int32 {
	var nodes []int32
	for i := range x.views {
		if n := w.nodeOf[x.first+i]; n >= 0 && x.views[i].Want == spec.WantRun && !x.views[i].State.Terminal() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// peers returns what the app wishes of others, and keeps it with those that have to be near it.
func (w *world) peers(x *app, a *spec.App) []place.Peer {
	if !w.related {
		return nil
	}
	var wishes []place.Peer
	for i := range a.Affinities {
		if f := &a.Affinities[i]; f.App != "" {
			p := place.Peer{Name: f.String(), Attribute: f.Attribute, Weight: spec.Milli(f.Weight * place.AffinityUnit)}
			if peer := w.peer(f.App); peer != nil {
				p.Nodes = w.ownOf(peer)
			}
			wishes = append(wishes, p)
		}
	}
	for _, l := range x.wantedBy {
		c := spec.Constraint{Attribute: l.attribute, Operator: spec.OpNear, App: l.from.name}
		wishes = append(wishes, place.Peer{Name: fmt.Sprintf(ruleKeptOff, c), Attribute: l.attribute, Weight: place.PullWeight, Nodes: w.ownOf(l.from)})
	}
	return wishes
}

// peersFirst orders jobs so that an app comes after those it has rules or wishes over. A circle of wishes is
// cut at its first app by name, which goes last.
func (w *world) peersFirst(jobs []*job) []*job {
	if w.related {
		depth := w.depths(jobs)
		slices.SortStableFunc(jobs, func(a, b *job) int { return cmp.Compare(depth[a.x], depth[b.x]) })
	}
	return jobs
}

// depths counts for each app of the jobs how many others have to be placed one after another before it.
func (w *world) depths(jobs []*job) map[*app]int {
	of := make(map[*app][]*job, len(jobs))
	for _, j := range jobs {
		of[j.x] = append(of[j.x], j)
	}
	depth := make(map[*app]int, len(of))
	var visit func(x *app) int
	visit = func(x *app) int {
		d, seen := depth[x]
		if seen || of[x] == nil {
			return d
		}
		depth[x] = 0 // for those of a circle that come back to it
		for _, j := range of[x] {
			for _, name := range relations(j.version.app) {
				if peer := w.peer(name); peer != nil && of[peer] != nil && peer != x {
					d = max(d, visit(peer)+1)
				}
			}
		}
		depth[x] = d
		return d
	}
	for _, j := range jobs {
		visit(j.x)
	}
	return depth
}

// relations lists the apps that an app has rules or wishes over.
func relations(a *spec.App) []spec.AppName {
	var names []spec.AppName
	for i := range a.Constraints {
		if n := a.Constraints[i].App; n != "" {
			names = append(names, n)
		}
	}
	for i := range a.Affinities {
		if n := a.Affinities[i].App; n != "" {
			names = append(names, n)
		}
	}
	return names
}

// placeNear tries again what found no place near another app that has been placed since: shares and priorities may have
// put the other one last.
func (w *world) placeNear(jobs []*job) {
	if !w.related {
		return
	}
	for range maxNearRounds {
		again := w.missedNear(jobs, true)
		placed := 0
		for _, j := range again {
			placed += len(j.steps) + len(j.x.missed)
		}
		w.placeFairly(again)
		for _, j := range again {
			placed -= len(j.x.missed)
		}
		if placed <= 0 {
			return
		}
	}
}

// foreseeNear foresees what finds its place only once another app, which waits itself, has been placed.
func (w *world) foreseeNear(jobs []*job) {
	if !w.related {
		return
	}
	for _, j := range w.missedNear(jobs, false) {
		for i, s := range j.steps {
			later := *s
			later.Now, later.After = false, fmt.Sprintf(afterPlaced, w.waitsNear(j, false).name)
			j.steps[i] = &later
		}
		w.foresee(j)
	}
}

// missedNear returns jobs of the steps that found no place though another app that they have to be near has been placed
// by this plan, now or later. They are no longer missed.
func (w *world) missedNear(jobs []*job, now bool) []*job {
	var again []*job
	for _, j := range jobs {
		x := j.x
		if x.held != "" || len(x.missed) == 0 || w.waitsNear(j, now) == nil {
			continue
		}
		missed := make(map[stepKey]bool, len(x.missed))
		for i := range x.missed {
			missed[keyOf(&x.missed[i])] = true
		}
		steps := slices.DeleteFunc(slices.Clone(j.steps), func(s *rollout.Step) bool { return !missed[keyOf(s)] })
		gone := make(map[stepKey]bool, len(steps))
		for _, s := range steps {
			gone[keyOf(s)] = true
		}
		x.missed = slices.DeleteFunc(x.missed, func(s rollout.Step) bool { return gone[keyOf(&s)] })
		if len(steps) > 0 {
			again = append(again, &job{x: x, version: j.version, steps: steps})
		}
	}
	return again
}

// stepKey tells the steps of one app apart.
type stepKey struct {
	slot   int
	canary bool
	kind   spec.ChangeKind
}

func keyOf(s *rollout.Step) stepKey { return stepKey{s.Slot, s.Canary, s.Kind} }

// waitsNear returns an app that the job has to be near and of which the plan places something, now or later; or nil.
func (w *world) waitsNear(j *job, now bool) *app {
	for i := range j.version.app.Constraints {
		c := &j.version.app.Constraints[i]
		if c.Operator != spec.OpNear {
			continue
		}
		peer := w.peer(c.App)
		if peer != nil && slices.ContainsFunc(peer.changes, func(c change) bool { return c.Node != "" && c.Kind != spec.ChangeUpdate && c.Now == now }) {
			return peer
		}
	}
	return nil
}
