package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// explainMissed tells why steps of the app found no node.
func (w *world) explainMissed(x *app) {
	if len(x.missed) == 0 || x.held != "" {
		return
	}
	if x.why == nil {
		w.explain(x)
	}
	b := x.why
	b.Slots = nil
	b.Leaving, b.Kept = x.working()
	backOff := 0
	for i := range x.missed {
		s := &x.missed[i]
		b.Slots = append(b.Slots, s.Slot)
		if s.Kind == spec.ChangeBlocked {
			backOff++
			b.Failed = newer(b.Failed, x.failedBefore(s))
			if b.After == 0 || s.Until < b.After {
				b.After = s.Until
			}
		}
	}
	slices.Sort(b.Slots)
	b.Slots = slices.Compact(b.Slots)
	want := x.lacking()
	if want != nil && x.waitsForItself() {
		b.Reasons = []spec.Reason{{Rule: ruleGangWaits}}
		want = nil
	}
	if want == nil {
		b.Of = x.desired.app.Count
	} else if b.After = 0; want.app.Kind != spec.KindSystem {
		b.Of = max(want.app.Count, len(b.Slots))
	}
	if x.desired.app.Kind == spec.KindSystem {
		b.Of = w.wanted(x)
	}
	if want != nil && x.tight {
		b.Reasons = append(b.Reasons, spec.Reason{Rule: RuleBudget, Detail: w.shortOf(x)})
	}
	if backOff > 0 {
		b.Reasons = append(b.Reasons, backOffReason(b.Failed, backOff))
	}
	x.blocked = b
}

// working counts the slots without a new place whose old allocation works on: on nodes that they must leave,
// and until there is room to replace them.
func (x *app) working() (leaving, kept int) {
	seen := map[int]bool{}
	for i := range x.missed {
		s := &x.missed[i]
		if s.Kind == spec.ChangeBlocked && !s.Canary && !seen[s.Slot] && x.works(s.Slot) {
			seen[s.Slot] = true
			kept++
			continue
		}
		if s.Canary || seen[s.Slot] || s.Old == nil || !s.Old.Live() || !s.Old.Healthy || s.Old.Ground == rollout.Lost || s.Old.Ground == rollout.Silent {
			continue
		}
		seen[s.Slot] = true
		if s.Kind == spec.ChangeMove {
			leaving++
		} else if s.Kind == spec.ChangeReplace {
			kept++
		}
	}
	return leaving, kept
}

// works reports whether a slot has an allocation that does its work.
func (x *app) works(slot int) bool {
	return slices.ContainsFunc(x.allocs, func(a rollout.Alloc) bool {
		return a.Index == slot && !a.Canary && a.Live() && a.Healthy && a.Ground != rollout.Lost && a.Ground != rollout.Silent
	})
}

// failedBefore is the allocation after whose end a slot waits before it is tried again.
func (x *app) failedBefore(s *rollout.Step) *spec.FailedAllocation {
	for i := len(x.allocs) - 1; i >= 0; i-- {
		a := &x.allocs[i]
		if a.Index == s.Slot && a.Canary == s.Canary && a.State.Terminal() && a.Want == spec.WantRun {
			return &spec.FailedAllocation{ID: a.ID, Slot: a.Slot, Node: a.Node, At: a.Since, Why: a.Trouble(), Logs: a.Logs(a.ID)}
		}
	}
	return nil
}

func newer(a, b *spec.FailedAllocation) *spec.FailedAllocation {
	if a == nil || b != nil && b.At > a.At {
		return b
	}
	return a
}

// backOffReason tells after which failure slots wait.
func backOffReason(f *spec.FailedAllocation, waiting int) spec.Reason {
	r := spec.Reason{Rule: ruleBackOff}
	if f != nil {
		r.Detail = fmt.Sprintf(detailBackOff, f.Slot, f.Node, cmp.Or(f.Why, unsaidWhy))
	}
	if waiting > 1 {
		r.Detail = strings.TrimPrefix(r.Detail+fmt.Sprintf(detailWaiting, waiting), "; ")
	}
	return r
}

