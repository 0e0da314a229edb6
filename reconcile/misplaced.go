package reconcile

import (
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// Misplaced lists the allocations that run where the rules of their app would not let them be placed now: its pool, its
// constraints on nodes, and those over other apps. Rules hold when a place is chosen and move nothing, so that such an
// allocation stays until it is placed anew. System apps follow their rules by themselves, and the work of a batch app ends.
func Misplaced(in Input) []spec.Misplaced {
	in.Brief = true
	w := newWorld(&in)
	w.advance()
	w.readRules()
	var out []spec.Misplaced
	for _, x := range w.apps {
		if x.desired == nil || x.held != "" || x.version == nil || x.version.app.Kind != spec.KindService {
			continue
		}
		r := &place.Request{Match: w.matcher(x, x.version), Count: 1, Total: 1}
		for _, b := range w.ownRules(x, x.version.app, w.standing) {
			if len(b.Nodes) > 0 || b.Apart { // near what runs nowhere is near nothing anywhere
				r.Beside = append(r.Beside, b)
			}
		}
		out = w.misplacedOf(x, w.fleet.Standing(r), out)
	}
	return out
}

func (w *world) misplacedOf(x *app, rules []place.Rule, out []spec.Misplaced) []spec.Misplaced {
	for i := range x.views {
		a := &x.views[i]
		node := int(w.nodeOf[x.first+i])
		if node < 0 || a.Want != spec.WantRun || a.State.Terminal() || w.fleet.State(node) != spec.NodeReady {
			continue
		}
		m := spec.Misplaced{Slot: a.Slot, ID: a.ID, Node: a.Node}
		for k := range rules {
			if rules[k].Fails(node) {
				m.Rules = append(m.Rules, rules[k].Name)
			}
		}
		if m.Rules != nil {
			out = append(out, m)
		}
	}
	return out
}
