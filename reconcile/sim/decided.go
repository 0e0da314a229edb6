package sim

import (
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// What is looked at in decisions as they are carried out, whatever the plan and its lint say.
const (
	invariantQuota = "quotas: no decision brings a role above its quota"
	invariantGang  = "gangs: when something of a gang starts, nothing of it is missing afterwards"
	invariantNear  = "near and apart: what starts is where its rules want it"
	invariantOnce  = "once: work that is done is not done again"
)

// outcome is what is meant to run after a decision.
type outcome struct {
	w       *world
	in      *reconcile.Input
	d       *reconcile.Decision
	apps    map[spec.AppName]*spec.App
	nodes   map[spec.NodeID]*spec.NodeView
	current []spec.AllocationView // of the input, by the names that their apps have afterwards
	stays   []spec.Allocation     // meant to run afterwards, what starts last
	old     []spec.Allocation     // meant to run before
}

// checkDecision looks at a decision.
func (w *world) checkDecision(in *reconcile.Input, d *reconcile.Decision) {
	if len(d.Start)+len(d.Update) == 0 {
		return
	}
	o := &outcome{w: w, in: in, d: d, apps: map[spec.AppName]*spec.App{}, nodes: map[spec.NodeID]*spec.NodeView{}}
	for _, a := range in.Desired.Apps {
		o.apps[a.Name] = a
	}
	for i := range in.Nodes {
		o.nodes[in.Nodes[i].ID] = &in.Nodes[i]
	}
	o.current = slices.Clone(in.Current)
	for i := range o.current {
		for _, r := range d.Renamed {
			if o.current[i].App == r.From {
				o.current[i].App = r.To
				break
			}
		}
	}
	goes, updated := map[spec.AllocationID]bool{}, map[spec.AllocationID]*reconcile.Update{}
	for _, s := range d.Stop {
		goes[s.ID] = true
	}
	for i := range d.Update {
		updated[d.Update[i].ID] = &d.Update[i]
	}
	for i := range o.current {
		a := o.current[i].Allocation
		if a.Want != spec.WantRun || o.current[i].State.Terminal() {
			continue
		}
		o.old = append(o.old, a)
		if u := updated[a.ID]; u != nil {
			a.Version, a.Canary = u.Version, a.Canary && !u.Promote
		}
		if !goes[a.ID] {
			o.stays = append(o.stays, a)
		}
	}
	o.stays = append(o.stays, d.Start...)
	o.quotas()
	o.gangs()
	for i := range d.Start {
		o.beside(&d.Start[i])
		o.once(&d.Start[i])
	}
}

// version finds what an allocation is one of; nil when nobody knows any more.
func (o *outcome) version(h spec.Hash) *spec.App {
	if a := o.d.Versions[h]; a != nil {
		return a
	}
	return o.in.Versions[h]
}

// quotas counts for each role what it and those below it have, of each slot the newest.
func (o *outcome) quotas() {
	if !slices.ContainsFunc(o.in.Desired.Roles, func(r spec.Role) bool { return r.Quota != nil }) {
		return
	}
	before, after := o.usage(o.old), o.usage(o.stays)
	for i := range o.in.Desired.Roles {
		r := &o.in.Desired.Roles[i]
		if r.Quota == nil {
			continue
		}
		was, is := before[r.Name], after[r.Name]
		for _, c := range []struct {
			name           string
			was, is, quota int64
		}{
			{"cpu", int64(was.CPU), int64(is.CPU), int64(r.Quota.CPU)},
			{"memory", int64(was.Memory), int64(is.Memory), int64(r.Quota.Memory)},
		} {
			if c.quota > 0 && c.is > c.quota && c.is > c.was {
				o.w.violated("%s: %s of %s had %d, has %d, may have %d", invariantQuota, c.name, r.Name, c.was, c.is, c.quota)
			}
		}
	}
}

// usage adds up what roles have.
func (o *outcome) usage(list []spec.Allocation) map[spec.RoleName]spec.Resources {
	type place struct {
		slot   spec.Slot
		canary bool
	}
	newest := map[place]*spec.Allocation{}
	for i := range list {
		p := place{list[i].Slot, list[i].Canary}
		if n := newest[p]; n == nil || list[i].Generation > n.Generation {
			newest[p] = &list[i]
		}
	}
	sums := map[spec.RoleName]spec.Resources{}
	for _, a := range newest { // any order: sums
		v := o.version(a.Version)
		if v == nil {
			continue
		}
		role := v.Role
		if app := o.apps[a.App]; app != nil {
			role = app.Role
		} else if v.Run == nil {
			continue // it left the repository
		}
		for r := role; r != ""; r = r[:max(0, strings.LastIndexByte(string(r), '/'))] {
			sums[r] = sums[r].Plus(v.Needs())
		}
	}
	return sums
}

// gangs looks at each gang of which something starts: all of its slots, or canaries, are there afterwards.
func (o *outcome) gangs() {
	for i := range o.d.Start {
		a := &o.d.Start[i]
		if i > 0 && o.d.Start[i-1].App == a.App && o.d.Start[i-1].Canary == a.Canary || !o.version(a.Version).Gang {
			continue
		}
		slots := map[int]bool{}
		for k := range o.stays {
			if x := &o.stays[k]; x.App == a.App && x.Canary == a.Canary {
				slots[x.Index] = true
			}
		}
		for k := range o.current { // work of a batch gang that is done is not missing
			if x := &o.current[k]; x.App == a.App && x.Canary == a.Canary && x.State == spec.StateComplete && x.Want == spec.WantRun && x.Runtime == a.Runtime {
				slots[x.Index] = true
			}
		}
		if want := o.version(a.Version).Count; len(slots) < want {
			o.w.violated("%s: %d slots of %s are there, %d are wanted", invariantGang, len(slots), a.App, want)
		}
	}
}

// beside looks at the rules of what starts over other apps.
func (o *outcome) beside(a *spec.Allocation) {
	app := o.version(a.Version)
	for _, r := range app.Constraints {
		if r.App == "" || r.App == a.App || o.nodes[a.Node] == nil {
			continue
		}
		value, set := valueOf(o.nodes[a.Node], r.Attribute)
		list, shared := o.stays, false
		if r.Operator == spec.OpNear {
			list = slices.Concat(o.old, o.stays) // what leaves is near until it has left
		}
		for i := range list {
			x := &list[i]
			if n := o.nodes[x.Node]; x.App == r.App && n != nil && (r.Operator == spec.OpNear || n.State != spec.NodeUnknown && n.State != spec.NodeDown) {
				v, ok := valueOf(o.nodes[x.Node], r.Attribute)
				shared = shared || set && ok && v == value
			}
		}
		if shared != (r.Operator == spec.OpNear) {
			o.w.violated("%s: %s starts on %s, and its app is to be %s %s", invariantNear, a.ID, a.Node, r.Operator, r.App)
		}
	}
}

func valueOf(n *spec.NodeView, attribute string) (string, bool) {
	if attribute == place.AttributeID {
		return string(n.ID), true
	}
	v, ok := n.Attributes[attribute]
	return v, ok
}

// once looks for work that starts again though it is done, and known to be.
func (o *outcome) once(a *spec.Allocation) {
	if o.version(a.Version).Kind != spec.KindBatch {
		return
	}
	for i := range o.current {
		if x := &o.current[i]; x.Slot == a.Slot && x.Runtime == a.Runtime && x.State == spec.StateComplete && x.Want == spec.WantRun {
			o.w.violated("%s: %s starts, and %s is complete", invariantOnce, a.ID, x.ID)
		}
	}
}