// lacking returns the version of which a slot found no place; nil when all wait for a back-off.
func (x *app) lacking() *version {
	for i := range x.missed {
		if s := &x.missed[i]; s.Kind != spec.ChangeBlocked {
			if s.Canary {
				return x.canary
			}
			if s.Target {
				return x.desired
			}
			return x.version
		}
	}
	return nil
}

// explain tells everything that keeps another allocation of an app that lacks one off the nodes.
func (w *world) explain(x *app) {
	b := &spec.Blocked{}
	x.why = b
	want := x.lacking()
	if want == nil || x.waitsForItself() {
		return
	}
	for i := range x.missed {
		b.Slots = append(b.Slots, x.missed[i].Slot)
	}
	slices.Sort(b.Slots)
	j := &job{x: x, version: want}
	r := w.request(j, 1)
	r.Wait = true // as the planner tries last
	b.Nodes = w.fleet.Len()
	if want.app.Kind == spec.KindSystem {
		r.Own, r.Only = nil, w.missedNodes(x)
		b.Nodes = len(r.Only)
	}
	kept := w.reserved.reasons(x, r)
	defer w.reserved.hide(x)()
	e := w.fleet.Explain(r)
	b.Reasons, b.Groups, b.Places, b.Feasible = e.Reasons, e.Groups, e.Places, e.Feasible
	next := want.need
	if want.app.Gang {
		next = w.explainGang(x, want, b, &e)
	}
	kept = append(w.roles.reasonsAfter(x, want.need, next), kept...)
	b.Reasons = slices.Concat(kept, w.unknownAttributes(want.app), b.Reasons)
	b.Served = w.roles.served(x, want.need, w.contestFor(x, want.need, next, &e))
	switch {
	case w.fleet.Len() == 0:
		b.Reasons = append(b.Reasons, spec.Reason{Rule: ruleNoNodes})
	case e.Feasible > 0 && len(kept) == 0 && !want.app.Gang:
		rule := rulePolicy
		if _, builtIn := place.BuiltIn(w.policyOf(want.app).Name); builtIn {
			rule = ruleTurn
		}
		b.Reasons = append(b.Reasons, spec.Reason{Rule: rule, Nodes: e.Feasible})
	}
}

// unknownAttributes tells of attributes that constraints of the app are about and no node has: most are misspelt.
func (w *world) unknownAttributes(a *spec.App) []spec.Reason {
	var out []spec.Reason
	for i := range a.Constraints {
		c := &a.Constraints[i]
		if c.Attribute == "" || w.fleet.Len() == 0 || w.fleet.Has(*c) {
			continue
		}
		r := spec.Reason{Rule: w.noAttribute(c.Attribute), Nodes: w.fleet.Len()}
		if !slices.ContainsFunc(out, func(o spec.Reason) bool { return o.Rule == r.Rule }) {
			out = append(out, r)
		}
	}
	return out
}

// noAttribute says that no node has the attribute, and which one was most likely meant.
func (w *world) noAttribute(attribute string) string {
	text, meant := fmt.Sprintf(ruleNoAttribute, attribute), spec.AttributeID
	if attribute != "node" { // which elsewhere, as in node/n3, stands for its name
		meant = spec.Closest(attribute, w.fleet.Attributes())
	}
	if meant != "" {
		text = fmt.Sprintf(hintAttribute, text, meant)
	}
	return text
}

// idleSpreads warns of spreads over attributes that no node has. Nothing is blocked by them, so nothing else would tell.
func (w *world) idleSpreads() []spec.Warning {
	if w.fleet.Len() == 0 {
		return nil
	}
	apps, first := map[string]int{}, map[string]*app{}
	var attributes []string
	for _, x := range w.apps {
		if x.desired == nil {
			continue
		}
		for i := range x.desired.app.Spreads {
			attribute := x.desired.app.Spreads[i].Attribute
			if apps[attribute]++; apps[attribute] == 1 {
				attributes, first[attribute] = append(attributes, attribute), x
			}
		}
	}
	var out []spec.Warning
	for _, attribute := range attributes {
		if w.fleet.Has(spec.Constraint{Attribute: attribute, Operator: spec.OpSet}) {
			continue
		}
		x := first[attribute]
		rule := fmt.Sprintf(warnIdleSpread, x.name)
		if more := apps[attribute] - 1; more > 0 {
			rule = fmt.Sprintf(warnIdleSpreads, x.name, more)
		}
		out = append(out, spec.Warning{Rule: rule, Detail: w.noAttribute(attribute), Pos: x.desired.app.Pos})
	}
	return out
}

