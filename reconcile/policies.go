package reconcile

import (
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

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