// missedNodes are the nodes on which a system app has no place.
func (w *world) missedNodes(x *app) []int32 {
	nodes := []int32{}
	for i := range x.missed {
		s := &x.missed[i]
		node := w.fleet.Node(s.Node)
		if s.Kind != spec.ChangeBlocked && node >= 0 {
			nodes = append(nodes, int32(node))
		}
	}
	slices.Sort(nodes)
	return nodes
}

// describe fills in what follows from the changes: counts, capacity, what a node's failure would do, guards.
func (w *world) describe(p *spec.Plan) {
	for i := range p.Apps {
		a := &p.Apps[i]
		for k := range a.Changes {
			count(&p.Summary, a.Changes[k].Kind)
			p.Summary.Preempt += len(a.Changes[k].Victims)
		}
		if a.Blocked != nil {
			p.Summary.Blocked += len(a.Blocked.Slots)
		}
		if a.Unfinished() {
			p.Summary.Failed++
		}
		if a.Held != "" {
			p.Summary.Held++
		}
		if a.Forget {
			p.Summary.Forget++
		}
	}
	w.guards(p)
	if !w.in.Brief {
		w.capacity(p)
		p.Worst = w.rehearse(p)
	}
}

func count(s *spec.Summary, k spec.ChangeKind) {
	switch k {
	case spec.ChangeStart:
		s.Start++
	case spec.ChangeUpdate:
		s.Update++
	case spec.ChangeReplace:
		s.Replace++
	case spec.ChangeStop:
		s.Stop++
	case spec.ChangeMove:
		s.Move++
	}
}

// guards names the limits that the plan would cross.
func (w *world) guards(p *spec.Plan) {
	running, going, left := 0, 0, len(w.templates)
	for _, x := range w.apps {
		if x.desired != nil && x.run == nil {
			left++
		}
		if !x.wanted() && !x.retries() {
			continue
		}
		running++
		if x.desired == nil && x.held == "" && (x.run == nil || w.pruned(x)) {
			going++
		}
	}
	if going == 0 {
		return
	}
	limit := w.in.Desired.Sync.MaxPrune
	if left == 0 {
		p.Guards = append(p.Guards, spec.Guard{Rule: guardEmpty, Detail: fmt.Sprintf("all of %s would stop", spec.Plural(going, "app"))})
	}
	if allowed := limit.Of(running); going > allowed {
		p.Guards = append(p.Guards, spec.Guard{Rule: guardPrune, Detail: fmt.Sprintf("%d of %s would stop, %s are allowed at once", going, spec.Plural(running, "app"), limit)})
	}
}

const (
	guardEmpty = "no app would be left"
	guardPrune = "max_prune"
)

// maxNodes bounds how many nodes a range of slots names one by one.
const maxNodes = 16

// stay lists the slots that nothing happens to, in ranges.
func (w *world) stay(x *app) []spec.SlotRange {
	list := slices.Clone(x.out.Stay)
	slices.SortFunc(list, func(a, b *rollout.Alloc) int { return a.Index - b.Index })
	var out []spec.SlotRange
	var seen map[spec.NodeID]bool // of a range that has more than are named one by one
	for _, a := range list {
		n := len(out)
		if n == 0 || a.Index > out[n-1].Last+1 {
			out, seen = append(out, spec.SlotRange{First: a.Index, Last: a.Index, Nodes: []spec.NodeID{a.Node}}), nil
			continue
		}
		r := &out[n-1]
		r.Last = a.Index
		if len(r.Nodes) >= maxNodes {
			if seen == nil {
				seen = map[spec.NodeID]bool{}
				for _, id := range r.Nodes {
					seen[id] = true
				}
			}
			if seen[a.Node] {
				continue
			}
			seen[a.Node] = true
		}
		r.Nodes = append(r.Nodes, a.Node)
	}
	for i := range out {
		if len(out[i].Nodes) > maxNodes {
			slices.Sort(out[i].Nodes)
			out[i].Nodes = slices.Compact(out[i].Nodes)
		}
	}
	return out
}
